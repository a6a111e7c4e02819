"""The forecast's event simulation: at each instant runs end, then runs come due, then a turn.

A naive simulation judges every waiting run at every turn, which costs waiting runs times turns. This one parks a
held run where its blocker will let it go and judges it again only then. Its rows are those of the naive one
(tests/support/reference_forecast.py), which rests on these invariants:

1. **Order.** At one instant all ends come before all dues, all dues before the turn. A turn judges in the order of
   `Planned.key`: due, task's UID, number. Where runs leave after 192 hours, a second turn follows at that instant.
2. **No instant is missed.** A turn happens wherever a verdict can change: an end, a due, a run that leaves, an edge
   of a window, the end of a spacing that holds a waiting step (`Agenda.next_instant`). Between two of them no rule
   changes its mind, because a rule depends only on the board, the calendar and spacing.
3. **One place.** Each waiting run that came due is ready, in one queue of the parking, or asleep until an instant.
   Queues keep runs that have stopped waiting; these are dropped when they are met. Only runs that nothing in a
   forecast lets go (the engine's trouble, a window without an end) are in no place: they leave after 192 hours.
4. **The longest blocker.** A run is parked with the blocker that lasts longest: a reset, an instant of spacing or of
   a window, its chain, its group or its task, a free slot. While that one holds, the others are not asked.
5. **One chance, passed on.** What frees a blocker makes only the first run of that queue ready. A run that was made
   ready and does not start passes the chance on, unless what holds it (a slot, spacing) holds the rest of the queue
   too (`Simulation._judge`); so does one that leaves. A run that starts does not: its end will.
6. **Each hold once.** A run's hold by a rule is written in the first turn in which the naive simulation would have
   seen it: by judging the run, or by `HoldLog`, when another run's start makes the rule hold a parked run. A start
   is news in the same turn only for runs behind it in the order; for those before it at the next turn.
7. **A forecast has no failures.** Every run completes when its estimate says. A failure at the start ends when a run
   of that task ends; a lost run keeps its group until the end.

The cost is about the number of runs times the logarithm of those that wait.
"""

from collections.abc import Sequence
from datetime import datetime

from headway.models.values.rule import RuleId
from headway.models.values.run import Run, RunStatus, Trigger
from headway.models.values.task import CatchUp, Task
from headway.scheduler.planning.board import Board, next_steps
from headway.scheduler.planning.forecast.agenda import Agenda
from headway.scheduler.planning.forecast.hold_log import HoldLog
from headway.scheduler.planning.forecast.parking import Parking
from headway.scheduler.planning.forecast.planned import Planned
from headway.scheduler.planning.rules import judge


