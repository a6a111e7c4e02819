"""The block of the operations database: made, migrated, followed, and left alone where it is somebody else's."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from headway.errors import InvalidInput, Unreachable
from headway.models.operations.database import VERSION_TABLE
from headway.scheduler.prefect_side.operations_block import VARIABLE, keep_operations_block, warn_of_a_superuser
from tests.support.databases import url_of


class FakeBlocks:
    def __init__(self) -> None:
        self.fields: dict[str, Any] | None = None
        self.saved = 0

    def block(self, type_slug: str, name: str, *, secrets: bool = False) -> dict[str, Any] | None:
        return self.fields

    def save_block(self, type_slug: str, name: str, fields: dict[str, Any]) -> str:
        self.fields, self.saved = dict(fields), self.saved + 1
        return "id"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADWAY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path / "home"


def tables(path: Path) -> set[str]:
    database = sqlite3.connect(path)
    try:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    finally:
        database.close()


def test_a_new_installation_has_its_own_file(home: Path) -> None:
    blocks = FakeBlocks()
    keep_operations_block(blocks)
    assert blocks.fields == {"url": f"sqlite:///{home / 'operations.db'}"}
    assert {"campaign", VERSION_TABLE} <= tables(home / "operations.db")
    assert (home / "operations.db").stat().st_mode & 0o077 == 0
    keep_operations_block(blocks)
    assert blocks.saved == 1


def test_an_older_database_of_ours_is_migrated(home: Path) -> None:
    blocks = FakeBlocks()
    keep_operations_block(blocks)
    database = sqlite3.connect(home / "operations.db")
    (newest,) = database.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()
    for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        if not name.startswith("sqlite_"):
            database.execute(f'DROP TABLE "{name}"')
    database.execute(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL)")  # as before the first one
    database.commit()
    database.close()
    keep_operations_block(blocks)
    database = sqlite3.connect(home / "operations.db")
    assert database.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone() == (newest,)
    database.close()
    assert "campaign" in tables(home / "operations.db")


def test_it_follows_a_home_that_was_moved(home: Path) -> None:
    blocks = FakeBlocks()
    keep_operations_block(blocks)
    blocks.fields = {"url": "sqlite:////somewhere/before/operations.db", "read_only": False}
    keep_operations_block(blocks)
    assert blocks.fields == {"url": f"sqlite:///{home / 'operations.db'}", "read_only": False}


def test_a_database_that_somebody_chose_is_left_as_it_is(home: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "business.db"
    database = sqlite3.connect(theirs)
    database.execute("CREATE TABLE lots (code TEXT)")
    database.commit()
    database.close()
    blocks = FakeBlocks()
    blocks.fields = {"url": f"sqlite:///{theirs}"}
    keep_operations_block(blocks)
    assert blocks.saved == 0 and tables(theirs) == {"lots"} and not (home / "operations.db").exists()


def test_the_variable_names_another(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = FakeBlocks()
    keep_operations_block(blocks)
    monkeypatch.setenv(VARIABLE, f"sqlite:///{tmp_path / 'shared.db'}")
    keep_operations_block(blocks)
    assert blocks.fields == {"url": f"sqlite:///{tmp_path / 'shared.db'}"}
    assert "campaign" in tables(tmp_path / "shared.db")
    monkeypatch.setenv(VARIABLE, "nonsense")
    with pytest.raises(InvalidInput, match=VARIABLE):
        keep_operations_block(blocks)
    monkeypatch.setenv(VARIABLE, "postgresql://nobody:secret@127.0.0.1:1/none")
    with pytest.raises(Unreachable) as refused:
        keep_operations_block(blocks)
    assert "secret" not in str(refused.value)


def test_any_database_may_be_named(home: Path, empty_database: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    url = empty_database.url.render_as_string(hide_password=False)
    monkeypatch.setenv(VARIABLE, url.replace("postgresql+psycopg://", "postgresql://"))
    blocks = FakeBlocks()
    keep_operations_block(blocks)
    assert blocks.fields == {"url": url} and sa.inspect(empty_database).has_table("campaign")


def test_a_login_that_is_a_superuser_is_warned_of(postgres: sa.Engine, caplog: pytest.LogCaptureFixture) -> None:
    with postgres.begin() as connection:
        connection.exec_driver_sql("DROP ROLE IF EXISTS data")
        connection.exec_driver_sql("CREATE ROLE data LOGIN")
    warn_of_a_superuser(url_of(postgres).replace("postgres:", "data:", 1))
    assert not caplog.text
    warn_of_a_superuser(url_of(postgres))
    assert "is a superuser of PostgreSQL" in caplog.text and "docs/howto/deployment.md" in caplog.text
