/*
title: Campaign in time
description: Attempts by day or by hour of the day, and how many were answered
parameters:
  period: {type: time frame, default: last 7 days}
  by: {type: choice, choices: [day, hour], default: day, title: Rows by}
  campaign: {type: text, default: null, description: Name of the campaign; empty means all}
columns:
  campaign: {heading: Campaign, width: 24}
  slot: {heading: Day or hour, width: 12}
  attempts: {heading: Attempts, format: integer, total: sum}
  dialled: {heading: Dialled, format: integer, total: sum}
  answered: {heading: Answered, format: integer, total: sum}
  answered_share: {heading: Answered share, format: percent, width: 10}
  talk: {heading: Talk time, format: duration, total: sum}
  completed: {heading: Records completed, format: integer, width: 11, total: sum}
*/
WITH tried AS (
  SELECT
    campaign.name AS campaign,
    CASE :by
      WHEN 'day' THEN CAST({{ local_day(attempt.started_at) }} AS text)
      ELSE SUBSTR(CAST({{ local_clock(attempt.started_at) }} AS text), 1, 2) || ':00'
    END AS slot,
    CASE WHEN attempt.is_call_attempt THEN 1 ELSE 0 END AS dialled,
    CASE WHEN attempt.answered_seconds > 0 THEN 1 ELSE 0 END AS answered,
    CASE WHEN attempt.completed THEN 1 ELSE 0 END AS completed,
    attempt.answered_seconds AS seconds
  FROM attempt
  JOIN campaign ON campaign.uid = attempt.campaign_uid
  WHERE attempt.started_at >= :period_from
    AND attempt.started_at < :period_to
    AND (:campaign IS NULL OR campaign.name = :campaign)
)
SELECT
  campaign,
  slot,
  COUNT(*) AS attempts,
  SUM(dialled) AS dialled,
  SUM(answered) AS answered,
  {{ share(SUM(answered), SUM(dialled)) }} AS answered_share,
  SUM(seconds) AS talk,
  SUM(completed) AS completed
FROM tried
GROUP BY campaign, slot
ORDER BY campaign, slot
