"""Every use case against every set of privileges: one generated table."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select

from headway.clock import Clock, SystemClock
from headway.errors import InvalidInput, NotAllowed
from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import AuditRow, GrantRow, TaskRow, UserRow, id_of
from headway.models.values.actor import Actor, Privilege
from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR, may
from headway.scheduler.planning.definitions.document import TaskSection, WindowSection, load_text
from headway.scheduler.planning.definitions.task_types import TaskType
from headway.scheduler.planning.retention import Retention
from headway.scheduler.store.tasks import load_types, save_types
from headway.scheduler.usecases.ahead import day_board, forecast_stored, look_ahead
from headway.scheduler.usecases.log import browse_audit, browse_log, purge
from headway.scheduler.usecases.people import people, sign_in, user_security
from headway.scheduler.usecases.runs import reset, run_now, why
from headway.scheduler.usecases.settings import configure, connections
from headway.scheduler.usecases.tasks import apply as apply_module
from headway.scheduler.usecases.tasks import (
    browse_tasks,
    export,
    preview_task,
    save_task,
    show_task,
    task_list,
    task_state,
)
from headway.scheduler.usecases.windows import browse_windows, edit_windows, release_window, window_change
from tests.support.installation import Desk, task_named

MANAGE, VIEW, PURGE, USERS = Privilege.MANAGE, Privilege.VIEW, Privilege.PURGE, Privilege.USERS
GRANTS = {
    VIEW: frozenset({VIEW, MANAGE, PURGE}),  # Task management and System Purge each imply View
    MANAGE: frozenset({MANAGE}),
    PURGE: frozenset({PURGE}),
    USERS: frozenset({USERS}),
}
"""Which granted privileges are enough for the one asked for. Said here again, on purpose."""


@dataclass(frozen=True)
class Act:
    """One use case: what it takes, how it is called, and whether it changes something."""

    privilege: Privilege
    call: Callable[[Session, Clock, Actor], Any]
    changes: bool = False


def _task(session: Session, name: str = "a") -> TaskRow:
    return task_named(session, name)


def _preview(session: Session, clock: Clock, actor: Actor) -> Any:
    section = TaskSection(name="a", type="job0", description="edited")
    return preview_task.preview_task(session, clock, actor, section, version=_task(session).version)


def _save(session: Session, clock: Clock, actor: Actor) -> Any:
    section = TaskSection(name="a", type="job0", description="edited")
    return save_task.save_task(session, clock, actor, section, version=_task(session).version)


class NoBlocks:
    """Prefect without a block."""

    def block(self, type_slug: str, name: str, *, secrets: bool = False) -> dict[str, Any] | None:
        return None

    def save_block(self, type_slug: str, name: str, fields: Mapping[str, Any]) -> str:
        raise AssertionError("looking stores nothing")


def _daily(session: Session) -> WindowSection:
    """The daily window as it is, or as it was before somebody deleted it."""
    found = [one for one in browse_windows.windows(session, OPERATOR) if one.name == "Daily maintenance"]
    return found[0] if found else WINDOW


WINDOW = WindowSection.model_validate({"name": "Daily maintenance", "days": ["sun"], "start": "07:00", "end": "08:00"})
FILE = load_text("tasks: [{name: a, type: job0, description: edited}]", "test")
DAY = date(2026, 11, 25)
ACTS = {
    "task_list": Act(VIEW, lambda s, c, a: task_list.task_list(s, c, a)),
    "why": Act(VIEW, lambda s, c, a: why.why(s, c, a, _task(s))),
    "forecast_stored": Act(VIEW, lambda s, c, a: forecast_stored.forecast_stored(s, c, a, c.now(), c.now())),
    "show_task": Act(VIEW, lambda s, c, a: show_task.show_task(s, c, a, 1)),
    "state_of": Act(VIEW, lambda s, c, a: show_task.state_of(s, a, id_of(_task(s)))),
    "earliest_start": Act(VIEW, lambda s, c, a: show_task.earliest_start(s, c, a, 1)),
    "overview": Act(VIEW, lambda s, c, a: browse_tasks.overview(s, c, a)),
    "browse_tasks": Act(VIEW, lambda s, c, a: browse_tasks.browse_tasks(s, c, a, browse_tasks.TaskQuery())),
    "types_in_use": Act(VIEW, lambda s, c, a: browse_tasks.types_in_use(s, a)),
    "browse_log": Act(VIEW, lambda s, c, a: browse_log.browse_log(s, a, browse_log.LogQuery())),
    "export_definitions": Act(VIEW, lambda s, c, a: export.export_definitions(s, a)),
    "newest_of_log": Act(VIEW, lambda s, c, a: browse_log.newest_of_log(s, a, browse_log.LogQuery(), limit=1)),
    "run_report": Act(VIEW, lambda s, c, a: browse_log.run_report(s, a, 1)),
    "run_lines": Act(VIEW, lambda s, c, a: browse_log.run_lines(s, a, 1, browse_log.LineQuery())),
    "runs_of_task": Act(VIEW, lambda s, c, a: browse_log.runs_of_task(s, a, 1)),
    "durations": Act(VIEW, lambda s, c, a: browse_log.durations(s, a, 1)),
    "windows": Act(VIEW, lambda s, c, a: browse_windows.windows(s, a)),
    "coming_occurrences": Act(VIEW, lambda s, c, a: browse_windows.coming_occurrences(s, c, a)),
    "apply, dry": Act(MANAGE, lambda s, c, a: apply_module.apply(s, c, a, FILE, dry_run=True)),
    "apply": Act(MANAGE, lambda s, c, a: apply_module.apply(s, c, a, FILE), True),
    "preview_task": Act(MANAGE, _preview),
    "save_task": Act(MANAGE, lambda s, c, a: _save(s, c, a), True),
    "run_now": Act(MANAGE, lambda s, c, a: run_now.run_now(s, c, a, _task(s)), True),
    "follow_run": Act(VIEW, lambda s, c, a: run_now.follow_run(s, a, 1)),
    "set_state": Act(MANAGE, lambda s, c, a: task_state.set_state(s, c, a, _task(s), enabled=False), True),
    "delete_task": Act(MANAGE, lambda s, c, a: task_state.delete_task(s, c, a, _task(s, "new")), True),
    "release_window": Act(
        MANAGE, lambda s, c, a: release_window.release_window(s, c, a, "Daily maintenance", DAY), True
    ),
    "preview_windows": Act(MANAGE, lambda s, c, a: window_change.preview_windows(s, c, a, [])),
    "preview_release": Act(
        MANAGE, lambda s, c, a: window_change.preview_release(s, c, a, "Daily maintenance", DAY, reserve=False)
    ),
    "save_window": Act(MANAGE, lambda s, c, a: edit_windows.save_window(s, c, a, WINDOW, opened=_daily(s)), True),
    "delete_window": Act(MANAGE, lambda s, c, a: edit_windows.delete_window(s, c, a, _daily(s)), True),
    "configure": Act(MANAGE, lambda s, c, a: configure.configure(s, c, a, {"max_running": 7}), True),
    "look_ahead": Act(VIEW, lambda s, c, a: look_ahead.look_ahead(s, c, a, c.now() + timedelta(days=1))),
    "day_board": Act(
        VIEW,
        lambda s, c, a: day_board.day_board(
            s, c, a, day_board.BoardQuery(start=c.now(), end=c.now() + timedelta(days=1), slot=timedelta(hours=1))
        ),
    ),
    "connection": Act(VIEW, lambda s, c, a: connections.connection(a, NoBlocks(), connections.Kind.MAIL)),
    "preview_reset": Act(MANAGE, lambda s, c, a: reset.preview_reset(s, c, a, _task(s, "failed"))),
    "would_go": Act(PURGE, lambda s, c, a: purge.would_go(s, c, a, Retention(0))),
    "users": Act(USERS, lambda s, c, a: people.users(s, a)),
    "add_user": Act(USERS, lambda s, c, a: people.add_user(s, c, a, "carl"), True),
    "grant": Act(USERS, lambda s, c, a: people.grant(s, c, a, "ann", PURGE), True),
    "revoke": Act(USERS, lambda s, c, a: people.revoke(s, c, a, "ann", VIEW), True),
    "reset_password": Act(USERS, lambda s, c, a: user_security.reset_password(s, c, a, 1), True),
    "set_locked": Act(USERS, lambda s, c, a: user_security.set_locked(s, c, a, 1, True), True),
    "active_sessions": Act(USERS, lambda s, c, a: sign_in.active_sessions(s, c, a)),
}
_READERS_OF_AUDIT = GRANTS[VIEW] | GRANTS[USERS]
APART = {
    "reset": GRANTS[MANAGE],
    "purge": GRANTS[PURGE],
    "end_sessions": GRANTS[USERS],
    "first_admin": GRANTS[USERS],
    "browse_audit": _READERS_OF_AUDIT,
    "actions_in_use": _READERS_OF_AUDIT,
    "all_of_audit": _READERS_OF_AUDIT,
    "pages_of_log": GRANTS[VIEW],
    "all_lines": GRANTS[VIEW],
    "save_connection": GRANTS[MANAGE],
    "trust_host_key": GRANTS[MANAGE],
    "try_connection": GRANTS[MANAGE],
}
"""Those that are called in another way, and have tests of their own: below, and in test_usecase_connections."""
ONCE = ("delete_task", "reset_password")  # a second password is another one; what is deleted is not found again
SETS = [frozenset(chosen) for chosen in chain.from_iterable(combinations(Privilege, n) for n in range(5))]


@pytest.fixture(scope="module")
def _cheap_hash() -> Iterable[None]:
    """One hash is enough for a table of privileges."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(people.PASSWORDS, "hash", lambda password: "hash")
        yield


