"""The shipped reports on real databases: right by hand, or by a second reckoning, and the same on both."""

import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from headway.blocks.database.block import Database
from headway.flows.report_execution.catalog import catalog
from headway.models.operations.tables import Attempt, Citation, Lot, Permit
from tests.support.databases import PostgresForTests, url_of
from tests.support.flow_world import operations_world
from tests.support.report_world import NEW_YORK, fill_ledger, table

pytest_plugins = ["tests.support.flow_world"]

IN_NOVEMBER = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)  # an hour after the sample world's now


@pytest.fixture
def ledger(database: Engine) -> Database:
    """A ledger with known runs, read as reports read it; on SQLite and on PostgreSQL."""
    fill_ledger(database)
    return Database(url=url_of(database), read_only=True)


def test_task_runs_by_type_and_result(ledger: Database) -> None:
    rows = table("task_runs", ledger)
    assert [(row["type"], row["result"], row["runs"], row["processed"], row["errors"]) for row in rows] == [
        ("data_export", "Completed", "2", "400", "0"),
        ("data_export", "Execution failed", "1", "0", "0"),
        ("lookup_import", "Completed", "1", "0", "0"),
        ("lookup_import", "Completed - With Errors", "1", "0", "2"),
        ("Total", "", "5", "400", "2"),
    ]
    assert (rows[0]["average_seconds"], rows[0]["total_seconds"], rows[0]["size_kb"]) == ("0:20:00", "0:40:00", "3")


def test_todays_run_in_progress_has_no_time_yet(ledger: Database) -> None:
    (row, _) = table("task_runs", ledger, period="today")
    assert (row["result"], row["runs"], row["average_seconds"]) == ("In progress", "1", "")


def test_slowest_tasks(ledger: Database) -> None:
    rows = table("slowest_tasks", ledger, top=2)
    assert [(row["task"], row["runs"], row["longest"], row["longest_at"]) for row in rows] == [
        ("Citations export", "3", "0:30:00", "2026-11-22 09:02:00 EST"),
        ("Nightly purge", "1", "0:10:00", "2026-11-22 23:30:00 EST"),
    ]
    assert rows[0]["times_average"] == "2.2"  # 30 min of (10 + 30 + 1) / 3


def test_waiting_times(ledger: Database) -> None:
    rows = table("waiting_times", ledger)
    facts = [(row["task"], row["runs"], row["waited"], row["waited_share"], row["longest"]) for row in rows]
    assert facts[0] == ("Citations export", "3", "1", "33.3%", "0:02:00")
    assert facts[-1] == ("Total", "5", "1", "", "")


def test_window_use(ledger: Database) -> None:
    rows = {row["name"]: row for row in table("window_use", ledger, period="2026-11-22 to 2026-11-23")}
    daily, monday = rows["Daily maintenance"], rows["Monday maintenance"]
    assert (daily["runs"], daily["required"], daily["seconds"]) == ("1", "1", "0:01:30")
    assert daily["hours"] == "05:00 - 06:00"
    assert (monday["runs"], monday["tasks"]) == ("1", "1")
    night = rows["Sunday night"]  # both runs, before midnight and after it
    assert (night["runs"], night["required"], night["tasks"], night["released"]) == ("2", "0", "1", "1")


def test_a_window_that_nobody_used_is_there(ledger: Database) -> None:
    rows = table("window_use", ledger, period="2026-01-01 to 2026-01-02")
    assert [row["runs"] for row in rows] == ["0", "0", "0", "0"]
    assert rows[-1]["name"] == "Total"


def selected(world: Database, model: type) -> list[sa.Row]:
    with world.reading() as connection:
        return list(connection.execute(sa.select(model.__table__)))


def test_citations_by_lot_agree_with_the_tickets(world: Database) -> None:
    begin, end = (datetime(2026, 10, 1, 4, tzinfo=UTC), datetime(2026, 11, 1, 4, tzinfo=UTC))  # October in New York
    names = {lot.uid: lot.name for lot in selected(world, Lot)}
    tickets = [one for one in selected(world, Citation) if begin <= one.issued_at < end]
    expected = Counter(names[one.lot_uid] for one in tickets)
    rows = table("citations_by_lot", world, due=IN_NOVEMBER)
    assert {row["lot"]: int(row["citations"]) for row in rows[:-1]} == dict(expected)
    assert rows[-1]["fines"] == f"{sum(one.fine_cents for one in tickets) / 100:,.2f}"
    assert rows[-1]["paid"] == f"{sum(one.paid_cents for one in tickets) / 100:,.2f}"


def test_citations_of_one_status(world: Database) -> None:
    everything = table("citations_by_lot", world, due=IN_NOVEMBER)[-1]["citations"]
    each = [
        int(table("citations_by_lot", world, due=IN_NOVEMBER, status=status)[-1]["citations"])
        for status in ("open", "paid", "appealed", "void")
    ]
    assert sum(each) == int(everything) and min(each) < int(everything)


