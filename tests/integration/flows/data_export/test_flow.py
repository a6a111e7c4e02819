"""data_export against real SFTP servers, real databases and a real Prefect."""

import csv
import hashlib
import io
import logging
import subprocess
import sys
from pathlib import Path

import asyncssh
import openpyxl
import pytest

from headway.blocks.database.block import Database
from headway.flows.data_export.flow import data_export
from tests.support.flow_world import run
from tests.support.sftp_faults import FaultServer

pytest_plugins = ["tests.support.flow_world"]

WORLD_DIGEST = "ab7a743f76eb64a20bf8c145612e98df756be3f65f5795b4488da55f44ad0365"
"""SHA-256 of the sample world's 300 citations as CSV."""


@pytest.fixture
def server(importer: FaultServer, world: Database, no_pauses: None) -> FaultServer:
    """The importer, with the sample world as block `operations`."""
    world.save("operations", overwrite=True)
    return importer


@pytest.fixture
def sqlite_server(importer: FaultServer, tmp_path: Path, no_pauses: None) -> FaultServer:
    """The importer, with a database of its own where what is tested is the same for every database."""
    path = tmp_path / "small.db"
    path.touch()
    Database(url=f"sqlite:///{path}").save("operations", overwrite=True)
    return importer


def names(server: FaultServer) -> list[str]:
    return sorted(path.name for path in server.folder.iterdir())


def content(server: FaultServer, name: str) -> str:
    return (server.folder / name).read_bytes().decode()


ONE_ROW = "SELECT 1 AS a, 'x' AS b"
NO_ROWS = "SELECT 1 AS a WHERE 1 = 0"


def test_a_table_lands_at_the_importer_path(server):
    ran = run(data_export, table="citation", file_name="citations.csv")
    result = ran.done()
    data = content(server, "citations.csv")
    rows = list(csv.reader(io.StringIO(data, newline="")))
    assert (len(rows), rows[0][0], rows[1][0], rows[-1][0]) == (301, "uid", "1", "300")
    assert names(server) == ["citations.csv"]
    size = len(data.encode())
    assert (result.processed, result.errors, result.bytes) == (300, 0, size)
    assert ran.message == result.summary == f"300 rows in citations.csv, {size:,} bytes delivered"
    assert [file["sha256"] for file in result.files] == [hashlib.sha256(data.encode()).hexdigest()]
    assert ran.receipts == result.files


def test_sqlite_and_postgresql_give_the_same_bytes(server):
    run(data_export, table="citation", file_name="c.csv").done()
    assert hashlib.sha256(content(server, "c.csv").encode()).hexdigest() == WORLD_DIGEST


def test_without_query_and_table_the_object_names_the_table(server):
    """The scheduler fills {object} in, and people call the table `citation` Citations."""
    assert run(data_export, table="Citations", file_name="by_object").done().processed == 300
    assert names(server) == ["by_object.csv"]


def test_openssh_takes_it_too(openssh, flow_prefect, tmp_path):
    (tmp_path / "small.db").touch()
    Database(url=f"sqlite:///{tmp_path / 'small.db'}").save("operations", overwrite=True)
    openssh.block().save("importer", overwrite=True)
    result = run(data_export, query=ONE_ROW, file_name="a.csv", ready_file=True).done()
    assert (openssh.folder / "a.csv").read_bytes() == b"a,b\r\n1,x\r\n"
    assert (openssh.folder / "a.csv.done").read_bytes() == b""
    assert [file["name"] for file in result.files] == ["a.csv", "a.csv.done"]


def test_a_query_reaches_the_database_as_it_is(server):
    """Percent signs, colons and comments are no placeholders of ours."""
    query = "SELECT '100 %s' AS a, ':b' AS b, count(*) AS n FROM citation WHERE number LIKE 'T%'; -- all"
    run(data_export, query=query, file_name="q.csv").done()
    assert content(server, "q.csv") == "a,b,n\r\n100 %s,:b,300\r\n"


