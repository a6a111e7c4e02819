"""Opening and migrating the operations database, on SQLite and on PostgreSQL."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from headway.models.ledger.database import sqlite_module

MIGRATIONS = Path(__file__).with_name("migrations")
VERSION_TABLE = "operations_version"  # its own, so that ledger and operations may share one PostgreSQL
PAGE_BYTES = 16_384  # of a new SQLite file: loading a million records takes two thirds of the time with 4,096
MIGRATION_LOCK = 0x48454144  # PostgreSQL advisory lock: two processes that start together migrate in turn
BUSY_SECONDS = 60


def operations_engine(url: str, **options: Any) -> sa.Engine:
    """An engine with one connection a use (no pool: none may cross a fork).

    On SQLite transactions begin with BEGIN IMMEDIATE, so that two writers queue instead of failing half-way.
    """
    if sa.make_url(url).get_backend_name() != "sqlite":
        return sa.create_engine(url, poolclass=sa.NullPool, **options)
    arguments = {"timeout": BUSY_SECONDS, "isolation_level": None}
    engine = sa.create_engine(url, module=sqlite_module(), connect_args=arguments, poolclass=sa.NullPool, **options)
    sa.event.listen(engine, "connect", _set_up_sqlite)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys = ON")


def upgrade_operations(url: str, revision: str = "head") -> None:
    """Bring the operations database at `url` to a version, the newest by default, making it if it is not there yet."""
    _migrate(url, lambda config: command.upgrade(config, revision))


def downgrade_operations(url: str, revision: str) -> None:
    """Take the operations database at `url` back to an earlier version."""
    _migrate(url, lambda config: command.downgrade(config, revision))


def _migrate(url: str, change: Callable[[Config], None]) -> None:
    engine = operations_engine(url)
    try:
        if engine.dialect.name == "sqlite":
            _prepare_sqlite_file(engine)
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":  # or a table that others refer to could not be made anew
                driver_connection: Any = connection.connection.driver_connection
                driver_connection.execute("PRAGMA foreign_keys = OFF")
            config.attributes["connection"] = connection
            change(config)
    finally:
        engine.dispose()


def _prepare_sqlite_file(engine: sa.Engine) -> None:
    """Make the folder, and choose page size and journal: WAL lets an export read while an import writes.

    WAL only with a SQLite that has the fix of sqlite.org/wal.html#walresetbug; the choice stays in the file.
    """
    if engine.url.database and engine.url.database != ":memory:":
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    journal = "WAL" if sqlite_module().sqlite_version_info >= (3, 51, 3) else "DELETE"
    with engine.connect() as connection:
        driver_connection: Any = connection.connection.driver_connection
        driver_connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # holds for a file with nothing in it yet
        gives_up_at = time.monotonic() + BUSY_SECONDS
        while driver_connection.execute("PRAGMA journal_mode").fetchone()[0].upper() != journal:
            try:
                driver_connection.execute(f"PRAGMA journal_mode = {journal}")
            except sqlite_module().OperationalError:  # busy; SQLite's own timeout does not hold here
                if time.monotonic() > gives_up_at:
                    raise
                time.sleep(0.02)


if __name__ == "__main__":
    upgrade_operations(sys.argv[1])
