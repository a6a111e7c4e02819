"""The scheduler's database: engines, transactions, migrations; SQLite and PostgreSQL."""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from sqlalchemy import URL, CursorResult, Engine, Executable, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlmodel import Session

MIGRATIONS = Path(__file__).parent / "migrations"
_WAL_IS_SAFE_FROM = (3, 51, 3)  # before it several processes can corrupt a WAL database (sqlite.org, walresetbug)
_BUSY_MILLISECONDS = 30_000
_STANDSTILL_SECONDS = 20
"""So long may PostgreSQL wait for a writer that stands still: well below a worker's minute of silence."""
_KEEPALIVES = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}


def home() -> Path:
    """HEADWAY_HOME, default `.headway` in the working folder."""
    return Path(os.environ.get("HEADWAY_HOME") or ".headway").absolute()


def database_url() -> str:
    """HEADWAY_DATABASE_URL, else the SQLite file in HEADWAY_HOME. `postgres(ql)://` means psycopg 3."""
    url = os.environ.get("HEADWAY_DATABASE_URL")
    return with_driver(url) if url else f"sqlite:///{home() / 'headway.db'}"


def with_driver(url: str) -> str:
    """The URL with the driver that comes with Headway, where it names none."""
    for prefix in ("postgres://", "postgresql://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url


def read_url(url: str) -> URL:
    """The URL's parts. ValueError, repeating nothing of it, for what is none or has a bare `@` in its password."""
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError("it is not the address of a database") from None
    if parts.get_backend_name() != "sqlite" and "@" in f"{parts.host}{parts.database}":
        raise ValueError("it has more than one `@`; write the one in its password as %40")
    return parts


def shown_url(url: URL | str) -> str:
    """Which database a URL means, for people: without its login and options, which may be secret."""
    try:
        parts = url if isinstance(url, URL) else read_url(url)
    except ValueError:
        return "(its URL cannot be read)"
    if parts.get_backend_name() == "sqlite":
        return f"sqlite:///{parts.database or ':memory:'}"
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.get_backend_name()}://{parts.host or ''}{port}/{parts.database or ''}"


def sqlite_module() -> ModuleType:
    """The newest SQLite at hand: the one bundled by pysqlite3, else Python's own."""
    try:
        import pysqlite3.dbapi2 as bundled

        module: ModuleType = bundled
        return module
    except ImportError:
        return sqlite3


def sqlite_in_use() -> str:
    """For start-up messages: the SQLite version, and which journal it makes safe to use."""
    module = sqlite_module()
    return f"SQLite {module.sqlite_version}, {'WAL' if _wal_is_safe(module) else 'rollback'} journal"


def _wal_is_safe(module: ModuleType) -> bool:
    return bool(module.sqlite_version_info >= _WAL_IS_SAFE_FROM)


def make_engine(url: str | None = None) -> Engine:
    """An engine for the scheduler's database. No connection of it may cross a fork."""
    url = url or database_url()
    parts = read_url(url)
    if parts.get_backend_name() != "sqlite":
        more = {name: value for name, value in _KEEPALIVES.items() if name not in parts.query}
        engine = create_engine(url, pool_pre_ping=True, pool_size=5, max_overflow=10, connect_args=more)
        event.listen(engine, "begin", _on_postgresql_begin)
        return engine
    file = parts.database
    if file and file != ":memory:":
        Path(file).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not Path(file).exists():
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    module = sqlite_module()
    engine = create_engine(url, module=module, connect_args={"check_same_thread": False, "timeout": 30})
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # the begin event begins, not the driver
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}")
    if _wal_is_safe(sqlite_module()):
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
    else:
        cursor.execute("PRAGMA journal_mode=TRUNCATE")
        cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _on_begin(connection: Any) -> None:
    writes = connection.get_execution_options().get("headway_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _on_postgresql_begin(connection: Any) -> None:
    """A writer that is frozen or cut off loses its transaction, or all others would wait for it."""
    if connection.get_execution_options().get("headway_writes", False):
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{_STANDSTILL_SECONDS}s'")


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A session that only reads: one consistent picture."""
    with Session(engine, expire_on_commit=False) as session:
        yield session
        session.expunge_all()  # so that what was read stays readable


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """A session in one write transaction, committed at the end, rolled back on any error."""
    with engine.connect().execution_options(headway_writes=True) as connection:
        try:
            with Session(connection, expire_on_commit=False) as session:
                yield session
                session.commit()
        except BaseException:
            # A COMMIT that failed leaves SQLite's transaction open, and closing alone does not end it: the connection
            # would go back to the pool with the lock, for good.
            connection.rollback()
            raise


def count_changed(session: Session, statement: Executable, parameters: Mapping[str, Any] | None = None) -> int:
    """Execute an UPDATE or DELETE; how many rows it changed."""
    result = cast("CursorResult[Any]", session.execute(statement, parameters))
    return result.rowcount


def migrate(engine: Engine) -> None:
    """Bring the database to the newest schema; an empty one gets all of it."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.connect().execution_options(headway_writes=True) as connection, connection.begin():
        if connection.dialect.name == "postgresql":  # two that start at once: the second waits, then finds it done
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7411001)")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
