/*
title: Waiting times
description: How long runs waited between coming due and starting
database: ledger
parameters:
  period: {type: time frame, default: last 7 days}
columns:
  task: {heading: Task, width: 30}
  type: {heading: Type, width: 20}
  runs: {heading: Runs, format: integer, total: sum}
  waited: {heading: Waited over a minute, format: integer, width: 12, total: sum}
  waited_share: {heading: Share, format: percent}
  average: {heading: Average wait, format: duration}
  longest: {heading: Longest wait, format: duration}
*/
WITH waits AS (
  SELECT run.task_uid, {{ seconds_between(run.due_at, run.started_at) }} AS seconds
  FROM run
  WHERE run.started_at >= :period_from
    AND run.started_at < :period_to
)
SELECT
  task.name AS task,
  task.type AS type,
  COUNT(*) AS runs,
  SUM(CASE WHEN waits.seconds > 60 THEN 1 ELSE 0 END) AS waited,
  {{ share(SUM(CASE WHEN waits.seconds > 60 THEN 1 ELSE 0 END), COUNT(*)) }} AS waited_share,
  AVG(waits.seconds) AS average,
  MAX(waits.seconds) AS longest
FROM waits
JOIN task ON task.uid = waits.task_uid
GROUP BY task.uid, task.name, task.type
ORDER BY longest DESC, task.name
