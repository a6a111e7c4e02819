"""report_execution with a real Prefect, real databases, an SFTP and a mail server; what arrives is opened."""

import email
import email.policy
import io
import logging
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import openpyxl
import pypdfium2
import pytest
from prefect.client.schemas.objects import FlowRun

from headway.blocks.database.block import Database
from headway.flows.report_execution import catalog
from headway.flows.report_execution.delivery import put
from headway.flows.report_execution.flow import report_execution, write_report
from headway.scheduler.planning.definitions.task_types import prefect_yaml, types_in
from tests.support.flow_world import Ran, labelled, run
from tests.support.mail_server import MailServer
from tests.support.sftp_faults import FaultServer

pytest_plugins = ["tests.support.flow_world", "tests.support.mail_server"]

MAIL = {"to": ["ops@example.com"], "cc": ["lead@example.com"], "bcc": ["audit@example.com"], "subject": "Weekly"}
OCTOBER = {"period": "2026-10-01 to 2026-10-31"}


@pytest.fixture
def sftp(importer: FaultServer, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    """An SFTP server with a folder for reports."""
    for task in (put, write_report):
        monkeypatch.setattr(task, "retry_delay_seconds", 0)
    (importer.root / "reports").mkdir()
    return importer


@pytest.fixture
def places(sftp: FaultServer, mail_server: MailServer, world: Database) -> tuple[FaultServer, MailServer]:
    """Where reports go, and the sample world to read, on SQLite and on PostgreSQL."""
    world.save("operations", overwrite=True)
    return sftp, mail_server


@pytest.fixture
def small(sftp: FaultServer, mail_server: MailServer, tmp_path: Path) -> tuple[FaultServer, MailServer]:
    """The same with an empty SQLite database, where it makes no difference."""
    (tmp_path / "small.db").touch()
    Database(url=f"sqlite:///{tmp_path / 'small.db'}").save("operations", overwrite=True)
    return sftp, mail_server


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for reports of the test's own."""
    folder = tmp_path / "reports"
    folder.mkdir()
    monkeypatch.setenv("HEADWAY_REPORTS", str(folder))
    return folder


def report(folder: Path, sql: str, front: str = "title: Mine") -> None:
    (folder / "mine.sql").write_text(f"/*\n{front}\n*/\n{sql}\n", encoding="utf-8")


def parsed(server: MailServer) -> EmailMessage:
    (mail,) = server.mails
    message = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def files(server: FaultServer) -> list[str]:
    return sorted(path.name for path in (server.root / "reports").iterdir())


def flow_run(labels: dict[str, str]) -> FlowRun:
    return labelled(report_execution, labels)


DUE = {"headway.due": "2026-11-20T22:00:00+00:00", "headway.zone": "America/New_York", "headway.object": ""}


def test_a_pdf_by_mail_and_over_sftp(places: tuple[FaultServer, MailServer]) -> None:
    server, post = places
    ran = run(report_execution, report="citations_by_lot", values=OCTOBER, mail=MAIL, sftp={}, file_name="lots.pdf")
    result = ran.done()
    assert (result.processed, result.errors) == (5, 0)
    content = (server.root / "reports" / "lots.pdf").read_bytes()
    text = pypdfium2.PdfDocument(content)[0].get_textpage().get_text_range()
    assert "Citations by lot" in text and "Harbor garage" in text and "1 / 1" in text
    message = parsed(post)
    assert (message["Subject"], message["To"], message["Cc"], message["Bcc"]) == (
        "Weekly", "ops@example.com", "lead@example.com", None,
    )  # fmt: skip
    assert post.mails[0].recipients == ["ops@example.com", "lead@example.com", "audit@example.com"]
    (attached,) = message.iter_attachments()
    assert (attached.get_filename(), attached.get_content_type()) == ("lots.pdf", "application/pdf")
    assert attached.get_content() == content
    body = message.get_body(("plain",)).get_content()
    assert "Citations by lot" in body and "Rows: 5" in body and "Attached: lots.pdf" in body
    assert result.bytes == len(content) + len(post.mails[0].content)
    assert [one["name"] for one in ran.receipts] == ["lots.pdf", "Weekly"] and ran.receipts == result.files
    assert result.summary.startswith("Citations by lot: 5 rows, delivered as lots.pdf and mailed to 3, ")
    assert ran.progress == sorted(ran.progress) and ran.progress[-1] == 100


@pytest.mark.parametrize("format", ["csv", "xlsx", "html"])
def test_other_formats(places: tuple[FaultServer, MailServer], format: str) -> None:
    server, _ = places
    ran = run(report_execution, report="citations_by_lot", values=OCTOBER, sftp={}, format=format, file_name="lots")
    assert ran.done().processed == 5
    content = (server.root / "reports" / f"lots.{format}").read_bytes()
    if format == "xlsx":
        sheet = openpyxl.load_workbook(io.BytesIO(content), data_only=True)["Report"]
        assert sheet.max_row == 7 and sheet["A7"].value == "Total"
        assert sheet["C7"].value == sum(sheet[f"C{row}"].value for row in range(2, 7))
    else:
        assert content.decode().count("Harbor garage") == 1


def test_the_table_in_the_body(places: tuple[FaultServer, MailServer]) -> None:
    _, post = places
    run(report_execution, report="citations_by_lot", values=OCTOBER, mail=MAIL, body="table", file_name="x").done()
    message = parsed(post)
    assert list(message.iter_attachments()) == []
    html = message.get_body(("html",)).get_content()
    assert html.count("<tr>") == 7 and "Harbor garage" in html


def test_both_the_table_and_the_attachment(places: tuple[FaultServer, MailServer]) -> None:
    _, post = places
    run(
        report_execution, report="citations_by_lot", values=OCTOBER, mail=MAIL, body="both", format="csv", file_name="x"
    ).done()
    message = parsed(post)
    assert "Harbor garage" in message.get_body(("html",)).get_content()
    assert [one.get_filename() for one in message.iter_attachments()] == ["x.csv"]


def test_a_ledger_report_reads_the_block_ledger(database: Any, small: tuple[FaultServer, MailServer]) -> None:
    from tests.support.databases import url_of
    from tests.support.report_world import fill_ledger

    fill_ledger(database)
    Database(url=url_of(database), read_only=True).save("ledger", overwrite=True)
    server, _ = small
    labels = {**DUE, "headway.due": "2026-11-23T12:00:00+00:00"}
    ran = run(
        report_execution,
        flow_run(labels),
        report="task_runs",
        sftp={},
        format="csv",
        file_name="runs",
    )
    assert ran.done().processed == 4
    lines = (server.root / "reports" / "runs.csv").read_text(encoding="utf-8-sig").splitlines()
    assert lines[1].startswith("data_export,Completed,2,400,0,")


# ------------------------------------------------------------------ due, zone, object

WHEN = "SELECT CAST(:p_from AS text) AS a, CAST(:p_to AS text) AS b, :timezone AS zone"
FRAME = "title: When\nparameters: {p: {type: time frame, default: yesterday}}"


def when(small: tuple[FaultServer, MailServer], made: Any = None, **parameters: Any) -> str:
    ran = run(report_execution, made, report="mine", sftp={}, format="csv", file_name="w", **parameters)
    ran.done()
    return (small[0].root / "reports" / "w.csv").read_text(encoding="utf-8-sig").splitlines()[1]


def test_time_frames_are_of_the_due_instant_in_the_tasks_zone(small: Any, own: Path) -> None:
    report(own, WHEN, FRAME)
    assert when(small, flow_run(DUE)) == "2026-11-19 05:00:00.000000,2026-11-20 05:00:00.000000,America/New_York"


def test_zone_and_start_of_the_day_may_be_set(small: Any, own: Path) -> None:
    report(own, WHEN, FRAME)
    line = when(small, flow_run(DUE), timezone="Europe/Berlin", day_start="04:00")
    assert line == "2026-11-19 03:00:00.000000,2026-11-20 03:00:00.000000,Europe/Berlin"


def test_in_plain_prefect_it_is_the_time_the_flow_run_was_scheduled_for(small: Any, own: Path) -> None:
    report(own, WHEN, FRAME)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    line = when(small, values={"p": "today"})
    assert line.startswith(f"{today} 00:00:00.000000,") and line.endswith(",UTC")


def test_the_tasks_object_may_name_the_report(places: tuple[FaultServer, MailServer]) -> None:
    made = flow_run({**DUE, "headway.object": "Citations by lot"})
    ran = run(report_execution, made, sftp={}, file_name="o", format="csv")
    assert ran.done().summary.startswith("Citations by lot: 5 rows")


# ------------------------------------------------------------------ few rows, many rows


@pytest.mark.parametrize(("on_empty", "sent"), [("send", 1), ("skip", 0)])
def test_an_empty_report(small: tuple[FaultServer, MailServer], own: Path, on_empty: str, sent: int) -> None:
    server, post = small
    report(own, "SELECT 1 AS a WHERE 1 = 0")
    result = run(report_execution, report="mine", mail=MAIL, sftp={}, on_empty=on_empty, file_name="e").done()
    assert (len(post.mails), len(files(server)), result.processed) == (sent, sent, 0)
    assert sent or result.summary == "Mine: no rows; nothing sent"


SERIES = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT i, 'row' AS t FROM n"


def test_a_limit_of_rows_is_told_in_the_file_and_in_the_log(small: tuple[FaultServer, MailServer], own: Path) -> None:
    server, _ = small
    report(own, SERIES)
    ran = run(report_execution, report="mine", mail=MAIL, sftp={}, body="both", row_limit=100, file_name="m.pdf")
    assert ran.done().processed == 3000
    assert "Only the first 100 of 3,000 rows are in the PDF file." in ran.lines(logging.WARNING)
    assert "Only the first 500 of 3,000 rows are in the mail's body." in ran.lines(logging.WARNING)
    document = pypdfium2.PdfDocument(server.root / "reports" / "m.pdf")
    text = document[len(document) - 1].get_textpage().get_text_range()
    assert "Only the first 100 of 3,000 rows are shown" in text


def test_csv_holds_every_row(small: tuple[FaultServer, MailServer], own: Path) -> None:
    server, _ = small
    report(own, SERIES)
    run(report_execution, report="mine", sftp={}, row_limit=100, format="csv", file_name="m").done()
    assert len((server.root / "reports" / "m.csv").read_text(encoding="utf-8-sig").splitlines()) == 3001


# ------------------------------------------------------------------ refusals: a clear error, and nothing sent


def refused(small: tuple[FaultServer, MailServer], message: str, **parameters: Any) -> Ran:
    server, post = small
    defaults = {"report": "mine", "mail": MAIL, "sftp": {}, "file_name": "r"}
    ran = run(report_execution, **(defaults | parameters))
    assert ran.ended == "FAILED" and message in ran.message
    assert (files(server), post.mails) == ([], [])
    assert "Retrying" not in " ".join(ran.lines())  # trying again would change nothing
    return ran


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEC 1", 'near "SELEC": syntax error'),
        ("SELECT * FROM nowhere", "no such table: nowhere"),
        ("CREATE TABLE t (a)", "The query was refused, because it does more than read"),
        ("SELECT 1 AS a; DELETE FROM t", "one statement at a time"),
        ("SELECT :who", "Report 'mine' (mine.sql): its SQL uses :who, and there is no such parameter"),
    ],
)
def test_bad_sql(small: Any, own: Path, sql: str, message: str) -> None:
    report(own, sql)
    refused(small, message)