@pytest.fixture(scope="module")
def copies() -> dict[str, bytes]:
    """Database files that were made once."""
    return {}


@pytest.fixture
def peopled(quick_desk: Desk, _cheap_hash: None, copies: dict[str, bytes]) -> Desk:
    """Task `a` with three old runs, `failed` in need of a reset, `new` that never ran; user `ann` who may view."""
    file = Path(quick_desk.engine.url.database or "")
    if not copies:
        _people(quick_desk)
        with quick_desk.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        copies["peopled"] = file.read_bytes()
    quick_desk.engine.dispose()
    file.write_bytes(copies["peopled"])
    quick_desk.clock.set("2026-11-23T12:30-05:00")
    return quick_desk


def _people(desk: Desk) -> None:
    desk.define(
        "tasks:\n  - {name: a, type: job0, schedule: {cron: '0 * * * *'}}\n"
        "  - {name: failed, type: job1}\n  - {name: new, type: job2}\n"
    )
    desk.clock.set("2026-11-01T12:00-05:00")
    for _ in range(3):
        desk.run_now("a")
        desk.turn()
        desk.end("a")
        desk.clock.move(hours=1)
    desk.run_now("failed")
    desk.turn()
    desk.end("failed", RunStatus.FAILED)
    desk.clock.set("2026-11-23T12:30-05:00")
    with writing(desk.engine) as session:
        ann = UserRow(name="ann", created_at=desk.clock.now())
        session.add(ann)
        session.flush()
        session.add(GrantRow(user_id=id_of(ann), privilege=VIEW))


