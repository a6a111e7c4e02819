"""When something happens next in the forecast: runs end, come due or leave, and a rule's verdict changes."""

from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from heapq import heappop, heappush

from headway.models.values.instant import LEAVES_AFTER
from headway.models.values.rule import RuleId
from headway.models.values.run import RunStatus
from headway.models.values.schedule import After
from headway.models.values.task import Task
from headway.scheduler.planning.board import Board
from headway.scheduler.planning.forecast.planned import Key, Planned

UNKNOWN_LENGTH = timedelta(minutes=1)
"""How long a run without an estimate is taken to last."""


class Agenda:
    """The instants at which the simulation has to act, the earliest first."""

    def __init__(self, board: Board, start: datetime) -> None:
        self._board = board
        self._start = start
        self._ends: list[tuple[datetime, int, Planned]] = []
        self._dues: list[tuple[datetime, Key, Planned]] = []
        self._leaving: deque[Planned] = deque()  # in the order in which they came due
        self._waiting = 0
        # Edges of windows, and ends of spacing, matter only while runs wait: for spacing, runs of that step.
        self._edge: datetime | None = None
        self._spacing_ends: list[tuple[datetime, int, Task]] = []
        self._steps_waiting: dict[int, int] = {}
        for uid, started_at in board.last_start.items():
            if uid in board.tasks:
                self._add_spacing_ends(board.tasks[uid], started_at)

    def next_instant(self, due: datetime | None, after: datetime) -> datetime | None:
        """The earliest instant at which something happens; None when all is done.

        due: the next scheduled due. after: the instant that the simulation has reached.
        """
        now = due
        for queue in (self._ends, self._dues):
            if queue and (now is None or queue[0][0] < now):
                now = queue[0][0]
        if not self._waiting:
            return now
        while self._leaving and self._leaving[0].status is not RunStatus.WAITING:
            self._leaving.popleft()
        if self._leaving:
            leaves_at = max(self._leaving[0].due_at + LEAVES_AFTER, self._start)
            if now is None or leaves_at < now:
                now = leaves_at
        if self._edge is not None and (now is None or self._edge < now):
            now = self._edge
        while self._spacing_ends and (now is None or self._spacing_ends[0][0] < now):
            if self._ends_a_hold(self._spacing_ends[0][0], self._spacing_ends[0][2], after):
                return self._spacing_ends[0][0]
            heappop(self._spacing_ends)
        return now

    def will_end(self, run: Planned, started_at: datetime) -> None:
        """An active run ends when its estimate says, one that is over its estimate at once."""
        length = run.task.estimate
        at = started_at + (UNKNOWN_LENGTH if length is None else length)
        if at < self._start:
            at = self._start
        run.ended_at = at
        heappush(self._ends, (at, run.key[2], run))

    def will_come_due(self, run: Planned) -> None:
        heappush(self._dues, (max(run.due_at, self._start), run.key, run))

    def ending(self, now: datetime) -> Iterator[Planned]:
        """The runs that end by now."""
        while self._ends and self._ends[0][0] <= now:
            yield heappop(self._ends)[2]

    def coming_due(self, now: datetime) -> Iterator[Planned]:
        """The stored runs and chain steps that come due by now."""
        while self._dues and self._dues[0][0] <= now:
            yield heappop(self._dues)[2]

    def leaving(self, now: datetime) -> list[Planned]:
        """The runs that still wait 192 hours after they came due."""
        found = []
        while self._leaving:
            run = self._leaving[0]
            waits = run.status is RunStatus.WAITING
            if waits and run.due_at + LEAVES_AFTER > now:
                break
            self._leaving.popleft()
            if waits:
                found.append(run)
        return found

    def came_due(self, run: Planned) -> None:
        """The run waits from now on."""
        run.came_due = True
        self._count_waiting(run, 1)
        self._leaving.append(run)

    def started(self, run: Planned, now: datetime) -> None:
        """The run waits no more: it has begun."""
        self._count_waiting(run, -1)
        self.will_end(run, now)
        self._add_spacing_ends(run.task, now)

    def left(self, run: Planned) -> None:
        """The run waits no more: it left without having started."""
        if run.came_due:
            self._count_waiting(run, -1)

    def end_of_turn(self, now: datetime) -> None:
        """Runs that still wait are judged again at the next edge of a window."""
        if self._waiting and (self._edge is None or self._edge <= now):
            self._edge = self._board.calendar.next_edge(now)

    def _ends_a_hold(self, at: datetime, step: Task, after: datetime) -> bool:
        """Whether the rule `spacing` lets a waiting run of the step go at this instant, the next one to be."""
        assert isinstance(step.schedule, After)
        before = step.schedule.predecessor
        return (
            at > after
            and self._steps_waiting.get(step.uid, 0) > 0
            and before not in self._board.active_by_task
            and self._board.last_start[before] + step.schedule.spacing == at
        )

    def _count_waiting(self, run: Planned, change: int) -> None:
        self._waiting += change
        if run.task.step > 1 and RuleId.SPACING not in run.overrides:
            self._steps_waiting[run.task.uid] = self._steps_waiting.get(run.task.uid, 0) + change

    def _add_spacing_ends(self, task: Task, started_at: datetime) -> None:
        for uid in task.successors:
            step = self._board.tasks[uid]
            assert isinstance(step.schedule, After)
            heappush(self._spacing_ends, (started_at + step.schedule.spacing, uid, step))
