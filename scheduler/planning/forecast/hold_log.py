"""Which rule has held which run of the forecast, each (run, rule) once.

A parked run is not judged at every turn. What the rules would have said meanwhile is found from the other side: a
start that makes a rule hold all waiting runs of a subject (a group, a task) writes the hold to those of them that
this rule has not held before.
"""

from bisect import bisect_right
from collections.abc import Hashable
from datetime import datetime
from heapq import heappop, heappush

from headway.models.values.rule import Hold, RuleId
from headway.models.values.run import RunStatus
from headway.models.values.window import WindowPolicy
from headway.scheduler.planning.board import Board
from headway.scheduler.planning.forecast.planned import RANK, Key, Planned
from headway.scheduler.planning.rules import RULES


class HoldLog:
    """Writes holds to `Planned.met`, those of a judged run and those that a parked run meets."""

    def __init__(self, board: Board) -> None:
        self.turn = 0
        self._board = board
        self._busy = _NotHeldYet(RuleId.BUSY)
        self._group = _NotHeldYet(RuleId.GROUP)
        self._capacity = _NotHeldYet(RuleId.CAPACITY)
        self._spacing = _NotHeldYet(RuleId.SPACING)
        self._by_subject = (self._busy, self._group, self._capacity, self._spacing)
        self._windows: list[tuple[datetime, Key, Planned]] = []

    def start_of_turn(self, now: datetime) -> None:
        """Write the holds that parked runs meet in this turn before any run starts."""
        self.turn += 1
        for one in self._by_subject:
            one.turn = self.turn
            if one.pending:
                one.still_hold(self._board, now)
        if self._windows and self._windows[0][0] <= now:
            self._windows_close(now)

    def write(self, run: Planned, hold: Hold) -> None:
        """The rule holds the run in this turn."""
        rank = RANK[hold.rule]
        if not run.met_rules & (1 << rank):
            run.met_rules |= 1 << rank
            run.met.append((self.turn, rank, hold))

    def watch(self, run: Planned, now: datetime) -> None:
        """From here on the start of another run may bring this one its first hold by a rule."""
        task, met = run.task, run.met_rules
        for one, subject in (
            (self._busy, task.uid),
            (self._group, task.group),
            (self._capacity, None),
            (self._spacing, task.uid),
        ):
            if not met & one.bit and one.rule_id not in run.overrides:
                one.watch(subject, run)
        window_met = met & (1 << RANK[RuleId.WINDOW]) or RuleId.WINDOW in run.overrides
        if task.window is not WindowPolicy.ALLOW and not window_met:
            self._watch_window(run, now)

    def started(self, run: Planned, now: datetime) -> None:
        """The run has begun on the board: what it holds up from now on."""
        board, task = self._board, run.task
        self._busy.holds_now(task.uid, board, now, run.key)
        self._group.holds_now(task.group, board, now, run.key)
        if board.active_count >= board.max_running:
            self._capacity.holds_now(None, board, now, run.key)
        for uid in task.successors:
            self._spacing.holds_now(uid, board, now, run.key)

    def step_made(self, root: int) -> None:
        """A chain has an open later step: from the next turn on that holds step 1."""
        self._spacing.pending.add(root)

    def _watch_window(self, run: Planned, now: datetime) -> None:
        again = self._board.calendar.look_again_at(run.task.window, run.task.estimate, now)
        heappush(self._windows, (again, run.key, run))

    def _windows_close(self, now: datetime) -> None:
        while self._windows and self._windows[0][0] <= now:
            run = heappop(self._windows)[2]
            if run.status is not RunStatus.WAITING:
                continue
            hold = RULES[RuleId.WINDOW](run, self._board, now)
            if hold is None:
                self._watch_window(run, now)
            else:
                self.write(run, hold)


class _NotHeldYet:
    """The runs that one rule has not held yet, by the rule's subject: a group, a task, None for all runs."""

    def __init__(self, rule: RuleId) -> None:
        self.rule_id = rule
        self.rule = RULES[rule]
        self.rank = RANK[rule]
        self.bit = 1 << self.rank
        self.runs: dict[Hashable, list[Planned]] = {}
        self.pending: set[Hashable] = set()
        self.turn = 0

    def watch(self, subject: Hashable, run: Planned) -> None:
        self.runs.setdefault(subject, []).append(run)

    def holds_now(self, subject: Hashable, board: Board, now: datetime, after: Key | None = None) -> None:
        """The rule holds the subject's runs from now on: write it to all, or to those behind the key `after`.

        Those before it were judged in this turn already. The hold is theirs at the next turn, if it lasts until then.
        """
        runs = self.runs.get(subject)
        if not runs:
            return
        tail = 0 if after is None else bisect_right(runs, after, key=_key)
        news = [run for run in runs[tail:] if run.status is RunStatus.WAITING and not run.met_rules & self.bit]
        hold = self.rule(news[0], board, now) if news else None  # the same for all runs of one subject
        del runs[tail:]
        if hold is None:
            runs += news
        else:
            for run in news:
                run.met_rules |= self.bit
                run.met.append((self.turn, self.rank, hold))
        if tail:
            self.pending.add(subject)

    def still_hold(self, board: Board, now: datetime) -> None:
        """Write the holds of an earlier turn that last until this one."""
        pending, self.pending = self.pending, set()
        for subject in pending:
            self.holds_now(subject, board, now)


def _key(run: Planned) -> Key:
    return run.key