@pytest.mark.parametrize("name", ACTS)
def test_it_does_it_with_the_privilege_and_refuses_without(peopled: Desk, name: str) -> None:
    act = ACTS[name]
    for granted in SETS:
        enough = bool(granted & GRANTS[act.privilege])
        actor = Actor("bob", granted)
        with reading(peopled.engine) as session:
            if enough:
                act.call(session, peopled.clock, actor)
            else:
                with pytest.raises(NotAllowed) as refusal:
                    act.call(session, peopled.clock, actor)
                assert refusal.value.exit_code == 3
                assert "'bob'" in str(refusal.value) and f"'{act.privilege.value}'" in str(refusal.value)
                assert not (session.new or session.dirty or session.deleted)
            session.rollback()


@pytest.mark.parametrize("name", [name for name, act in ACTS.items() if act.changes])
def test_what_changes_something_leaves_one_audit_row_with_before_and_after(peopled: Desk, name: str) -> None:
    with writing(peopled.engine) as session:
        ACTS[name].call(session, peopled.clock, Actor("bob", frozenset(Privilege)))
    (row,) = [row for row in peopled.audit() if row.actor == "bob"]
    assert row.at == peopled.clock.now()
    assert row.action and row.subject
    assert row.before != row.after
    made, gone = name in ("run_now", "add_user"), name in ("delete_task", "delete_window")
    assert (row.before is None, row.after is None) == (made, gone)


@pytest.mark.parametrize("name", [name for name, act in ACTS.items() if act.changes and name not in ONCE])
def test_doing_it_twice_changes_nothing_more(peopled: Desk, name: str) -> None:
    actor = Actor("bob", frozenset(Privilege))
    for _ in range(2):
        with writing(peopled.engine) as session:
            try:
                ACTS[name].call(session, peopled.clock, actor)
            except Exception as error:
                assert name == "add_user" and "already" in str(error)
    assert len([row for row in peopled.audit() if row.actor == "bob"]) == 1


