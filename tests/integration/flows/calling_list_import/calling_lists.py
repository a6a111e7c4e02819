"""What the tests of calling_list_import share: the sample world's list, its file, and what is in the database."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from headway.blocks.database.block import Database
from headway.flows.calling_list_import import flow as module
from headway.flows.calling_list_import.flow import calling_list_import
from headway.models.operations.database import operations_engine
from tests.support.flow_world import Ran, run
from tests.support.sftp_faults import FaultServer

LIST = "Overdue November"  # the sample world's: ten records, key and required field account
HEAD = "account,first_name,last_name,balance,phone,phone_2,state,postal_code\n"
FILE = (
    HEAD + "C000003,Ada,Ito,12.50,(212) 555-0101,,NJ,07102\n"
    'C000900,"Ben ""B""",Chen,7.00,212.555.0102,+44 20 7946 0018,NY,12203\n'
)


def _with(world: Database, importer: FaultServer, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    monkeypatch.setattr(module.load_rows, "retry_delay_seconds", 0)
    world.save("operations", overwrite=True)
    return importer


def put(server: FaultServer, text: str | bytes, name: str = "people.csv") -> Path:
    path = server.folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def names(server: FaultServer) -> list[str]:
    return sorted(str(path.relative_to(server.folder)) for path in server.folder.rglob("*") if path.is_file())


def rows(world: Database, query: str) -> list[dict[str, Any]]:
    with world.reading() as connection:
        return [dict(row) for row in connection.execute(sa.text(query)).mappings()]


def changed(world: Database, statement: str) -> None:
    engine = operations_engine(world.url.get_secret_value())
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def people(world: Database, name: str = LIST) -> dict[str, dict[str, Any]]:
    """The list's records by key, each with its phone numbers by position."""
    with world.reading() as connection:
        tables = sa.MetaData()
        tables.reflect(connection, only=["record", "calling_list"])
        record, calling_list = (tables.tables[one] for one in ("record", "calling_list"))
        theirs = sa.select(record).join(calling_list, calling_list.c.uid == record.c.list_uid)
        found = [dict(row) for row in connection.execute(theirs.where(calling_list.c.name == name)).mappings()]
        for row in found:
            row["phones"] = {position: number for position, number in enumerate(row["phones"], 1) if number}
    kept = ("account", "state", "postal_code", "fields", "phones")
    return {row["key"]: {name: row[name] for name in kept} for row in found}


def loads(world: Database) -> list[tuple[object, ...]]:
    found = rows(world, "SELECT * FROM file_load ORDER BY uid")
    keys = ("task_type", "target", "file_name", "bytes", "processed", "errors", "duplicates", "error_file")
    return [tuple(one[key] for key in keys) for one in found]


def archive(world: Database) -> list[tuple[object, ...]]:
    with world.reading() as connection:
        table = sa.Table("result_archive", sa.MetaData(), autoload_with=connection)
        found = connection.execute(sa.select(table).order_by(table.c.uid)).mappings()
        keys = ("list_name", "campaign_name", "record_key", "fields", "result", "attempts")
        return [tuple(one[key] for key in keys) for one in found]


def load(**parameters: object) -> Ran:
    return run(calling_list_import, **({"calling_list": LIST, "file_name": "people.csv"} | parameters))


def error_rows(server: FaultServer, name: str = "people_error.csv") -> list[list[str]]:
    text = (server.folder / name).read_text(encoding="utf-8", errors="surrogateescape")
    return list(csv.reader(io.StringIO(text, newline="")))
