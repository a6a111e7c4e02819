"""What has to be true at every instant of a simulated week, by the rules' text and not by the product's code.

The referee follows the ledger's events in their order, on a connection of its own kind (plain SQL). It knows what
each run did from the runs' processes themselves, judges every start anew with the reference forecast, and at the end
counts
the occurrences.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from headway.models.values.run import Trigger
from headway.models.values.schedule import Cron
from headway.models.values.task import Task
from tests.support.reference_forecast import NaiveForecast, NaiveRun, dues

if TYPE_CHECKING:
    from tests.simulation.actors import SimProcess
    from tests.simulation.scheduler import Hub
    from tests.simulation.worlds import SmallWorld

MAY_FOLLOW = {
    None: {"waiting", "missed", "skipped"},
    "waiting": {"starting", "superseded", "missed", "skipped", "cancelled"},
    "starting": {"running", "waiting", "failed", "cancelled"},
    "running": {"completed", "completed_with_errors", "failed", "cancelled", "waiting"},
}
"""RULES.md, life of a run, typed in again."""
ACTIVE = {"starting", "running"}
ENDED_AFTER_START = {"completed", "completed_with_errors", "failed", "cancelled"}
SILENT = timedelta(seconds=60)
_TAKEN = "process taken for dead by a reset"
OLDEST_CLOCK = timedelta(seconds=5)
"""No start may be judged by a time that is over."""


class Violation(AssertionError):
    """A promise that was broken."""


@dataclass
class Known:
    """A run as its events tell it."""

    id: int
    task: int
    due: datetime
    trigger: str
    status: str
    cause: int | None = None
    follow: bool = True
    started_at: datetime | None = None
    running: bool = False
    attempts: int = 0
    lengths: timedelta | None = None


@dataclass
class Span:
    """A time during which a task had this definition."""

    task: Task
    since: datetime
    until: datetime | None = None


@dataclass
class Counts:
    """What a week was made of."""

    starts: int = 0
    runs: int = 0
    refused_writes: int = 0
    endings: dict[str, int] = field(default_factory=dict)


class Referee:
    """Raises Violation at the step that broke a promise."""

    def __init__(self, hub: Hub, world: SmallWorld, driver: Any) -> None:
        self.hub, self.world, self.driver = hub, world, driver
        self.tasks = dict(world.tasks)
        self.windows = list(world.windows)
        self.runs: dict[int, Known] = {}
        self.failed: dict[int, int] = {}
        self.lost: dict[str, int] = {}
        self.last_start: dict[int, datetime] = {}
        self.lengths: dict[int, list[timedelta]] = {}
        self.spans = {uid: [Span(task, world.start)] for uid, task in self.tasks.items()}
        self.began: dict[tuple[int, int], int] = {}
        self.in_flow: list[SimProcess] = []
        self.presumed: set[int] = set()
        self.counts = Counts()
        self._last_event = 0
        self._audited: int | None = None
        self._naive = self._fresh_naive()

    # What others ask

    def next_due(self) -> datetime | None:
        row = self.driver.execute(
            "SELECT MIN(d) FROM (SELECT MIN(next_due_at) AS d FROM task UNION ALL"
            " SELECT MIN(COALESCE(retry_at, due_at)) FROM run"
            " WHERE status = 'waiting' AND COALESCE(retry_at, due_at) > ?)",
            (_stored(self.hub.now),),
        ).fetchone()
        return _instant(row[0])

    def task_of(self, run_id: int) -> int:
        return self.runs[run_id].task

    def failed_tasks(self) -> list[int]:
        return sorted(self.failed)

    # What processes did

    def flow_begins(self, process: SimProcess) -> None:
        key = (process.order.run_id, process.order.attempt)
        self._must(key not in self.began, f"run {key[0]}, attempt {key[1]} began a second time, in {process}")
        self.began[key] = process.pid
        mine = self.tasks[self.task_of(process.order.run_id)]
        self.in_flow = [one for one in self.in_flow if one.in_flow]
        for other in self.in_flow:
            if other.order.run_id in self.presumed:
                continue
            theirs = self.tasks[self.task_of(other.order.run_id)]
            self._must(
                theirs.group != mine.group, f"{process} began while {other} of its group '{mine.group}' still worked"
            )
        self.in_flow.append(process)

    def accepted(self, process: SimProcess, what: str) -> None:
        """A write of the process was taken: it must have had the claim."""
        row = self.driver.execute("SELECT claim FROM run WHERE id = ?", (process.order.run_id,)).fetchone()
        given_up = what == "not_started" and row[0] is None
        retried = what == "ended" and row[0] is None
        self._must(
            row[0] == process.order.claim or given_up or retried,
            f"{process} wrote '{what}' under a claim that was not its own any more",
        )

    # What the ledger says

    def look(self) -> bool:
        """After a commit: read what is new, and hold it against the rules. Whether workers notice a change, too."""
        driver = self.driver
        rows = driver.execute(
            'SELECT e.id, e.run_id, e.before, e.after, e.at, r.task_uid, r.due_at, r."trigger", r.cause_run_id, '
            "r.follow, r.overrides, e.who FROM run_event e JOIN run r ON r.id = e.run_id WHERE e.id > ? ORDER BY e.id",
            (self._last_event,),
        ).fetchall()
        edits = driver.execute("SELECT uid, enabled, cron, failed_run_id FROM task").fetchall()
        for row in rows:
            self._last_event = row[0]
            self._step(row)
        self._definitions(edits)
        self._resets(edits)
        self._locks()
        audited = driver.execute("SELECT MAX(id) FROM audit").fetchone()[0]
        changed, self._audited = bool(rows) or audited != self._audited, audited
        return changed

    def _step(self, row: Any) -> None:
        _, run_id, before, after, at, uid, due, trigger, cause, follow, overrides, who = row
        at, due = _sure(at), _sure(due)
        self._must(after in MAY_FOLLOW.get(before, ()), f"run {run_id} went from {before} to {after}")
        if before is None:
            self._must(run_id not in self.runs, f"run {run_id} came twice")
            self.runs[run_id] = Known(run_id, uid, due, trigger, after, cause)
            self.counts.runs += 1
            return
        run = self.runs[run_id]
        self._must(run.status == before, f"run {run_id} was {run.status}, and went from {before} to {after}")
        run.follow = bool(follow)
        if after == "starting":
            self._started(run, at, frozenset(json.loads(overrides)), who)
        run.status = after
        if after in ENDED_AFTER_START and before in ACTIVE:
            self._ended(run, at)

    def _started(self, run: Known, at: datetime, overrides: frozenset[str], who: str) -> None:
        self._must(run.due <= at, f"run {run.id} started before it was due")
        self._must(self.hub.now - at <= OLDEST_CLOCK, f"run {run.id} was judged by a clock of {at}, now {self.hub.now}")
        self._must_live(run, who)
        holds = self.judge(run, at, overrides)
        self._must(not holds, f"run {run.id} of task {run.task} started at {at} although held by {holds}")
        run.started_at, run.attempts = at, run.attempts + 1
        self.last_start[run.task] = at
        self.counts.starts += 1

    def _must_live(self, run: Known, who: str) -> None:
        """A worker that others take for dead would have its new run taken from it at once."""
        found = self.driver.execute("SELECT seen_at, stopped_at FROM worker WHERE id = ?", (who,)).fetchone()
        self._must(found is not None and found[1] is None, f"run {run.id} was started by {who}, which had been stopped")
        self._must(
            self.hub.now - _sure(found[0]) < SILENT, f"run {run.id} was started by {who}, silent since {found[0]}"
        )

    def _ended(self, run: Known, at: datetime) -> None:
        self.counts.endings[run.status] = self.counts.endings.get(run.status, 0) + 1
        if run.status == "failed":
            self.failed[run.task] = run.id
        else:
            self.failed.pop(run.task, None)
        if run.status.startswith("completed"):
            assert run.started_at is not None
            run.lengths = at - run.started_at
            self.lengths.setdefault(run.task, []).append(at - run.started_at)

    def judge(self, run: Known, now: datetime, overrides: frozenset[str]) -> list[tuple[str, datetime | None]]:
        naive = self._naive
        naive.failed, naive.lost, naive.last_start = set(self.failed), frozenset(self.lost), self.last_start
        naive.open = [self._as_naive(one) for one in self.runs.values() if one.status in {"waiting", *ACTIVE}]
        mine = NaiveRun(self._estimated(run.task), run.due, Trigger(run.trigger), overrides=overrides)
        return naive.judge(mine, now)

    def _as_naive(self, run: Known) -> NaiveRun:
        status = "running" if run.status in ACTIVE else "waiting"
        return NaiveRun(self.tasks[run.task], run.due, Trigger(run.trigger), status, start=run.started_at)

    def _estimated(self, uid: int) -> Task:
        """With the 95th percentile of its last 20 completed runs (3 at least), where the task sets none."""
        task = self.tasks[uid]
        if task.estimate is not None:
            return task
        done = [one for one in self.runs.values() if one.task == uid and one.lengths is not None]
        done.sort(key=lambda one: (one.started_at, one.id))
        lengths = sorted(one.lengths for one in done[-20:] if one.lengths is not None)
        if len(lengths) < 3:
            return task
        place = next(n for n in range(1, len(lengths) + 1) if n * 100 >= 95 * len(lengths))
        return replace(task, estimate=max(lengths[place - 1], timedelta(seconds=1)))

    def _fresh_naive(self) -> NaiveForecast:
        start = self.world.start
        naive = NaiveForecast([], self.windows, self.world.max_running, start, start + timedelta(days=10))
        naive.tasks = self.tasks
        return naive

    def _definitions(self, rows: Any) -> None:
        for uid, enabled, cron, _ in rows:
            task = self.tasks[uid]
            known = task.schedule.expression if isinstance(task.schedule, Cron) else None
            if bool(enabled) == task.enabled and cron == known:
                continue
            schedule = Cron(cron) if cron is not None else task.schedule
            self.tasks[uid] = replace(task, enabled=bool(enabled), schedule=schedule)
            self.spans[uid][-1].until = self.hub.now
            self.spans[uid].append(Span(self.tasks[uid], self.hub.now))
        released: dict[str, set[date]] = {}
        for name, day in self.driver.execute(
            "SELECT w.name, r.day FROM window_release r JOIN window w ON w.id = r.window_id"
        ).fetchall():
            released.setdefault(name, set()).add(date.fromisoformat(day))
        windows = [replace(one, released=frozenset(released.get(one.name, ()))) for one in self.windows]
        if windows != self.windows:
            self.windows = windows
            self._naive = self._fresh_naive()
        self._naive.tasks = self.tasks

    def _resets(self, rows: Any) -> None:
        for uid, _, _, failed in rows:
            if failed == self.failed.get(uid):
                continue
            self._must(failed is None, f"task {uid} is said to have failed in run {failed}, and did not")
            run_id = self.failed.pop(uid)
            reset_at = self.driver.execute("SELECT reset_at FROM run WHERE id = ?", (run_id,)).fetchone()[0]
            self._must(reset_at is not None, f"run {run_id} of task {uid} failed, and that was forgotten")
            self._presumed_dead(run_id)

    def _presumed_dead(self, run_id: int) -> None:
        """A reset may leave a process at work in one case: nobody on its machine could have told of it.

        Somebody was warned, and finished in spite of it: the group is free, and two of it may be at work.
        """
        for process in self.in_flow:
            if process.in_flow and process.order.run_id == run_id:
                watching = self.driver.execute(
                    "SELECT COUNT(*) FROM worker WHERE host = ? AND stopped_at IS NULL AND seen_at > ?",
                    (process.host, _stored(self.hub.now - SILENT)),
                ).fetchone()[0]
                self._must(not watching, f"run {run_id} was reset although {process} was at work, and seen to be")
                self.presumed.add(run_id)
                self.hub.mishaps[_TAKEN] = self.hub.mishaps.get(_TAKEN, 0) + 1

    def _locks(self) -> None:
        held: dict[int, set[str]] = {}
        for name, run_id in self.driver.execute("SELECT name, run_id FROM lock").fetchall():
            held.setdefault(run_id, set()).add(name)
        active = [run for run in self.runs.values() if run.status in ACTIVE]
        self.lost = {}
        for run in active:
            task = self.tasks[run.task]
            names = held.pop(run.id, set())
            slots = {name for name in names if name.startswith("slot:")}
            self._must(
                names - slots == {f"group:{task.group}", f"task:{task.uid}"} and len(slots) == 1,
                f"run {run.id} is {run.status} with the locks {sorted(names)}",
            )
        for run_id, names in held.items():
            run = self.runs[run_id]
            group = self.tasks[run.task].group
            kept = run.status == "failed" and names == {f"group:{group}"}
            self._must(kept, f"run {run_id} is {run.status} and keeps the locks {sorted(names)}")
            self.lost[group] = run_id
        self._exclusive(active)

    def _exclusive(self, active: list[Known]) -> None:
        groups = [self.tasks[run.task].group for run in active]
        self._must(len(set(groups)) == len(groups), f"two runs of a group at a time: {groups}")
        self._must(len(active) <= self.world.max_running, f"{len(active)} runs at a time")

    # The end

    def count_occurrences(self, until: datetime) -> int:
        """Every occurrence of every task up to then has exactly one row; how many there were."""
        expected: dict[tuple[int, datetime], None] = {}
        for uid, spans in self.spans.items():
            for span in spans:
                end = (span.until or until) + timedelta(microseconds=1)
                expected |= dict.fromkeys((uid, due) for due in dues(span.task, span.since, end))
        rows = self.driver.execute("SELECT task_uid, due_at FROM run WHERE \"trigger\" = 'schedule'").fetchall()
        found = [(uid, _sure(due)) for uid, due in rows]
        self._must(len(set(found)) == len(found), "an occurrence has two rows")
        self._must(not set(expected) - set(found), f"no row for {sorted(set(expected) - set(found))[:5]}")
        self._must(not set(found) - set(expected), f"a row for nothing: {sorted(set(found) - set(expected))[:5]}")
        return len(expected)

    def settled(self, processes: dict[int, SimProcess]) -> None:
        """Everybody has gone home: nothing active but what is at work, and each row as its process knows it."""
        at_work = {process.order.run_id for process in processes.values() if process.alive and process.in_flow}
        active = [run for run in self.runs.values() if run.status in ACTIVE and run.id not in at_work]
        self._must(not active, f"still active when all was quiet: {active[:3]}")
        rows = self.driver.execute("SELECT id, status, process_id, attempt FROM run").fetchall()
        by_run: dict[int, list[SimProcess]] = {}
        for process in processes.values():
            by_run.setdefault(process.order.run_id, []).append(process)
        for run_id, status, process_id, attempt in rows:
            done = {p.outcome.kind for p in by_run.get(run_id, []) if p.outcome and p.order.attempt == attempt}
            if status.startswith("completed"):
                self._must("completed" in done, f"run {run_id} is said to be {status}; its flow ended {done}")
                self._must(process_id == 0, f"run {run_id} is {status} with process ID {process_id}")
        for process in processes.values():
            named = self.driver.execute("SELECT process_id FROM run WHERE id = ?", (process.order.run_id,)).fetchone()
            self._must(not process.alive or named[0] == process.pid, f"{process} lives, and no row names it")
        self._chains()

    def _chains(self) -> None:
        """Each run that ended well and goes on has one run for each next step that was in use."""
        by_cause: dict[tuple[int, int], int] = {}
        for run in self.runs.values():
            if run.cause is not None:
                by_cause[run.cause, run.task] = by_cause.get((run.cause, run.task), 0) + 1
        self._must(all(count == 1 for count in by_cause.values()), "a step followed twice from one run")
        for run in self.runs.values():
            if run.status != "completed" or not run.follow:
                continue
            for uid in self.world.tasks[run.task].successors:
                if all(span.task.enabled for span in self.spans[uid]):
                    self._must((run.id, uid) in by_cause, f"run {run.id} completed, and step {uid} did not follow")

    def _must(self, holds: bool, what: str) -> None:
        if not holds:
            raise Violation(what)


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


def _sure(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _stored(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(" ", "microseconds")
