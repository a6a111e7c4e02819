/*
title: Task runs by type and result
description: Runs that started in the period, with what they counted
database: ledger
parameters:
  period: {type: time frame, default: yesterday}
columns:
  type: {heading: Type, width: 22}
  result: {heading: Result, width: 22}
  runs: {heading: Runs, format: integer, total: sum}
  processed: {heading: Processed, format: integer, width: 12, total: sum}
  errors: {heading: Errors, format: integer, total: sum}
  size_kb: {heading: Size (KB), format: number, decimals: 0, width: 12, total: sum}
  average_seconds: {heading: Average time, format: duration}
  total_seconds: {heading: Total time, format: duration, total: sum}
*/
SELECT
  run.type AS type,
  CASE run.status
    WHEN 'completed' THEN 'Completed'
    WHEN 'completed_with_errors' THEN 'Completed - With Errors'
    WHEN 'failed' THEN 'Execution failed'
    WHEN 'cancelled' THEN 'Cancelled'
    ELSE 'In progress'
  END AS result,
  COUNT(*) AS runs,
  SUM(run.processed) AS processed,
  SUM(run.errors) AS errors,
  SUM(run.bytes) / 1024.0 AS size_kb,
  AVG({{ seconds_between(run.started_at, run.ended_at) }}) AS average_seconds,
  SUM({{ seconds_between(run.started_at, run.ended_at) }}) AS total_seconds
FROM run
WHERE run.started_at >= :period_from
  AND run.started_at < :period_to
GROUP BY run.type, run.status
ORDER BY run.type, run.status