@pytest.mark.parametrize("sql", ["DELETE FROM lot", "DELETE FROM lot RETURNING uid", "UPDATE lot SET capacity = 0"])
def test_a_report_cannot_write(places: tuple[FaultServer, MailServer], world: Database, own: Path, sql: str) -> None:
    report(own, sql)
    refused(places, "The query was refused, because it does more than read")
    with world.stream("SELECT count(*), min(capacity) FROM lot") as stream:
        assert [tuple(row) for batch in stream.batches for row in batch] == [(5, 90)]


@pytest.mark.parametrize(
    ("front", "parameters", "message"),
    [
        ("title: Mine\nparameters: {a: {type: text}}", {}, "values.a is missing: report 'mine' needs it"),
        ("title: Mine", {"values": {"b": 1}}, "values.b: report 'mine' has no such parameter; it has: none"),
        ("title: Mine\nparameters: {p: {type: time frame}}", {"values": {"p": "soon"}}, "'soon' is not a time frame"),
        ("title: [", {}, "Report 'mine' (mine.sql): its front matter is not YAML"),
        ("title: Mine\ncolumns: {b: {}}", {}, "describes the column 'b', which the SELECT does not give"),
        ("title: Mine\ncolumns: {a: {format: date}}", {}, "Row 1, column 'a': 'x' cannot be shown as date"),
        ("title: Mine\ndatabase: nowhere", {}, "There is no database block 'nowhere'"),
        ("title: Mine", {"report": "yours"}, "There is no report 'yours'. There are: campaign_in_time"),
        ("title: Mine", {"report": "{object}"}, "Which report? Choose one in the parameter report"),
        ("title: Mine", {"timezone": "Mars/Olympus"}, "timezone: 'Mars/Olympus' is no IANA time zone"),
        ("title: Mine", {"file_name": "a_{dat}"}, "Unknown token {dat}"),
        ("title: Mine", {"mail": None, "sftp": None}, "The report has no destination: set mail"),
        ("title: Mine", {"sftp": {"block": "nowhere"}}, "There is no SFTP block 'nowhere'"),
        ("title: Mine", {"mail": {**MAIL, "block": "nowhere"}}, "There is no e-mail block 'nowhere'"),
        ("title: Mine", {"day_start": "24:00"}, "day_start"),
    ],
)
def test_what_cannot_be_done(small: Any, own: Path, front: str, parameters: dict[str, Any], message: str) -> None:
    report(own, "SELECT 'x' AS a", front)
    refused(small, message, **parameters)


