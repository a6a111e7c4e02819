"""data_export against a real SFTP server, real databases and a real Prefect."""

import csv
import hashlib
import io
from pathlib import Path

import openpyxl
import pytest
import sqlalchemy as sa
from prefect.testing.utilities import prefect_test_harness

from blocks.database import Database, DatabaseError
from flows.data_export import data_export
from flows.delivery import deliver
from models.operations_db import operations_engine
from tests import flow_world
from tests.flow_world import Importer, Ran


@pytest.fixture(scope="module")
def prefect():
    with prefect_test_harness(server_startup_timeout=60):
        yield


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    with flow_world.running_postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request, tmp_path_factory) -> Database:
    """The sample world with 300 citations, on both databases."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('operations') / 'operations.db'}"
    else:
        url = flow_world.fresh_postgres_database(request.getfixturevalue("postgres"), "export")
    return flow_world.operations_world(url, citations=300)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with flow_world.running_importer(tmp_path_factory.mktemp("sftp")) as importer:
        yield importer


@pytest.fixture
def importer(prefect, server, database) -> Importer:
    """The importer, its folder empty, and the blocks that tasks use by default."""
    for path in server.folder.iterdir():
        path.unlink()
    server.block().save("importer", overwrite=True)
    database.save("operations", overwrite=True)
    return server


def delivered(importer: Importer) -> list[str]:
    return sorted(path.name for path in importer.folder.iterdir())


def completed(ran: Ran) -> Ran:
    assert ran.ended == "COMPLETED", ran.message
    return ran


def test_a_table_lands_at_the_importer_path(importer):
    ran = completed(flow_world.run(data_export, table="citation", file_name="citations.csv"))
    data = (importer.folder / "citations.csv").read_bytes()
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    assert (len(rows), rows[0][0], rows[1][0], rows[-1][0]) == (301, "uid", "1", "300")
    assert ran.result is not None
    assert (ran.result.processed, ran.result.errors, ran.result.bytes) == (300, 0, len(data))
    assert ran.message == ran.result.summary == f"300 rows in citations.csv, {len(data):,} bytes delivered"
    assert [file["sha256"] for file in ran.result.files] == [hashlib.sha256(data).hexdigest()]


def test_both_databases_give_the_same_bytes(importer):
    """One digest for SQLite and PostgreSQL: instants, numbers, accents and quotes included."""
    completed(flow_world.run(data_export, table="citation", file_name="c.csv"))
    assert hashlib.sha256((importer.folder / "c.csv").read_bytes()).hexdigest() == EXPECTED_DIGEST


EXPECTED_DIGEST = "?"
