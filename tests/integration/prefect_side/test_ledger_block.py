"""The block `ledger`: everything about runs can be read through it, nothing about people, and nothing is written."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from headway.blocks.database.block import Database, DatabaseError
from headway.models.ledger.database import writing
from headway.models.ledger.tables import UserRow, metadata
from headway.scheduler.prefect_side.ledger_block import DENIED_TABLES, keep_ledger_block
from tests.support.clock import utc
from tests.support.databases import PostgresForTests, url_of


class Shelf:
    """Prefect's blocks, as far as one is needed."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] | None = None

    def block(self, type_slug: str, name: str, *, secrets: bool = False) -> dict[str, Any] | None:
        assert (type_slug, name, secrets) == ("headway-database", "ledger", True)
        return self.fields

    def save_block(self, type_slug: str, name: str, fields: dict[str, Any]) -> str:
        self.fields = dict(fields)
        return "id"

    @property
    def block_made(self) -> Database:
        assert self.fields is not None
        return Database(**self.fields)

    @property
    def url(self) -> sa.URL:
        assert self.fields is not None
        return sa.make_url(self.fields["url"])


@pytest.fixture
def postgres(postgres_server: PostgresForTests) -> Iterator[Engine]:
    """A database of its own for each test, for they give rights away."""
    engine = postgres_server.new_installation()
    yield engine
    postgres_server.drop(engine)


@pytest.fixture
def shelf(database: Engine, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setenv("HEADWAY_DATABASE_URL", url_of(database))
    with writing(database) as session:
        session.add(UserRow(name="ann", password_hash="secret", created_at=utc("2026-11-01")))
    shelf = Shelf()
    assert keep_ledger_block(shelf)
    return shelf


@pytest.fixture
def plain_login(postgres: Engine, postgres_server: PostgresForTests, monkeypatch: pytest.MonkeyPatch) -> str:
    """The scheduler's login is one that owns the tables and may make no roles, as most are."""
    with postgres.begin() as connection:
        connection.exec_driver_sql("DROP ROLE IF EXISTS plain")
        connection.exec_driver_sql("CREATE ROLE plain LOGIN")
        connection.exec_driver_sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO plain")
        connection.exec_driver_sql("GRANT ALL ON SCHEMA public TO plain")
    monkeypatch.setenv("HEADWAY_DATABASE_URL", url_of(postgres).replace("postgres:", "plain:", 1))
    return "plain"


def rows(block: Database, query: str) -> list[Any]:
    with block.stream(query) as stream:
        return [tuple(row) for batch in stream.batches for row in batch]


def test_what_is_denied_are_tables_that_there_are() -> None:
    assert set(DENIED_TABLES) < set(metadata.tables)


def test_everything_about_runs_can_be_read(shelf: Shelf) -> None:
    for name in sorted(set(metadata.tables) - set(DENIED_TABLES)):
        rows(shelf.block_made, f'SELECT count(*) FROM "{name}"')
        assert shelf.block_made.table(name).name == name


ESCAPES = [
    "SELECT * FROM {}",
    "SELECT count(*) FROM {}",
    "SELECT 1 FROM run WHERE EXISTS (SELECT 1 FROM {})",
    "WITH t AS (SELECT * FROM {}) SELECT * FROM t",
    "SELECT (SELECT max(1) FROM {})",
]


@pytest.mark.parametrize("name", DENIED_TABLES)
@pytest.mark.parametrize("query", ESCAPES)
def test_nothing_about_people_can_be_read(shelf: Shelf, name: str, query: str) -> None:
    with pytest.raises(
        DatabaseError, match=r"refused.*(prohibited|permission denied|or reads what it may not: not authorized)"
    ):
        rows(shelf.block_made, query.format(name))
    with pytest.raises(DatabaseError, match="denied_tables"):
        shelf.block_made.table(name)
    with pytest.raises(DatabaseError, match="denied_tables"):
        shelf.block_made.table(f"public.{name}")


@pytest.mark.parametrize("query", ["DELETE FROM run", "UPDATE task SET name = 'x'", "CREATE TABLE x (a int)"])
def test_nothing_can_be_written(shelf: Shelf, query: str) -> None:
    with pytest.raises((DatabaseError, sa.exc.DBAPIError)):
        rows(shelf.block_made, query)
    with pytest.raises(sa.exc.DBAPIError), shelf.block_made.engine().begin() as connection:
        connection.exec_driver_sql(query)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT set_config('role', 'postgres', false), query_to_xml('SELECT * FROM user_account', true, true, '')",
        "SELECT query_to_xml('SELECT * FROM user_account', true, true, '')",
        "SELECT set_config('session_authorization', 'postgres', false)",
        "SELECT * FROM pg_read_file('PG_VERSION')",
        "SELECT rolpassword FROM pg_authid",
    ],
)
def test_on_postgresql_it_is_the_login_that_may_not(postgres: Engine, monkeypatch: Any, query: str) -> None:
    monkeypatch.setenv("HEADWAY_DATABASE_URL", url_of(postgres))
    shelf = Shelf()
    keep_ledger_block(shelf)
    assert shelf.url.username == f"headway_ledger_{postgres.url.database}"
    with pytest.raises(DatabaseError, match="permission denied"):
        rows(shelf.block_made, query)


