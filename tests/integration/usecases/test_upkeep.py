"""Windows given back, logs purged, people and their privileges."""

import threading
from datetime import date
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from headway.errors import InvalidInput, NotAllowed, Refused
from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import RunEventRow, RunFileRow, RunLogRow, id_of
from headway.models.values.actor import Actor, Privilege
from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR
from headway.scheduler.execution.ledger_port import LogLine
from headway.scheduler.planning.retention import Retention, results_of, rule_of
from headway.scheduler.store.runs.run_writer import open_run_ledger
from headway.scheduler.usecases.log.purge import Purged, purge, would_go
from headway.scheduler.usecases.people import people, user_security
from headway.scheduler.usecases.windows.release_window import release_window
from tests.support.clock import FixedClock
from tests.support.databases import url_of
from tests.support.installation import Desk

WEDNESDAY = date(2026, 11, 25)


# Windows


def _release(desk: Desk, name: str, day: date, reserve: bool = False) -> bool:
    with writing(desk.engine) as session:
        return release_window(session, desk.clock, OPERATOR, name, day, reserve=reserve)


def test_a_released_occurrence_holds_nobody_and_the_next_one_does(desk: Desk) -> None:
    desk.define("tasks: [{name: a, type: job0, schedule: {cron: '15 5 * * *'}}]")
    assert _release(desk, "Daily maintenance", WEDNESDAY)
    assert desk.turn("2026-11-25T05:15-05:00") == ["a"]
    desk.end("a")
    assert desk.turn("2026-11-26T05:15-05:00") == []


def test_a_released_occurrence_is_still_there_for_those_who_must_run_in_one(desk: Desk) -> None:
    desk.define("tasks: [{name: a, type: job0, window: require, schedule: {cron: '15 4 * * *'}}]")
    _release(desk, "Daily maintenance", WEDNESDAY)
    assert desk.turn("2026-11-25T04:15-05:00") == []
    assert desk.turn("2026-11-25T05:00-05:00") == ["a"]


def test_it_can_be_reserved_again(desk: Desk) -> None:
    desk.define("tasks: [{name: a, type: job0, schedule: {cron: '15 5 * * *'}}]")
    assert [_release(desk, "Daily maintenance", WEDNESDAY, again) for again in (False, False, True, True)] == [
        True,
        False,
        True,
        False,
    ]
    assert desk.turn("2026-11-25T05:15-05:00") == []
    assert [(row.before, row.after) for row in desk.audit() if "window" in row.action and row.action[0] == "r"] == [
        ({"released": False}, {"released": True}),
        ({"released": True}, {"released": False}),
    ]


