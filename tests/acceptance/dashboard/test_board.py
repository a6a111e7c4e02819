"""The day board in the browser: bars that lead somewhere, days as long as they are, and the same as a table."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from playwright.sync_api import expect

from headway.models.values.run import RunStatus
from tests.support.dashboard_browser import SLOW, Open, column
from tests.support.dashboard_stack import Dashboard

pytest_plugins = ["tests.support.dashboard_browser"]


def day_of(ago: timedelta) -> str:
    """The local day (New York) on which something happened so long ago."""
    return (datetime.now(UTC) - ago).astimezone(ZoneInfo("America/New_York")).date().isoformat()


def test_a_bar_leads_to_its_run(served: Dashboard, visit: Open) -> None:
    page = visit("ann", f"/board?board_day={day_of(timedelta(hours=5))}")
    bar = page.locator("path[aria-label^='Citations export: Execution failed']")
    expect(bar).to_be_visible()
    assert bar.get_attribute("fill") == "#e5484d"  # red is for what failed
    bar.click()
    page.wait_for_url(f"**/run?run={served.runs['failed']}")
    expect(page.get_by_role("heading", name="Citations export")).to_be_visible()
    page.go_back()
    expect(page.locator("path[aria-label^='Citations export: Execution failed']")).to_be_visible()


def test_a_planned_bar_leads_to_its_task_and_stands_in_the_table_too(served: Dashboard, visit: Open) -> None:
    tomorrow = day_of(timedelta(days=-1))
    page = visit("ann", f"/board?board_day={tomorrow}")
    bar = page.locator("path[aria-label^='Permits export: Planned']")
    expect(bar).to_be_visible()
    assert column(page, "board_table", "Result").count("Planned") >= 2
    assert f"{tomorrow} 02:45 E" in " ".join(column(page, "board_table", "Start"))
    bar.click()
    page.wait_for_url(f"**/task?task={served.world.uids['Permits export']}")


def test_windows_and_the_line_of_now_are_drawn(visit: Open) -> None:
    page = visit("ann", "/board")
    expect(page.locator("path[aria-label*='Daily maintenance']").first).to_be_visible()
    expect(page.get_by_test_id("stVegaLiteChart").get_by_text(re.compile(r"^now \d\d:\d\d E"))).to_be_visible()


def test_day_and_week_and_the_way_back(visit: Open) -> None:
    page = visit("ann", "/board?board_day=2026-11-04")
    expect(page.get_by_role("heading", name="Wed 4 Nov 2026")).to_be_visible()
    page.get_by_role("button", name="Next", exact=True).click()
    expect(page.get_by_role("heading", name="Thu 5 Nov 2026")).to_be_visible()
    page.get_by_text("Week", exact=True).click()
    expect(page.get_by_role("heading", name="Mon 2 Nov to Sun 8 Nov 2026")).to_be_visible()
    page.get_by_role("button", name="Previous").click()
    expect(page.get_by_role("heading", name="Mon 26 Oct to Sun 1 Nov 2026 (169 hours")).to_be_visible()
    page.get_by_role("button", name="Today").click()
    expect(page.locator("path[aria-label^='Citations export']").first).to_be_visible()


def test_a_night_on_which_the_clocks_change_has_its_hours(visit: Open) -> None:
    page = visit("ann", "/board?board_day=2026-11-01")
    expect(page.get_by_role("heading", name="25 hours: the clocks change")).to_be_visible()
    for label in ("00:00 EDT", "01:00 EST"):
        expect(page.get_by_test_id("stVegaLiteChart").get_by_text(label)).to_be_visible()
    expect(page.get_by_text("Nothing ran, runs or comes due in this time")).to_be_visible()


def test_one_type_is_laid_out_by_task(served: Dashboard, visit: Open) -> None:
    page = visit("ann", f"/board?board_day={day_of(timedelta(hours=5))}&board_type=data_export")
    expect(page.get_by_test_id("stVegaLiteChart").get_by_text("Citations export")).to_be_visible()
    assert set(column(page, "board_table", "Type")) == {"data_export"}


def test_who_may_not_view_sees_nothing(visit: Open) -> None:
    page = visit("eve", "/board")
    expect(page.get_by_role("alert").get_by_text("not allowed").first).to_be_visible()
    assert page.get_by_test_id("stVegaLiteChart").count() == 0


def test_a_run_that_ends_while_one_looks_gets_its_colour(served: Dashboard, visit: Open) -> None:
    page = visit("ann", "/board")
    served.world.run("Load customers", RunStatus.COMPLETED, ago=timedelta(minutes=1), took=timedelta(seconds=30))
    expect(page.locator("path[aria-label^='Load customers: Completed,']").first).to_be_visible(timeout=2 * SLOW)
