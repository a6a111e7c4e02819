/*
title: Slowest tasks
description: Tasks by their longest run of the period, and by how much it exceeds their average
database: ledger
parameters:
  period: {type: time frame, default: last 7 days}
  top: {type: integer, minimum: 1, maximum: 1000, default: 20, title: How many}
columns:
  task: {heading: Task, width: 30}
  type: {heading: Type, width: 20}
  runs: {heading: Runs, format: integer}
  longest: {heading: Longest run, format: duration}
  average: {heading: Average, format: duration}
  times_average: {heading: Longest / average, format: number, decimals: 1}
  longest_at: {heading: Longest of them started, format: instant}
*/
WITH ended AS (
  SELECT
    run.task_uid,
    run.started_at,
    {{ seconds_between(run.started_at, run.ended_at) }} AS seconds
  FROM run
  WHERE run.started_at >= :period_from
    AND run.started_at < :period_to
    AND run.ended_at IS NOT NULL
),
ranked AS (
  SELECT
    ended.*,
    ROW_NUMBER() OVER (PARTITION BY task_uid ORDER BY seconds DESC, started_at DESC) AS place,
    COUNT(*) OVER (PARTITION BY task_uid) AS runs,
    AVG(seconds) OVER (PARTITION BY task_uid) AS average
  FROM ended
)
SELECT
  task.name AS task,
  task.type AS type,
  ranked.runs AS runs,
  ranked.seconds AS longest,
  ranked.average AS average,
  {{ share(ranked.seconds, ranked.average) }} AS times_average,
  ranked.started_at AS longest_at
FROM ranked
JOIN task ON task.uid = ranked.task_uid
WHERE ranked.place = 1
ORDER BY ranked.seconds DESC, task.name
LIMIT :top
