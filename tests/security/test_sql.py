"""SQL of a report or an export neither writes nor reads what it may not: by what the database holds afterwards."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from blocks.database import Database, DatabaseError
from models.db import make_engine, writing
from models.tables import SignInRow, UserRow
from scheduler.ledger_block import keep_ledger_block
from tests.databases import PostgresForTests, url_of
from tests.fakes import utc
from tests.integration.test_ledger_block import Shelf
from tests.security import hostile_sql as sql

CATALOGS = (
    "SELECT nspname, relname, relkind, relacl::text FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
    "WHERE nspname NOT LIKE 'pg_toast%'",
    "SELECT proname FROM pg_proc",
    "SELECT rolname, rolsuper, rolcanlogin, rolpassword FROM pg_authid",
    "SELECT extname FROM pg_extension",
    "SELECT oid::text FROM pg_largeobject_metadata",
    "SELECT encode(data, 'hex') FROM pg_largeobject",
    "SELECT setdatabase::text, setrole::text, setconfig::text FROM pg_db_role_setting",
    "SELECT last_value, is_called FROM counter",
    "SELECT * FROM pg_file_settings",
)


@dataclass(frozen=True)
class Target:
    """A database that people's SQL is let loose on, and a folder that its process could write into."""

    block: Database
    engine: Engine
    folder: Path

    def dump(self) -> dict[str, Any]:
        """Everything that is there, byte for byte on SQLite."""
        files = {path.name: path.read_bytes() for path in self.folder.iterdir() if not path.name.endswith("-shm")}
        if files.get("operations.db-wal") == b"":  # made by opening it
            del files["operations.db-wal"]
        queries = ("SELECT * FROM lot", *CATALOGS) if self.engine.dialect.name == "postgresql" else ()
        with self.engine.connect().execution_options(no_parameters=True) as connection:
            rows = {q: sorted(map(repr, connection.exec_driver_sql(q).all())) for q in queries}
        return {"files": files, **rows}

    def fill(self, query: str) -> str:
        return query.replace("{file}", str(self.folder / "made")).replace("{db}", self.engine.url.database or "")


def prepared(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE lot (code text, capacity int)")
        connection.exec_driver_sql("INSERT INTO lot VALUES ('A', 1), ('B', 2)")
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("CREATE SEQUENCE counter")
            connection.exec_driver_sql("SELECT lo_from_bytea(4711, 'kept')")


@pytest.fixture(scope="module")
def sqlite_target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("sql")
    engine = make_engine(f"sqlite:///{folder / 'operations.db'}")
    prepared(engine)
    engine.dispose()
    yield Target(Database(url=url_of(engine)), engine, folder)  # type: ignore[arg-type]
    engine.dispose()


@pytest.fixture(scope="module")
def postgres_target(postgres_server: PostgresForTests) -> Iterator[Target]:
    """The block's login is the server's superuser: what holds against that one, holds against any."""
    engine = postgres_server.empty()
    prepared(engine)
    with tempfile.TemporaryDirectory(prefix="headway-sql-") as folder:
        Path(folder).chmod(0o777)  # the server runs as another user
        yield Target(Database(url=url_of(engine)), engine, Path(folder))  # type: ignore[arg-type]
    postgres_server.drop(engine)


def entrances(block: Database) -> list[Callable[[str], Any]]:
    """Every way by which the text of a query gets into the database."""
    return [
        lambda query: rows(block, query),
        lambda query: rows(block, sa.text(query.replace(":", "\\:").replace("%", "%%"))),
        block.count,
    ]


def rows(block: Database, query: Any) -> list[Any]:
    with block.stream(query) as stream:
        return [tuple(row) for batch in stream.batches for row in batch]


def attempted(target: Target, query: str) -> None:
    before = target.dump()
    for entrance in entrances(target.block):
        try:
            entrance(target.fill(query))
        except DatabaseError as refused:
            assert refused.permanent, refused
        except sa.exc.SQLAlchemyError as refused:
            assert target.block.url.get_secret_value() not in str(refused)
    assert target.dump() == before


@pytest.mark.parametrize("query", [*sql.WRITES, *sql.SQLITE])
def test_on_sqlite_nothing_is_written(sqlite_target: Target, query: str) -> None:
    attempted(sqlite_target, query)


@pytest.mark.parametrize("query", [*sql.WRITES, *sql.POSTGRESQL])
def test_on_postgresql_nothing_is_written(postgres_target: Target, query: str) -> None:
    attempted(postgres_target, query)


def test_the_dump_would_show_a_write(sqlite_target: Target, postgres_target: Target) -> None:
    """Otherwise the tests above could not fail."""
    for target in (sqlite_target, postgres_target):
        before = target.dump()
        with target.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE lot SET capacity = capacity + 1")
        assert target.dump() != before
        before = target.dump()
        (target.folder / "mine").write_text("x")
        assert target.dump() != before
        (target.folder / "mine").unlink()


def test_there_are_statements_enough() -> None:
    assert len({*sql.WRITES, *sql.SQLITE}) >= 60
    assert len({*sql.WRITES, *sql.POSTGRESQL}) >= 60


PASSWORD_HASH, TOKEN_HASH = "PLANTED-password-hash", "PLANTED-token-hash"


@pytest.fixture
def ledger(database: Engine, monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.setenv("HEADWAY_DATABASE_URL", url_of(database))
    with writing(database) as session:
        at = utc("2026-11-01")
        user = UserRow(name="ann", password_hash=PASSWORD_HASH, created_at=at)
        session.add_all([user, UserRow(name="bob", password_hash=PASSWORD_HASH, created_at=at)])
        session.flush()
        session.add(SignInRow(token_hash=TOKEN_HASH, user_id=user.id or 0, stamp="x", created_at=at, seen_at=at))
    shelf = Shelf()
    keep_ledger_block(shelf)
    return Target(shelf.block_made, database, Path())


def test_no_query_through_the_block_ledger_gets_at_people(ledger: Target) -> None:
    of_its_own = ledger.engine.dialect.name.upper()
    named = [*sql.PEOPLE, *getattr(sql, f"PEOPLE_{of_its_own}")]
    harmless = [*sql.HARMLESS, *getattr(sql, f"HARMLESS_{of_its_own}")]
    for table, column in (("user_account", "password_hash"), ("sign_in_session", "token_hash")):
        for query in (ledger.fill(one.replace("{t}", table).replace("{c}", column)) for one in named):
            for entrance in entrances(ledger.block):
                answer: Any = None
                try:
                    answer = entrance(query)
                except (DatabaseError, sa.exc.SQLAlchemyError) as refused:
                    assert "PLANTED" not in str(refused)
                # Counting does not call the functions of a SELECT: it may say that there would be one row.
                assert answer is None or (answer == 1 and entrance == ledger.block.count and "(" in query), query
    answered = 0
    for query in harmless:
        try:
            found = rows(ledger.block, query)
        except (DatabaseError, sa.exc.SQLAlchemyError) as refused:
            assert "PLANTED" not in str(refused)
            continue
        answered += 1
        seen = " ".join(
            cell.decode(errors="replace") if isinstance(cell, bytes) else str(cell) for row in found for cell in row
        )
        assert PASSWORD_HASH not in seen and TOKEN_HASH not in seen, query
    assert answered
