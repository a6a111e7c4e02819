"""Define task in the browser: the form from the schema, the lint beside it, old and new, two editors."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sqlmodel import select

from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import AuditRow, RunRow, TaskRow
from headway.models.values.actor import Privilege
from headway.scheduler.planning.definitions.task_types import TaskType
from headway.scheduler.store.tasks import save_types
from tests.support.dashboard_browser import Open, step
from tests.support.dashboard_stack import TYPES, Dashboard

pytest_plugins = ["tests.support.dashboard_browser"]

COLUMN = {
    "type": "object",
    "title": "Column",
    "additionalProperties": False,
    "required": ["name", "width"],
    "properties": {"name": {"type": "string"}, "width": {"type": "integer", "minimum": 1}},
}
RICH: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["report"],
    "definitions": {"Column": COLUMN, "Layout": {
        "type": "object", "title": "Layout", "additionalProperties": False,
        "properties": {"separator": {"type": "string", "title": "Separator", "default": ",", "maxLength": 1}},
    }},
    "properties": {
        "report": {"type": "string", "enum": ["slowest", "by_lot"], "title": "Report", "position": 0},
        "parameters": {
            "type": "object", "title": "Of the report", "position": 1, "default": {},
            "schema_by": {"report": {
                "slowest": {"properties": {"count": {"type": "integer", "title": "How many", "maximum": 50}}},
                "by_lot": {"properties": {"lot": {"type": "string", "title": "Lot"}}},
            }},
        },
        "since": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "title": "Since", "position": 2},
        "days": {"type": "array", "items": {"enum": ["mon", "tue"]}, "title": "Weekdays", "default": [], "position": 3},
        "recipients": {"type": "array", "items": {"type": "string"}, "title": "Recipients", "default": [],
                       "position": 4},
        "layout": {"$ref": "#/definitions/Layout", "default": {"separator": ","}, "position": 5},
        "columns": {"type": "array", "items": {"$ref": "#/definitions/Column"}, "default": [], "title": "Columns",
                    "position": 6},
        "secret": {"type": "string", "format": "password", "title": "Secret", "default": "", "position": 7},
    },
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _rich_type(served: Dashboard) -> None:
    with writing(served.world.engine) as session:
        save_types(session, [*TYPES, TaskType(name="rich", group="rich", parameter_schema=RICH)], datetime.now(UTC))


def fill(page: Page, label: str, text: str) -> None:
    box = page.get_by_label(label, exact=True)
    box.fill(text)
    box.press("Control+Enter" if box.evaluate("one => one.tagName") == "TEXTAREA" else "Enter")


def type_segments(page: Page, label: str, *parts: str) -> None:
    """Into a time or a date, by keyboard."""
    segments = page.get_by_role("group", name=label).get_by_role("spinbutton")
    for number, part in enumerate(parts):
        segments.nth(number).focus()
        page.keyboard.type(part)
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=re.compile(label)).click()
    page.get_by_role("option", name=option, exact=True).click()


def stored(served: Dashboard, name: str) -> TaskRow:
    with reading(served.world.engine) as session:
        return session.exec(select(TaskRow).where(TaskRow.name == name)).one()


def saved(page: Page, name: str) -> None:
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_test_id("stToast")).to_contain_text("is saved")
    expect(page.get_by_role("heading", name=name)).to_be_visible()


def test_a_task_is_defined_in_three_steps_and_takes_the_free_slot(served: Dashboard, visit: Open) -> None:
    page = visit("bob", "/define")
    expect(page.get_by_text("Give it a name and a type first")).to_be_visible()
    fill(page, "Task name", "Lots export")
    fill(page, "Object", "Lots")
    page.locator("button:visible", has_text="Next").click()
    page.get_by_text("On days at a time").click()
    type_segments(page, "At", "02", "45")
    collision = page.get_by_role("alert").filter(has_text="L1")
    expect(collision).to_contain_text("'Permits export' and 'Lots export' share the group")
    page.get_by_role("button", name=re.compile("Take the free slot")).click()
    expect(collision).to_have_count(0)
    expect(page.get_by_text("Nothing to complain of")).to_be_visible()
    page.locator("button:visible", has_text="Next").click()
    fill(page, "Table", "lot")
    expect(page.locator("table.diff", has_text="parameters.table")).to_be_visible()
    saved(page, "Lots export")
    task = stored(served, "Lots export")
    assert task.parameters == {"table": "lot"} and task.type == "data_export" and task.object == "Lots"
    assert task.cron is not None and task.cron != "45 2 * * *" and task.cron.endswith("* * *")


def test_the_form_is_drawn_from_the_schema_and_errors_stand_beside_their_field(served: Dashboard, visit: Open) -> None:
    page = visit("bob", "/define")
    fill(page, "Task name", "Rich one")
    choose(page, "Type", "rich")
    step(page, 3)
    fill(page, "How many", "99")
    beside = page.locator('[data-testid="stNumberInput"]', has_text="How many").locator(
        "xpath=following::div[@role='alert'][1]"
    )
    expect(beside).to_contain_text("99 is greater than the maximum of 50")
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    choose(page, "Report", "by_lot")  # its own fields come with it
    fill(page, "Lot", "North")
    fill(page, "Recipients (one a line)", "ops@example.com\nlots@example.com")
    type_segments(page, "Since", "2026", "11", "01")
    choose(page, "Weekdays", "tue")
    page.get_by_text("Layout", exact=True).click()
    fill(page, "Separator", ";;")
    beside = page.get_by_test_id("stTabs").get_by_role("alert").filter(has_text="too long")
    expect(beside).to_be_visible()
    fill(page, "Separator", ";")
    expect(page.get_by_label("Secret", exact=True)).to_be_disabled()  # it is no place for one
    expect(beside).to_have_count(0)
    saved(page, "Rich one")
    assert stored(served, "Rich one").parameters == {
        "report": "by_lot", "parameters": {"lot": "North"}, "recipients": ["ops@example.com", "lots@example.com"],
        "since": "2026-11-01", "days": ["tue"], "layout": {"separator": ";"},
    }  # fmt: skip


def test_the_last_step_shows_old_and_new_and_the_yaml(served: Dashboard, visit: Open) -> None:
    page = visit("bob", "/define?task=1")
    expect(page.get_by_role("alert").filter(has_text="L3")).to_contain_text("Monday maintenance")
    expect(page.get_by_text("held by a window")).to_be_visible()
    fill(page, "Description", "Every night")
    step(page, 3)
    row = page.locator("table.diff tr", has_text="description")
    expect(row.locator("del")).to_have_text("Nightly hand-off to the importer")
    expect(row.locator("ins")).to_have_text("Every night")
    page.get_by_text("As YAML").click()
    expect(page.get_by_test_id("stCode").filter(has_text="Citations export")).to_contain_text(
        "description: Every night"
    )
    step(page, 2)
    expect(page.get_by_role("radio", name="On days at a time")).to_be_checked()
    page.locator("label", has_text=re.compile("^Cron$")).click()
    fill(page, "Minute, hour, day, month, weekday", "99 * * * *")
    expect(page.get_by_role("alert").filter(has_text="bad cron expression '99 * * * *'")).to_be_visible()
    step(page, 3)
    expect(page.get_by_role("button", name="Save")).to_be_disabled()


def test_a_running_task_is_edited_only_when_somebody_says_so(served: Dashboard, visit: Open) -> None:
    page = visit("bob", "/define?task=4")
    fill(page, "Description", "changed while it ran")
    step(page, 3)
    warning = page.get_by_text("editing it could break the process")
    expect(warning).to_be_visible()
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    warning.click()
    expect(page.get_by_role("button", name="Save")).to_be_enabled()
    saved(page, "Customers report")
    with reading(served.world.engine) as session:
        run = session.get_one(RunRow, served.runs["running"])
    assert stored(served, "Customers report").description == "changed while it ran" and run.process_id == 4711
    page.get_by_role("button", name="Disable").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("could break the process")
    assert stored(served, "Customers report").enabled
    dialog.get_by_role("button", name="Change it all the same").click()
    expect(page.get_by_test_id("stToast").filter(has_text="disabled")).to_be_visible()
    assert not stored(served, "Customers report").enabled


def test_the_second_of_two_editors_is_told(served: Dashboard, visit: Open) -> None:
    served.world.user("dan", Privilege.MANAGE)
    first, second = visit("bob", "/define?task=2"), visit("dan", "/define?task=2")
    for page, text in ((first, "by bob"), (second, "by dan")):
        fill(page, "Description", text)
        step(page, 3)
        expect(page.locator("table.diff ins", has_text=text)).to_be_visible()
    saved(first, "Permits export")
    second.get_by_role("button", name="Save").click()
    told = second.get_by_role("alert").filter(has_text="somebody has changed Permits export since you opened it")
    expect(told).to_be_visible()
    assert stored(served, "Permits export").description == "by bob"
    second.get_by_role("button", name="Open it again").click()
    expect(second.get_by_label("Description", exact=True)).to_have_value("by bob")
    fill(second, "Description", "by dan, having seen bob's")
    step(second, 3)
    saved(second, "Permits export")
    assert stored(served, "Permits export").description == "by dan, having seen bob's"
    with reading(served.world.engine) as session:
        edits = session.exec(select(AuditRow.actor).where(AuditRow.subject.contains("Permits export"))).all()  # type: ignore[attr-defined]
    assert [actor for actor in edits if actor in ("bob", "dan")] == ["bob", "dan"]


def test_those_without_task_management_define_nothing(visit: Open) -> None:
    page = visit("ann", "/task?task=2")
    expect(page.get_by_role("heading", name="Permits export")).to_be_visible()
    assert page.get_by_role("link", name="Define task").count() == 0
    page.goto("/define?task=2")
    expect(page.get_by_text(re.compile("Page not found|takes the privilege"))).to_be_visible()
    assert page.get_by_label("Task name").count() == 0
