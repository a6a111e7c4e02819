"""The life of a run: every pair of states, as the rules' page tells it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import product

import pytest

from headway.models.values.instant import utc
from headway.models.values.rule import OVERRIDABLE, RuleId
from headway.models.values.run import ACTIVE, FINISHED_WELL, OPEN, RAN, SHOWN_AS, TRANSITIONS, RunStatus

LIFE_OF_A_RUN = """
waiting -> starting
starting -> running
running -> completed
running -> completed_with_errors
running -> failed
starting -> failed
starting -> cancelled
running -> cancelled
starting -> waiting
running -> waiting
waiting -> superseded
waiting -> missed
waiting -> skipped
waiting -> cancelled
"""
"""Each arrow of RULES.md; `starting -> failed` because the worker of a starting run may be lost too."""

ARROWS = {tuple(line.split(" -> ")) for line in LIFE_OF_A_RUN.split("\n") if line}


@pytest.mark.parametrize(("old", "new"), product(RunStatus, RunStatus))
def test_transition_exists_only_where_the_rules_have_an_arrow(old: RunStatus, new: RunStatus) -> None:
    allowed = new in TRANSITIONS.get(old, frozenset())
    assert allowed == ((old.value, new.value) in ARROWS)


def test_every_status_is_reached_from_waiting() -> None:
    reached, edge = {RunStatus.WAITING}, {RunStatus.WAITING}
    while edge:
        edge = {new for old in edge for new in TRANSITIONS.get(old, frozenset())} - reached
        reached |= edge
    assert reached == set(RunStatus)


@pytest.mark.parametrize("status", RunStatus)
def test_open_statuses_are_those_that_something_follows(status: RunStatus) -> None:
    assert (status in OPEN) == bool(TRANSITIONS.get(status))


def test_kinds_of_status() -> None:
    assert {RunStatus.WAITING} == OPEN - ACTIVE
    assert {RunStatus.FAILED, RunStatus.CANCELLED} == RAN - FINISHED_WELL
    assert not RAN & OPEN


def test_every_status_has_the_name_that_operators_know() -> None:
    assert SHOWN_AS == {
        "waiting": "Waiting",
        "starting": "In progress",
        "running": "In progress",
        "completed": "Completed",
        "completed_with_errors": "Completed - With Errors",
        "failed": "Execution failed",
        "superseded": "Superseded",
        "missed": "Missed",
        "skipped": "Skipped",
        "cancelled": "Cancelled",
    }


def test_only_window_and_spacing_can_be_overridden() -> None:
    assert {"window", "spacing"} == OVERRIDABLE
    assert [rule.value for rule in RuleId] == ["reset", "busy", "group", "capacity", "window", "spacing", "engine"]


def test_utc_keeps_the_instant_and_refuses_a_naive_one() -> None:
    east = datetime(2026, 11, 23, 6, tzinfo=timezone(-timedelta(hours=5)))
    assert utc(east) == east and utc(east).tzinfo is UTC
    with pytest.raises(ValueError, match="naive"):
        utc(datetime(2026, 11, 23))
