"""The forecast's parking: where a held run waits, and what lets it go."""

from datetime import UTC, datetime
from typing import Any

import pytest

from headway.models.values.rule import Hold, RuleId
from headway.models.values.run import RunStatus
from headway.models.values.schedule import After
from headway.models.values.task import Task
from headway.scheduler.planning.board import Board
from headway.scheduler.planning.chains import link
from headway.scheduler.planning.forecast.parking import Parking
from headway.scheduler.planning.forecast.planned import Planned
from headway.scheduler.planning.windows import Calendar
from tests.support.worlds import HOUR, MINUTE

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TASKS = link(
    [
        Task(uid=1, name="one", type="job", group="a"),
        Task(uid=2, name="two", type="job", group="a", schedule=After(1, HOUR)),
        Task(uid=3, name="three", type="job", group="b"),
    ]
)


def run(uid: int, minute: int = 0) -> Planned:
    due_at = NOW + minute * MINUTE
    return Planned(task=TASKS[uid], due_at=due_at, key=(due_at, uid, minute))


def held_by(*rules: RuleId, until: datetime | None = None) -> list[Hold]:
    return [Hold(rule, until, str) for rule in rules]


def parked(one: Planned, holds: list[Hold], **more: Any) -> Parking:
    parking = Parking(Board(TASKS, Calendar(()), more.pop("most", 4), **more))
    parking.park(one, holds)
    return parking


def test_ready_runs_are_judged_in_the_order_of_due_and_uid() -> None:
    parking = Parking(Board(TASKS, Calendar(()), 4))
    last, second, first, gone = run(3, 5), run(3), run(1), run(2)
    for one in (last, second, first, gone):
        parking.add_ready(one)
    gone.status = RunStatus.SUPERSEDED
    assert [parking.next_candidate() for _ in range(4)] == [first, second, last, None]


@pytest.mark.parametrize("rule", [RuleId.GROUP, RuleId.BUSY])
def test_a_free_group_lets_its_first_waiting_run_go(rule: RuleId) -> None:
    gone, first, second = run(1), run(1, 1), run(2, 2)
    parking = parked(second, held_by(rule))
    for one in (gone, first):
        parking.park(one, held_by(rule))
    gone.status = RunStatus.SUPERSEDED
    assert parking.next_candidate() is None
    parking.next_of_group("a", NOW)
    assert [parking.next_candidate(), parking.next_candidate()] == [first, None]


def test_a_group_in_use_lets_no_run_go() -> None:
    active = Planned(task=TASKS[2], due_at=NOW, status=RunStatus.RUNNING, started_at=NOW)
    parking = parked(run(1), held_by(RuleId.GROUP), runs=[active])
    parking.next_of_group("a", NOW)
    assert parking.next_candidate() is None


def test_a_free_slot_lets_a_run_go_by_itself() -> None:
    board = Board(TASKS, Calendar(()), 1)
    parking, active, waiting = Parking(board), run(3), run(1, 1)
    board.begin(active, NOW)
    parking.park(waiting, held_by(RuleId.CAPACITY))
    assert parking.next_candidate() is None
    board.finish(active, RunStatus.COMPLETED, NOW)
    assert parking.next_candidate() is waiting


def test_a_run_with_a_known_end_of_its_hold_sleeps_until_then() -> None:
    waiting = run(1)
    parking = parked(waiting, held_by(RuleId.GROUP, RuleId.WINDOW, until=NOW + HOUR))
    parking.wake(NOW + 59 * MINUTE)
    assert parking.next_candidate() is None
    parking.wake(NOW + HOUR)
    assert parking.next_candidate() is waiting


def test_of_the_sleepers_of_one_group_only_the_first_is_judged_at_once() -> None:
    second, first, other = run(2, 2), run(1, 1), run(3, 3)
    parking = parked(second, held_by(RuleId.WINDOW, until=NOW + HOUR))
    for one in (first, other):
        parking.park(one, held_by(RuleId.WINDOW, until=NOW + HOUR))
    parking.wake(NOW + HOUR)
    assert [parking.next_candidate() for _ in range(3)] == [first, other, None]


def test_a_chain_that_moves_lets_the_first_run_of_each_step_go() -> None:
    of_step_2, of_step_1, behind = run(2, 2), run(1, 1), run(1, 3)
    parking = parked(of_step_2, held_by(RuleId.SPACING))
    for one in (of_step_1, behind):
        parking.park(one, held_by(RuleId.SPACING))
    parking.next_of_chain(TASKS[2])
    assert [parking.next_candidate() for _ in range(3)] == [of_step_1, of_step_2, None]
    parking.next_of_step(TASKS[1])
    assert parking.next_candidate() is behind


def test_a_reset_lets_every_run_of_the_task_go() -> None:
    first, second, other = run(1), run(1, 1), run(2, 2)
    parking = parked(second, held_by(RuleId.RESET, RuleId.GROUP))
    for one in (first, other):
        parking.park(one, held_by(RuleId.RESET))
    parking.next_of_group("a", NOW)
    parking.task_is_reset(1)
    assert [parking.next_candidate() for _ in range(3)] == [first, second, None]


@pytest.mark.parametrize("rule", [RuleId.ENGINE, RuleId.WINDOW])
def test_what_a_forecast_never_sees_end_lets_no_run_go(rule: RuleId) -> None:
    parking = parked(run(1), held_by(rule))
    parking.wake(NOW + 1000 * HOUR)
    parking.next_of_group("a", NOW)
    parking.next_of_chain(TASKS[1])
    assert parking.next_candidate() is None
