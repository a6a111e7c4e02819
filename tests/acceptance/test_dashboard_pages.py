"""What an operator does in the browser: a real dashboard, Debian's Chromium."""

import re
import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from sqlmodel import select

from models.db import reading, writing
from models.domain import Privilege, RunStatus
from models.tables import AuditRow, RunRow, SignInRow, TaskRow
from scheduler.privileges import OPERATOR
from scheduler.usecases import people
from scheduler.usecases.sessions import end_sessions
from tests.dashboard_stack import HOSTILE, PASSWORD, Dashboard, dashboard

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
SLOW = 30_000
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def stack() -> Iterator[Dashboard]:
    with dashboard() as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(stack: Dashboard, browser: Browser) -> Iterator[Open]:
    """Sign in as somebody and open a page, in a browser of its own. Requests that go elsewhere fail the test."""
    contexts = []
    asked: list[str] = []

    def visit(name: str, path: str = "/") -> Page:
        context = browser.new_context(base_url=stack.url, viewport={"width": 1280, "height": 900})
        context.set_default_timeout(SLOW)
        context.on("request", lambda request: asked.append(request.url))
        contexts.append(context)
        page = context.new_page()
        page.goto(path)
        page.fill("#name", name)
        page.fill("#password", PASSWORD)
        page.click("button[type=submit]")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not [url for url in asked if not url.startswith((stack.url, "data:", "blob:"))]


def cells(page: Page, key: str) -> list[list[str]]:
    """A table's rows as a screen reader has them."""
    table = page.locator(f".st-key-{key} canvas[data-testid='data-grid-canvas'] table")
    table.wait_for(state="attached")
    rows = table.locator("tbody tr")
    return [row.locator("td").all_inner_texts() for row in rows.all()]


def column(page: Page, key: str, name: str) -> list[str]:
    head = page.locator(f".st-key-{key} canvas[data-testid='data-grid-canvas'] table thead th")
    head.first.wait_for(state="attached")
    index = head.all_inner_texts().index(name)
    return [row[index] for row in cells(page, key)]


def click(page: Page, key: str, x: int, row: int) -> None:
    """A click into a row of a table, so many pixels from its left edge."""
    page.locator(f".st-key-{key} .dvn-scroller").click(position={"x": x, "y": 32 + 31 * row + 15})


def follow_link(page: Page, key: str, x: int, row: int) -> Page:
    """The tab that a link in a table opens. A link answers once the table knows that the pointer is on it."""
    pages = page.context.pages
    for _ in range(20):
        page.locator(f".st-key-{key} .dvn-scroller").hover(position={"x": x, "y": 32 + 31 * row + 15})
        click(page, key, x, row)
        if len(page.context.pages) > len(pages):
            break
        page.wait_for_timeout(250)
    return page.context.pages[-1]


def test_the_task_list_begins_with_what_failed_and_enabled_and_clear_do_as_they_say(visit: Open) -> None:
    page = visit("ann")
    expect(page.get_by_text("1 failed")).to_be_visible(timeout=SLOW)
    expect(page.get_by_text("Next window")).to_be_visible()
    tasks = column(page, "tasks_table", "Task")
    assert tasks[0] == "Citations export" and "Old export" not in tasks
    assert column(page, "tasks_table", "State")[0] == "Execution failed"
    assert column(page, "tasks_table", "Waits because")[0] == "needs a reset"
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".st-key-tasks_table table tbody tr")).to_have_count(6)
    assert "Old export" in column(page, "tasks_table", "Task")
    page.get_by_role("textbox", name="Search").fill("permits")
    page.get_by_role("textbox", name="Search").press("Enter")
    expect(page.locator(".st-key-tasks_table table tbody tr")).to_have_count(1)


def test_a_picked_task_stays_picked_and_progress_moves_while_one_looks(stack: Dashboard, visit: Open) -> None:
    page = visit("ann")
    place = column(page, "tasks_table", "Task").index("Customers report")
    click(page, "tasks_table", 14, place)
    expect(page.get_by_text(re.compile("Customers report \\(UID 4\\)"))).to_be_visible()
    with writing(stack.world.engine) as session:
        run = session.get(RunRow, stack.runs["running"])
        assert run is not None
        run.progress = 77.0
        session.add(run)
    expect(page.locator(".st-key-tasks_table table tbody tr").nth(place)).to_contain_text("77", timeout=SLOW)
    expect(page.get_by_text(re.compile("Customers report \\(UID 4\\)"))).to_be_visible()