class Simulation:
    """Runs ahead of time. `rows` has every run, with when it starts and what held it."""

    def __init__(self, board: Board, start: datetime) -> None:
        self.rows: list[Planned] = []
        self._board = board
        self._start = start
        self._agenda = Agenda(board, start)
        self._parking = Parking(board)
        self._log = HoldLog(board)
        self._scheduled: dict[int, list[Planned]] = {}

    def load(self, open_runs: Sequence[Run]) -> None:
        """Begin with the open runs: active ones end when their estimate says, waiting ones wait on."""
        for run in sorted(open_runs, key=lambda run: run.id):
            planned = self._plan(run.task, run.due_at, run.trigger)
            planned.id, planned.follow, planned.overrides = run.id, run.follow, run.overrides
            planned.status, planned.started_at = run.status, run.started_at
            self._board.add(planned)
            if run.started_at is not None and run.status is not RunStatus.WAITING:
                self._agenda.will_end(planned, run.started_at)
                continue
            if run.trigger is Trigger.SCHEDULE:
                self._scheduled.setdefault(run.task.uid, []).append(planned)
            self._agenda.will_come_due(planned)

    def run(self, dues: Sequence[tuple[datetime, int]]) -> None:
        """Simulate the scheduled dues (instant, task's UID), in order, and all that follows from them."""
        agenda, tasks = self._agenda, self._board.tasks
        position, count, now = 0, len(dues), self._start
        while True:
            following = agenda.next_instant(dues[position][0] if position < count else None, now)
            if following is None:
                return
            now = following
            for run in agenda.ending(now):
                self._end(run, now)
            for run in agenda.coming_due(now):
                self._come_due(run)
            while position < count and dues[position][0] <= now:
                occurrence = self._plan(tasks[dues[position][1]], now, Trigger.SCHEDULE)
                self._supersede_older(occurrence, now)
                self._come_due(occurrence)
                position += 1
            self._turn(now)
            while self._let_go(now):
                self._turn(now)

    # What happens at an instant

    def _plan(self, task: Task, due_at: datetime, trigger: Trigger) -> Planned:
        run = Planned(task=task, due_at=due_at, trigger=trigger)
        self.rows.append(run)
        run.key = (due_at, task.uid, len(self.rows))
        return run

    def _end(self, run: Planned, now: datetime) -> None:
        self._board.finish(run, RunStatus.COMPLETED, now)
        for step in next_steps(run, self._board.tasks):
            planned = self._plan(step.task, step.due_at, step.trigger)
            self._board.add(planned)
            self._agenda.will_come_due(planned)
            self._log.step_made(planned.task.root)
        if self._board.failures.pop(run.task.uid, None) is not None:  # its last finished run is a good one now
            self._parking.task_is_reset(run.task.uid)
        self._parking.next_of_group(run.task.group, now)
        self._parking.next_of_chain(run.task)

    def _supersede_older(self, run: Planned, now: datetime) -> None:
        """A new occurrence comes due: those that still wait leave, a retry that is not due yet too."""
        if run.task.catch_up is not CatchUp.LATEST:
            return
        older = self._scheduled.setdefault(run.task.uid, [])
        for one in older:
            if one.status is RunStatus.WAITING:
                self._leave(one, RunStatus.SUPERSEDED, "superseded", now)
        older[:] = [run]

    def _come_due(self, run: Planned) -> None:
        if run.status is not RunStatus.WAITING:
            return  # a retry that was superseded before its time
        self._agenda.came_due(run)
        self._parking.add_ready(run)

    def _leave(self, run: Planned, status: RunStatus, outcome: str, now: datetime) -> None:
        self._agenda.left(run)
        self._board.finish(run, status)
        run.outcome = outcome
        self._parking.next_of_group(run.task.group, now)
        self._parking.next_of_chain(run.task)

    def _let_go(self, now: datetime) -> bool:
        """Runs still held 192 hours after being due leave; whether any did."""
        leaving = self._agenda.leaving(now)
        for run in leaving:
            self._leave(run, RunStatus.SKIPPED, "unplaced", now)
        return bool(leaving)

    # The turn

    def _turn(self, now: datetime) -> None:
        self._log.start_of_turn(now)
        self._parking.wake(now)
        next_candidate = self._parking.next_candidate
        while (run := next_candidate()) is not None:
            self._judge(run, now)
        self._agenda.end_of_turn(now)

    def _judge(self, run: Planned, now: datetime) -> None:
        parking = self._parking
        if run.judged and parking.still_queues(run):
            return
        if run.judged and parking.still_in_window((run.key, run), now):
            parking.next_of_group(run.task.group, now)
            return
        holds = judge(run, self._board, now)
        for hold in holds:
            self._log.write(run, hold)
        if not holds:
            self._begin(run, now)
            return
        parking.park(run, holds)
        if not run.judged:
            run.judged = True
            self._log.watch(run, now)
        if holds[-1].rule is not RuleId.CAPACITY:
            parking.next_of_group(run.task.group, now)
        if all(hold.rule is not RuleId.SPACING for hold in holds):
            parking.next_of_step(run.task)

    def _begin(self, run: Planned, now: datetime) -> None:
        self._board.begin(run, now)
        self._log.started(run, now)
        self._agenda.started(run, now)
