"""Each rule by itself: what it holds, until when, and what it says to an operator."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from headway.models.values.rule import Hold, RuleId
from headway.models.values.run import Failure, Run, RunStatus, Trigger
from headway.models.values.schedule import After
from headway.models.values.task import OnFailure, Task
from headway.models.values.window import DEFAULT_WINDOWS, EVERY_DAY, Window, WindowPolicy
from headway.scheduler.planning.board import Board
from headway.scheduler.planning.chains import link
from headway.scheduler.planning.rules import RULES, judge
from headway.scheduler.planning.rules.busy import busy
from headway.scheduler.planning.rules.capacity import capacity
from headway.scheduler.planning.rules.engine import engine
from headway.scheduler.planning.rules.group import group
from headway.scheduler.planning.rules.reset import reset
from headway.scheduler.planning.rules.spacing import spacing
from headway.scheduler.planning.rules.window import window
from headway.scheduler.planning.windows import Calendar

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def ny(hour: int, minute: int = 0, day: int = 23) -> datetime:
    """A New York wall time of November 2026, after the clock change; the 23rd is a Monday."""
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC) + 5 * HOUR


NOW = ny(8, 30)
LOAD = Task(uid=1, name="Load customers", type="list_import", group="imports")
EXPORT = Task(uid=2, name="Citations export", type="data_export", group="exports", schedule=After(1, 30 * MINUTE))
REPORT = Task(uid=3, name="Daily report", type="report_execution", group="reports", schedule=After(2, HOUR))
OTHER = Task(uid=4, name="Second import", type="list_import", group="imports")
TASKS = link([LOAD, EXPORT, REPORT, OTHER])


def run(uid: int, due_at: datetime = NOW, **more: Any) -> Run:
    return Run(task=TASKS[uid], due_at=due_at, **more)


def active(uid: int, started_at: datetime = NOW, status: RunStatus = RunStatus.RUNNING) -> Run:
    return run(uid, started_at, status=status, started_at=started_at, id=10 + uid)


def board(*runs: Run, windows: tuple[Window, ...] = (), most: int = 4, **more: Any) -> Board:
    last_start = {one.task.uid: one.started_at for one in runs if one.started_at is not None}
    more = {"last_start": last_start, **more}
    return Board(TASKS, Calendar(windows), most, runs=runs, **more)


def in_short(hold: Hold | None) -> tuple[str, datetime | None] | None:
    return None if hold is None else (hold.rule.value, hold.until)


# reset


def test_reset_holds_a_failed_task_until_its_reset() -> None:
    failed = board(failures={1: Failure(run_id=17, ended_at=NOW - HOUR)})
    hold = reset(run(1), failed, NOW)
    assert in_short(hold) == ("reset", None)
    assert hold is not None and hold.reason == (
        "'Load customers' failed in run 17 and has not been reset; look at why, then reset it"
    )
    assert reset(run(4), failed, NOW) is None  # another task of its group


def test_reset_lets_a_task_go_that_continues_after_failures() -> None:
    goes_on = Task(uid=1, name="Load customers", type="list_import", group="imports", on_failure=OnFailure.CONTINUE)
    failed = board(failures={1: Failure(run_id=17, ended_at=NOW)})
    assert reset(Run(task=goes_on, due_at=NOW), failed, NOW) is None


# busy and group


@pytest.mark.parametrize("status", [RunStatus.STARTING, RunStatus.RUNNING])
def test_busy_and_group_both_hold_a_second_run_of_a_task(status: RunStatus) -> None:
    taken = board(active(1, status=status))
    assert in_short(busy(run(1), taken, NOW)) == ("busy", None)
    assert in_short(group(run(1), taken, NOW)) == ("group", None)


def test_group_holds_another_task_of_the_group_and_busy_does_not() -> None:
    taken = board(active(1))
    hold = group(run(4), taken, NOW)
    assert in_short(hold) == ("group", None)
    assert hold is not None and "'imports'" in hold.reason and "'Load customers'" in hold.reason
    assert busy(run(4), taken, NOW) is None
    assert group(run(3), taken, NOW) is None


def test_waiting_and_ended_runs_occupy_nothing() -> None:
    ended = active(1)
    free = board(ended, run(4))
    free.finish(ended, RunStatus.COMPLETED, NOW)
    assert busy(run(1), free, NOW) is None
    assert group(run(1), free, NOW) is None


def test_group_of_a_lost_run_names_what_to_reset() -> None:
    kept = board()
    kept.active_by_group["imports"] = run(1, status=RunStatus.FAILED, id=17)
    hold = group(run(4), kept, NOW)
    assert in_short(hold) == ("group", None)
    assert hold is not None and "run 17" in hold.reason and "reset 'Load customers'" in hold.reason


# capacity and engine


@pytest.mark.parametrize(("most", "held"), [(1, True), (2, True), (3, False)])
def test_capacity_counts_starting_and_running_runs(most: int, held: bool) -> None:
    two = board(active(1), active(2, status=RunStatus.STARTING), run(4), most=most)
    assert in_short(capacity(run(3), two, NOW)) == (("capacity", None) if held else None)


def test_engine_says_what_is_wrong_with_it() -> None:
    hold = engine(run(1), board(engine_problem="no worker is alive; start one with `headway worker`"), NOW)
    assert in_short(hold) == ("engine", None)
    assert hold is not None and hold.reason == "no worker is alive; start one with `headway worker`"
    assert engine(run(1), board(), NOW) is None


# window

EARLY = Window(name="Daily maintenance", days=EVERY_DAY, start=time(5), end=time(6))
WINDOW = [
    # policy, estimate in minutes, now, until (a rule's table is in test_windows), words of the reason
    ("avoid", None, ny(5, 15), ny(6), "inside the reserved maintenance window 'Daily maintenance'"),
    ("avoid", 20, ny(4, 50), ny(6), "20 min and would run into the maintenance window 'Daily maintenance'"),
    ("avoid", 20, ny(4, 40), None, ""),
    ("require", None, ny(4), ny(5), "the next that fits begins Mon 23 Nov 05:00 EST"),
    ("require", 30, ny(5, 31), ny(5, day=24), "longer than what is left of this maintenance window"),
    ("allow", 20, ny(5, 15), None, ""),
]


@pytest.mark.parametrize(("policy", "minutes", "now", "until", "says"), WINDOW)
def test_window(policy: str, minutes: int | None, now: datetime, until: datetime | None, says: str) -> None:
    estimate = None if minutes is None else minutes * MINUTE
    task = Task(uid=1, name="task", type="sleep", group="group", window=WindowPolicy(policy), estimate=estimate)
    hold = window(Run(task=task, due_at=now), board(windows=(EARLY,)), now)
    assert in_short(hold) == (("window", until) if until else None)
    assert hold is None or says in hold.reason


def test_due_0515_starts_0600_eastern() -> None:
    task = Task(uid=1, name="task", type="sleep", group="group")
    calendar = board(windows=DEFAULT_WINDOWS)
    assert in_short(window(Run(task=task, due_at=ny(5, 15)), calendar, ny(5, 15))) == ("window", ny(6))
    assert window(Run(task=task, due_at=ny(5, 15)), calendar, ny(6)) is None


def test_window_that_never_clears_has_no_until() -> None:
    task = Task(uid=1, name="task", type="sleep", group="group", window=WindowPolicy.REQUIRE)
    hold = window(Run(task=task, due_at=NOW), board(), NOW)
    assert in_short(hold) == ("window", None)
    assert hold is not None and "there is none" in hold.reason
    always = Window(name="always", days=EVERY_DAY, start=time(3), end=time(3))
    hold = window(
        Run(task=Task(uid=1, name="task", type="sleep", group="group"), due_at=NOW), board(windows=(always,)), NOW
    )
    assert in_short(hold) == ("window", None)
    assert hold is not None and "no end of it is in sight" in hold.reason


def test_released_window_is_free() -> None:
    task = Task(uid=1, name="task", type="sleep", group="group")
    given_back = Window(
        name="Daily maintenance", days=EVERY_DAY, start=time(5), end=time(6), released=frozenset({date(2026, 11, 23)})
    )
    assert window(Run(task=task, due_at=ny(5, 15)), board(windows=(given_back,)), ny(5, 15)) is None


# spacing


@pytest.mark.parametrize("trigger", Trigger)
@pytest.mark.parametrize(("minutes", "until"), [(0, 30), (29, 30), (30, None), (31, None)])
def test_step_2_is_held_at_29_minutes_and_let_go_at_30(minutes: int, until: int | None, trigger: Trigger) -> None:
    """Any run of the step, manual ones too; the predecessor has ended meanwhile."""
    spaced = board(last_start={1: NOW})
    hold = spacing(run(2, trigger=trigger), spaced, NOW + minutes * MINUTE)
    assert in_short(hold) == (("spacing", NOW + until * MINUTE) if until else None)


def test_spacing_names_the_step_and_the_times() -> None:
    hold = spacing(run(2), board(last_start={1: NOW}), NOW + MINUTE)
    assert hold is not None
    assert hold.reason.startswith("step 1 'Load customers' started Mon 23 Nov 08:30 EST; 30 min must pass")
    assert hold.reason.endswith("until Mon 23 Nov 09:00 EST")


@pytest.mark.parametrize("status", [RunStatus.STARTING, RunStatus.RUNNING])
def test_step_waits_for_a_predecessor_in_progress_however_long(status: RunStatus) -> None:
    long = board(active(1, NOW - 5 * HOUR, status))
    hold = spacing(run(2), long, NOW)
    assert in_short(hold) == ("spacing", None)
    assert hold is not None and "still in progress" in hold.reason


def test_step_whose_predecessor_never_ran_is_free() -> None:
    assert spacing(run(2), board(), NOW) is None


def test_spacing_looks_at_the_predecessor_only() -> None:
    assert spacing(run(3), board(last_start={1: NOW}), NOW) is None
    assert in_short(spacing(run(3), board(last_start={2: NOW}), NOW)) == ("spacing", NOW + HOUR)


@pytest.mark.parametrize("uid", [2, 3])
@pytest.mark.parametrize("status", [RunStatus.WAITING, RunStatus.STARTING, RunStatus.RUNNING])
def test_step_1_waits_while_a_later_step_is_open(uid: int, status: RunStatus) -> None:
    later = run(uid, NOW + HOUR) if status is RunStatus.WAITING else active(uid, status=status)
    hold = spacing(run(1), board(later), NOW)
    assert in_short(hold) == ("spacing", None)
    assert hold is not None and f"step {uid}" in hold.reason


def test_step_1_is_free_once_the_later_step_has_left() -> None:
    later = run(3)
    chain = board(later)
    chain.finish(later, RunStatus.SKIPPED)
    assert spacing(run(1), chain, NOW) is None


def test_step_2_does_not_wait_for_step_3() -> None:
    assert spacing(run(2), board(run(3)), NOW) is None


def test_task_in_no_chain_is_never_spaced() -> None:
    assert spacing(run(4), board(active(1), run(2), last_start={4: NOW}), NOW) is None


# All together


def everything_wrong() -> Board:
    return board(
        active(1, NOW - MINUTE),
        active(2, NOW - MINUTE),
        windows=(Window(name="now", days=EVERY_DAY, start=time(8), end=time(9)),),
        most=2,
        failures={2: Failure(run_id=5, ended_at=NOW)},
        engine_problem="Prefect cannot be reached",
    )


def test_every_rule_judges_in_the_order_of_the_table() -> None:
    holds = judge(run(2), everything_wrong(), NOW)
    assert [hold.rule.value for hold in holds] == list(RULES)
    assert [rule.value for rule in RULES] == ["reset", "busy", "group", "capacity", "window", "spacing", "engine"]
    assert all(hold.reason for hold in holds)


@pytest.mark.parametrize("rule", RuleId)
def test_an_override_lifts_only_window_and_spacing(rule: RuleId) -> None:
    forced = run(2, overrides=frozenset({rule.value}))
    held = {hold.rule for hold in judge(forced, everything_wrong(), NOW)}
    lifted = {rule} if rule in (RuleId.WINDOW, RuleId.SPACING) else set()
    assert held == set(RULES) - lifted


def test_nothing_wrong_means_no_hold() -> None:
    assert judge(run(1), board(), NOW) == []