def test_a_second_deploy_changes_nothing_and_keeps_the_password(shelf: Shelf) -> None:
    before = dict(shelf.fields or {})
    assert not keep_ledger_block(shelf)
    assert shelf.fields == before


def test_a_table_of_a_later_version_can_be_read_after_the_deploy(postgres: Engine, monkeypatch: Any) -> None:
    monkeypatch.setenv("HEADWAY_DATABASE_URL", url_of(postgres))
    shelf = Shelf()
    keep_ledger_block(shelf)
    with postgres.begin() as connection:
        connection.exec_driver_sql(f"REVOKE ALL ON run FROM headway_ledger_{postgres.url.database}")
    with pytest.raises(DatabaseError, match="permission denied"):
        rows(shelf.block_made, "SELECT * FROM run")
    assert not keep_ledger_block(shelf)
    assert rows(shelf.block_made, "SELECT count(*) FROM run") == [(0,)]


def test_it_follows_the_database(shelf: Shelf, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_DATABASE_URL", f"sqlite:///{tmp_path / 'other.db'}")
    assert keep_ledger_block(shelf)
    assert shelf.url.database == str(tmp_path / "other.db")


def test_a_login_that_somebody_put_there_stays_and_so_do_further_tables(shelf: Shelf) -> None:
    assert shelf.fields is not None
    shelf.fields["denied_tables"] = [*DENIED_TABLES, "audit"]
    if shelf.url.get_backend_name() == "postgresql":
        shelf.fields["url"] = shelf.url.set(username="reports").render_as_string(hide_password=False)
    before = dict(shelf.fields)
    keep_ledger_block(shelf)
    assert shelf.fields == {**before, "denied_tables": sorted(before["denied_tables"])}


def test_where_no_login_can_be_made_sql_that_somebody_wrote_is_refused(
    plain_login: str, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf()
    keep_ledger_block(shelf)
    assert shelf.url.username == plain_login
    assert "plain may not create roles" in caplog.text
    block = shelf.block_made
    for query in ("SELECT * FROM run", "SELECT query_to_xml('SELECT * FROM user_account', true, true, '')"):
        with pytest.raises(
            DatabaseError, match="could read sign_in_session, sign_in_throttle, user_account, user_grant"
        ):
            rows(block, query)
        assert block.count(query) is None
    with pytest.raises(DatabaseError, match="denied_tables"), block.stream(sa.text("SELECT * FROM run")):
        pass
    run = block.table("run")
    with block.stream(sa.select(run.c.id)) as stream:
        assert list(stream.batches) == []
    for name in ("pg_catalog.pg_stats", "pg_stats", "information_schema.columns"):  # shows values of any table
        with pytest.raises(DatabaseError, match="denied_tables"):
            block.table(name)


def test_a_member_of_a_role_that_may_read_counts_as_one_that_may(plain_login: str, postgres: Engine) -> None:
    """It could change its role by a query."""
    with postgres.begin() as connection:
        for line in ("DROP ROLE IF EXISTS member", "CREATE ROLE member LOGIN NOINHERIT", "GRANT plain TO member"):
            connection.exec_driver_sql(line)
    url = url_of(postgres).replace("postgres:", "member:", 1)
    block = Database(url=url, read_only=True, denied_tables=list(DENIED_TABLES))  # type: ignore[arg-type]
    with pytest.raises(DatabaseError, match="could read"):
        rows(block, "SELECT 1")
