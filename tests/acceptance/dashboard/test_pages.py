"""What an operator does in the browser: a real dashboard, Debian's Chromium."""

import re

import pytest
from playwright.sync_api import expect
from sqlmodel import select, text

from headway.clock import SystemClock
from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import AuditRow, RunRow, SignInRow, TaskRow
from headway.models.values.actor import Privilege
from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR
from headway.scheduler.usecases.people import people
from headway.scheduler.usecases.people.sign_in import end_sessions
from headway.scheduler.usecases.windows.browse_windows import coming_occurrences
from tests.support.dashboard_browser import Open, click, column, follow_link
from tests.support.dashboard_stack import HOSTILE, Dashboard

pytest_plugins = ["tests.support.dashboard_browser"]
LOGIN = re.compile("/login$")


def test_the_task_list_begins_with_what_failed_and_enabled_and_clear_do_as_they_say(visit: Open) -> None:
    page = visit("ann")
    expect(page.get_by_text("1 failed")).to_be_visible()
    expect(page.get_by_text("Next window")).to_be_visible()
    tasks = column(page, "tasks_table", "Task")
    assert tasks[0] == "Citations export" and "Old export" not in tasks
    assert column(page, "tasks_table", "State")[0] == "Execution failed"
    assert column(page, "tasks_table", "Reason")[0] == "needs a reset"
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".st-key-tasks_table table tbody tr")).to_have_count(6)
    tasks = column(page, "tasks_table", "Task")
    assert column(page, "tasks_table", "State")[tasks.index("Old export")] == "(historical)"
    page.get_by_role("textbox", name="Search").fill("permits")
    page.get_by_role("textbox", name="Search").press("Enter")
    expect(page.locator(".st-key-tasks_table table tbody tr")).to_have_count(1)


def test_a_header_sorts_the_list(visit: Open) -> None:
    page = visit("ann")
    names = column(page, "tasks_table", "Task")
    assert names != sorted(names)
    page.locator(".st-key-tasks_table .dvn-scroller").click(position={"x": 300, "y": 16})
    first = page.locator(".st-key-tasks_table table tbody tr").first
    expect(first).to_contain_text(min(names))
    expect(page.locator(".st-key-tasks_table table thead")).to_contain_text("↑ Task")  # which way, for whoever listens
    assert column(page, "tasks_table", "↑ Task") == sorted(names)


def test_a_defect_has_a_number_for_the_operator_and_its_trace_in_the_log_alone(served: Dashboard, visit: Open) -> None:
    page = visit("ann")
    expect(page.get_by_text("1 failed")).to_be_visible()
    spoil = text("UPDATE run SET status = :status WHERE id = :id")
    with writing(served.world.engine) as session:
        session.execute(spoil, {"status": "a status that nobody has written", "id": served.runs["good"]})
    try:
        page.goto(f"/run?run={served.runs['good']}")
        told = page.get_by_role("alert").filter(has_text="Something in Headway itself went wrong")
        expect(told).to_be_visible()
    finally:
        with writing(served.world.engine) as session:
            session.execute(spoil, {"status": "completed", "id": served.runs["good"]})
    number = re.search(r"number (\w{8})", told.inner_text())
    shown = page.locator("body").inner_text()
    assert number is not None and "Traceback" not in shown and "LookupError" not in shown and ".py" not in shown
    log = (served.home / "dashboard.log").read_text(encoding="utf-8")
    assert f"defect {number[1]}" in log and "Traceback" in log.partition(f"defect {number[1]}")[2]


def test_a_picked_task_stays_picked_and_progress_moves_while_one_looks(served: Dashboard, visit: Open) -> None:
    page = visit("ann")
    place = column(page, "tasks_table", "Task").index("Customers report")
    click(page, "tasks_table", 14, place)
    expect(page.get_by_text(re.compile("Customers report \\(UID 4\\)"))).to_be_visible()
    with writing(served.world.engine) as session:
        run = session.get(RunRow, served.runs["running"])
        assert run is not None
        run.progress = 77.0
        session.add(run)
    expect(page.locator(".st-key-tasks_table table tbody tr").nth(place)).to_contain_text("77")
    expect(page.get_by_text(re.compile("Customers report \\(UID 4\\)"))).to_be_visible()


