"""Turning the task log's pages, with the page's own script and a made-up log."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from headway import dashboard
from headway.dashboard import data, ui
from headway.models.ledger.tables import RunRow
from headway.models.values.actor import Actor
from headway.models.values.run import RunStatus, Trigger
from headway.scheduler.usecases.log.browse_log import Key, LogPage, LogQuery
from tests.support.clock import FixedClock

PAGE = str(Path(dashboard.__file__).parent / "app_pages" / "task_log.py")
FIRST = datetime(2026, 11, 23, 12, tzinfo=UTC)


def _endless_log(_session: object, _actor: object, _query: LogQuery, *, behind: Key | None, limit: int) -> LogPage:
    """One run a page; the key says how many pages lie before."""
    number = behind[1] if behind else 0
    run = RunRow(
        id=number + 1,
        task_uid=1,
        status=RunStatus.COMPLETED,
        trigger=Trigger.SCHEDULE,
        due_at=FIRST,
        sorted_at=FIRST,
        started_at=FIRST,
        ended_at=FIRST,
    )
    return LogPage([(run, "Export")], (FIRST - timedelta(hours=number), number + 1), {number + 1: ""})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FixedClock:
    clock = FixedClock()

    def ask(use_case: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        return [] if use_case.__name__ == "types_in_use" else use_case(None, Actor, *arguments, **named)

    monkeypatch.setattr("headway.scheduler.usecases.log.browse_log.browse_log", _endless_log)
    monkeypatch.setattr(data, "CLOCK", clock)
    monkeypatch.setattr(ui, "fetch", ask)
    monkeypatch.setattr(ui, "zone", lambda: "America/New_York")
    return clock


def _on_page(page: AppTest) -> str:
    return page.caption[-1].value


def test_pages_go_on_however_long_one_reads(clock: FixedClock) -> None:
    page = AppTest.from_file(PAGE).run()
    for number in (2, 3, 4):
        clock.at += timedelta(minutes=5)
        page.button(key="log_next").click().run()
        assert f"on page {number};" in _on_page(page)
    page.button(key="log_back").click().run()
    assert "on page 3;" in _on_page(page)


@pytest.mark.parametrize("change", ["errors", "range"])
def test_another_filter_begins_at_the_first_page(clock: FixedClock, change: str) -> None:
    page = AppTest.from_file(PAGE).run()
    page.button(key="log_next").click().run()
    if change == "errors":
        page.checkbox(key="log_errors").check().run()
    else:
        page.selectbox(key="log_range").select("Last 31 days").run()
    assert "on page 1;" in _on_page(page)
