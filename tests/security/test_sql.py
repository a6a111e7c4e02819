"""SQL of a report or an export neither writes nor reads what it may not: by what the database holds afterwards."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from headway.blocks.database.block import Database, DatabaseError
from headway.models.ledger.database import make_engine, sqlite_module, writing
from headway.models.ledger.tables import SignInRow, UserRow, id_of
from headway.scheduler.prefect_side.ledger_block import keep_ledger_block
from tests.integration.prefect_side.test_ledger_block import Shelf
from tests.security import hostile_sql as sql
from tests.support.clock import utc
from tests.support.databases import PostgresForTests, url_of

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
    effective: frozenset[str] = frozenset()
    """The statements that such a database carries out where nothing forbids it."""

    def dump(self) -> dict[str, Any]:
        """Everything that is there, byte for byte on SQLite."""
        files = {path.name: path.read_bytes() for path in self.folder.iterdir() if not path.name.endswith("-shm")}
        if files.get("operations.db-wal") == b"":  # made by opening it
            del files["operations.db-wal"]
        queries = ("SELECT * FROM lot", *CATALOGS) if self.engine.dialect.name == "postgresql" else ()
        with self.engine.connect().execution_options(no_parameters=True) as connection:
            try:
                rows = {q: sorted(map(repr, connection.exec_driver_sql(q).all())) for q in queries}
            except sa.exc.ProgrammingError as gone:  # a whole table
                return {"gone": str(gone)}
        return {"files": files, **rows}

    def mend(self) -> None:
        """As it was before the first query."""
        emptied(self.engine)
        for file in self.folder.iterdir():
            file.unlink()
        prepared(self.engine)
        self.engine.dispose()

    def fill(self, query: str) -> str:
        return query.replace("{file}", str(self.folder / "made")).replace("{db}", self.engine.url.database or "")


def prepared(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE lot (code text, capacity int)")
        connection.exec_driver_sql("INSERT INTO lot VALUES ('A', 1), ('B', 2)")
        connection.exec_driver_sql("CREATE INDEX lot_code ON lot (code)")
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("CREATE SEQUENCE counter")
            connection.exec_driver_sql("SELECT lo_from_bytea(4711, 'kept')")


def emptied(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP ROLE IF EXISTS mine")
            connection.exec_driver_sql("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
            connection.exec_driver_sql("ALTER ROLE CURRENT_USER RESET ALL")
        else:
            engine.dispose()
            Path(engine.url.database or "").unlink()


def effective(does: Callable[[str], bool], queries: Iterable[str]) -> frozenset[str]:
    """Those that a database of this kind carries out for whoever may write, plain or out of count's bracket."""
    return frozenset(one for one in queries if does(one) or does(f"SELECT count(*) FROM ({one}\n) AS counted"))


def sqlite_does(query: str) -> bool:
    """Also several statements in one text, which the driver's own call for one of them would refuse."""
    with tempfile.TemporaryDirectory() as folder:
        engine = make_engine(f"sqlite:///{folder}/operations.db")
        prepared(engine)
        engine.dispose()
        with closing(sqlite_module().connect(f"{folder}/operations.db", isolation_level=None)) as connection:
            query = query.replace("{file}", f"{folder}/made").replace("{db}", f"{folder}/operations.db")
            try:
                connection.executescript(query)
            except Exception:
                return False
            return True


def postgres_does(engine: Engine, query: str) -> bool:
    """In a transaction that is taken back: some would change the whole server. What ends it early finds `lot` only."""
    emptied(engine)
    prepared(engine)
    with tempfile.TemporaryDirectory(prefix="headway-sql-") as folder:
        Path(folder).chmod(0o777)
        with closing(engine.raw_connection()) as connection:
            query = query.replace("{file}", f"{folder}/made").replace("{db}", engine.url.database or "")
            try:
                connection.cursor().execute(query)
            except Exception:
                return False
            finally:
                connection.rollback()
            return True


@pytest.fixture(autouse=True)
def _what_was_done_stays_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """The block only closes its connection, which alone would take a write back and prove nothing."""
    reading = Database.reading

    @contextmanager
    def committed(block: Database) -> Iterator[sa.Connection]:
        with reading(block) as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            try:
                yield connection
            finally:
                driver.commit()

    monkeypatch.setattr(Database, "reading", committed)


@pytest.fixture(scope="module")
def sqlite_target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("sql")
    engine = make_engine(f"sqlite:///{folder / 'operations.db'}")
    prepared(engine)
    engine.dispose()
    does = effective(sqlite_does, [*sql.WRITES, *sql.SQLITE])
    yield Target(Database(url=url_of(engine)), engine, folder, does)  # type: ignore[arg-type]
    engine.dispose()


@pytest.fixture(scope="module")
def postgres_target(postgres_server: PostgresForTests) -> Iterator[Target]:
    """The block's login is the server's superuser: what holds against that one, holds against any."""
    engine, other = postgres_server.empty(), postgres_server.empty()
    does = effective(lambda query: postgres_does(other, query), [*sql.WRITES, *sql.POSTGRESQL])
    postgres_server.drop(other)
    prepared(engine)
    with tempfile.TemporaryDirectory(prefix="headway-sql-") as folder:
        Path(folder).chmod(0o777)  # the server runs as another user
        yield Target(Database(url=url_of(engine)), engine, Path(folder), does)  # type: ignore[arg-type]
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
    done = [number for number, entrance in enumerate(entrances(target.block)) if not refused(target, entrance, query)]
    after = target.dump()
    if after != before:  # then this test fails, and no other for its sake
        target.mend()
    assert after == before
    assert not done or query not in target.effective or query in sql.FOR_ITSELF


def refused(target: Target, entrance: Callable[[str], Any], query: str) -> bool:
    """Whether the database would not have it. That a DELETE returns no rows is said after it was carried out."""
    try:
        return entrance(target.fill(query)) is None  # counting says no more than that it was not possible
    except DatabaseError as error:
        assert error.permanent, error
        return "returns no rows" not in str(error)
    except sa.exc.SQLAlchemyError as error:
        assert target.block.url.get_secret_value() not in str(error)
        return True


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


def test_there_are_statements_enough(sqlite_target: Target, postgres_target: Target) -> None:
    """Those that no database understands refuse themselves: they are tried, and not counted."""
    assert len(sqlite_target.effective) >= 60
    assert len(postgres_target.effective) >= 60


PASSWORD_HASH, TOKEN_HASH = "PLANTED-password-hash", "PLANTED-token-hash"


@pytest.fixture
def ledger(database: Engine, monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.setenv("HEADWAY_DATABASE_URL", url_of(database))
    with writing(database) as session:
        at = utc("2026-11-01")
        user = UserRow(name="ann", password_hash=PASSWORD_HASH, created_at=at)
        session.add_all([user, UserRow(name="bob", password_hash=PASSWORD_HASH, created_at=at)])
        session.flush()
        session.add(SignInRow(token_hash=TOKEN_HASH, user_id=id_of(user), stamp="x", created_at=at, seen_at=at))
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
