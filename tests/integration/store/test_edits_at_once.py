"""Who edits while others do, or take turns: one after the other, and every worker sees all of it."""

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, event
from sqlmodel import Session

from headway.errors import Refused
from headway.models.ledger.database import reading, writing
from headway.privileges import OPERATOR
from headway.scheduler.planning.definitions.document import load_text
from headway.scheduler.store.settings import wait_for_turn
from headway.scheduler.store.tasks import load_catalog, section
from headway.scheduler.usecases.tasks.apply import apply
from headway.scheduler.usecases.tasks.save_task import save_task
from headway.scheduler.usecases.tasks.task_state import delete_task, set_state
from tests.support.clock import FixedClock
from tests.support.databases import waits_for_a_lock
from tests.support.installation import Desk, task_named

HOURLY = "schedule: {cron: '0 * * * *'}"


@pytest.fixture
def desk(postgres: Engine) -> Desk:
    return Desk(postgres, FixedClock())


def _while_one_edits(desk: Desk, first: Callable[[Session], object], second: Callable[[Session], object]) -> None:
    """The second begins while the first is not committed, and has to wait for it."""
    failed: list[BaseException] = []

    def edit() -> None:
        try:
            with writing(desk.engine) as session:
                second(session)
        except BaseException as error:
            failed.append(error)

    with writing(desk.engine) as session:
        first(session)
        session.flush()
        thread = threading.Thread(target=edit)
        thread.start()
        assert waits_for_a_lock(desk.engine, thread.is_alive), "it did not wait"
    thread.join()
    if failed:
        raise failed[0]


def _disable(desk: Desk, name: str) -> Callable[[Session], object]:
    return lambda session: set_state(session, desk.clock, OPERATOR, task_named(session, name), enabled=False)


def test_each_edit_has_a_version_of_its_own(desk: Desk) -> None:
    """Else a worker that has seen the first never looks for the second."""
    desk.tasks(f"name: a, type: job0, {HOURLY}", f"name: b, type: job1, {HOURLY}")
    with reading(desk.engine) as session:
        before = load_catalog(session).version
    _while_one_edits(desk, _disable(desk, "a"), _disable(desk, "b"))
    with reading(desk.engine) as session:
        assert load_catalog(session).version == before + 2


def test_the_second_editor_of_a_task_is_told(desk: Desk) -> None:
    desk.tasks("name: a, type: job0, object: o")
    row = desk.task("a")

    def describe(by: str) -> Callable[[Session], object]:
        def save(session: Session) -> object:
            mine = task_named(session, "a")  # read before the other's edit is seen
            draft = section(mine, {mine.uid: "a"}).model_copy(update={"description": by})
            return save_task(session, desk.clock, OPERATOR, draft, version=row.version)

        return save

    with pytest.raises(Refused, match="somebody has changed 'a' since you opened it"):
        _while_one_edits(desk, describe("A"), describe("B"))
    assert desk.task("a").description == "A"


def test_two_edits_cannot_make_a_loop_of_steps_together(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {HOURLY}", f"name: b, type: job1, {HOURLY}")
    found: list[str] = []

    def after(name: str, before: str) -> Callable[[Session], object]:
        def edit(session: Session) -> object:
            given = load_text(f"tasks: [{{name: {name}, type: job0, schedule: {{after: {before}}}}}]", "test")
            found.extend(finding.id for finding in apply(session, desk.clock, OPERATOR, given).errors)
            return None

        return edit

    _while_one_edits(desk, after("a", "b"), after("b", "a"))
    assert "L6" in found
    with reading(desk.engine) as session:
        assert len(load_catalog(session).tasks) == 2


def test_who_disables_what_another_deletes_is_told(desk: Desk) -> None:
    desk.tasks("name: a, type: job0")
    with pytest.raises(Refused, match="'a' has been deleted meanwhile"):
        _while_one_edits(
            desk,
            lambda session: delete_task(session, desk.clock, OPERATOR, task_named(session, "a")),
            _disable(desk, "a"),
        )


def test_nobody_edits_during_a_turn_and_no_turn_is_taken_during_an_edit(desk: Desk) -> None:
    """A turn locks a run and then its task, an edit the other way round: each would wait for the other."""
    desk.tasks(f"name: a, type: job0, {HOURLY}", f"name: b, type: job1, {HOURLY}")
    _while_one_edits(desk, wait_for_turn, _disable(desk, "a"))
    _while_one_edits(desk, _disable(desk, "b"), wait_for_turn)
    assert not desk.task("a").enabled and not desk.task("b").enabled


def test_an_edit_counts_from_when_it_could_begin(sqlite: Engine) -> None:
    """It may wait for the database for long: no occurrence of the new schedule lies before the edit."""
    desk = Desk(sqlite, FixedClock())
    desk.tasks("name: a, type: job0, schedule: {cron: '0 9 * * *'}, timezone: UTC")

    def waits(connection: object) -> None:
        desk.clock.set("2026-11-23T17:16")

    desk.clock.set("2026-11-23T17:09")
    event.listen(sqlite, "begin", waits)
    with writing(sqlite) as session:
        text = "tasks: [{name: a, type: job0, timezone: UTC, schedule: {cron: '15 * * * *'}}]"
        assert not apply(session, desk.clock, OPERATOR, load_text(text, "test")).errors
    event.remove(sqlite, "begin", waits)
    assert (desk.turn(), desk.runs("a")) == ([], [])  # 17:15 was over by then
