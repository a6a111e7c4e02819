"""The forecast's event simulation: at each instant first runs end, then runs come due, then a turn.

A naive simulation judges every waiting run at every turn, which costs waiting x turns. Here a held run is parked
where its blocker will let it go (its group's queue, the queue for a free slot, the instant at which a window
ends) and judged again only then; `untold.py` keeps what it would have been told meanwhile.
"""

from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush

from headway.models.values.instant import FOREVER, LEAVES_AFTER
from headway.models.values.rule import Hold, RuleId
from headway.models.values.run import Run, RunStatus, Trigger
from headway.models.values.schedule import After
from headway.models.values.task import CatchUp, Task
from headway.models.values.window import WindowPolicy
from headway.scheduler.planning.board import Board, next_steps
from headway.scheduler.planning.forecast.hold_log import RANK, Entry, HoldLog, Key, Planned
from headway.scheduler.planning.rules import RULES, judge

UNKNOWN_LENGTH = timedelta(minutes=1)
"""How long a run without an estimate is taken to last."""


class Simulation:
    """Lives through dues and what follows from them; `rows` has every run, with what held it."""

    def __init__(self, board: Board, start: datetime) -> None:
        self.board = board
        self.start = self._now = start
        self.rows: list[Planned] = []
        self._count = 0
        self._waiting = 0
        self._turns = 0  # an instant at which a run leaves has two
        self._ends: list[tuple[datetime, int, Planned]] = []
        self._to_come_due: list[tuple[datetime, Key, Planned]] = []
        self._wakes: list[datetime] = []
        self._asleep: dict[datetime, list[Entry]] = {}
        self._leaving: deque[Planned] = deque()
        self._scheduled: dict[int, list[Planned]] = {}
        # Where held runs are parked, and the ones to judge in this turn.
        self._ready: list[Entry] = []
        self._slot_queue: list[Entry] = []
        self._reset_queue: dict[int, list[Entry]] = {}
        self._group_queue: dict[str, list[Entry]] = {}
        self._chain_queue: dict[int, dict[int, list[Entry]]] = {}
        self._untold_busy = HoldLog(RuleId.BUSY)
        self._untold_group = HoldLog(RuleId.GROUP)
        self._untold_capacity = HoldLog(RuleId.CAPACITY)
        self._untold_spacing = HoldLog(RuleId.SPACING)
        self._untold_window: list[tuple[datetime, Key, Planned]] = []
        self._edge: datetime | None = None
        # Spacing's ends are turns too if a run of that step is due; how many are, by step.
        self._spacing_ends: list[tuple[datetime, int, Task]] = []
        self._steps_waiting: dict[int, int] = {}
        for uid, started_at in board.last_start.items():
            if uid in board.tasks:
                self._space(board.tasks[uid], started_at)

    # The event loop

    def load(self, open_runs: Sequence[Run]) -> None:
        """Begin from what is open: active runs end when their estimate says, waiting ones wait on."""
        for run in sorted(open_runs, key=lambda run: run.id):
            planned = self._plan(run.task, run.due_at, run.trigger)
            planned.id, planned.follow, planned.overrides = run.id, run.follow, run.overrides
            planned.status, planned.started_at = run.status, run.started_at
            self.board.add(planned)
            if run.started_at is not None and run.status is not RunStatus.WAITING:
                self._will_end(planned, max(run.started_at + self._length(run.task), self.start))
                continue
            if run.trigger is Trigger.SCHEDULE:
                self._scheduled.setdefault(run.task.uid, []).append(planned)
            heappush(self._to_come_due, (max(run.due_at, self.start), planned.key, planned))

    def live(self, dues: Sequence[tuple[datetime, int]]) -> None:
        """Live through the scheduled dues and all that follows from them."""
        position, count = 0, len(dues)
        tasks = self.board.tasks
        while True:
            now = self._next_instant(dues[position][0] if position < count else None)
            if now is None:
                return
            self._now = now
            while self._ends and self._ends[0][0] <= now:
                self._end(heappop(self._ends)[2], now)
            while self._to_come_due and self._to_come_due[0][0] <= now:
                self._come_due(heappop(self._to_come_due)[2])
            while position < count and dues[position][0] <= now:
                occurrence = self._plan(tasks[dues[position][1]], now, Trigger.SCHEDULE)
                self._supersede_older(occurrence)
                self._come_due(occurrence)
                position += 1
            self._turn(now)
            while self._let_go(now):
                self._turn(now)

    def _next_instant(self, due: datetime | None) -> datetime | None:
        """The earliest instant at which a run ends or comes due or a verdict can change; None when all is done."""
        now = due
        for queue in (self._ends, self._to_come_due):
            if queue and (now is None or queue[0][0] < now):
                now = queue[0][0]
        if not self._waiting:
            return now
        while self._leaving and self._leaving[0].status is not RunStatus.WAITING:
            self._leaving.popleft()
        if self._leaving:
            leaves_at = max(self._leaving[0].due_at + LEAVES_AFTER, self.start)
            if now is None or leaves_at < now:
                now = leaves_at
        if self._edge is not None and (now is None or self._edge < now):
            now = self._edge
        while self._spacing_ends and (now is None or self._spacing_ends[0][0] < now):
            if self._ends_a_hold(self._spacing_ends[0][0], self._spacing_ends[0][2]):
                return self._spacing_ends[0][0]
            heappop(self._spacing_ends)
        return now

    def _ends_a_hold(self, at: datetime, step: Task) -> bool:
        """Whether the rule `spacing` lets a waiting run of the step go at this instant, the next one to be."""
        assert isinstance(step.schedule, After)
        before = step.schedule.predecessor
        return (
            at > self._now
            and self._steps_waiting.get(step.uid, 0) > 0
            and before not in self.board.active_by_task
            and self.board.last_start[before] + step.schedule.spacing == at
        )

    # What happens at an instant

    def _plan(self, task: Task, due_at: datetime, trigger: Trigger) -> Planned:
        self._count += 1
        run = Planned(task=task, due_at=due_at, trigger=trigger)
        run.key = (due_at, task.uid, self._count)
        self.rows.append(run)
        return run

    def _end(self, run: Planned, now: datetime) -> None:
        self.board.finish(run, RunStatus.COMPLETED, now)
        for step in next_steps(run, self.board.tasks):
            planned = self._plan(step.task, step.due_at, step.trigger)
            self.board.add(planned)
            heappush(self._to_come_due, (planned.due_at, planned.key, planned))
            self._untold_spacing.pending.add(planned.task.root)
        if self.board.failures.pop(run.task.uid, None) is not None:  # its last finished run is a good one now
            for parked in self._reset_queue.pop(run.task.uid, ()):
                heappush(self._ready, parked)
        self._group_is_free(run.task.group)
        self._chain_moved(run.task)

    def _supersede_older(self, run: Planned) -> None:
        """A new occurrence comes due: those that still wait leave, a retry that is not due yet too."""
        if run.task.catch_up is not CatchUp.LATEST:
            return
        older = self._scheduled.setdefault(run.task.uid, [])
        for one in older:
            if one.status is RunStatus.WAITING:
                self._leave(one, RunStatus.SUPERSEDED, "superseded")
        older[:] = [run]

    def _come_due(self, run: Planned) -> None:
        if run.status is not RunStatus.WAITING:
            return  # a retry that was superseded before its time
        run.came_due = True
        self._count_waiting(run, 1)
        self._leaving.append(run)
        heappush(self._ready, (run.key, run))

    def _leave(self, run: Planned, status: RunStatus, outcome: str) -> None:
        if run.came_due:
            self._count_waiting(run, -1)
        self.board.finish(run, status)
        run.outcome = outcome
        self._group_is_free(run.task.group)
        self._chain_moved(run.task)

    def _count_waiting(self, run: Planned, change: int) -> None:
        self._waiting += change
        if run.task.step > 1 and RuleId.SPACING not in run.overrides:
            self._steps_waiting[run.task.uid] = self._steps_waiting.get(run.task.uid, 0) + change

    def _space(self, task: Task, started_at: datetime) -> None:
        for uid in task.successors:
            step = self.board.tasks[uid]
            assert isinstance(step.schedule, After)
            heappush(self._spacing_ends, (started_at + step.schedule.spacing, uid, step))

    def _let_go(self, now: datetime) -> bool:
        """Runs still held 192 hours after being due leave; whether any did."""
        left = False
        while self._leaving and (
            self._leaving[0].status is not RunStatus.WAITING or self._leaving[0].due_at + LEAVES_AFTER <= now
        ):
            run = self._leaving.popleft()
            if run.status is RunStatus.WAITING:
                self._leave(run, RunStatus.SKIPPED, "unplaced")
                left = True
        return left

    # The turn

    def _turn(self, now: datetime) -> None:
        self._turns += 1
        for untold in (self._untold_busy, self._untold_group, self._untold_capacity, self._untold_spacing):
            untold.start_of_turn(self._turns, self.board, now)
        self._windows_close(now)
        while self._wakes and self._wakes[0] <= now:
            self._wake(self._asleep.pop(heappop(self._wakes)))
        while (run := self._next_candidate()) is not None:
            self._judge(run, now)
        if self._waiting and (self._edge is None or self._edge <= now):
            self._edge = self.board.calendar.next_edge(now)

    def _next_candidate(self) -> Planned | None:
        """The first waiting run in the order (due, UID) whose verdict may have changed."""
        while True:
            queue = self._ready
            if self._slot_queue and self.board.active_count < self.board.max_running:
                if not queue or self._slot_queue[0] < queue[0]:
                    queue = self._slot_queue
            if not queue:
                return None
            run = heappop(queue)[1]
            if run.status is RunStatus.WAITING:
                return run

    def _judge(self, run: Planned, now: datetime) -> None:
        if run.seen and self._still_queues(run):
            return
        if run.seen and self._still_window((run.key, run)):
            self._group_is_free(run.task.group)
            return
        holds = judge(run, self.board, now)
        for hold in holds:
            self._tell(run, hold)
        if not holds:
            self._begin(run, now)
            return
        self._park(run, holds)
        if not run.seen:
            run.seen = True
            self._watch(run, now)
        if holds[-1].rule is not RuleId.CAPACITY:
            self._group_is_free(run.task.group)
        if all(hold.rule is not RuleId.SPACING for hold in holds):
            self._next_of_chain(run.task)

    def _still_queues(self, run: Planned) -> bool:
        """Park a run that was judged before without judging it again: `HoldLog` tells it what is new."""
        if run.task.group in self.board.active_by_group:
            heappush(self._group_queue.setdefault(run.task.group, []), (run.key, run))
        elif self.board.active_count >= self.board.max_running:
            heappush(self._slot_queue, (run.key, run))
        else:
            return False
        return True

    def _still_window(self, entry: Entry) -> bool:
        """As `_still_queues`, for a run that a window keeps until a known instant."""
        run = entry[1]
        task = run.task
        if (run.overrides and RuleId.WINDOW in run.overrides) or task.window is WindowPolicy.ALLOW:
            return False
        clears_at = self.board.calendar.clears_at(task.window, task.estimate, self._now)
        if clears_at is None or clears_at == FOREVER:
            return False
        self._sleep(entry, clears_at)
        if self._chain_queue:
            self._next_of_chain(run.task)
        return True

    def _sleep(self, entry: Entry, until: datetime) -> None:
        if until not in self._asleep:
            self._asleep[until] = []
            heappush(self._wakes, until)
        self._asleep[until].append(entry)

    def _wake(self, sleepers: Sequence[Entry]) -> None:
        """Those of one group wait for one another again, so only the first of each is judged at once."""
        by_group: dict[str, list[Entry]] = {}
        for entry in sleepers:
            run = entry[1]
            if run.status is RunStatus.WAITING:
                by_group.setdefault(run.task.group, []).append(entry)
        for group, entries in by_group.items():
            queue = self._group_queue.setdefault(group, [])
            if len(entries) > len(queue):
                queue += entries
                heapify(queue)
            else:
                for entry in entries:
                    heappush(queue, entry)
            self._group_is_free(group)

    def _tell(self, run: Planned, hold: Hold) -> None:
        rank = RANK[hold.rule]
        if not run.known & (1 << rank):
            run.known |= 1 << rank
            run.told.append((self._turns, rank, hold))

    def _begin(self, run: Planned, now: datetime) -> None:
        board, task = self.board, run.task
        self._count_waiting(run, -1)
        board.begin(run, now)
        self._will_end(run, now + self._length(task))
        self._untold_busy.holds_now(task.uid, board, now, run.key)
        self._untold_group.holds_now(task.group, board, now, run.key)
        if board.active_count >= board.max_running:
            self._untold_capacity.holds_now(None, board, now, run.key)
        for uid in task.successors:
            self._untold_spacing.holds_now(uid, board, now, run.key)
        self._space(task, now)

    def _park(self, run: Planned, holds: Sequence[Hold]) -> None:
        """Put a held run where the blocker that lasts longest will let it go."""
        by_rule = {hold.rule: hold for hold in holds}
        task = run.task
        if RuleId.ENGINE in by_rule:
            return  # nothing that a forecast can see will clear it
        if RuleId.RESET in by_rule:  # nor this, unless a run of the task is in progress
            self._reset_queue.setdefault(task.uid, []).append((run.key, run))
            return
        timed = [by_rule[rule] for rule in (RuleId.SPACING, RuleId.WINDOW) if rule in by_rule]
        for hold in timed:
            if hold.until is not None:
                self._sleep((run.key, run), hold.until)
                return
            if hold.rule is RuleId.SPACING:
                queues = self._chain_queue.setdefault(task.root, {})
                heappush(queues.setdefault(task.uid, []), (run.key, run))
                return
        if timed:
            return  # a window without an end
        if RuleId.GROUP in by_rule or RuleId.BUSY in by_rule:
            heappush(self._group_queue.setdefault(task.group, []), (run.key, run))
        else:
            heappush(self._slot_queue, (run.key, run))

    def _watch(self, run: Planned, now: datetime) -> None:
        """From here on somebody else's start may be news for this run."""
        task, known = run.task, run.known
        for untold, subject in (
            (self._untold_busy, task.uid),
            (self._untold_group, task.group),
            (self._untold_capacity, None),
            (self._untold_spacing, task.uid),
        ):
            if not known & untold.bit and untold.rule_id not in run.overrides:
                untold.watch(subject, run)
        window_told = known & (1 << RANK[RuleId.WINDOW]) or RuleId.WINDOW in run.overrides
        if task.window is not WindowPolicy.ALLOW and not window_told:
            self._watch_window(run, now)

    def _watch_window(self, run: Planned, now: datetime) -> None:
        again = self.board.calendar.look_again_at(run.task.window, run.task.estimate, now)
        heappush(self._untold_window, (again, run.key, run))

    def _windows_close(self, now: datetime) -> None:
        while self._untold_window and self._untold_window[0][0] <= now:
            run = heappop(self._untold_window)[2]
            if run.status is not RunStatus.WAITING:
                continue
            hold = RULES[RuleId.WINDOW](run, self.board, now)
            if hold is None:
                self._watch_window(run, now)
            else:
                self._tell(run, hold)

    # Who is to be judged again

    def _group_is_free(self, group: str) -> None:
        """Judge the group's first run that still waits and is not put to sleep by a window."""
        queue = self._group_queue.get(group)
        slept = 0
        while queue and group not in self.board.active_by_group:
            entry = heappop(queue)
            if entry[1].status is not RunStatus.WAITING:
                continue
            if not self._still_window(entry):
                heappush(self._ready, entry)
                return
            slept += 1
            if 4 * slept > len(queue):  # probably a window has come for all of them: no need to sort them out
                entries, queue[:] = queue[:], []
                queue += [e for e in entries if e[1].status is RunStatus.WAITING and not self._still_window(e)]
                heapify(queue)
                slept = 0

    def _chain_moved(self, task: Task) -> None:
        for queue in self._chain_queue.get(task.root, {}).values():
            self._let_next_try(queue)

    def _next_of_chain(self, task: Task) -> None:
        self._let_next_try(self._chain_queue.get(task.root, {}).get(task.uid))

    def _let_next_try(self, queue: list[Entry] | None) -> None:
        """Judge the queue's first run that still waits: one that left meanwhile must not use up the chance."""
        while queue:
            entry = heappop(queue)
            if entry[1].status is RunStatus.WAITING:
                heappush(self._ready, entry)
                return

    def _will_end(self, run: Planned, at: datetime) -> None:
        run.ended_at = at
        heappush(self._ends, (at, run.key[2], run))

    @staticmethod
    def _length(task: Task) -> timedelta:
        return UNKNOWN_LENGTH if task.estimate is None else task.estimate