def test_columns_and_order_of_a_table(server):
    run(
        data_export, table="lot", columns=["name", "code"], order_by=["capacity"], file_name="l.csv",
        csv={"separator": "tab", "line_end": "lf"},
    ).done()  # fmt: skip
    assert content(server, "l.csv").splitlines()[:3] == ["name\tcode", "Market square\tE", "Station lot\tB"]


def test_fixed_width(server):
    columns = [{"name": "code", "width": 3}, {"name": "capacity", "width": 5, "align": "right", "pad": "0"}]
    run(data_export, table="lot", file_name="l.txt", format="fixed_width", fixed_width={"columns": columns}).done()
    assert content(server, "l.txt").split("\r\n")[:2] == ["A  00420", "B  00180"]


def test_xlsx(server):
    run(data_export, table="permit", file_name="p.xlsx", format="xlsx", xlsx={"sheet": "Permits"}).done()
    sheet = openpyxl.load_workbook(server.folder / "p.xlsx")["Permits"]
    assert sheet.max_row == 151
    assert [cell.value for cell in sheet[1]][:2] == ["uid", "number"]
    assert sheet["F2"].is_date  # valid_from is a date, not a text


def test_the_ready_file_follows_the_data(sqlite_server):
    run(data_export, query=ONE_ROW, file_name="a.csv", ready_file=True).done()
    assert [Path(path).name for path in sqlite_server.behaviour.renames_to] == ["a.csv", "a.csv.done"]


@pytest.mark.parametrize(("on_empty", "expected"), [("deliver", ["a.csv"]), ("skip", [])])
def test_no_rows(sqlite_server, on_empty, expected):
    result = run(data_export, query=NO_ROWS, file_name="a.csv", on_empty=on_empty, ready_file=False).done()
    assert names(sqlite_server) == expected
    assert (result.processed, len(result.files)) == (0, len(expected))


def test_skipping_leaves_no_ready_file_either(sqlite_server):
    result = run(data_export, query=NO_ROWS, file_name="a.csv", on_empty="skip", ready_file=True).done()
    assert names(sqlite_server) == []
    assert result.summary == "No rows; nothing delivered"