@pytest.mark.parametrize("day_start", [time(0), time(4)])
def test_a_campaign_by_statistical_days(world: Database, day_start: time) -> None:
    shift = timedelta(hours=day_start.hour)
    begin, end = datetime(2026, 11, 13, tzinfo=NEW_YORK) + shift, datetime(2026, 11, 20, tzinfo=NEW_YORK) + shift
    attempts = [one for one in selected(world, Attempt) if begin <= one.started_at < end]
    expected = Counter((one.started_at.astimezone(NEW_YORK) - shift).date().isoformat() for one in attempts)
    rows = table("campaign_in_time", world, due=IN_NOVEMBER, day_start=day_start)
    found: Counter[str] = Counter()
    for row in rows[:-1]:
        found[row["slot"]] += int(row["attempts"])
    assert found == expected and len(found) >= 2
    dialled = sum(one.is_call_attempt for one in attempts)
    answered = sum(one.answered_seconds > 0 for one in attempts)
    assert (rows[-1]["dialled"], rows[-1]["answered"]) == (f"{dialled:,}", f"{answered:,}")


def test_a_campaign_by_hours_of_the_day(world: Database) -> None:
    rows = table("campaign_in_time", world, due=IN_NOVEMBER, by="hour", campaign="Permit renewals")
    assert {row["campaign"] for row in rows[:-1]} == {"Permit renewals"}
    begin, end = (datetime(2026, 11, day, tzinfo=NEW_YORK) for day in (13, 20))
    hours = {
        f"{one.started_at.astimezone(NEW_YORK):%H}:00"
        for one in selected(world, Attempt)
        if one.campaign_uid == 2 and begin <= one.started_at < end
    }
    assert {row["slot"] for row in rows[:-1]} == hours


def test_dispositions_share_what_was_tried(world: Database) -> None:
    rows = table("dispositions", world, due=IN_NOVEMBER)
    assert {row["kind"] for row in rows} == {"record", "call"}
    calls = [row for row in rows if (row["campaign"], row["kind"]) == (rows[0]["campaign"], "call")]
    of_one = [float(row["share"].rstrip("%")) for row in calls]
    assert len(of_one) == 3 and sum(of_one) == pytest.approx(100, abs=0.2)


def test_permits_that_end_within_30_days(world: Database) -> None:
    today = IN_NOVEMBER.astimezone(NEW_YORK).date()
    expected = {
        one.number: (one.valid_to - today).days
        for one in selected(world, Permit)
        if one.status == "active" and today <= one.valid_to <= today + timedelta(days=30)
    }
    rows = table("permits_expiring", world, due=IN_NOVEMBER)
    assert {row["number"]: int(row["days_left"]) for row in rows[:-1]} == expected and expected


def test_every_shipped_report_says_the_same_on_both_databases(
    sqlite: Engine, postgres: Engine, postgres_server: PostgresForTests, tmp_path: Path
) -> None:
    fill_ledger(sqlite)
    fill_ledger(postgres)
    worlds = [f"sqlite:///{tmp_path / 'operations.db'}", url_of(postgres_server.empty())]
    ledgers = [Database(url=url_of(engine)) for engine in (sqlite, postgres)]
    places = {"ledger": ledgers, "operations": [operations_world(url, citations=200, records=100) for url in worlds]}
    for report in catalog().reports.values():
        period = {"period": "2026-10-25 to 2026-11-24"} if "period" in report.about.parameters else {}
        where = places[report.about.database]
        one, other = (table(report.name, database, due=IN_NOVEMBER, **period) for database in where)
        assert one == other and one, report.name


def test_enough_are_shipped_and_each_is_sound() -> None:
    assert len(catalog().reports) >= 6
    assert catalog().problems == []


def test_a_bound_value_reaches_the_database_as_it_is(world: Database) -> None:
    value = "O'Neil; DROP TABLE lot -- 100 %s :x {{ y }}"
    query = sa.text("SELECT CAST(:a AS text) AS a, '5%' AS b").bindparams(a=value)
    with world.stream(query) as stream:
        assert [tuple(row) for batch in stream.batches for row in batch] == [(value, "5%")]


MEASURE = """
import sys
from pathlib import Path
from zoneinfo import ZoneInfo
from headway.blocks.database.block import Database
from headway.flows.report_execution.cells import Totals, shown_columns
from headway.flows.report_execution.definitions import FrontMatter, Report
from headway.flows.report_execution.sql import statement
from headway.flows.report_execution.csv_and_xlsx import CsvOutput
url, rows, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
series = ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {0}) SELECT i FROM n" if
          url.startswith("sqlite") else "SELECT i FROM generate_series(1, {0}) AS n(i)").format(rows)
database = Database(url=url)
with database.stream(statement(series, database.dialect, {})) as stream:
    report = Report(name="r", path=folder, about=FrontMatter(title="R"), sql="", template=None)
    columns = shown_columns(report, stream.columns, ZoneInfo("UTC"))
    output, totals = CsvOutput(folder / "r.csv", columns), Totals(columns)
    for batch in stream.batches:
        for row in batch:
            values = [one.read(value, 1) for one, value in zip(columns, row)]
            totals.add(values)
            output.add(values)
    output.finish(totals)
assert totals.rows == rows
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""


def test_memory_does_not_grow_with_a_reports_rows(world: Database, tmp_path: Path) -> None:
    def peak_megabytes(rows: int) -> int:
        command = [sys.executable, "-c", MEASURE, world.url.get_secret_value(), str(rows), str(tmp_path)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert peak_megabytes(300_000) < peak_megabytes(5_000) + 15