@pytest.mark.parametrize("name", [name for name, act in ACTS.items() if not act.changes])
def test_looking_leaves_no_trace(peopled: Desk, name: str) -> None:
    before = len(peopled.audit())
    with writing(peopled.engine) as session:
        ACTS[name].call(session, peopled.clock, OPERATOR)
        assert not session.dirty and not session.new
    assert len(peopled.audit()) == before


@pytest.mark.parametrize("granted", SETS)
def test_a_reset_takes_task_management(peopled: Desk, granted: frozenset[Privilege]) -> None:
    uid = id_of(peopled.task("failed"))
    if granted & GRANTS[MANAGE]:
        reset.reset(peopled.engine, peopled.clock, Actor("bob", granted), uid)
        assert peopled.task("failed").failed_run_id is None
    else:
        with pytest.raises(NotAllowed):
            reset.reset(peopled.engine, peopled.clock, Actor("bob", granted), uid)
        assert peopled.task("failed").failed_run_id is not None


@pytest.mark.parametrize("granted", SETS)
def test_a_purge_takes_system_purge_and_leaves_one_audit_row(peopled: Desk, granted: frozenset[Privilege]) -> None:
    before = len(peopled.runs())
    actor = Actor("bob", granted)
    for _ in range(2):
        if granted & GRANTS[PURGE]:
            purge.purge(peopled.engine, peopled.clock, actor, Retention(0))
        else:
            with pytest.raises(NotAllowed):
                purge.purge(peopled.engine, peopled.clock, actor, Retention(0))
    gone, rows = before - len(peopled.runs()), [row for row in peopled.audit() if row.actor == "bob"]
    assert (gone > 0) == (len(rows) == 1) == bool(granted & GRANTS[PURGE])


# What a type asks for besides: purging by way of a task


SOMETHING_MORE = {
    "make": lambda d, a: d.define("tasks: [{name: other, type: sweep}]", a),
    "make, dry": lambda d, a: d.define("tasks: [{name: other, type: sweep}]", a, dry_run=True),
    "edit": lambda d, a: d.define("tasks: [{name: sweeper, type: sweep, description: x, enabled: false}]", a),
    "turn into one": lambda d, a: d.define("tasks: [{name: a, type: sweep}]", a),
    "turn from one": lambda d, a: d.define("tasks: [{name: sweeper, type: job3}]", a),
    "enable": lambda d, a: _state(d, a, enabled=True),
    "run": lambda d, a: d.run_now("sweeper", a),
    "run as the step behind": lambda d, a: d.run_now("before", a, follow=True),
    "keep for fewer days": lambda d, a: d.define("settings: {retention_days: 1}", a),
}
NOTHING_MORE = {
    "run the step before alone": lambda d, a: d.run_now("before", a),
    "edit another": lambda d, a: d.define("tasks: [{name: a, type: job0, description: x}]", a),
    "other settings": lambda d, a: d.define("settings: {max_running: 3}", a),
    "disable": lambda d, a: (_state(d, OPERATOR, enabled=True), _state(d, a, enabled=False)),
    "mark historical": lambda d, a: _state(d, a, historical=True),
}


def _state(desk: Desk, actor: Actor, **state: bool) -> None:
    with writing(desk.engine) as session:
        assert task_state.set_state(session, desk.clock, actor, task_named(session, "sweeper"), **state)


@pytest.fixture
def swept(quick_desk: Desk) -> Desk:
    """`sweeper` of a type with the tag `privilege:purge`, disabled, as the step behind `before`; and `a`."""
    with writing(quick_desk.engine) as session:
        types = [*load_types(session).values(), TaskType.of_deployment("sweep", ["privilege:purge"])]
        save_types(session, types, quick_desk.clock.now())
    quick_desk.define(
        "settings: {min_spacing: '00:00:00'}\ntasks: [{name: before, type: job1}, {name: a, type: job0},"
        " {name: sweeper, type: sweep, enabled: false, schedule: {after: before, spacing: '00:00:00'}}]"
    )
    return quick_desk


@pytest.mark.parametrize("what", SOMETHING_MORE)
def test_a_type_can_ask_for_a_privilege_besides(swept: Desk, what: str) -> None:
    audits, runs = len(swept.audit()), len(swept.runs())
    with pytest.raises(NotAllowed) as refusal:
        SOMETHING_MORE[what](swept, Actor("bob", frozenset({MANAGE})))
    assert refusal.value.privilege == PURGE
    assert (len(swept.audit()), len(swept.runs())) == (audits, runs)
    with pytest.raises(NotAllowed) as refusal:
        SOMETHING_MORE[what](swept, Actor("bob", frozenset({PURGE})))
    assert refusal.value.privilege == MANAGE
    SOMETHING_MORE[what](swept, Actor("bob", frozenset({MANAGE, PURGE})))