def test_a_template_that_fails(small: Any, own: Path) -> None:
    report(own, "SELECT 'x' AS a")
    (own / "mine.html.j2").write_text("{{ nothing }}", encoding="utf-8")
    refused(small, "The template mine.html.j2: 'nothing' is undefined", format="html")


def test_a_folder_that_is_not_there(small: tuple[FaultServer, MailServer], own: Path) -> None:
    report(own, "SELECT 'x' AS a")
    refused(small, "/nowhere", sftp={"folder": "nowhere"})


# ------------------------------------------------------------------ servers with moods


def test_a_cut_connection_is_tried_again_and_the_mail_goes_once(small: Any, own: Path) -> None:
    server, post = small
    report(own, "SELECT 'x' AS a")
    server.inject("write")
    run(report_execution, report="mine", mail=MAIL, sftp={}, file_name="r.csv", format="csv").done()
    assert (files(server), len(post.mails)) == (["r.csv"], 1)
    assert server.behaviour.connections == 2


def test_a_refused_recipient_is_an_error_that_count_and_log_agree_on(small: Any, own: Path) -> None:
    _, post = small
    report(own, "SELECT 'x' AS a")
    post.refuse["lead@example.com"] = "550 no such user"
    ran = run(report_execution, report="mine", mail=MAIL, file_name="r")
    assert ran.done().errors == 1
    assert len(ran.lines(logging.ERROR)) == 1 and "lead@example.com" in ran.lines(logging.ERROR)[0]


def test_a_clash_with_a_shipped_name_is_a_warning_of_the_run(places: Any, own: Path) -> None:
    (own / "citations_by_lot.sql").write_text("/* title: Ours */ SELECT 1", encoding="utf-8")
    ran = run(report_execution, report="citations_by_lot", values=OCTOBER, sftp={}, file_name="r")
    assert ran.done().summary.startswith("Citations by lot")
    (warning,) = ran.lines(logging.WARNING)
    assert "is not used: a shipped one has that name" in warning


# ------------------------------------------------------------------ the type


def test_reports_share_a_group_so_two_due_at_once_run_one_after_the_other() -> None:
    types = types_in(prefect_yaml())
    assert types["report_execution"].group == "reports"
    assert types["task_error_report"].group == "reports"


def test_the_schema_offers_the_reports_and_their_parameters() -> None:
    schema = report_execution.parameters.model_dump()
    names = list(catalog.catalog().reports)
    assert schema["properties"]["report"]["enum"] == ["{object}", *names]
    assert set(schema["properties"]["values"]["schema_by"]["report"]) == {"{object}", *names}
    assert not schema.get("required")