def test_from_the_log_to_report_detail_in_a_tab_of_its_own(visit: Open) -> None:
    page = visit("ann", "/log")
    assert column(page, "log_table", "Result")[0] == "Execution failed"
    assert column(page, "log_table", "Duration")[0] == "03:00"
    assert not page.get_by_role("button", name=re.compile("Download as CSV")).is_visible()  # it quotes no formula
    report = follow_link(page, "log_table", 150, 0)
    expect(report.get_by_role("heading", name="Citations export")).to_be_visible()
    expect(report.get_by_role("alert").get_by_text("permission denied")).to_be_visible()
    assert column(report, "run_lines", "Level") == ["INFO", "INFO", "ERROR"]
    report.get_by_text("Errors only").click()
    expect(report.locator(".st-key-run_lines table tbody tr")).to_have_count(1)


def test_what_people_wrote_is_text_and_never_markup(visit: Open) -> None:
    page = visit("bob", "/task?task=6")
    expect(page.get_by_role("heading", name=HOSTILE)).to_be_visible()
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.get_by_role("button", name="Disable").click()
    toast = page.get_by_test_id("stToast")
    expect(toast).to_contain_text("**bold** [x](")
    page.get_by_role("button", name="Enable").click()
    expect(page.get_by_role("button", name="Disable")).to_be_visible()
    assert page.locator("img[onerror], a[href^=javascript], .katex").count() == 0


def test_viewers_see_no_buttons_and_people_without_view_see_nothing(visit: Open) -> None:
    page = visit("ann", "/task?task=1")
    expect(page.get_by_text("Why", exact=True)).to_be_visible()
    expect(page.get_by_text("has not been reset")).to_be_visible()
    for name in ("Run now", "Reset", "Disable", "Historical"):
        assert page.get_by_role("button", name=name).count() == 0
    nothing = visit("eve", "/run?run=1")
    expect(nothing.get_by_role("alert").get_by_text("not allowed")).to_be_visible()
    assert nothing.get_by_text("Permits").count() == 0


def test_a_button_that_is_still_on_screen_is_refused_by_the_use_case(served: Dashboard, visit: Open) -> None:
    served.world.user("carl", Privilege.MANAGE)
    page = visit("carl", "/task?task=2")
    page.get_by_role("button", name="Disable").wait_for()
    with writing(served.world.engine) as session:
        people.revoke(session, served.world.clock, OPERATOR, "carl", Privilege.MANAGE)
    page.get_by_role("button", name="Disable").click()
    expect(page).to_have_url(LOGIN)
    with reading(served.world.engine) as session:
        task = session.get(TaskRow, 2)
        assert task is not None and task.enabled


def test_run_now_says_when_and_keeps_the_reason_of_an_override(served: Dashboard, visit: Open) -> None:
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
    expect(page.get_by_test_id("stToast")).to_contain_text("waits for its turn")
    with reading(served.world.engine) as session:
        run = session.exec(select(RunRow).where(RunRow.task_uid == 2, RunRow.status == RunStatus.WAITING)).one()
        audit = session.exec(select(AuditRow).where(AuditRow.action == "run now", AuditRow.actor == "bob")).one()
    assert run.overrides == ["window"] and run.override_reason == audit.reason == "importer asked for it"


def test_run_now_names_what_is_in_the_way(visit: Open) -> None:
    page = visit("bob", "/task?task=4")  # it is in progress, for longer than anybody could foresee
    page.get_by_role("button", name="Run now").click()
    started = page.get_by_role("dialog").get_by_text("when its way is free")
    expect(started).to_contain_text("'Customers report'")