@pytest.mark.parametrize(
    ("name", "day", "what"),
    [("no such", WEDNESDAY, "no maintenance window"), ("Monday maintenance", WEDNESDAY, "its days are mon")],
)
def test_what_is_no_occurrence_cannot_be_released(desk: Desk, name: str, day: date, what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        _release(desk, name, day)
    assert desk.audit() == []


# Purge


def _purge(desk: Desk, days: int | None, dry_run: bool = False, **more: Any) -> Purged:
    retention = Retention(days, **more)
    if not dry_run:
        return purge(desk.engine, desk.clock, OPERATOR, retention, pause=lambda seconds: None)
    with reading(desk.engine) as session:
        return would_go(session, desk.clock, OPERATOR, retention)


def _history(desk: Desk) -> None:
    """Three ended runs of `a` (one with log lines and a receipt), an unreset failure of `b`, and `c` in progress."""
    desk.tasks("name: a, type: job0", "name: b, type: job1, on_failure: continue", "name: c, type: job2")
    desk.clock.set("2026-01-01T00:00")
    for number in range(3):
        desk.run_now("a")
        desk.turn()
        if number == 0:
            ledger = open_run_ledger(url_of(desk.engine), desk.orders["a"].run_id, desk.orders["a"].claim)
            ledger.log([LogLine(desk.clock.now(), 20, "flow", "a line")] * 5)
            ledger.receipt({"name": "x.csv", "bytes": 1})
            ledger.close()
        desk.end("a", RunStatus.COMPLETED_WITH_ERRORS if number == 1 else RunStatus.COMPLETED)
        desk.clock.move(days=1)
    for status in (RunStatus.COMPLETED, RunStatus.FAILED):
        desk.run_now("b")
        desk.turn()
        desk.end("b", status)
        desk.clock.move(days=1)
    desk.run_now("c")
    desk.turn()
    desk.clock.set("2026-11-23T15:00")


def test_a_dry_run_shows_the_counts_and_deletes_nothing(desk: Desk) -> None:
    _history(desk)
    counted = _purge(desk, 30, dry_run=True)
    assert counted.runs == {("job0", "completed"): 1, ("job0", "completed_with_errors"): 1, ("job1", "completed"): 1}
    assert (counted.total, counted.lines, counted.kept) == (3, 5, 2)
    assert counted.kept_why == {"the last run of its task": 1, "a failure that nobody has reset": 1}
    assert len(desk.runs()) == 6 and desk.audit("purge") == []


def test_a_purge_keeps_open_runs_last_runs_unreset_failures_and_the_audit_trail(desk: Desk) -> None:
    _history(desk)
    audits = len(desk.audit())
    purged = _purge(desk, 30)
    assert purged.total == 3
    assert [(row.task_uid, row.status) for row in desk.runs()] == [
        (1, RunStatus.COMPLETED),
        (2, RunStatus.FAILED),
        (3, RunStatus.STARTING),
    ]
    assert len(desk.audit()) == audits + 1
    with reading(desk.engine) as session:
        kept = {row.id for row in desk.runs()}
        for table in (RunLogRow, RunFileRow, RunEventRow):
            assert {row.run_id for row in session.exec(select(table)).all()} <= kept
    (row,) = desk.audit("purge")
    assert (row.before["runs"], row.after["runs"]) == (6, 3)


def test_an_unreset_failure_stays_though_the_task_ran_on(desk: Desk) -> None:
    _history(desk)
    _purge(desk, 0)
    assert RunStatus.FAILED in {row.status for row in desk.runs("b")}
    desk.run_now("b")
    desk.turn()
    desk.end("b")
    desk.clock.move(days=2)
    _purge(desk, 1)  # the failure is over: a later run ended well
    assert [row.status for row in desk.runs("b")] == [RunStatus.COMPLETED]


def test_a_second_purge_finds_nothing_and_leaves_no_audit_row(desk: Desk) -> None:
    _history(desk)
    _purge(desk, 30)
    assert _purge(desk, 30).total == 0
    assert len(desk.audit("purge")) == 1


def test_only_what_is_older_than_that_goes(desk: Desk) -> None:
    _history(desk)
    desk.clock.set("2026-01-03T12:00")  # the runs of `a` ended 2.5, 1.5 and 0.5 days ago
    assert _purge(desk, 2, dry_run=True).total == 1
    with pytest.raises(InvalidInput, match="--older-than -1"):
        _purge(desk, -1)


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        ({"types": frozenset({"job1"})}, {("job1", "completed"): 1}),
        ({"results": results_of(["completed_with_errors"])}, {("job0", "completed_with_errors"): 1}),
        # the first rule that fits decides
        ({"rules": (rule_of("job0:completed:keep"), rule_of("job0:*:30"), rule_of("*:*:keep"))}, None),
        ({"rules": (rule_of("job0:*:keep"),)}, {("job1", "completed"): 1}),
        ({"rules": (rule_of("*:completed:400"),)}, {("job0", "completed_with_errors"): 1}),
    ],
)
def test_days_by_type_and_result(desk: Desk, options: Any, gone: Any) -> None:
    _history(desk)
    gone = gone or {("job0", "completed_with_errors"): 1}
    assert _purge(desk, 30, dry_run=True, **options).runs == gone
    assert _purge(desk, 30, **options).runs == gone
    assert len(desk.runs()) == 6 - sum(gone.values())