def refused(server: FaultServer, message: str, **parameters: object) -> None:
    """The run fails at once with this reason, and nothing is delivered."""
    ran = run(data_export, **({"file_name": "a.csv"} | parameters))
    assert ran.ended == "FAILED"
    assert message in ran.message
    assert names(server) == []
    assert "Retrying" not in " ".join(ran.lines())  # trying again would change nothing


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"table": "lotz"}, "There is no table 'lotz'. Tables there: attempt"),
        ({"table": "lot", "columns": ["size"]}, "Table 'lot' has no column size. It has: uid, code"),
        ({"query": "SELECT a FROM nowhere"}, "nowhere"),
        ({"query": "DELETE FROM lot"}, ""),
    ],
)
def test_what_the_database_has_not_or_must_not_do_is_refused(server, parameters, message):
    refused(server, message, **parameters)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"query": " "}, "Nothing to export"),
        ({"query": " ", "table": " "}, "Nothing to export"),
        ({"query": ONE_ROW, "columns": ["a"]}, "columns and order_by belong to a table"),
        ({"query": ONE_ROW, "file_name": "a_{dat}.csv"}, "Unknown token {dat}"),
        ({"query": ONE_ROW, "file_name": "../a.csv"}, "file_name"),
        ({"query": ONE_ROW, "database": "nowhere"}, "There is no database block 'nowhere'"),
        ({"query": ONE_ROW, "csv": {"seperator": ";"}}, "seperator"),
        ({"query": ONE_ROW, "format": "fixed_width"}, "fixed_width.columns is empty"),
        (
            {
                "query": "SELECT 'four' AS a",
                "format": "fixed_width",
                "fixed_width": {"columns": [{"name": "a", "width": 3}]},
            },
            "Row 1, column 'a': 'four' is 4 characters wide",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(sqlite_server, parameters, message):
    refused(sqlite_server, message, **parameters)


def test_an_importer_without_a_path_is_refused(sqlite_server):
    sqlite_server.block(importer_path=None).save("importer", overwrite=True)
    ran = run(data_export, query=ONE_ROW, file_name="a.csv")
    assert ran.ended == "FAILED"
    assert "has no importer path" in ran.message


def test_a_cut_connection_is_tried_again(sqlite_server):
    sqlite_server.inject("write")
    result = run(data_export, query=ONE_ROW, file_name="a.csv").done()
    assert content(sqlite_server, "a.csv") == "a,b\r\n1,x\r\n"
    assert len(result.files) == 1
    assert sqlite_server.behaviour.connections == 2


def test_a_wrong_password_is_not_tried_again(sqlite_server):
    sqlite_server.block(password="Tr0ub4dor", attempts=1).save("importer", overwrite=True)
    ran = run(data_export, query=ONE_ROW, file_name="a.csv")
    assert ran.ended == "FAILED"
    assert sqlite_server.behaviour.connections == 1
    assert "refuses the login" in ran.message
    assert "Tr0ub4dor" not in " ".join([ran.message, *ran.lines(), *ran.lines(logging.ERROR)])


def test_the_receipt_is_known_even_if_the_run_dies_after_the_rename(sqlite_server, monkeypatch):
    """The server goes away for good before the ready file; that the data was delivered is in the log."""
    sqlite_server.block(attempts=1).save("importer", overwrite=True)
    sqlite_server.inject("rename", nth=2, effect="refuse", error=asyncssh.SFTPPermissionDenied("no"))
    ran = run(data_export, query=ONE_ROW, file_name="a.csv", ready_file=True)
    assert ran.ended == "FAILED"
    assert [receipt["name"] for receipt in ran.receipts] == ["a.csv"]


def test_progress_rises_to_the_end(server):
    ran = run(data_export, table="citation", file_name="c.csv")
    assert ran.progress == sorted(ran.progress)
    assert ran.progress[-1] == 100


def test_a_file_of_the_same_name_is_replaced(sqlite_server):
    for query in (ONE_ROW, "SELECT 2 AS a"):
        run(data_export, query=query, file_name="a.csv").done()
    assert content(sqlite_server, "a.csv") == "a\r\n2\r\n"


MEASURE = """
import sys
from pathlib import Path
from headway.blocks.database.block import Database
from headway.flows.shared.file_writers import *
url, rows, format, path = sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
series = ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {0}) SELECT i" if
          url.startswith("sqlite") else "SELECT i").format(rows)
source = " FROM n" if url.startswith("sqlite") else f" FROM generate_series(1, {rows}) AS n(i)"
query = series + ", 'Wałęsa ' || i AS name, 'a note with, a comma and some length to it' AS note" + source
with Database(url=url).stream(query) as stream:
    if format == "csv":
        done = write_csv(path, stream.columns, stream.batches, CsvOptions(), lambda done: None)
    else:
        done = write_xlsx(path, stream.columns, stream.batches, XlsxOptions(), lambda done: None)
assert done == rows, done
# Not getrusage: its peak includes what the parent had before exec.
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""


def peak_megabytes(url: str, rows: int, format: str, path: Path) -> int:
    """Most memory that a process of its own had resident while it wrote so many rows."""
    command = [sys.executable, "-c", MEASURE, url, str(rows), format, str(path)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_memory_does_not_grow_with_the_rows_of_a_csv_file(world, tmp_path):
    url = world.url.get_secret_value()
    small, large = (peak_megabytes(url, rows, "csv", tmp_path / "f") for rows in (5_000, 300_000))
    assert large < small + 15
    assert large < 300


def test_memory_does_not_grow_with_the_rows_of_a_workbook(tmp_path):
    (tmp_path / "small.db").touch()
    url = f"sqlite:///{tmp_path / 'small.db'}"
    small, large = (peak_megabytes(url, rows, "xlsx", tmp_path / "f") for rows in (5_000, 60_000))
    assert large < small + 15
