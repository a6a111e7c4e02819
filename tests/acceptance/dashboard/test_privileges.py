"""Who sees which page and which button, and how guessing passwords ends, in the browser."""

from dataclasses import dataclass

import pytest
from playwright.sync_api import expect
from sqlmodel import select

from headway.models.ledger.database import reading
from headway.models.ledger.tables import AuditRow
from headway.models.values.actor import Privilege
from tests.support.dashboard_browser import Open, column, settled
from tests.support.dashboard_stack import PASSWORD, Dashboard

pytest_plugins = ["tests.support.dashboard_browser"]
VIEW, MANAGE, PURGE, USERS = Privilege.VIEW, Privilege.MANAGE, Privilege.PURGE, Privilege.USERS


@dataclass(frozen=True)
class Place:
    """A page: who sees it, by what they know it, which buttons take which privilege."""

    path: str
    seen_by: frozenset[Privilege]
    shows: str
    buttons: tuple[tuple[str, Privilege], ...] = ()


EVERY_VIEWER = frozenset({VIEW, MANAGE, PURGE})
PLACES = [
    Place("/", EVERY_VIEWER, "Scheduled and in progress"),
    Place(
        "/task?task=2", EVERY_VIEWER, "Next starts",
        tuple((name, MANAGE) for name in ("Run now", "Reset", "Disable", "Historical", "Edit")),
    ),
    Place("/define?task=2", frozenset({MANAGE}), "Edit task: Permits export", (("Next", MANAGE),)),
    Place("/reset?task=1", frozenset({MANAGE}), "What Finish does", (("Finish", MANAGE),)),
    Place("/log", EVERY_VIEWER, "Oldest first"),
    Place("/run?run=8", EVERY_VIEWER, "What happened"),
    Place("/board", EVERY_VIEWER, "Previous"),
    Place("/configuration", EVERY_VIEWER, "General"),
    Place("/windows", EVERY_VIEWER, "The next 14 occurrences", (("Release", MANAGE),)),
    Place("/users", frozenset({USERS}), "Active sessions", (("Reset password", USERS),)),
    Place("/purge", frozenset({PURGE}), "Deletes runs that ended long ago"),
    Place("/audit", EVERY_VIEWER | {USERS}, "rows on page"),
]  # fmt: skip
NOT_FOR_YOU = "text=/not allowed|takes the privilege|Page not found/"


@pytest.fixture(scope="module", autouse=True)
def _people(served: Dashboard) -> None:
    for privilege in Privilege:
        served.world.user(f"only {privilege.value}", privilege)


@pytest.mark.parametrize("privilege", Privilege)
def test_each_privilege_opens_its_pages_and_buttons_and_no_others(visit: Open, privilege: Privilege) -> None:
    page = visit(f"only {privilege.value}")
    expect(page.get_by_role("button", name=f"only {privilege.value}")).to_be_visible()
    for place in PLACES:
        page.goto(place.path)
        if privilege is USERS and place.path == "/":  # who may see no task begins with the users
            expect(page.get_by_text("Active sessions")).to_be_visible()
        elif privilege in place.seen_by:
            expect(page.get_by_text(place.shows).first, place.path).to_be_visible()
        else:
            expect(page.locator(NOT_FOR_YOU).first, place.path).to_be_visible()
        settled(page)
        assert privilege in place.seen_by or page.get_by_text(place.shows).count() == 0, place.path
        for name, wanted in place.buttons:
            button = page.get_by_role("button", name=name, exact=True)
            if privilege is wanted:  # a button is drawn a moment behind its page
                expect(button.first, f"{place.path}: {name}").to_be_visible()
            else:
                assert button.count() == 0, f"{place.path}: {name}"


def test_guessing_locks_the_user_out_for_a_while_and_the_audit_says_so(served: Dashboard, visit: Open) -> None:
    served.world.user("victim", VIEW)
    page = visit("nobody there")  # refused; the form is back
    for number in range(10):
        page.fill("#name", "victim")
        page.fill("#password", f"a wrong guess {number}")
        with page.expect_navigation():  # the alert is another one then
            page.click("button[type=submit]")
        problem = page.get_by_role("alert")
        expect(problem).to_be_visible()
        if "Try again in" in problem.inner_text():
            break
    expect(problem).to_contain_text("Too many failed attempts. Try again in")
    page.fill("#name", "victim")
    page.fill("#password", PASSWORD)  # the right one does not help meanwhile
    with page.expect_navigation():
        page.click("button[type=submit]")
    expect(page.get_by_role("alert")).to_contain_text("Try again in")
    root = visit("root", "/audit")
    assert "sign in" in column(root, "audit_table", "What")
    with reading(served.world.engine) as session:
        signed_in = session.exec(select(AuditRow).where(AuditRow.actor == "victim")).all()
    assert signed_in == []


def test_the_pages_can_be_worked_by_keyboard(visit: Open) -> None:
    page = visit("only manage", "/task?task=2")
    expect(page.get_by_role("button", name="Run now")).to_be_visible()
    settled(page)
    page.get_by_role("button", name="Run now").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("It would start")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.goto("/log")
    settled(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent").strip() == "Skip to main content"
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.textContent")
        )
    assert {"Search", "Errors only", "Oldest first"} <= {name.strip() for name in reached if name}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_is_wider_than_800_pixels(served: Dashboard, visit: Open, theme: str) -> None:
    page = visit("root")
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": 800, "height": 900})
    for place in PLACES:
        page.goto(place.path)
        expect(page.get_by_text(place.shows).first, place.path).to_be_visible()
        settled(page)
        wide = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
        assert wide <= 800, f"{place.path}: {wide}"
