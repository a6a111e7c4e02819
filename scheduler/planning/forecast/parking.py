"""Where held runs of the forecast wait, and which of them are judged again."""

from collections.abc import Sequence
from datetime import datetime
from heapq import heapify, heappop, heappush

from headway.models.values.instant import FOREVER
from headway.models.values.rule import Hold, RuleId
from headway.models.values.run import RunStatus
from headway.models.values.task import Task
from headway.models.values.window import WindowPolicy
from headway.scheduler.planning.board import Board
from headway.scheduler.planning.forecast.planned import Entry, Planned


class Parking:
    """Each waiting run is in one place: ready to be judged, or parked with the blocker that lasts longest."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._ready: list[Entry] = []
        self._slots: list[Entry] = []
        self._groups: dict[str, list[Entry]] = {}
        self._resets: dict[int, list[Entry]] = {}
        self._chains: dict[int, dict[int, list[Entry]]] = {}  # by the chain's first task, then by the step
        self._asleep: dict[datetime, list[Entry]] = {}
        self._wakes: list[datetime] = []

    def add_ready(self, run: Planned) -> None:
        """Judge the run in the next turn."""
        heappush(self._ready, (run.key, run))

    def next_candidate(self) -> Planned | None:
        """The first waiting run in the order (due, UID) whose verdict may have changed."""
        board = self._board
        while True:
            queue = self._ready
            if self._slots and board.active_count < board.max_running:
                if not queue or self._slots[0] < queue[0]:
                    queue = self._slots
            if not queue:
                return None
            run = heappop(queue)[1]
            if run.status is RunStatus.WAITING:
                return run

    # Parking

    def park(self, run: Planned, holds: Sequence[Hold]) -> None:
        """Put a held run where the blocker that lasts longest will let it go."""
        by_rule = {hold.rule: hold for hold in holds}
        task = run.task
        if RuleId.ENGINE in by_rule:
            return  # nothing that a forecast can see will clear it
        if RuleId.RESET in by_rule:  # nor this, unless a run of the task is in progress
            self._resets.setdefault(task.uid, []).append((run.key, run))
            return
        timed = [by_rule[rule] for rule in (RuleId.SPACING, RuleId.WINDOW) if rule in by_rule]
        for hold in timed:
            if hold.until is not None:
                self._sleep((run.key, run), hold.until)
                return
            if hold.rule is RuleId.SPACING:
                steps = self._chains.setdefault(task.root, {})
                heappush(steps.setdefault(task.uid, []), (run.key, run))
                return
        if timed:
            return  # a window without an end
        if RuleId.GROUP in by_rule or RuleId.BUSY in by_rule:
            heappush(self._groups.setdefault(task.group, []), (run.key, run))
        else:
            heappush(self._slots, (run.key, run))

    def still_queues(self, run: Planned) -> bool:
        """Park a run that was judged before without judging it again; False if nothing makes it queue.

        The hold log writes what is new to it.
        """
        if run.task.group in self._board.active_by_group:
            heappush(self._groups.setdefault(run.task.group, []), (run.key, run))
        elif self._board.active_count >= self._board.max_running:
            heappush(self._slots, (run.key, run))
        else:
            return False
        return True

    def still_in_window(self, entry: Entry, now: datetime) -> bool:
        """As `still_queues`, for a run that a window keeps until a known instant."""
        run = entry[1]
        task = run.task
        if (run.overrides and RuleId.WINDOW in run.overrides) or task.window is WindowPolicy.ALLOW:
            return False
        clears_at = self._board.calendar.clears_at(task.window, task.estimate, now)
        if clears_at is None or clears_at == FOREVER:
            return False
        self._sleep(entry, clears_at)
        if self._chains:
            self.next_of_step(run.task)
        return True

    def _sleep(self, entry: Entry, until: datetime) -> None:
        if until not in self._asleep:
            self._asleep[until] = []
            heappush(self._wakes, until)
        self._asleep[until].append(entry)

    # Judging again

    def wake(self, now: datetime) -> None:
        """Runs that slept until now queue for their groups."""
        while self._wakes and self._wakes[0] <= now:
            self._queue_again(self._asleep.pop(heappop(self._wakes)), now)

    def _queue_again(self, sleepers: Sequence[Entry], now: datetime) -> None:
        """Those of one group wait for one another again, so only the first of each is judged at once."""
        by_group: dict[str, list[Entry]] = {}
        for entry in sleepers:
            run = entry[1]
            if run.status is RunStatus.WAITING:
                by_group.setdefault(run.task.group, []).append(entry)
        for group, entries in by_group.items():
            queue = self._groups.setdefault(group, [])
            if len(entries) > len(queue):
                queue += entries
                heapify(queue)
            else:
                for entry in entries:
                    heappush(queue, entry)
            self.next_of_group(group, now)

    def next_of_group(self, group: str, now: datetime) -> None:
        """If the group is free: judge its first run that still waits and that no window keeps."""
        queue = self._groups.get(group)
        slept = 0
        while queue and group not in self._board.active_by_group:
            entry = heappop(queue)
            if entry[1].status is not RunStatus.WAITING:
                continue
            if not self.still_in_window(entry, now):
                heappush(self._ready, entry)
                return
            slept += 1
            if 4 * slept > len(queue):  # probably a window has come for all of them: no need to sort them out
                entries, queue[:] = queue[:], []
                queue += [
                    one for one in entries if one[1].status is RunStatus.WAITING and not self.still_in_window(one, now)
                ]
                heapify(queue)
                slept = 0

    def next_of_chain(self, task: Task) -> None:
        """A run of the task's chain ended or left: judge the first run of each of the chain's steps."""
        for queue in self._chains.get(task.root, {}).values():
            self._judge_first(queue)

    def next_of_step(self, task: Task) -> None:
        """The run of the step that was judged does not start now: judge the next of the same step."""
        self._judge_first(self._chains.get(task.root, {}).get(task.uid))

    def task_is_reset(self, uid: int) -> None:
        """Judge the runs that the task's failure held."""
        for entry in self._resets.pop(uid, ()):
            heappush(self._ready, entry)

    def _judge_first(self, queue: list[Entry] | None) -> None:
        """Judge the queue's first run that still waits: one that left meanwhile must not use up the chance."""
        while queue:
            entry = heappop(queue)
            if entry[1].status is RunStatus.WAITING:
                heappush(self._ready, entry)
                return
