/*
title: Dispositions
description: What attempts came to, by campaign, for the record and for the call
parameters:
  period: {type: time frame, default: last 7 days}
columns:
  campaign: {heading: Campaign, width: 24}
  kind: {heading: Of the, width: 9}
  code: {heading: Code, width: 9}
  name: {heading: Disposition, width: 24}
  attempts: {heading: Attempts, format: integer}
  share: {heading: Share, format: percent}
*/
WITH outcomes AS (
  SELECT campaign_uid, record_disposition_uid AS disposition_uid
  FROM attempt
  WHERE started_at >= :period_from AND started_at < :period_to
  UNION ALL
  SELECT campaign_uid, call_disposition_uid
  FROM attempt
  WHERE started_at >= :period_from AND started_at < :period_to
),
counted AS (
  SELECT outcomes.campaign_uid, disposition.kind, disposition.code, disposition.name, COUNT(*) AS attempts
  FROM outcomes
  JOIN disposition ON disposition.uid = outcomes.disposition_uid
  GROUP BY outcomes.campaign_uid, disposition.kind, disposition.code, disposition.name
)
SELECT
  campaign.name AS campaign,
  counted.kind AS kind,
  counted.code AS code,
  counted.name AS name,
  counted.attempts AS attempts,
  {{ share(counted.attempts, SUM(counted.attempts) OVER (PARTITION BY counted.campaign_uid, counted.kind)) }} AS share
FROM counted
JOIN campaign ON campaign.uid = counted.campaign_uid
ORDER BY campaign.name, counted.kind, counted.attempts DESC, counted.code
