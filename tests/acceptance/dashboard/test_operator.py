"""An operator at work on a real stack: Prefect, a worker, an SFTP server, the dashboard, a browser."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect
from sqlmodel import select

from headway.clock import SystemClock
from headway.models.ledger.database import writing
from headway.models.ledger.tables import UserRow
from headway.models.values.actor import Privilege
from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR
from headway.scheduler.usecases.people import people
from tests.support.dashboard_browser import Open, column, follow_link, step
from tests.support.dashboard_stack import PASSWORD, serving
from tests.support.running_stack import RunningStack, export_yaml

pytest_plugins = ["tests.support.stack", "tests.support.dashboard_browser"]
ALWAYS = r"""
windows:
  - {name: Always, days: [mon, tue, wed, thu, fri, sat, sun], start: "00:00", end: "00:00"}
"""


@dataclass
class Served:
    url: str


@pytest.fixture(scope="module")
def served(stack: RunningStack) -> Iterator[Served]:
    with writing(stack.ledger.engine) as session:
        people.add_user(session, SystemClock(), OPERATOR, "olga")
        session.flush()
        people.grant(session, SystemClock(), OPERATOR, "olga", Privilege.MANAGE)
        user = session.exec(select(UserRow).where(UserRow.name == "olga")).one()
        user.password_hash, user.must_change_password = people.PASSWORDS.hash(PASSWORD), False
        session.add(user)
    with serving(stack.headway.home) as url:
        yield Served(url)


def fill(page: Page, label: str, text: str) -> None:
    box = page.get_by_role("textbox", name=label, exact=True)
    box.fill(text)
    box.press("Control+Enter" if label == "Query" else "Enter")


def uid_of(stack: RunningStack, name: str) -> int:
    tasks = stack.headway("tasks", "--all", "--json").json()["tasks"]
    return next(int(task["uid"]) for task in tasks if task["name"] == name)


def test_a_task_made_by_the_wizard_runs_and_delivers(stack: RunningStack, visit: Open) -> None:
    page = visit("olga", "/define")
    fill(page, "Task name", "Made by hand")
    page.get_by_role("combobox", name=re.compile("Type")).click()
    page.get_by_role("option", name="data_export", exact=True).click()
    step(page, 3)
    expect(page.get_by_role("textbox", name="Query", exact=True)).to_be_visible()  # this type's form is
    expect(page.get_by_role("textbox", name="File name", exact=True)).to_have_count(1)  # there, the first type's gone
    fill(page, "File name", "by_hand_{date}.csv")
    fill(page, "Query", "SELECT 1 AS a UNION SELECT 2")
    changed = page.locator("table.diff")
    expect(changed.locator("tr", has_text="parameters.file_name")).to_contain_text("by_hand_")
    expect(changed.locator("tr", has_text="parameters.query")).to_contain_text("UNION")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Made by hand")).to_be_visible()
    page.get_by_role("button", name="Run now").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("at once")).to_be_visible()
    dialog.get_by_role("button", name="Run now").click()
    run = stack.ended("Made by hand")
    assert (run.status, run.processed, run.requested_by) == (RunStatus.COMPLETED, 2, "olga")
    (name,) = [name for name in stack.delivered if name.startswith("by_hand_")]
    assert (stack.sftp.folder / name).read_text().splitlines() == ["a", "1", "2"]
    page.goto(f"/run?run={run.id}")
    expect(page.get_by_text(f"/{name}").first).to_be_attached()
    expect(page.get_by_text("Completed").first).to_be_visible()


def test_from_a_failing_export_to_completed(stack: RunningStack, visit: Open) -> None:
    """The path of the manual: log, Report Detail in a new tab, Edit, fix, Reset, Finish, Completed."""
    broken = "  - {name: Broken export, type: data_export, parameters: {table: no_such_table, file_name: fixed.csv}}\n"
    stack.apply(broken)
    stack.headway("run", "Broken export").ok()
    assert stack.ended("Broken export").status is RunStatus.FAILED

    page = visit("olga", "/log")
    fill(page, "Search", "Broken export")
    expect(page.locator(".st-key-log_table table tbody tr")).to_have_count(1)
    assert column(page, "log_table", "Result") == ["Execution failed"]
    report = follow_link(page, "log_table", 150, 0)
    assert report is not page
    expect(report.get_by_role("alert").filter(has_text="no_such_table")).to_be_visible()
    report.get_by_text("Errors only").click()
    expect(report.locator(".st-key-run_lines table tbody tr").first).to_contain_text("ERROR")

    with report.context.expect_page() as opened:
        report.get_by_role("link", name="The task").click()
    task = opened.value
    expect(task.get_by_text("has not been reset")).to_be_visible()
    task.get_by_role("button", name="Edit").click()
    task.locator("button:visible", has_text="Next").click()
    task.get_by_role("radio", name="No times of its own").wait_for()
    task.locator("button:visible", has_text="Next").click()
    fill(task, "Query", "SELECT 3 AS b")
    expect(task.locator("table.diff", has_text="parameters.query")).to_be_visible()
    task.get_by_role("button", name="Save").click()
    expect(task.get_by_test_id("stToast")).to_contain_text("is saved")

    task.get_by_role("button", name="Reset").click()
    expect(task.get_by_role("alert").filter(has_text="no_such_table")).to_be_visible()
    task.get_by_role("button", name="Finish").click()
    task.get_by_role("button", name="Run again now", exact=True).click()
    expect(task.get_by_test_id("stToast")).to_contain_text("waits for its turn")
    run = stack.ended("Broken export")
    assert (run.status, run.processed) == (RunStatus.COMPLETED, 1)
    done = task.locator(".st-key-task_runs table tbody tr").first.filter(has_text="Completed")
    moved_on = task.get_by_role("button", name="Show it")  # so the page says, unless it was made after the end
    expect(moved_on.or_(done).first).to_be_attached()
    if moved_on.count():
        moved_on.click()
    expect(done).to_be_attached()
    assert (stack.sftp.folder / "fixed.csv").read_text().splitlines() == ["b", "3"]


def test_a_runs_log_is_followed_while_it_runs(stack: RunningStack, visit: Open) -> None:
    stack.apply(export_yaml("Followed", rows=20))
    with stack.paused_delivery() as reached:
        stack.headway("run", "Followed").ok()
        assert reached.wait(60)
        run = stack.in_state("Followed", RunStatus.RUNNING)
        page = visit("olga", f"/run?run={run.id}")
        expect(page.locator(".st-key-run_tail table tbody tr").first).to_be_attached()
        expect(page.get_by_text("while it runs")).to_be_visible()
    expect(page.get_by_text("It has ended.")).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Show its report").click()
    expect(page.locator(".st-key-run_lines table tbody tr").first).to_be_attached()
    stack.ended("Followed")


def test_run_now_inside_a_window_waits_and_says_until_when(stack: RunningStack, visit: Open) -> None:
    stack.apply(export_yaml("Held one"))
    stack.headway.apply(ALWAYS)
    try:
        page = visit("olga", f"/task?task={uid_of(stack, 'Held one')}")
        page.get_by_role("button", name="Run now").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_text("not before somebody acts")).to_be_visible()
        dialog.get_by_role("button", name="Run now").click()
        waiting = stack.in_state("Held one", RunStatus.WAITING)
        expect(page.get_by_text(f"Run {waiting.id} waits since")).to_be_visible()
        page.goto("/")
        place = column(page, "tasks_table", "Task").index("Held one")
        assert column(page, "tasks_table", "State")[place] == "Waiting"
        assert "Always" in column(page, "tasks_table", "Reason")[place]
    finally:
        stack.headway.apply("windows: []\n")
    assert stack.ended("Held one").status is RunStatus.COMPLETED
