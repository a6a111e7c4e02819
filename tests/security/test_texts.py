"""Hostile texts as names, objects, descriptions, log lines and contents: text they stay, wherever they are shown."""

import csv
import io
import json
import tempfile
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from playwright.sync_api import expect
from pydantic import ValidationError

from headway.dashboard.downloads import AUDIT_COLUMNS, COLUMNS, _as_csv, _only_text
from headway.flows.calling_list_import.staging import ListStaging
from headway.flows.report_execution.cells import Shown, Totals
from headway.flows.report_execution.csv_and_xlsx import CsvOutput, XlsxOutput
from headway.flows.report_execution.definitions import Column
from headway.flows.report_execution.output import Heading
from headway.flows.shared.file_writers import CsvOptions, write_csv
from headway.flows.shared.staging import Staging
from headway.flows.task_error_report.ledger_reader import ErrorLine
from headway.flows.task_error_report.page import ErrorCsv
from headway.models.values.actor import Privilege
from headway.models.values.run import RunStatus
from headway.scheduler.planning.definitions.document import TaskSection
from tests.security.hostile_texts import CONTROL, MARKER, ONE_LINE, TEXTS
from tests.support.clock import utc
from tests.support.command_line import Forks, Headway
from tests.support.dashboard_browser import Open, cells, every_cell
from tests.support.dashboard_stack import Dashboard, new_world, serving

pytest_plugins = ["tests.support.dashboard_browser", "tests.support.stack"]

PAGES = {
    "tasks": "/",
    "task": "/task?task=1",
    "log": "/log",
    "run": "/run?run=1",
    "board": "/board",
    "windows": "/windows",
    "define": "/define?task=1",
    "reset": "/reset?task=1",
    "users": "/users",
    "audit": "/audit",
    "configuration": "/configuration",
    "purge": "/purge",
}
STEERING = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
RUN_OF = 25
"""So many of the tasks have run."""


def names() -> list[str]:
    """Those that may be a task's name, and differ from one another."""
    return list(dict.fromkeys(text for text in ONE_LINE if accepted(text)))


