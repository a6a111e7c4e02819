/*
title: Use of maintenance windows
description: For each window the runs that started inside it, how many of them had to, and what was released
database: ledger
parameters:
  period: {type: time frame, default: last 7 days}
columns:
  name: {heading: Window, width: 26}
  hours: {heading: Hours, width: 14}
  zone: {heading: Zone, width: 20}
  released: {heading: Released, format: integer}
  runs: {heading: Runs inside, format: integer, total: sum}
  required: {heading: Of tasks that must, format: integer, width: 11, total: sum}
  tasks: {heading: Tasks, format: integer}
  seconds: {heading: Their time, format: duration, total: sum}
*/
WITH started AS (
  SELECT
    run.id,
    run.task_uid,
    task."window" AS policy,
    w.id AS window_id,
    w.days,
    w.start AS begins,
    w."end" AS ends,
    {{ seconds_between(run.started_at, run.ended_at) }} AS seconds,
    {{ local_weekday(run.started_at, COALESCE(w.timezone, :timezone)) }} AS weekday,
    {{ local_clock(run.started_at, COALESCE(w.timezone, :timezone)) }} AS clock
  FROM run
  JOIN task ON task.uid = run.task_uid
  CROSS JOIN "window" AS w
  WHERE run.started_at >= :period_from
    AND run.started_at < :period_to
),
inside AS (
  SELECT *
  FROM started
  WHERE (ends > begins AND clock >= begins AND clock < ends AND days LIKE '%' || weekday || '%')
    -- a window over midnight belongs to the day on which it begins
    OR (ends <= begins AND clock >= begins AND days LIKE '%' || weekday || '%')
    OR (ends <= begins AND clock < ends AND days LIKE '%' || ((weekday + 6) % 7) || '%')
),
released AS (
  SELECT window_id, COUNT(*) AS occurrences
  FROM window_release
  WHERE day >= :period_first_day
    AND day <= :period_last_day
  GROUP BY window_id
)
SELECT
  w.name AS name,
  SUBSTR(CAST(w.start AS text), 1, 5) || ' - ' || SUBSTR(CAST(w."end" AS text), 1, 5) AS hours,
  COALESCE(w.timezone, :timezone) AS zone,
  COALESCE(MAX(released.occurrences), 0) AS released,
  COUNT(inside.id) AS runs,
  SUM(CASE WHEN inside.policy = 'require' THEN 1 ELSE 0 END) AS required,
  COUNT(DISTINCT inside.task_uid) AS tasks,
  COALESCE(SUM(inside.seconds), 0) AS seconds
FROM "window" AS w
LEFT JOIN inside ON inside.window_id = w.id
LEFT JOIN released ON released.window_id = w.id
GROUP BY w.id, w.name, w.start, w."end", w.timezone
ORDER BY w.name
