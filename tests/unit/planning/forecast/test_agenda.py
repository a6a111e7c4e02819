"""The forecast's agenda: the next instant at which something happens."""

from datetime import UTC, datetime, timedelta

import pytest

from headway.models.values.run import RunStatus
from headway.models.values.schedule import After
from headway.models.values.task import Task
from headway.models.values.window import DEFAULT_WINDOWS
from headway.scheduler.planning.board import Board
from headway.scheduler.planning.chains import link
from headway.scheduler.planning.forecast.agenda import Agenda
from headway.scheduler.planning.forecast.planned import Planned
from headway.scheduler.planning.windows import Calendar
from tests.support.worlds import HOUR, MINUTE

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
TASKS = link(
    [
        Task(uid=1, name="one", type="job", group="a", estimate=10 * MINUTE),
        Task(uid=2, name="two", type="job", group="b", schedule=After(1, HOUR)),
    ]
)


def agenda_of(board: Board | None = None) -> Agenda:
    return Agenda(board or Board(TASKS, Calendar(DEFAULT_WINDOWS), 4), START)


def run(uid: int = 1, due_at: datetime = START, number: int = 1) -> Planned:
    return Planned(task=TASKS[uid], due_at=due_at, key=(due_at, uid, number))


def test_an_empty_agenda_has_only_the_scheduled_dues() -> None:
    agenda = agenda_of()
    assert agenda.next_instant(None, START) is None
    assert agenda.next_instant(START + HOUR, START) == START + HOUR


@pytest.mark.parametrize(
    ("started_at", "ends_at"),
    [
        (START, START + 10 * MINUTE),
        (START - 5 * MINUTE, START + 5 * MINUTE),
        (START - HOUR, START),  # over its estimate already
    ],
)
def test_an_active_run_ends_when_its_estimate_says(started_at: datetime, ends_at: datetime) -> None:
    agenda, active = agenda_of(), run()
    agenda.will_end(active, started_at)
    assert active.ended_at == agenda.next_instant(None, START - HOUR) == ends_at
    assert list(agenda.ending(ends_at - timedelta(microseconds=1))) == []
    assert list(agenda.ending(ends_at)) == [active]


def test_what_was_due_before_the_start_comes_due_at_the_start() -> None:
    agenda, late, later = agenda_of(), run(due_at=START - HOUR), run(due_at=START + HOUR, number=2)
    agenda.will_come_due(later)
    agenda.will_come_due(late)
    assert agenda.next_instant(None, START) == START
    assert list(agenda.coming_due(START)) == [late]
    assert list(agenda.coming_due(START + HOUR)) == [later]


def test_a_waiting_run_leaves_192_hours_after_its_due() -> None:
    agenda, waiting, started = agenda_of(), run(), run(number=2)
    for one in (started, waiting):
        agenda.came_due(one)
    started.status = RunStatus.STARTING
    leaves_at = START + timedelta(hours=192)
    assert agenda.next_instant(None, START) == leaves_at
    assert agenda.leaving(leaves_at - MINUTE) == []
    assert agenda.leaving(leaves_at) == [waiting]


def test_edges_of_windows_matter_only_while_a_run_waits() -> None:
    agenda, waiting = agenda_of(), run()
    agenda.end_of_turn(START)
    assert agenda.next_instant(None, START) is None
    agenda.came_due(waiting)
    agenda.end_of_turn(START)
    assert agenda.next_instant(None, START) == datetime(2026, 11, 24, 10, tzinfo=UTC)  # 05:00 in New York
    agenda.left(waiting)
    assert agenda.next_instant(None, START) is None


def test_the_end_of_a_spacing_matters_only_while_a_run_of_that_step_waits() -> None:
    started_at = START - 30 * MINUTE
    board = Board(TASKS, Calendar(()), 4, last_start={1: started_at})
    beside, held = agenda_of(board), agenda_of(board)
    beside.came_due(run(1))
    held.came_due(run(2))
    assert beside.next_instant(None, START) == START + timedelta(hours=192)
    assert held.next_instant(None, START) == started_at + HOUR
    assert held.next_instant(None, started_at + HOUR) == START + timedelta(hours=192)
