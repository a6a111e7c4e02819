"""The ledger's schema: what the migrations make is what the tables say, on both databases."""

import threading
from collections.abc import Mapping, Sequence

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text
from sqlmodel import select

from headway.models.ledger import tables
from headway.models.ledger.database import MIGRATIONS, migrate, reading, writing
from headway.models.ledger.tables import TaskRow, WindowRow
from headway.scheduler.installation import setup
from headway.scheduler.store import settings
from tests.support.installation import Desk


def _differences(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, tables.metadata))


def test_an_upgraded_empty_database_leaves_nothing_to_autogenerate(empty_database: Engine) -> None:
    migrate(empty_database)
    assert _differences(empty_database) == []


def test_migrating_twice_keeps_what_is_there(desk: Desk) -> None:
    desk.tasks("name: one, type: job0")
    migrate(desk.engine)
    assert _differences(desk.engine) == []
    assert desk.task("one").uid == 1


def test_two_that_migrate_at_once_both_find_it_done(empty_database: Engine) -> None:
    errors: list[Exception] = []
    both_ready = threading.Barrier(2)

    def one() -> None:
        both_ready.wait(10)
        try:
            migrate(empty_database)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert inspect(empty_database).has_table("run")


def test_the_newest_migration_is_the_one_that_opening_asks_for(sqlite: Engine) -> None:
    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    with sqlite.connect() as connection:
        stored = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    assert setup.SCHEMA == head == stored


def test_a_new_installation_has_the_two_default_windows_once(database: Engine) -> None:
    with writing(database) as session:
        assert settings.install(session) is False
    with reading(database) as session:
        windows = {row.name: row for row in session.exec(select(WindowRow)).all()}
    assert set(windows) == {"Monday maintenance", "Daily maintenance"}
    assert windows["Monday maintenance"].days == [0]
    assert {row.timezone for row in windows.values()} == {"America/New_York"}


def test_an_operator_who_deleted_the_default_windows_does_not_get_them_back(desk: Desk) -> None:
    desk.define("windows: []")
    with writing(desk.engine) as session:
        settings.install(session)
    with reading(desk.engine) as session:
        assert session.exec(select(WindowRow)).all() == []


def test_a_uid_is_never_given_again(desk: Desk) -> None:
    desk.tasks("name: one, type: job0", "name: two, type: job1")
    with writing(desk.engine) as session:
        session.delete(session.get(TaskRow, desk.task("two").uid))
    desk.tasks("name: three, type: job1")
    assert desk.task("three").uid == 3


def test_failures_of_before_the_alert_are_old_news(empty_database: Engine) -> None:
    _with_runs(empty_database, "0002", [("failed", True), ("completed", True)])
    migrate(empty_database)
    with empty_database.connect() as connection:
        told = connection.execute(text("SELECT id, failure_alerted_at IS NOT NULL FROM run ORDER BY id")).all()
    assert [(run_id, bool(one)) for run_id, one in told] == [(1, True), (2, False)]


def test_an_open_run_is_where_its_type_s_runs_were_handed_to(empty_database: Engine) -> None:
    runs = [("completed", True, "away"), ("running", False, "away"), ("running", False, "here"), ("waiting", False)]
    _with_runs(empty_database, "0004", runs, pools={"away": "containers", "here": "headway"})
    migrate(empty_database)
    with empty_database.connect() as connection:
        pools = connection.execute(text("SELECT work_pool FROM run ORDER BY id")).scalars().all()
    assert pools == ["", "containers", "", ""]


def _with_runs(
    engine: Engine, version: str, runs: Sequence[tuple[str, bool, *tuple[str, ...]]], pools: Mapping[str, str] = {}
) -> None:
    """A database of that version: runs by status, whether they have ended, and their type if not `job0`."""
    with engine.connect() as connection, connection.begin():
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, version)
        now = "2026-11-23 10:00:00"
        made = {"now": now, "no": False, "rest": "[]"}
        connection.execute(
            text(
                'INSERT INTO task (uid, name, type, object, description, enabled, historical, "window", on_failure, '
                "on_errors, catch_up, retries, retry_delay, parameters, version, created_at, updated_at, accounted_at, "
                "sequence) VALUES (1, 'a', 'job0', '', '', :no, :no, 'avoid', 'hold', 'continue', 'latest', 0, 0, "
                "'{}', 1, :now, :now, :now, 0)"
            ),
            made,
        )
        for name, pool in pools.items():
            connection.execute(
                text(
                    "INSERT INTO task_type (name, group_name, exporter, description, entrypoint, deployment_id, tags, "
                    "work_pool, updated_at) VALUES (:name, :name, :no, '', '', '', :rest, :pool, :now)"
                ),
                {**made, "name": name, "pool": pool},
            )
        for run_id, (status, ended, *kind) in enumerate(runs, 1):
            at = f"2026-11-23 1{run_id}:00:00"
            facts = {"id": run_id, "status": status, "kind": (*kind, "job0")[0], "ended": at if ended else None}
            connection.execute(
                text(
                    'INSERT INTO run (id, task_uid, type, object, step, due_at, "trigger", status, attempt, follow, '
                    "overrides, created_at, ended_at, sorted_at, process_id, processed, errors, bytes, message) VALUES "
                    "(:id, 1, :kind, '', 1, :now, 'manual', :status, 1, :no, :rest, :now, :ended, :now, 0, 0, 0, 0, '')"
                ),
                {**made, **facts, "now": at},
            )