def test_with_rules_alone_nothing_else_goes(desk: Desk) -> None:
    _history(desk)
    assert _purge(desk, None, rules=(rule_of("job1:*:30"),)).runs == {("job1", "completed"): 1}


def test_without_days_the_setting_counts_and_without_it_nothing_happens(desk: Desk) -> None:
    _history(desk)
    for dry_run in (True, False):
        with pytest.raises(InvalidInput, match="--older-than DAYS, or set `retention_days`"):
            _purge(desk, None, dry_run)
    desk.define("settings: {retention_days: 400}")
    assert _purge(desk, None).total == 0
    desk.define("settings: {retention_days: 30}")
    assert _purge(desk, None).total == 3


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: rule_of("data_export:completed"), "TYPE:RESULT:DAYS"),
        (lambda: rule_of("a:completed:soon"), "'soon' is no number of days"),
        (lambda: rule_of("a:running:3"), "'running' is no result of an ended run"),
        (lambda: results_of(["waiting"]), "'waiting' is no result of an ended run"),
    ],
)
def test_a_rule_that_cannot_be_read_is_named(make: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        make()


def test_a_type_that_does_not_exist_is_an_error(quick_desk: Desk) -> None:
    with pytest.raises(InvalidInput, match="'jobb' is no task type; there are: "):
        _purge(quick_desk, 30, types=frozenset({"jobb"}))


def test_it_goes_in_small_steps_and_says_how_far_it_is(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headway.scheduler.store.runs.purging.CHUNK_RUNS", 2)
    monkeypatch.setattr("headway.scheduler.store.runs.purging.CHUNK_LINES", 2)
    _history(desk)
    told: list[tuple[int, int]] = []

    def others_may_write(_seconds: float) -> None:
        with writing(desk.engine) as session:  # would wait for its lock for ever if the purge had a transaction open
            session.add(RunEventRow(run_id=id_of(desk.run("c")), at=desk.clock.now(), after="x", who="x"))

    retention = Retention(30)
    show = lambda done, of: told.append((done, of))  # noqa: E731
    purged = purge(desk.engine, desk.clock, OPERATOR, retention, on_progress=show, pause=others_may_write)
    assert told == [(2, 3), (3, 3)]
    assert (purged.total, purged.lines) == (3, 5)


def test_a_purge_that_was_interrupted_is_finished_by_the_next(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headway.scheduler.store.runs.purging.CHUNK_RUNS", 1)
    _history(desk)

    def killed(_seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        purge(desk.engine, desk.clock, OPERATOR, Retention(30), pause=killed)
    assert len(desk.runs()) == 5
    assert [row.after["runs"] for row in desk.audit("purge")] == [3]  # on record before the first one went
    assert _purge(desk, 30).total == 2
    assert len(desk.runs()) == 3


def test_what_is_left_can_go_on(desk: Desk) -> None:
    _history(desk)
    _purge(desk, 0)
    desk.end("c")
    assert desk.run("c").status is RunStatus.COMPLETED
    desk.clock.move(days=1)
    desk.run_now("a")
    assert desk.turn() == ["a"]


# People


@pytest.fixture(autouse=True)
def _cheap_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people.PASSWORDS, "hash", lambda password: f"hash of {password}")


def _people(desk: Desk, *names: str) -> None:
    with writing(desk.engine) as session:
        for name in names:
            people.add_user(session, desk.clock, OPERATOR, name)
            session.flush()
            people.grant(session, desk.clock, OPERATOR, name, Privilege.USERS)


def _revoke(desk: Desk, name: str, privilege: Privilege = Privilege.USERS) -> bool:
    with writing(desk.engine) as session:
        return people.revoke(session, desk.clock, OPERATOR, name, privilege)


def test_a_new_user_may_nothing_and_has_a_one_time_password(desk: Desk) -> None:
    with writing(desk.engine) as session:
        password = people.add_user(session, desk.clock, OPERATOR, "ann")
    with reading(desk.engine) as session:
        ((row, privileges),) = people.users(session, OPERATOR)
    assert (row.name, privileges, row.must_change_password) == ("ann", [], True)
    assert len(password) >= 12 and row.password_hash is not None
    assert password not in str([audit.model_dump() for audit in desk.audit()])


@pytest.mark.parametrize("name", ["", " ", " ann", "ann ", "a\nb", "x" * 101])
def test_a_name_that_nobody_could_type_is_no_user(quick_desk: Desk, name: str) -> None:
    with pytest.raises(InvalidInput), writing(quick_desk.engine) as session:
        people.add_user(session, quick_desk.clock, OPERATOR, name)


def test_granting_and_revoking_say_whether_they_changed_anything(desk: Desk) -> None:
    _people(desk, "ann", "bob")
    assert not _revoke(desk, "ann", Privilege.PURGE)
    assert _revoke(desk, "ann")
    assert not _revoke(desk, "ann")
    (row,) = desk.audit("revoke privilege")
    assert (row.before, row.after) == (["users"], [])


def test_the_last_user_manager_stays_one(desk: Desk) -> None:
    _people(desk, "ann", "bob")
    assert _revoke(desk, "ann")
    with pytest.raises(Refused, match="last user manager"):
        _revoke(desk, "bob")


def test_a_locked_user_manager_does_not_count(desk: Desk) -> None:
    _people(desk, "ann", "bob")
    with writing(desk.engine) as session:
        assert user_security.set_locked(session, desk.clock, OPERATOR, 1, True)
    with pytest.raises(Refused, match="last user manager"):
        _revoke(desk, "bob")
    with pytest.raises(Refused, match="last user manager"), writing(desk.engine) as session:
        user_security.set_locked(session, desk.clock, OPERATOR, 2, True)
    assert _revoke(desk, "ann")  # who could not sign in anyway


def test_two_user_managers_who_disempower_each_other_at_once_leave_one(postgres: Engine) -> None:
    desk = Desk(postgres, FixedClock())
    _people(desk, "ann", "bob")
    both = threading.Barrier(2)
    results: list[object] = []

    def revoke(name: str) -> None:
        both.wait(30)
        try:
            results.append(_revoke(desk, name))
        except Refused as error:
            results.append(error)

    threads = [threading.Thread(target=revoke, args=(name,)) for name in ("ann", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 2 and results.count(True) == 1


def test_a_locked_user_acts_no_more(desk: Desk) -> None:
    _people(desk, "ann", "bob")
    with writing(desk.engine) as session:
        user_security.set_locked(session, desk.clock, OPERATOR, 1, True)
    with reading(desk.engine) as session, pytest.raises(NotAllowed):
        people.actor_named(session, "ann")


def test_nobody_is_added_or_found_twice(desk: Desk) -> None:
    _people(desk, "ann")
    with pytest.raises(Refused, match="already"), writing(desk.engine) as session:
        people.add_user(session, desk.clock, OPERATOR, "ann")
    with pytest.raises(InvalidInput, match="no user 'nobody'"):
        _revoke(desk, "nobody")
    with pytest.raises(InvalidInput, match="view, manage, purge, users"):
        people.privilege_named("root")


def test_the_first_admin_may_everything_and_there_is_only_one(desk: Desk) -> None:
    with writing(desk.engine) as session:
        password = people.first_admin(session, desk.clock, OPERATOR)
    with writing(desk.engine) as session:
        assert people.first_admin(session, desk.clock, OPERATOR) is None
        admin = people.actor_named(session, "admin")
    assert password and admin == Actor("admin", frozenset(Privilege), admin.user_id)