def test_from_the_log_to_report_detail_in_a_tab_of_its_own(visit: Open) -> None:
    page = visit("ann", "/log")
    assert column(page, "log_table", "Result")[0] == "Execution failed"
    assert column(page, "log_table", "Duration")[0] == "03:00"
    assert not page.get_by_role("button", name=re.compile("Download as CSV")).is_visible()  # it quotes no formula
    report = follow_link(page, "log_table", 150, 0)
    expect(report.get_by_role("heading", name="Citations export")).to_be_visible(timeout=SLOW)
    expect(report.get_by_role("alert").get_by_text("permission denied")).to_be_visible()
    assert column(report, "run_lines", "Level") == ["INFO", "INFO", "ERROR"]
    report.get_by_text("Errors only").click()
    expect(report.locator(".st-key-run_lines table tbody tr")).to_have_count(1)


def test_what_people_wrote_is_text_and_never_markup(visit: Open) -> None:
    page = visit("bob", "/task?task=6")
    expect(page.get_by_role("heading", name=HOSTILE)).to_be_visible(timeout=SLOW)
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.get_by_role("button", name="Disable").click()
    toast = page.get_by_test_id("stToast")
    expect(toast).to_contain_text("**bold** [x](")
    page.get_by_role("button", name="Enable").click()
    expect(page.get_by_role("button", name="Disable")).to_be_visible()
    assert page.locator("img[onerror], a[href^=javascript], .katex").count() == 0


def test_viewers_see_no_buttons_and_people_without_view_see_nothing(visit: Open) -> None:
    page = visit("ann", "/task?task=1")
    expect(page.get_by_text("Why", exact=True)).to_be_visible(timeout=SLOW)
    expect(page.get_by_text("has not been reset")).to_be_visible()
    for name in ("Run now", "Reset", "Disable", "Historical"):
        assert page.get_by_role("button", name=name).count() == 0
    nothing = visit("eve", "/run?run=1")
    expect(nothing.get_by_role("alert").get_by_text("not allowed")).to_be_visible(timeout=SLOW)
    assert nothing.get_by_text("Permits").count() == 0


def test_a_button_that_is_still_on_screen_is_refused_by_the_use_case(stack: Dashboard, visit: Open) -> None:
    stack.world.user("carl", Privilege.MANAGE)
    page = visit("carl", "/task?task=2")
    page.get_by_role("button", name="Disable").wait_for()
    with writing(stack.world.engine) as session:
        people.revoke(session, stack.world.clock, OPERATOR, "carl", Privilege.MANAGE)
    page.get_by_role("button", name="Disable").click()
    page.wait_for_url("**/login", timeout=SLOW)
    with reading(stack.world.engine) as session:
        task = session.get(TaskRow, 2)
        assert task is not None and task.enabled


def test_run_now_says_when_and_keeps_the_reason_of_an_override(stack: Dashboard, visit: Open) -> None:
    page = visit("bob", "/task?task=2")
    page.get_by_role("button", name="Run now").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("It would start")).to_be_visible()
    dialog.get_by_text("Override window").click()
    dialog.get_by_label("Reason for the override").wait_for()
    dialog.get_by_role("button", name="Run now").click()
    expect(dialog.get_by_role("alert")).to_contain_text("needs")  # an override without a reason
    dialog.get_by_label("Reason for the override").fill("importer asked for it")
    dialog.get_by_label("Reason for the override").press("Enter")
    dialog.get_by_role("button", name="Run now").click()
    expect(page.get_by_test_id("stToast")).to_contain_text("waits for its turn", timeout=SLOW)
    with reading(stack.world.engine) as session:
        run = session.exec(select(RunRow).where(RunRow.task_uid == 2, RunRow.status == RunStatus.WAITING)).one()
        audit = session.exec(select(AuditRow).where(AuditRow.action == "run now", AuditRow.actor == "bob")).one()
    assert run.overrides == ["window"] and run.override_reason == audit.reason == "importer asked for it"


def test_a_failed_run_is_reset_from_its_page(stack: Dashboard, visit: Open) -> None:
    page = visit("bob", "/task?task=1")
    page.get_by_role("button", name="Reset").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("alert")).to_contain_text("permission denied")
    expect(dialog.get_by_text("connecting to flexftp")).to_be_visible()
    dialog.get_by_role("button", name="Finish").click()
    expect(page.get_by_test_id("stToast")).to_contain_text("is reset", timeout=SLOW)
    expect(page.get_by_text("0 failed")).to_be_visible(timeout=SLOW)
    with reading(stack.world.engine) as session:
        task, run = session.get(TaskRow, 1), session.get(RunRow, stack.runs["failed"])
        assert task is not None and task.failed_run_id is None
        assert run is not None and run.reset_by == "bob"
    page.get_by_role("button", name="Reset").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text(
        "You can't reset a task that's not running", timeout=SLOW
    )


