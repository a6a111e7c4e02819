"""The forecast's hold log: each rule that held a run, once, from the turn on in which it did."""

from datetime import UTC, datetime

from headway.models.values.rule import Hold, RuleId
from headway.models.values.task import Task
from headway.models.values.window import DEFAULT_WINDOWS
from headway.scheduler.planning.board import Board
from headway.scheduler.planning.chains import link
from headway.scheduler.planning.forecast.hold_log import HoldLog
from headway.scheduler.planning.forecast.planned import Planned
from headway.scheduler.planning.windows import Calendar
from tests.support.worlds import MINUTE

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)  # 04:00 in New York; a window begins at 05:00
TASKS = link([Task(uid=uid, name=f"task {uid}", type="job", group="a") for uid in (1, 2, 3)])


def run(uid: int) -> Planned:
    return Planned(task=TASKS[uid], due_at=NOW, key=(NOW, uid, uid))


def rules(one: Planned) -> list[str]:
    return [hold.rule.value for hold in one.holds]


def log_of(*watched: Planned, board: Board) -> HoldLog:
    log = HoldLog(board)
    log.start_of_turn(NOW)
    for one in watched:
        log.watch(one, NOW)
    return log


def board_of(most: int = 4) -> Board:
    return Board(TASKS, Calendar(DEFAULT_WINDOWS), most)


def test_a_rule_is_written_once_and_the_first_hold_stays() -> None:
    board, one = board_of(), run(1)
    log = log_of(board=board)
    log.write(one, Hold(RuleId.WINDOW, NOW, str))
    log.start_of_turn(NOW + MINUTE)
    log.write(one, Hold(RuleId.WINDOW, NOW + MINUTE, str))
    assert [(hold.rule, hold.until) for hold in one.holds] == [(RuleId.WINDOW, NOW)]


def test_a_start_holds_the_runs_behind_it_at_once_and_those_before_it_from_the_next_turn_on() -> None:
    board, before, starts, behind = board_of(), run(1), run(2), run(3)
    log = log_of(before, behind, board=board)
    board.begin(starts, NOW)
    log.started(starts, NOW)
    assert (rules(before), rules(behind)) == ([], ["group"])
    log.start_of_turn(NOW + MINUTE)
    assert rules(before) == ["group"]


def test_the_last_slot_holds_every_waiting_run() -> None:
    board, starts, behind = board_of(most=1), run(1), run(3)
    log = log_of(behind, board=board)
    board.begin(starts, NOW)
    log.started(starts, NOW)
    assert rules(behind) == ["group", "capacity"]


def test_a_lifted_rule_is_not_written() -> None:
    board, one = board_of(), run(1)
    one.overrides = frozenset({"window"})
    log = log_of(one, board=board)
    log.start_of_turn(NOW + 60 * MINUTE)
    assert rules(one) == []


def test_a_window_that_begins_holds_a_parked_run() -> None:
    board, one = board_of(), run(1)
    log = log_of(one, board=board)
    log.start_of_turn(NOW + 59 * MINUTE)
    assert rules(one) == []
    log.start_of_turn(NOW + 60 * MINUTE)
    assert rules(one) == ["window"]
