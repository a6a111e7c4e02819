/*
title: Citations by lot
description: Tickets written in the period, and what has been paid of their fines
parameters:
  period: {type: time frame, default: last month}
  status: {type: choice, choices: [open, paid, appealed, void], default: null, description: Only tickets of this status}
columns:
  lot: {heading: Lot, width: 24}
  zone: {heading: Zone, width: 10}
  citations: {heading: Citations, format: integer, total: sum}
  unpaid: {heading: Not paid, format: integer, total: sum}
  fines: {heading: Fines, format: money, total: sum}
  paid: {heading: Paid, format: money, total: sum}
  paid_share: {heading: Paid share, format: percent}
  last_issued: {heading: Last issued, format: instant}
*/
SELECT
  lot.name AS lot,
  lot.zone AS zone,
  COUNT(*) AS citations,
  SUM(CASE WHEN citation.paid_cents < citation.fine_cents THEN 1 ELSE 0 END) AS unpaid,
  SUM(citation.fine_cents) AS fines,
  SUM(citation.paid_cents) AS paid,
  {{ share(SUM(citation.paid_cents), SUM(citation.fine_cents)) }} AS paid_share,
  MAX(citation.issued_at) AS last_issued
FROM citation
JOIN lot ON lot.uid = citation.lot_uid
WHERE citation.issued_at >= :period_from
  AND citation.issued_at < :period_to
  AND (:status IS NULL OR citation.status = :status)
GROUP BY lot.uid, lot.name, lot.zone
ORDER BY citations DESC, lot.name
