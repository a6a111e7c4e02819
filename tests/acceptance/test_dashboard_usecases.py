"""What the pages ask and do, without a browser: lists, pages by key, and who may."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from dashboard import words
from models.db import reading, writing
from models.domain import Actor, Privilege, RunStatus
from models.tables import AuditRow, UserRow
from scheduler.clock import SystemClock
from scheduler.errors import InvalidInput, NotAllowed, Refused
from scheduler.privileges import OPERATOR
from scheduler.usecases.browse_audit import browse_audit
from scheduler.usecases.browse_log import LineQuery, LogQuery, all_of_log, browse_log, run_lines, run_report
from scheduler.usecases.browse_tasks import TaskQuery, browse_tasks, overview
from scheduler.usecases.browse_windows import coming_occurrences
from scheduler.usecases.release_window import release_window
from scheduler.usecases.show_task import cron_in_words, earliest_start, show_task
from scheduler.usecases.user_security import reset_password, set_locked
from scheduler.usecases.why import why
from tests.dashboard_stack import HOSTILE, World, furnish, new_world

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
    assert [run.id for run, _ in all_of_log(world.engine, OPERATOR, LogQuery())] == everything


def test_the_log_is_filtered(world: World, runs: dict[str, int]) -> None:
    def found(query: LogQuery) -> set[int | None]:
        with reading(world.engine) as session:
            return {run.id for run, _ in browse_log(session, OPERATOR, query).rows}

    assert found(LogQuery(errors=True)) == {runs["failed"], runs["errors"]}
    assert found(LogQuery(results=(RunStatus.FAILED,))) == {runs["failed"]}
    assert found(LogQuery(since=CLOCK.now() - timedelta(hours=6))) == {runs["failed"]}
    assert found(LogQuery(search="CUSTOMERS")) == {runs["errors"]}


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
        ids = {user.name: user.id or 0 for user in session.exec(select(UserRow)).all()}
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


@pytest.mark.parametrize(
    ("expression", "in_words"),
    [
        ("15 1 * * *", "every day at 01:15"),
        ("0 3 * * 1-5", "Monday to Friday at 03:00"),
        ("0 6,18 * * *", "every day at 06:00, 18:00"),
        ("30 4 * * sun", "Sunday at 04:30"),
        ("5 2 1 * *", "on day 1 of every month at 02:05"),
        ("*/10 * * * *", "every 10 minutes"),
        ("20 * * * *", "at minute 20 of every hour"),
        ("0 0 1 1 *", None),
        ("0 0 13 * 5", None),
    ],
)
def test_a_common_schedule_is_said_in_words(expression: str, in_words: str | None) -> None:
    assert cron_in_words(expression) == in_words


def test_markup_is_taken_out_of_what_people_wrote() -> None:
    said = words.plain("**b** [x](http://e.example) :smile: www.e.example a@e.example <b>")
    assert "**" not in said and "](" not in said and "\\<b\\>" in said
    assert ":smile" not in said and "www\\." not in said and "@e" not in said