def test_signing_out_here_and_being_signed_out_elsewhere(stack: Dashboard, visit: Open) -> None:
    page, other = visit("bob"), visit("bob")
    for one in (page, other):
        one.get_by_role("button", name="bob").wait_for()
    page.get_by_role("button", name="bob").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login", timeout=SLOW)
    with writing(stack.world.engine) as session:
        user_id = session.exec(select(SignInRow.user_id).order_by(SignInRow.id.desc())).first()  # type: ignore[union-attr]
        assert user_id is not None and end_sessions(session, stack.world.clock, OPERATOR, user_id) >= 1
    other.wait_for_url("**/login", timeout=SLOW)  # its next refresh is refused


def test_times_are_shown_in_the_zone_that_the_viewer_chose(visit: Open) -> None:
    page = visit("ann", "/log")
    assert column(page, "log_table", "Start time")[0].endswith(("EST", "EDT"))
    page.get_by_role("button", name="ann").click()
    zone = page.get_by_role("combobox", name=re.compile("Show times in"))
    zone.fill("Asia/Kathmandu")
    page.get_by_role("option", name="Asia/Kathmandu").click()
    expect(page.locator(".st-key-log_table table tbody tr").first).to_contain_text("+0545", timeout=SLOW)


def test_a_task_is_defined_and_the_second_of_two_editors_is_told(stack: Dashboard, visit: Open) -> None:
    page = visit("bob", "/define")
    page.get_by_role("textbox", name="Task name").fill("Lots export")
    page.get_by_role("textbox", name="Task name").press("Enter")
    page.get_by_role("tab", name="3 Define Task Parameters").click()
    page.get_by_role("textbox", name="Table").fill("lot")
    page.get_by_role("textbox", name="Table").press("Enter")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_test_id("stToast")).to_contain_text("is saved", timeout=SLOW)
    expect(page.get_by_role("heading", name="Edit task: Lots export")).to_be_visible()
    with reading(stack.world.engine) as session:
        task = session.exec(select(TaskRow).where(TaskRow.name == "Lots export")).one()
    assert task.parameters == {"table": "lot"} and task.type == "data_export"
    with writing(stack.world.engine) as session:
        other = session.get_one(TaskRow, task.uid)
        other.version, other.description = other.version + 1, "somebody else's"
        session.add(other)
    page.get_by_role("tab", name="3 Define Task Parameters").click()
    page.get_by_role("textbox", name="Table").fill("lots")
    page.get_by_role("textbox", name="Table").press("Enter")
    expect(page.get_by_role("alert").get_by_text("somebody has changed")).to_be_visible(timeout=SLOW)


def test_an_occurrence_is_released_and_reserved_again(stack: Dashboard, visit: Open) -> None:
    page = visit("bob", "/windows")
    page.get_by_role("button", name="Release", exact=True).first.click()
    page.get_by_role("button", name="Release it").click()
    expect(page.get_by_text("Released by")).to_be_visible(timeout=SLOW)
    page.get_by_role("button", name="Reserve", exact=True).click()
    page.get_by_role("button", name="Reserve it").click()
    expect(page.get_by_text("Released by")).to_have_count(0, timeout=SLOW)
    with reading(stack.world.engine) as session:
        actions = session.exec(select(AuditRow.action).where(AuditRow.subject.startswith("window"))).all()
    assert actions == ["release window", "reserve window"]


def test_the_purge_page_counts_first_and_asks_for_the_word(stack: Dashboard, visit: Open) -> None:
    page = visit("root", "/purge")
    days = page.get_by_role("spinbutton")
    days.fill("0")
    days.press("Enter")
    expect(page.get_by_text(re.compile("runs and \\d+ log lines"))).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("button", name="Purge")).to_be_disabled()
    word = page.get_by_role("textbox")
    word.fill("purge 5")
    word.press("Enter")
    page.get_by_role("button", name="Purge").click()
    expect(page.get_by_text("Nothing is old enough to go")).to_be_visible(timeout=SLOW)
    with reading(stack.world.engine) as session:
        kept = session.exec(select(RunRow.id).where(RunRow.task_uid == 2, RunRow.status == RunStatus.COMPLETED)).all()
    assert kept == [stack.runs["good"]]  # its last one


def test_a_user_is_made_given_a_privilege_and_signs_in(stack: Dashboard, visit: Open) -> None:
    page = visit("root", "/users")
    page.get_by_role("button", name="New user").click()
    page.get_by_role("textbox", name="User name").fill("dora")
    page.get_by_role("textbox", name="User name").press("Enter")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("One-time password of dora")).to_be_visible(timeout=SLOW)
    with reading(stack.world.engine) as session:
        assert people.actor_named(session, "dora").privileges == frozenset()
