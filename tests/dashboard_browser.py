"""Debian's Chromium on a real dashboard, as a pytest plugin: signed in as somebody, tables read as a reader would.

`served`: a furnished installation, one for each test module that asks; a module may have its own of that name.
`visit(name, path)`: a page of it in a browser
of its own.
"""

import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.dashboard_stack import PASSWORD, Dashboard, dashboard

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
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


@pytest.fixture
def visit(served: Dashboard, browser: Browser) -> Iterator[Open]:
    """Sign in as somebody and open a page, in a browser of its own. Requests that go elsewhere fail the test."""
    contexts = []
    asked: list[str] = []

    def visit(name: str, path: str = "/") -> Page:
        context = browser.new_context(base_url=served.url, viewport={"width": 1280, "height": 900})
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
    assert not [url for url in asked if not url.startswith((served.url, "data:", "blob:"))]


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