def have_run() -> list[str]:
    """The names of those tasks that have."""
    return names()[:: len(names()) // RUN_OF]


def accepted(name: str) -> bool:
    try:
        TaskSection(name=name, type="data_export")
    except ValidationError:
        return False
    return True


@pytest.fixture(scope="module")
def served() -> Iterator[Dashboard]:
    """A task for every text, named, described and with an object like it; runs whose lines and errors are they all."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        world = new_world(home)
        world.worker()
        world.user("ann", *Privilege)
        for name in names()[:40]:
            world.user(name)
        everything = "\n".join(text for text in TEXTS if "\0" not in text)
        found = names()
        tasks: list[dict[str, object]] = [
            {"name": name, "type": "data_export", "object": name, "description": name} for name in found
        ]
        tasks[0]["description"] = everything
        world.tasks(*tasks)
        world.windows(*names()[40:50])
        lines = [(40, text) for text in TEXTS]
        for number, name in enumerate(have_run()):
            world.run(
                name,
                RunStatus.FAILED,
                ago=timedelta(hours=9, minutes=-number),
                lines=lines if number == 0 else (),
                error=TEXTS[-1 - number] if number else everything,
                files=TEXTS if number == 0 else (),
            )
        with serving(home) as url:
            yield Dashboard(url, home, world, {})
        world.engine.dispose()


# The terminal


def test_there_are_texts_enough() -> None:
    assert len(set(TEXTS)) >= 150
    assert len(names()) > 120
    refused = [text for text in CONTROL if text.strip() == text and "\t" not in text]
    assert not any(accepted(text) for text in refused)


@pytest.mark.parametrize("json_too", [False, True])
def test_no_command_prints_what_steers_a_terminal(
    served: Dashboard, forks: Forks, tmp_path: Path, json_too: bool
) -> None:
    headway = Headway(served.home, forks, tmp_path)
    commands = [["tasks"], ["tasks", "--all"], ["log"], ["log", "--errors"], ["log", "1"]]
    commands += [] if json_too else [["export"]]
    commands += [["why", name] for name in (*names()[:2], *names()[-4:])]
    for command in commands:
        answer = headway(*command, *(["--json"] if json_too else [])).ok()
        steering = {one for one in answer.out + answer.err if unicodedata.category(one) in STEERING} - {"\n"}
        assert not steering, (command, ascii(steering))
        assert len(answer.out) > 50
        if json_too:
            assert "\\u202e" in answer.out or command != ["tasks", "--json"]
            json.loads(answer.out)
    if json_too:  # and nothing is lost by it
        lines = headway("log", "1", "--json").json()["lines"]
        assert [line["message"] for line in lines] == TEXTS


def test_a_refusal_that_repeats_what_was_typed_steers_no_terminal(
    served: Dashboard, forks: Forks, tmp_path: Path
) -> None:
    headway = Headway(served.home, forks, tmp_path)
    for text in (*CONTROL[:6], *CONTROL[10:13]):
        for command in (["why", text], ["log", text], ["log", "--since", text], ["user", "add", text], [text]):
            answer = headway(*command)
            assert answer.exit_code in (2, 4), command
            steering = {one for one in answer.out + answer.err if unicodedata.category(one) in STEERING} - {"\n"}
            assert not steering, (command, ascii(answer.err))


# Spreadsheets


def begins_a_formula(cell: str) -> bool:
    """As the most generous of spreadsheets would see it."""
    seen = "".join(one for one in cell if unicodedata.category(one) not in ("Cc", "Cf") and not one.isspace())
    return unicodedata.normalize("NFKC", seen)[:1] in ("=", "+", "-", "@") or cell[:1] in ("\t", "\r", "\n")


def inert(text: str) -> None:
    rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    assert len(rows) > len(TEXTS)
    assert not [cell for row in rows for cell in row if begins_a_formula(cell)]


def test_downloads_of_the_dashboard_begin_no_formula() -> None:
    for columns in (COLUMNS, AUDIT_COLUMNS):
        inert("".join(_as_csv(columns, ([text] * len(columns) for text in TEXTS))))


def test_a_run_s_log_as_a_file_steers_no_terminal_and_forges_no_line() -> None:
    for text in TEXTS:
        first, *further = _only_text(text, 12).split("\n")
        assert all(line.startswith(" " * 12) for line in further), ascii(text)
        assert not any(unicodedata.category(one) in STEERING for line in (first, *further) for one in line), ascii(text)


def test_the_error_reports_table_begins_no_formula(tmp_path: Path) -> None:
    at = utc("2026-11-22")
    line = ErrorLine(at=at, task_uid=1, task="", type="data_export", run_id=1, run_ended_at=at, failure=None, text="")
    with ErrorCsv(tmp_path / "errors.csv", "UTC", 1000) as report:
        for text in TEXTS:
            report.add(replace(line, task=text, text=text), text)
    inert((tmp_path / "errors.csv").read_bytes().decode())


def test_error_files_of_imports_begin_no_formula(tmp_path: Path) -> None:
    with Staging(tmp_path / "one.db") as staging:
        for number, text in enumerate(TEXTS):
            staging.reject(number, text, text)
        staging.write_error_file(tmp_path / "one_error.csv")
    inert((tmp_path / "one_error.csv").read_bytes().decode())
    with ListStaging(tmp_path / "two.db", ["a"]) as listing:
        for number, text in enumerate(TEXTS):
            listing.reject(number, text, text)
        listing.write_error_file(tmp_path / "two_error.csv", io.StringIO(""))
    inert((tmp_path / "two_error.csv").read_bytes().decode())


def test_report_tables_begin_no_formula(tmp_path: Path) -> None:
    columns = [Shown(text, text, Column(), ZoneInfo("UTC")) for text in TEXTS[:3]]
    columns[0] = Shown("=a", "=HYPERLINK(1)", Column(), ZoneInfo("UTC"))
    table = CsvOutput(tmp_path / "report.csv", columns)
    sheet = XlsxOutput(tmp_path / "report.xlsx", Heading("=1+1", "=1+1", [("=a", "=1+1")]), columns)
    for text in TEXTS:
        for output in (table, sheet):
            output.add([text, text, text])
    table.finish(Totals(columns))
    sheet.finish(Totals(columns))
    inert((tmp_path / "report.csv").read_bytes().decode())
    catalog = openpyxl.load_workbook(tmp_path / "report.xlsx")
    found = [cell for page in catalog.worksheets for row in page.iter_rows() for cell in row if cell.value is not None]
    assert len(found) > 3 * len(TEXTS)
    assert not [cell.value for cell in found if cell.data_type == "f" or cell.hyperlink]


def test_a_delivered_file_is_byte_exact(tmp_path: Path) -> None:
    """It goes to a program: an apostrophe too many would be a wrong value."""
    path = tmp_path / "delivered.csv"
    write_csv(path, ["value"], [[(text,) for text in TEXTS]], CsvOptions(), lambda done: None)
    expected = io.StringIO(newline="")
    csv.writer(expected).writerows([["value"], *([text] for text in TEXTS)])
    assert path.read_bytes() == expected.getvalue().encode()
    with path.open(newline="", encoding="utf-8") as file:
        assert [row[0] for row in csv.reader(file)][1:] == TEXTS


# The browser


WHAT_THEY_WOULD_MAKE = """marker => ({
    ran: marker in window,
    made: [...document.querySelectorAll('*')].filter(one => [...one.attributes].some(a =>
        (/^on/.test(a.name)) || (['src', 'href', 'data', 'action', 'srcdoc', 'style', 'xlink:href', 'content']
            .includes(a.name) && (a.value.includes(marker) || /^javascript:/i.test(a.value)))))
        .map(one => one.outerHTML),
    markup: [...document.querySelectorAll('strong, em, del, blockquote, .katex, .stMarkdownBadge, code')]
        .filter(one => one.textContent.includes(marker) && one.textContent.length < 40).map(one => one.outerHTML),
})"""


def unseen(texts: list[str], shown: set[str]) -> list[str]:
    """Those that are not among what is shown. A browser drops the byte order mark that a text begins with."""
    return [text for text in texts if text.removeprefix("\ufeff") not in shown]


@pytest.mark.parametrize("name", PAGES)
def test_nothing_that_people_wrote_runs_or_becomes_an_element(visit: Open, name: str) -> None:
    dialogs: list[Any] = []
    page = visit("ann")
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(PAGES[name])
    if name == "tasks":
        assert unseen(names(), every_cell(page, "tasks_table")) == []
    elif name == "log":
        assert unseen([*have_run(), *TEXTS[-len(have_run()) : -1]], every_cell(page, "log_table")) == []
    elif name == "task":
        expect(page.get_by_role("heading", name=names()[0])).to_be_visible()
        for text in (":red[pwned red]", "**bold pwned**", "$x^2 pwned$", f"<img src={'//pwned.invalid/x'} alt=a>"):
            expect(page.get_by_text(text).first).to_be_visible()
        description = page.get_by_text("**bold pwned**").first.text_content() or ""
        assert [text for text in ONE_LINE if text not in description] == []
    elif name == "windows":
        expect(page.get_by_text(names()[40], exact=True).first).to_be_visible()
    elif name == "users":
        page.get_by_role("combobox", name="User", exact=True).click()
        expect(page.get_by_role("option", name=sorted(names()[:40])[1], exact=True)).to_be_attached()
    elif name == "audit":
        shown = {cell for row in cells(page, "audit_table") for cell in row}
        assert any(MARKER in cell for cell in shown)
    elif name in ("define", "reset"):
        expect(page.get_by_role("heading", name=names()[0])).to_be_visible()
    elif name != "run":
        expect(page.get_by_role("heading", level=2).first).to_be_visible()
    else:
        expect(page.get_by_role("heading", name=f"Run 1: {names()[0]}")).to_be_visible()
        expect(page.get_by_role("alert").filter(has_text="<img src=//pwned.invalid/x alt=a>").first).to_be_visible()
        assert unseen(TEXTS, every_cell(page, "run_lines")) == []
    page.wait_for_load_state("networkidle")
    found = page.evaluate(WHAT_THEY_WOULD_MAKE, MARKER)
    assert found == {"ran": False, "made": [], "markup": []}
    assert dialogs == []
