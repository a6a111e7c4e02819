"""Debian's Chromium on a real dashboard, as a pytest plugin: signed in as somebody, tables read as a reader would.

`served`: a furnished installation, one for each test module that asks; a module may have its own of that name.
`visit(name, path)`: a page of it, signed in.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, TimeoutError, expect, sync_playwright

from tests.support.dashboard_stack import PASSWORD, Dashboard, dashboard

CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
SLOW = 30_000
expect.set_options(timeout=SLOW)  # a busy machine may take its time
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def served() -> Iterator[Dashboard]:
    with dashboard() as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


def settled(page: Page) -> None:
    """Nothing is being drawn anew."""
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()


@dataclass
class People:
    """Whoever has signed in, each in a browser context of their own, and every address that was asked for."""

    browser: Browser
    base_url: str
    contexts: dict[str, BrowserContext] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def context(self) -> BrowserContext:
        context = self.browser.new_context(base_url=self.base_url, viewport={"width": 1280, "height": 900})
        context.set_default_timeout(SLOW)
        context.on("request", lambda request: self.asked.append(request.url))
        context.new_page().goto("/login")  # stays: the process behind it keeps what it has compiled for the next page
        return context


@pytest.fixture(scope="module")
def people(served: Dashboard, browser: Browser) -> Iterator[People]:
    people = People(browser, served.url)
    yield people
    for context in people.contexts.values():
        context.close()


@pytest.fixture
def visit(people: People) -> Iterator[Open]:
    """Open a page as somebody, who signs in where it is asked for. Requests that go elsewhere fail the test.

    alone: in a session that no other page of the module has, nor gets.
    """
    alones = []

    def visit(name: str, path: str = "/", *, alone: bool = False) -> Page:
        if alone:
            alones.append(context := people.context())
        else:
            context = people.contexts.get(name) or people.contexts.setdefault(name, people.context())
        page = context.new_page()
        page.goto(path)
        if page.locator("#password").count():
            page.fill("#name", name)
            page.fill("#password", PASSWORD)
            page.click("button[type=submit]")
        return page

    yield visit
    for context in alones:
        context.close()
    for context in people.contexts.values():
        for page in context.pages[1:]:  # also those that a link has opened
            page.close()
    asked, people.asked = people.asked, []
    assert not [url for url in asked if not url.startswith((people.base_url, "data:", "blob:"))]


def cells(page: Page, key: str) -> list[list[str]]:
    """A table's rows as a screen reader has them."""
    table = page.locator(f".st-key-{key} canvas[data-testid='data-grid-canvas'] table")
    table.wait_for(state="attached")
    rows = table.locator("tbody tr")
    return [row.locator("td").all_inner_texts() for row in rows.all()]


def every_cell(page: Page, key: str) -> set[str]:
    """What a table shows from its first row to its last, scrolled through: it draws only the rows that are in sight."""
    place = page.locator(f".st-key-{key}")
    table = place.locator("canvas[data-testid='data-grid-canvas'] table")
    table.wait_for(state="attached")
    rows, found, seen = int(table.get_attribute("aria-rowcount") or 0), set[str](), 1  # the head is the first
    while seen < rows:
        place.locator(".dvn-scroller").evaluate("(one, top) => { one.scrollTop = top }", 31 * (seen - 1))
        table.locator(f"tbody tr[aria-rowindex='{seen + 1}']").wait_for(state="attached")
        drawn = table.locator("tbody").evaluate(
            "body => [...body.rows].map(row => [row.ariaRowIndex, ...[...row.cells].map(cell => cell.textContent)])"
        )
        found |= {cell for row in drawn for cell in row[1:]}
        seen = max(int(row[0]) for row in drawn)
    return found


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
    for _ in range(10):
        page.locator(f".st-key-{key} .dvn-scroller").hover(position={"x": x, "y": 32 + 31 * row + 15})
        try:
            with page.context.expect_page(timeout=SLOW / 10) as opened:
                click(page, key, x, row)
        except TimeoutError:
            continue
        return opened.value
    raise AssertionError(f"no link at {x} in row {row} of {key}")


def step(page: Page, number: int) -> None:
    """As a person does: once more where the page was being drawn anew, which takes back the click."""
    tab = page.get_by_role("tab", name=re.compile(f"^{number} "))
    for _ in range(5):
        tab.click()
        settled(page)
        if tab.get_attribute("aria-selected") == "true":
            return
