"""task_error_report against a real ledger on both databases, a real mail server and a real Prefect."""

import csv
import email
import io
import logging
import re
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema
from sqlalchemy import Engine

from headway.blocks.database.block import Database
from headway.flows.shared.mail import send_mail
from headway.flows.task_error_report import flow as module
from headway.flows.task_error_report import groups, page
from headway.flows.task_error_report.flow import task_error_report
from headway.models.ledger.database import writing
from headway.models.ledger.tables import RunFileRow, RunLogRow, RunRow, id_of
from headway.models.values.run import RunStatus, Trigger
from headway.scheduler.planning.definitions.parameters import problems_in
from headway.scheduler.prefect_side.ledger_block import keep_ledger_block
from tests.integration.prefect_side.test_ledger_block import Shelf
from tests.support.databases import url_of
from tests.support.flow_world import Ran, run
from tests.support.installation import Desk
from tests.support.kill_points import started_as
from tests.support.mail_server import MailServer

pytest_plugins = ["tests.support.flow_world", "tests.support.mail_server"]

MAIL = {"to": ["ops@example.com"], "subject": "Errors"}
Table = list[list[str]]


class _Tables(HTMLParser):
    """The page's tables by the heading before them, and the style of each cell."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, Table] = {}
        self.styles: dict[str, str] = {}
        self._name, self._cell, self._heading = "", False, False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._heading, self._cell = tag == "h2", tag == "td"
        if tag == "tr":
            self.tables.setdefault(self._name, []).append([])
        if tag == "td":
            self.tables[self._name][-1].append("")
            self._style = dict(attrs).get("style", "")
        assert tag not in ("script", "img", "b"), "text became markup"

    def handle_data(self, data: str) -> None:
        if self._heading and data.strip():
            self._name = data.rpartition(" (")[0]
        elif self._cell:
            self.tables[self._name][-1][-1] += data
            self.styles[data] = self._style

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag != "td"
        self._heading = self._heading and tag != "h2"


class Report:
    """A mail as somebody reads it."""

    def __init__(self, content: bytes) -> None:
        message = email.message_from_bytes(content, policy=default)
        assert isinstance(message, EmailMessage)
        self.message = message
        html = message.get_body(("html",))
        plain = message.get_body(("plain",))
        assert html is not None and plain is not None
        self.html, self.text = html.get_content(), plain.get_content()
        parser = _Tables()
        parser.feed(self.html)
        self.tables = {name: [row for row in rows if row] for name, rows in parser.tables.items()}
        self.styles = parser.styles
        (attachment,) = message.iter_attachments()
        self.csv_name = attachment.get_filename()
        data = attachment.get_payload(decode=True)
        assert isinstance(data, bytes)
        self.csv = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))

    def texts(self, section: str) -> list[str]:
        return [row[4] for row in self.tables.get(section, [])]


class Office:
    """A ledger with a task for the report and others to report about. Instants are in minutes before now."""

    def __init__(self, desk: Desk, server: MailServer) -> None:
        self.desk = desk
        self.server = server
        self.now = datetime.now(UTC)
        desk.tasks(
            "name: report, type: task_error_report",
            "name: a, type: job0",
            "name: b, type: job1",
            "name: c, type: job2, on_failure: continue",
        )
        self.numbers = iter(range(1, 1000))

    def ended(
        self,
        task: str,
        ago: float,
        *lines: str,
        status: RunStatus = RunStatus.COMPLETED,
        error: str | None = None,
        run_id: int | None = None,
    ) -> int:
        """A run of the task that ended so many minutes ago, with these error lines."""
        at = self.now - timedelta(minutes=ago)
        with writing(self.desk.engine) as session:
            row = self._row(task, at, status)
            row.id, row.ended_at, row.error, row.errors = run_id, at, error, len(lines)
            session.add(row)
            session.flush()
            for text in lines:
                line = RunLogRow(run_id=id_of(row), at=at - timedelta(seconds=1), level=logging.ERROR, message=text)
                session.add(line)
            session.add(RunLogRow(run_id=id_of(row), at=at, level=logging.INFO, message="all went well"))
            return id_of(row)

    def failed(self, task: str, ago: float, error: str, *lines: str, needs_reset: bool = False) -> int:
        run_id = self.ended(task, ago, *lines, status=RunStatus.FAILED, error=error)
        if needs_reset:
            self.desk.change(self.desk.task(task), failed_run_id=run_id)
        return run_id

    def running(self, task: str, ago: float, **facts: Any) -> int:
        with writing(self.desk.engine) as session:
            row = self._row(task, self.now - timedelta(minutes=ago), RunStatus.RUNNING)
            row.process_id = 4711
            session.add(row)
            session.flush()
            run_id = id_of(row)
        self.desk.change(self.desk.task(task), **facts)
        return run_id

    def _row(self, task: str, at: datetime, status: RunStatus) -> RunRow:
        found = self.desk.task(task)
        due = at - timedelta(days=400, seconds=next(self.numbers))
        return RunRow(
            task_uid=id_of(found),
            type=found.type,
            due_at=due,
            trigger=Trigger.SCHEDULE,
            status=status,
            created_at=at,
            started_at=at,
            sorted_at=at,
        )

    def report(self, run_id: int | None = None, ago: float = 0, **parameters: Any) -> Ran:
        """Run the report as run `run_id` of its task (a new one by default), which started so many minutes ago."""
        attempt = 2 if run_id else 1
        if run_id is None:
            with writing(self.desk.engine) as session:
                row = self._row("report", self.now - timedelta(minutes=ago), RunStatus.RUNNING)
                session.add(row)
                session.flush()
                run_id = id_of(row)
        self.run_id = run_id
        ran = run(
            task_error_report,
            flow_run=started_as(task_error_report, f"{run_id}:{attempt}"),
            **{"mail": MAIL, **parameters},
        )
        with writing(self.desk.engine) as session:
            for receipt in ran.receipts:  # as the scheduler does the moment it hears of one
                session.add(RunFileRow(run_id=run_id, at=self.now, name=receipt["name"], receipt=receipt))
            row = session.get(RunRow, run_id)
            assert row is not None
            ended = RunStatus.COMPLETED if ran.ended == "COMPLETED" else RunStatus.FAILED
            row.status, row.ended_at, row.error = ended, self.now, None if ran.ended == "COMPLETED" else ran.message
            session.add(row)
        return ran

    def mailed(self, **how: Any) -> Report:
        before = len(self.server.mails)
        self.report(**how).done()
        (mail,) = self.server.mails[before:]
        return Report(mail.content)


@pytest.fixture
def office(desk: Desk, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.setenv("HEADWAY_DATABASE_URL", url_of(desk.engine))
    monkeypatch.setattr(send_mail, "retry_delay_seconds", 0)
    monkeypatch.setattr(module.read_ledger, "retry_delay_seconds", 0)
    _save_ledger_block()
    return Office(desk, mail_server)


@pytest.fixture
def quick_office(sqlite: Engine, request: pytest.FixtureRequest) -> Office:
    """On SQLite only, for what is the same on both."""
    from tests.support.clock import FixedClock

    request.getfixturevalue("monkeypatch").setenv("HEADWAY_DATABASE_URL", url_of(sqlite))
    request.getfixturevalue("monkeypatch").setattr(send_mail, "retry_delay_seconds", 0)
    server = request.getfixturevalue("mail_server")
    _save_ledger_block()
    return Office(Desk(sqlite, FixedClock()), server)


def _save_ledger_block() -> None:
    shelf = Shelf()
    keep_ledger_block(shelf)
    shelf.block_made.save("ledger", overwrite=True)


def test_new_recurring_and_resolved_errors_with_date_task_type_run_and_text(office: Office) -> None:
    office.ended("a", 3 * 1440, "old.csv line 5: empty", "gone for good")
    office.ended("b", 2 * 1440, "came once")
    office.ended("a", 100, "new.csv line 7: no key", "old.csv line 12: empty")
    last = office.ended("a", 90, "old.csv line 99: empty")
    office.ended("b", 80)
    report = office.mailed()
    assert report.texts("New") == ["new.csv line 7: no key"]
    assert report.texts("Recurring") == ["old.csv line 99: empty"]
    assert report.texts("Resolved") == ["came once", "gone for good"]
    (recurring,) = report.tables["Recurring"]
    at = (office.now - timedelta(minutes=90, seconds=1)).strftime("%Y-%m-%d %H:%M:%S UTC")
    assert recurring == [at, "a", "job0", str(last), "old.csv line 99: empty", "2", ""]
    (new,) = report.tables["New"]
    assert new[6].startswith("Completed ")  # a later run ended well without it


def test_errors_are_red_and_the_resolved_are_not(quick_office: Office) -> None:
    quick_office.ended("b", 2 * 1440, "came once")
    quick_office.ended("b", 80)
    quick_office.ended("a", 100, "a new one")
    report = quick_office.mailed()
    assert "color:#b3141d" in report.styles["a new one"]
    assert "color:#b3141d" not in report.styles["came once"]


def test_the_csv_has_every_line_with_its_group_and_no_formula(quick_office: Office) -> None:
    quick_office.ended("a", 2 * 1440, "line 1: bad")
    run_id = quick_office.ended("a", 100, "line 2: bad", "=HYPERLINK(evil)", 'two\nlines, "quoted"')
    report = quick_office.mailed()
    assert [(row["Group"], row["Log text"]) for row in report.csv] == [
        ("recurring", "line 2: bad"),
        ("new", "'=HYPERLINK(evil)"),
        ("new", 'two\nlines, "quoted"'),
    ]
    assert {(row["Task"], row["Type"], row["Run"]) for row in report.csv} == {("a", "job0", str(run_id))}
    assert report.csv_name and report.csv_name.startswith("task_errors_") and report.csv_name.endswith(".csv")


def test_what_is_stuck_or_needs_a_reset_comes_first(office: Office) -> None:
    failed = office.failed("a", 100, "DatabaseError: no table", needs_reset=True)
    slow = office.running("b", 200, learned_duration=timedelta(minutes=20))
    office.running("c", 25, learned_duration=timedelta(minutes=20))  # a little longer than usual is nothing
    report = office.mailed()
    first = report.tables["Look at these first"]
    assert [(row[1], row[3], row[4]) for row in first] == [
        ("a", str(failed), "needs a reset"),
        ("b", str(slow), "stuck"),
    ]
    assert first[0][5] == "DatabaseError: no table"
    assert re.fullmatch(r"in progress for 3 h 2\d min, usually 20 min; process ID 4711", first[1][5])
    assert report.html.index("Look at these first") < report.html.index("New (")
    assert "2 to look at first; 1 new" in report.text


def test_longer_than_the_setting_is_stuck_even_if_nothing_is_known(office: Office) -> None:
    office.desk.define("settings: {long_running: '03:00:00'}")
    office.running("b", 181)
    assert [row[1] for row in office.mailed().tables["Look at these first"]] == ["b"]


def test_a_failed_run_is_one_error_with_its_reason(quick_office: Office) -> None:
    echo = "Encountered exception during execution: DatabaseError('no table')\nTraceback ..."
    quick_office.failed("a", 100, "DatabaseError: no table", echo)
    quick_office.failed("b", 90, "lost contact")  # its process logged nothing
    report = quick_office.mailed()
    assert sorted(report.texts("New")) == ["DatabaseError: no table", "lost contact"]
    assert [row["Log text"] for row in report.csv] == [echo, "lost contact"]


def test_text_of_a_log_is_text(quick_office: Office) -> None:
    quick_office.ended("a", 100, "<script>alert(1)</script> & <b>bold</b>")
    report = quick_office.mailed()
    assert report.texts("New") == ["<script>alert(1)</script> & <b>bold</b>"]


def test_the_next_report_begins_where_the_last_one_ended(office: Office) -> None:
    office.ended("a", 100, "first")
    office.mailed(ago=60)
    office.ended("a", 50, "second")
    report = office.mailed(ago=10)
    assert report.texts("New") == ["second"]
    assert [row["Log text"] for row in report.csv] == ["second"]


def test_a_run_whose_end_was_not_yet_to_be_seen_is_in_the_next_report(office: Office) -> None:
    office.ended("a", 62, "seen")
    office.mailed(ago=60)
    office.ended("b", 61, "its transaction was under way")
    report = office.mailed(ago=10)
    assert report.texts("New") == ["its transaction was under way"]
    assert office.mailed(ago=1).csv == []


def test_a_report_that_was_not_accepted_is_made_up_for(office: Office) -> None:
    office.ended("a", 100, "first")
    office.server.answers = ["550 no"]
    assert office.report(ago=60).ended == "FAILED"
    report = office.mailed(ago=10)
    assert "first" in report.texts("New")


def test_a_second_attempt_after_the_mail_was_accepted_sends_none(office: Office) -> None:
    office.ended("a", 100, "first")
    first = office.report(ago=60).done()
    again = office.report(run_id=office.run_id)
    assert again.done() == first.model_copy(update={"summary": again.message})
    assert len(office.server.mails) == 1 and again.receipts == []


def test_a_retry_bears_the_same_message_id_and_content(quick_office: Office) -> None:
    quick_office.ended("a", 100, "first")
    ran = quick_office.report(ago=60)
    with writing(quick_office.desk.engine) as session:  # it died before the receipt was on record
        for row in session.query(RunFileRow).all():
            session.delete(row)
        own = session.get(RunRow, quick_office.run_id)
        assert own is not None
        own.status, own.ended_at = RunStatus.RUNNING, None
        session.add(own)
    again = quick_office.report(run_id=quick_office.run_id)
    assert again.done().files[0]["message_id"] == ran.done().files[0]["message_id"]
    first, second = (Report(mail.content) for mail in quick_office.server.mails)
    assert first.csv == second.csv and first.html == second.html


def test_what_was_told_to_be_over_is_not_told_again(office: Office) -> None:
    office.ended("a", 3 * 1440, "came once")
    office.ended("a", 100)
    assert office.mailed(ago=60).texts("Resolved") == ["came once"]
    office.ended("a", 50)
    assert office.mailed(ago=10).texts("Resolved") == []


def test_nothing_to_tell_is_told_or_skipped(office: Office) -> None:
    office.ended("a", 100)
    report = office.mailed()
    assert "0 new, 0 recurring, 0 resolved; 0 error lines" in report.text
    assert report.csv == []
    ran = office.report(on_empty="skip")
    assert "no mail" in ran.done().summary and len(office.server.mails) == 1


def test_runs_that_never_started_are_counted(quick_office: Office) -> None:
    for _ in range(2):
        quick_office.ended("a", 100, status=RunStatus.MISSED)
    quick_office.ended("b", 100, status=RunStatus.SKIPPED)
    assert "Runs that never started: 2 missed, 1 skipped." in quick_office.mailed().text


def test_the_counts_are_those_of_the_log(quick_office: Office) -> None:
    quick_office.server.refuse["gone@example.com"] = "550 No such mailbox"
    quick_office.ended("a", 100, *[f"line {n}: bad" for n in range(7)])
    ran = quick_office.report(mail={**MAIL, "to": ["gone@example.com", "ops@example.com"]})
    result = ran.done()
    assert (result.processed, result.errors) == (7, 1)
    assert len(ran.lines(logging.ERROR)) == result.errors
    assert result.bytes == len(quick_office.server.mails[0].content) == result.files[0]["bytes"]
    assert ran.receipts == result.files
    assert any("7 error lines" in line for line in ran.lines())


def test_a_long_log_is_cut_in_the_mail_and_says_so(quick_office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "SHOWN_ROWS", 2)
    monkeypatch.setattr(groups, "MOST_GROUPS", 4)
    words = ["one", "two", "three", "four", "five", "six"]
    quick_office.ended("a", 100, *words)
    report = quick_office.mailed(max_rows=3)
    assert len(report.texts("New")) == 2
    assert "2 more are in the CSV file" in report.html
    assert "2 more error lines are too different" in report.html
    assert len(report.csv) == 3
    assert "first 3 lines; 3 more are in the task log" in report.html


def test_times_are_in_the_tasks_zone(quick_office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "run_zone", lambda: "Asia/Kolkata")
    quick_office.ended("a", 100, "x")
    report = quick_office.mailed()
    assert report.tables["New"][0][0].endswith(" IST") and "Times are Asia/Kolkata." in report.html


def test_without_anybody_to_mail_to_it_says_what_to_set(flow_prefect: None) -> None:
    ran = run(task_error_report)
    assert ran.ended == "FAILED" and "parameter mail" in ran.message


def test_without_its_blocks_it_is_a_sentence(quick_office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, **_: Any) -> Any:
        raise ValueError(name)

    monkeypatch.setattr(Database, "load", missing)
    ran = quick_office.report()
    assert ran.ended == "FAILED" and "no database block 'ledger'" in ran.message


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({}, None),
        ({"mail": {"to": ["ops@example.com"], "subject": "{task} {date}"}}, None),
        ({"mail": {"to": []}}, "parameters.mail.to"),
        ({"mail": {"to": ["ops"]}}, "parameters.mail.to[0]"),
        ({"mail": {"to": ["a@b.c"], "subject": "{user}"}}, "unknown token"),
        ({"mail": {"to": ["a@b.c"], "form": "x"}}, "form"),
        ({"lookback_days": 0}, "parameters.lookback_days"),
    ],
)
def test_bad_parameters_are_told_when_the_task_is_saved(parameters: dict[str, Any], problem: str | None) -> None:
    schema = parameter_schema(task_error_report.fn).model_dump_for_openapi()
    problems = problems_in(parameters, schema)
    assert (problem is None and problems == []) or (problem is not None and problem in "\n".join(problems))
