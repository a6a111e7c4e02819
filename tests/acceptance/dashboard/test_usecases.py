"""What the pages ask and do, without a browser: lists, pages by key, and who may."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlmodel import select

from headway.clock import SystemClock
from headway.errors import InvalidInput, NotAllowed, Refused
from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import AuditRow, RunRow, UserRow, id_of
from headway.models.values.actor import Actor, Privilege
from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR
from headway.scheduler.planning.definitions.document import TaskSection
from headway.scheduler.store.queries import run_history
from headway.scheduler.usecases.log import browse_audit as browse_audit_module
from headway.scheduler.usecases.log.browse_audit import (
    AuditPage,
    AuditQuery,
    actions_in_use,
    all_of_audit,
    browse_audit,
)
from headway.scheduler.usecases.log.browse_log import (
    LineQuery,
    LogQuery,
    browse_log,
    pages_of_log,
    run_lines,
    run_report,
)
from headway.scheduler.usecases.people.user_security import reset_password, set_locked
from headway.scheduler.usecases.runs.why import why
from headway.scheduler.usecases.tasks.browse_tasks import TaskQuery, browse_tasks, overview
from headway.scheduler.usecases.tasks.preview_task import Preview, preview_task
from headway.scheduler.usecases.tasks.show_task import earliest_start, show_task
from headway.scheduler.usecases.tasks.task_list import TaskLine
from headway.scheduler.usecases.windows.browse_windows import coming_occurrences
from headway.scheduler.usecases.windows.release_window import release_window
from tests.support.dashboard_stack import HOSTILE, World, furnish, new_world

CLOCK = SystemClock()
NOBODY = Actor("nobody")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, dict[str, int]]]:
    home: Path = tmp_path_factory.mktemp("home")
    world = new_world(home)
    yield world, furnish(world)
    world.engine.dispose()


@pytest.fixture
def world(made: tuple[World, dict[str, int]]) -> World:
    return made[0]


@pytest.fixture
def runs(made: tuple[World, dict[str, int]]) -> dict[str, int]:
    return made[1]


def test_what_needs_somebody_comes_first_and_the_rest_is_cut_off_with_a_count(world: World) -> None:
    with reading(world.engine) as session:
        page = browse_tasks(session, CLOCK, OPERATOR, TaskQuery(everything=True), limit=3)
    assert page.lines[0].uid == world.uids["Citations export"]
    assert {line.state for line in page.lines[1:]} == {"Waiting", "In progress"}
    assert page.matching == 6


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (TaskQuery(search="hand-off"), {"Citations export"}),  # in the description
        (TaskQuery(search="%"), set()),  # no wildcard of anybody's
        (TaskQuery(search="4"), {"Customers report"}),  # a UID
        (TaskQuery(types=("lookup_import",)), {"Load customers"}),
        (TaskQuery(search="old"), set()),  # disabled, so only with everything
        (TaskQuery(search="old", everything=True), {"Old export"}),
    ],
)
def test_tasks_are_found_by(query: TaskQuery, found: set[str], world: World) -> None:
    with reading(world.engine) as session:
        names = {line.name for line in browse_tasks(session, CLOCK, OPERATOR, query).lines}
    assert names - {HOSTILE} == found


def test_the_overview_counts_what_an_operator_has_to_know(world: World) -> None:
    with reading(world.engine) as session:
        now = overview(session, CLOCK, OPERATOR)
    assert (now.failed, now.stuck, now.late, now.waiting, now.running) == (1, 0, 1, 1, 1)
    assert now.window_next is not None and now.engine_problem is None


def test_a_failed_task_without_an_open_run_says_that_it_needs_a_reset(world: World) -> None:
    with reading(world.engine) as session:
        view = show_task(session, CLOCK, OPERATOR, world.uids["Citations export"])
        reason = {rule.value: hold for rule, hold in why(session, CLOCK, OPERATOR, view.row).verdicts}["reset"]
        assert earliest_start(session, CLOCK, OPERATOR, world.uids["Citations export"]) is None
    assert reason is not None and "reset" in reason.reason
    assert view.why.earliest_start_at is None and len(view.starts) == 10


def test_the_log_is_paged_by_key_both_ways_without_gap_or_repetition(world: World) -> None:
    with reading(world.engine) as session:
        everything = [run.id for run, _ in browse_log(session, OPERATOR, LogQuery(), limit=100).rows]
        for newest_first in (True, False):
            query, seen, behind = LogQuery(newest_first=newest_first), [], None
            while True:
                page = browse_log(session, OPERATOR, query, behind=behind, limit=3)
                seen += [run.id for run, _ in page.rows]
                behind = page.following
                if behind is None:
                    break
            assert seen == (everything if newest_first else everything[::-1])
    assert [run.id for page in pages_of_log(world.engine, OPERATOR, LogQuery()) for run, _ in page.rows] == everything


def test_the_log_is_filtered(world: World, runs: dict[str, int]) -> None:
    def found(query: LogQuery) -> set[int | None]:
        with reading(world.engine) as session:
            return {run.id for run, _ in browse_log(session, OPERATOR, query).rows}

    assert found(LogQuery(errors=True)) == {runs["failed"], runs["errors"]}
    assert found(LogQuery(results=(RunStatus.FAILED,))) == {runs["failed"]}
    assert found(LogQuery(since=CLOCK.now() - timedelta(hours=6))) == {runs["failed"]}
    assert found(LogQuery(search="CUSTOMERS")) == {runs["errors"]}


@pytest.mark.parametrize("newest_first", [True, False])
def test_a_search_looks_through_so_many_runs_a_page_and_goes_on_where_it_stopped(
    world: World, runs: dict[str, int], newest_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_history, "LOOKED_THROUGH", 3)
    query, found, behind, looked = LogQuery(search="customers", newest_first=newest_first), [], None, 0
    with reading(world.engine) as session:
        while True:
            page = browse_log(session, OPERATOR, query, behind=behind)
            found += [run.id for run, _ in page.rows]
            looked += page.looked_to is not None
            behind = page.following
            if behind is None:
                break
        whole = browse_log(session, OPERATOR, LogQuery(task_uid=world.uids["Load customers"], search="customers"))
    assert found == [runs["errors"]] and looked >= 2
    assert [run.id for run, _ in whole.rows] == found and whole.looked_to is None  # an index finds these


def test_the_audit_trail_is_paged_and_filtered_and_a_search_is_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reading(world.engine) as session:
        everything = [row.id for row in browse_audit(session, OPERATOR, limit=1000).rows]
        assert everything == sorted(everything, reverse=True) and len(everything) > 10
        runs_asked = browse_audit(session, OPERATOR, AuditQuery(actions=("run now",))).rows
        assert runs_asked and {row.action for row in runs_asked} == {"run now"}
        assert "run now" in actions_in_use(session, OPERATOR)
        grants = browse_audit(session, OPERATOR, AuditQuery(search="GRANT")).rows
        assert grants and {row.action for row in grants} == {"grant privilege"}
        late = AuditQuery(since=CLOCK.now() + timedelta(hours=1))
        assert browse_audit(session, OPERATOR, late) == AuditPage([], None)
        monkeypatch.setattr(browse_audit_module, "LOOKED_THROUGH", 4)
        page = browse_audit(session, OPERATOR, AuditQuery(search="nowhere"))
        assert page.rows == [] and page.following == page.looked_to == (everything[0] or 0) - 3
    assert [row.id for row in all_of_audit(world.engine, OPERATOR, AuditQuery())] == everything


def test_a_run_that_lasts_too_long_or_whose_worker_is_silent_is_stuck_and_comes_first(world: World) -> None:
    def first() -> TaskLine:
        with reading(world.engine) as session:
            return next(
                line for line in browse_tasks(session, CLOCK, OPERATOR, TaskQuery()).lines if not line.needs_reset
            )

    with writing(world.engine) as session:
        run = session.exec(select(RunRow).where(RunRow.status == RunStatus.RUNNING)).one()
        started, worker = run.started_at, run.worker_id
        run.started_at = CLOCK.now() - timedelta(hours=19)
        session.add(run)
    assert first().name == "Customers report" and "longer than 18 h" in first().stuck
    for values in ({"started_at": started, "worker_id": "gone"}, {"worker_id": worker}):
        with writing(world.engine) as session:
            session.execute(update(RunRow).where(RunRow.id == run.id).values(**values))
        assert ("silent" in first().stuck) is ("started_at" in values)


def test_the_free_slot_is_free_on_every_day_and_on_both_nights_of_a_clock_change(world: World) -> None:
    def preview(**schedule: str) -> Preview:
        section = TaskSection.model_validate({"name": "New one", "type": "data_export", "schedule": schedule})
        with reading(world.engine) as session:
            return preview_task(session, CLOCK, OPERATOR, section, version=None)

    crowded = preview(cron="45 2 * * *")  # as 'Permits export'
    assert "L1" in {finding.id for finding in crowded.findings} and crowded.slot is not None
    assert crowded.slot.schedule.cron is not None
    assert preview(cron=crowded.slot.schedule.cron).findings == []
    in_window = preview(cron="30 5 * * *")
    assert [coming.start_at > coming.due_at for coming in in_window.starts if coming.start_at] == [True] * 5
    assert in_window.slot is not None and in_window.slot.schedule.cron == "0 6 * * *"
    assert preview(cron="*/10 * * * *").slot is None  # it has no one time of day to move


def test_a_runs_report_and_its_lines(world: World, runs: dict[str, int]) -> None:
    with reading(world.engine) as session:
        report = run_report(session, OPERATOR, runs["failed"])
        lines = run_lines(session, OPERATOR, runs["failed"], LineQuery())
        errors = run_lines(session, OPERATOR, runs["failed"], LineQuery(errors=True))
        last = run_lines(session, OPERATOR, runs["failed"], LineQuery(), before=2**62, limit=1)
        with pytest.raises(InvalidInput):
            run_report(session, OPERATOR, 10**9)
    assert [event.after for event in report.events] == ["waiting", "starting", "running", "failed"]
    assert len(lines) == 3 and errors == last == lines[-1:]


def test_occurrences_are_told_reserved_or_released(world: World) -> None:
    with writing(world.engine) as session:
        first = coming_occurrences(session, CLOCK, OPERATOR)[0]
        release_window(session, CLOCK, OPERATOR, first.window.name, first.day)
        session.flush()
        after = coming_occurrences(session, CLOCK, OPERATOR)
    assert len(after) == 14 and first.reserved and after[0].released_by == OPERATOR.name
    assert after == sorted(after, key=lambda one: one.start) and all(one.reserved for one in after[1:])


def test_passwords_are_reset_and_users_locked_but_not_the_last_manager_nor_oneself(world: World) -> None:
    with writing(world.engine) as session:
        ids = {user.name: id_of(user) for user in session.exec(select(UserRow)).all()}
        root = Actor("root", frozenset(Privilege), ids["root"])
        assert len(reset_password(session, CLOCK, root, ids["ann"])) >= 12
        assert session.get_one(UserRow, ids["ann"]).must_change_password
        assert set_locked(session, CLOCK, root, ids["ann"], True)
        assert not set_locked(session, CLOCK, root, ids["ann"], True)  # harmless twice
        assert set_locked(session, CLOCK, root, ids["ann"], False)
        with pytest.raises(Refused, match="yourself"):
            set_locked(session, CLOCK, root, ids["root"], True)
        with pytest.raises(Refused, match="last user manager"):
            set_locked(session, CLOCK, OPERATOR, ids["root"], True)
        actions = [row.action for row in session.exec(select(AuditRow).where(AuditRow.actor == "root")).all()]
    assert actions == ["reset password", "lock user", "unlock user"]


def test_whoever_has_no_privilege_gets_nothing_from_any_of_them(world: World, runs: dict[str, int]) -> None:
    with reading(world.engine) as session:
        for ask in (
            lambda: browse_tasks(session, CLOCK, NOBODY, TaskQuery()),
            lambda: overview(session, CLOCK, NOBODY),
            lambda: browse_log(session, NOBODY, LogQuery()),
            lambda: run_report(session, NOBODY, runs["failed"]),
            lambda: run_lines(session, NOBODY, runs["failed"], LineQuery()),
            lambda: show_task(session, CLOCK, NOBODY, 1),
            lambda: coming_occurrences(session, CLOCK, NOBODY),
            lambda: browse_audit(session, NOBODY),
            lambda: reset_password(session, CLOCK, NOBODY, 1),
            lambda: set_locked(session, CLOCK, NOBODY, 1, True),
        ):
            with pytest.raises(NotAllowed):
                ask()