@pytest.mark.parametrize("what", NOTHING_MORE)
def test_what_runs_nothing_of_that_type_asks_for_no_more(swept: Desk, what: str) -> None:
    NOTHING_MORE[what](swept, Actor("bob", frozenset({MANAGE})))


def test_a_tag_that_names_no_privilege_is_an_error_at_deploy() -> None:
    with pytest.raises(InvalidInput, match="deployment 'x': the tag 'privilege:purges' names no privilege"):
        TaskType.of_deployment("x", ["privilege:purges"])


@pytest.mark.parametrize("granted", SETS)
def test_the_audit_trail_takes_view_or_user_management(peopled: Desk, granted: frozenset[Privilege]) -> None:
    with reading(peopled.engine) as session:
        if granted:
            assert browse_audit.browse_audit(session, Actor("bob", granted)).rows
            assert browse_audit.actions_in_use(session, Actor("bob", granted))
        else:
            for read in (browse_audit.browse_audit, browse_audit.actions_in_use):
                with pytest.raises(NotAllowed):
                    read(session, Actor("bob", granted))


@pytest.mark.parametrize("granted", SETS)
@pytest.mark.parametrize("name", ["all_of_audit", "pages_of_log", "all_lines", "end_sessions"])
def test_what_reads_page_by_page_and_what_ends_sessions_asks_too(
    peopled: Desk, name: str, granted: frozenset[Privilege]
) -> None:
    actor, engine = Actor("bob", granted), peopled.engine
    calls: dict[str, Callable[[], Any]] = {
        "all_of_audit": lambda: list(browse_audit.all_of_audit(engine, actor, browse_audit.AuditQuery())),
        "pages_of_log": lambda: list(browse_log.pages_of_log(engine, actor, browse_log.LogQuery())),
        "all_lines": lambda: list(browse_log.all_lines(engine, actor, 1)),
        "end_sessions": lambda: _end_sessions(peopled, actor),
    }
    if granted & APART[name]:
        calls[name]()
    else:
        with pytest.raises(NotAllowed):
            calls[name]()


def _end_sessions(desk: Desk, actor: Actor) -> int:
    with writing(desk.engine) as session:
        return sign_in.end_sessions(session, desk.clock, actor, 1)


def test_the_first_admin_is_made_by_whoever_may_manage_users_and_only_where_nobody_is(sqlite: Engine) -> None:
    clock = SystemClock()
    for granted in SETS:
        if not granted & APART["first_admin"]:
            with writing(sqlite) as session, pytest.raises(NotAllowed):
                people.first_admin(session, clock, Actor("bob", granted))
    with writing(sqlite) as session:
        assert people.first_admin(session, clock, Actor("bob", frozenset({USERS})))
        assert people.first_admin(session, clock, Actor("bob", frozenset({USERS}))) is None


@pytest.mark.parametrize("granted", SETS)
def test_implied_privileges_are_these_and_no_others(granted: frozenset[Privilege]) -> None:
    actor = Actor("bob", granted)
    assert {asked for asked in Privilege if may(actor, asked)} == {
        asked for asked, enough in GRANTS.items() if granted & enough
    }


def test_a_user_of_the_database_acts_with_exactly_what_was_granted(peopled: Desk) -> None:
    with reading(peopled.engine) as session:
        ann = people.actor_named(session, "ann")
    assert (ann.name, ann.privileges) == ("ann", frozenset({VIEW}))
    with reading(peopled.engine) as session, pytest.raises(NotAllowed):
        people.actor_named(session, "nobody")


def test_the_audit_has_no_row_of_a_refused_act(peopled: Desk) -> None:
    with pytest.raises(NotAllowed), writing(peopled.engine) as session:
        people.grant(session, peopled.clock, Actor("bob", frozenset({VIEW})), "ann", USERS)
    with reading(peopled.engine) as session:
        assert session.exec(select(AuditRow).where(AuditRow.actor == "bob")).all() == []


def test_the_operator_of_the_machine_may_do_everything(sqlite: Engine) -> None:
    assert all(may(OPERATOR, privilege) for privilege in Privilege)