def test_a_failed_run_is_reset_and_run_again(served: Dashboard, visit: Open) -> None:
    page = visit("bob", "/task?task=1")
    page.get_by_role("button", name="Reset").click()
    expect(page.get_by_role("heading", name="Why it failed")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("permission denied")
    expect(page.get_by_text("connecting to flexftp")).to_be_visible()
    expect(page.get_by_text("1 error counted")).to_be_visible()
    expect(page.get_by_text("needs no reset any more")).to_be_visible()
    page.get_by_role("button", name="Finish").click()
    expect(page.get_by_text("Citations export is reset; its process ID is 0")).to_be_visible()
    expect(page.get_by_text("0 failed")).to_be_visible()
    with reading(served.world.engine) as session:
        task, run = session.get(TaskRow, 1), session.get(RunRow, served.runs["failed"])
        assert task is not None and task.failed_run_id is None
        assert run is not None and run.reset_by == "bob"
    expect(page.get_by_role("button", name="then the following steps")).to_be_disabled()  # it has none
    page.get_by_role("button", name="Run again now", exact=True).click()
    expect(page.get_by_test_id("stToast")).to_contain_text("waits for its turn")
    expect(page.get_by_role("heading", name="Citations export")).to_be_visible()
    with reading(served.world.engine) as session:
        again = session.exec(select(RunRow).where(RunRow.task_uid == 1, RunRow.status == RunStatus.WAITING)).one()
    assert again.requested_by == "bob"


def test_a_task_that_is_not_running_cannot_be_reset(visit: Open) -> None:
    page = visit("bob", "/task?task=2")
    page.get_by_role("button", name="Reset").click()
    expect(page.get_by_role("alert")).to_contain_text("You can't reset a task that's not running")
    assert page.get_by_role("button", name="Finish").count() == 0


def test_signing_out_here_and_being_signed_out_elsewhere(served: Dashboard, visit: Open) -> None:
    page, other = visit("bob", alone=True), visit("bob", alone=True)
    for one in (page, other):
        one.get_by_role("button", name="bob").wait_for()
    page.get_by_role("button", name="bob").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(LOGIN)
    with writing(served.world.engine) as session:
        user_id = session.exec(select(SignInRow.user_id).order_by(SignInRow.id.desc())).first()  # type: ignore[union-attr]
        assert user_id is not None and end_sessions(session, served.world.clock, OPERATOR, user_id) >= 1
    expect(other).to_have_url(LOGIN)  # its next refresh is refused


def test_times_are_shown_in_the_zone_that_the_viewer_chose(visit: Open) -> None:
    page = visit("ann", "/log", alone=True)
    assert column(page, "log_table", "Start time")[0].endswith(("EST", "EDT"))
    page.get_by_role("button", name="ann").click()
    zone = page.get_by_role("combobox", name=re.compile("Show times in"))
    zone.fill("Asia/Kathmandu")
    page.get_by_role("option", name="Asia/Kathmandu").click()
    expect(page.locator(".st-key-log_table table tbody tr").first).to_contain_text("+0545")


def test_an_occurrence_is_released_and_reserved_again(served: Dashboard, visit: Open) -> None:
    page = visit("bob", "/windows")
    with reading(served.world.engine) as session:
        first = coming_occurrences(session, SystemClock(), OPERATOR)[0]
    name, day = first.window.name, f"{first.day:%a %-d %b}"
    of_first = page.locator(f".st-key-window_{name.replace(' ', '-')}_{first.day}")
    of_first.get_by_role("button", name="Release", exact=True).click()
    page.get_by_role("button", name=f"Release {name} of {day}").click()
    expect(page.get_by_text("Released by")).to_be_visible()
    page.get_by_role("button", name="Reserve", exact=True).click()
    page.get_by_role("button", name=f"Reserve {name} of {day}").click()
    expect(page.get_by_text("Released by")).to_have_count(0)
    with reading(served.world.engine) as session:
        actions = session.exec(
            select(AuditRow.action).where(AuditRow.subject.startswith("window"), AuditRow.actor == "bob")
        ).all()
    assert actions == ["release window", "reserve window"]


def test_the_purge_page_counts_first_and_asks_for_the_word(served: Dashboard, visit: Open) -> None:
    page = visit("root", "/purge")
    days = page.get_by_role("spinbutton")
    days.fill("0")
    days.press("Enter")
    expect(page.get_by_text(re.compile("runs and \\d+ log lines"))).to_be_visible()
    expect(page.get_by_role("button", name="Purge")).to_be_disabled()
    word = page.get_by_role("textbox")
    word.fill("purge 5")
    word.press("Enter")
    page.get_by_role("button", name="Purge").click()
    expect(page.get_by_text("Nothing is old enough to go")).to_be_visible()
    with reading(served.world.engine) as session:
        kept = session.exec(select(RunRow.id).where(RunRow.task_uid == 2, RunRow.status == RunStatus.COMPLETED)).all()
    assert kept == [served.runs["good"]]  # its last one


def test_a_user_is_made_given_a_privilege_and_signs_in(served: Dashboard, visit: Open) -> None:
    page = visit("root", "/users")
    page.get_by_role("button", name="New user").click()
    page.get_by_role("textbox", name="User name").fill("dora")
    page.get_by_role("textbox", name="User name").press("Enter")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("One-time password of dora")).to_be_visible()
    with reading(served.world.engine) as session:
        assert people.actor_named(session, "dora").privileges == frozenset()
