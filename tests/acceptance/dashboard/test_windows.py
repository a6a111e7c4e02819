"""Maintenance windows in the browser, on a real stack: what a change would move, and that it then moves."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect
from sqlmodel import select

from headway.clock import SystemClock
from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import AuditRow, UserRow
from headway.models.values.actor import Privilege
from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR
from headway.scheduler.store.settings import load_windows
from headway.scheduler.usecases.people import people
from tests.support.dashboard_browser import Open, column
from tests.support.dashboard_stack import PASSWORD, serving
from tests.support.running_stack import RunningStack, export_yaml

pytest_plugins = ["tests.support.stack", "tests.support.dashboard_browser"]
NAME = "Around now"


@dataclass
class Served:
    url: str


@pytest.fixture(scope="module")
def served(stack: RunningStack) -> Iterator[Served]:
    """A dashboard on the stack, and a maintenance window that began an hour ago and lasts four more."""
    with writing(stack.ledger.engine) as session:
        for name, privilege in (("wanda", Privilege.MANAGE), ("vera", Privilege.VIEW)):
            people.add_user(session, SystemClock(), OPERATOR, name)
            session.flush()
            people.grant(session, SystemClock(), OPERATOR, name, privilege)
            user = session.exec(select(UserRow).where(UserRow.name == name)).one()
            user.password_hash, user.must_change_password = people.PASSWORDS.hash(PASSWORD), False
            session.add(user)
    with serving(stack.headway.home) as url:
        yield Served(url)


@pytest.fixture(autouse=True)
def around_now(stack: RunningStack) -> Iterator[str]:
    """The local day on which a window of today began an hour ago; it lasts four more. The stack is shared: whatever
    becomes of the test, the window goes afterwards and what it held has ended."""
    began = datetime.now(UTC) - timedelta(hours=1)
    end, days = began + timedelta(hours=5), "[mon, tue, wed, thu, fri, sat, sun]"
    window = f'{{name: {NAME}, days: {days}, start: "{began:%H:%M}", end: "{end:%H:%M}", timezone: UTC}}'
    stack.headway.apply("windows: []\n")  # whatever other tests have left
    stack.headway.apply(f"windows:\n  - {window}\n")
    yield f"{began:%Y-%m-%d}"
    stack.headway.apply("windows: []\n")
    if stack.last("Kept waiting") is not None:
        stack.ended("Kept waiting")


def test_a_release_shows_what_it_moves_and_then_it_moves(stack: RunningStack, visit: Open, around_now: str) -> None:
    stack.apply(export_yaml("Kept waiting"))
    stack.headway("run", "Kept waiting").ok()
    assert set(stack.held_by("Kept waiting")) == {"window"}
    page = visit("wanda", "/windows")
    # by its own key: while the list is being drawn, "the first" button may be that of a later day
    of_today = page.locator(f".st-key-window_{NAME.replace(' ', '-')}_{around_now}")
    of_today.get_by_role("button", name="Release", exact=True).click()
    dialog = page.get_by_role("dialog")
    day = f"{datetime.fromisoformat(around_now):%a %-d %b}"
    expect(dialog.get_by_role("button", name=f"Release {NAME} of {day}")).to_be_visible()
    expect(dialog.get_by_text(re.compile(r"1 of \d+ runs? until .* would move: 1 earlier"))).to_be_visible()
    assert column(page, "window_preview", "Task") == ["Kept waiting"]
    before, after = (column(page, "window_preview", name)[0] for name in ("Starts as it is", "Starts after the change"))
    assert before > after and "earlier" in column(page, "window_preview", "Moves")[0]
    run = stack.last("Kept waiting")
    assert run is not None and run.status is RunStatus.WAITING  # to look is not to do
    dialog.get_by_role("button", name=f"Release {NAME} of {day}").click()
    expect(page.get_by_text("Released by wanda")).to_be_visible()
    assert stack.ended("Kept waiting").status is RunStatus.COMPLETED
    of_today.get_by_role("button", name="Reserve", exact=True).click()
    expect(dialog.get_by_text("No run would move")).to_be_visible()
    dialog.get_by_role("button", name=f"Reserve {NAME} of {day}").click()
    expect(page.get_by_text("Released by")).to_have_count(0)


def test_a_window_is_edited_with_a_look_at_what_moves_first(stack: RunningStack, visit: Open) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    cron = f"    schedule: {{cron: '{tomorrow:%M %H} * * *'}}\n    timezone: UTC\n"
    stack.apply(export_yaml("Comes due inside", more=cron))
    page = visit("wanda", "/windows")
    page.get_by_role("button", name="Edit").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Nothing has changed yet")).to_be_visible()
    end = dialog.get_by_role("textbox", name="End")
    end.fill("25:00")
    end.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("end: not a time of day; write it like")
    expect(dialog.get_by_role("button", name="Save")).to_be_disabled()
    later = f"{datetime.now(UTC) + timedelta(hours=6):%H:%M}"
    end.fill(later)
    end.press("Enter")
    expect(dialog.get_by_text(re.compile(r"would move: \d+ later"))).to_be_visible()
    assert set(column(page, "window_preview", "Task")) == {"Comes due inside"}
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_test_id("stToast")).to_contain_text("is saved")
    with reading(stack.ledger.engine) as session:
        (window,) = load_windows(session)
        row = session.exec(select(AuditRow).where(AuditRow.action == "edit window", AuditRow.actor == "wanda")).one()
    assert f"{window.end:%H:%M}" == later and row.after["end"].startswith(later)
    stack.headway("disable", "Comes due inside").ok()


def test_windows_are_added_and_deleted(stack: RunningStack, visit: Open) -> None:
    page = visit("wanda", "/windows")
    page.get_by_role("button", name="Add window").click()
    dialog = page.get_by_role("dialog")
    for label, text in (("Name", "Sundays"), ("Start", "03:00"), ("End", "04:00")):
        dialog.get_by_role("textbox", name=label).fill(text)
        dialog.get_by_role("textbox", name=label).press("Enter")
    dialog.get_by_role("button", name="Sun").or_(dialog.get_by_text("Sun", exact=True)).first.click()
    expect(dialog.get_by_role("button", name="Save")).to_be_enabled()
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_test_id("stToast")).to_contain_text("'Sundays' is saved")
    page.locator(".st-key-window_delete_Sundays").get_by_role("button").click()
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_test_id("stToast").last).to_contain_text("'Sundays' is deleted")
    with reading(stack.ledger.engine) as session:
        assert "Sundays" not in [window.name for window in load_windows(session)]


def test_who_may_only_view_sees_the_windows_and_no_button(visit: Open) -> None:
    page = visit("vera", "/windows")
    expect(page.get_by_text(NAME).first).to_be_visible()
    for name in ("Release", "Reserve", "Edit", "Delete", "Add window"):
        assert page.get_by_role("button", name=name).count() == 0
