"""The files in examples/: clean under lint, applied and forecast, and together they show every shipped task type."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from headway.scheduler.planning.definitions.task_types import OWN_PREFECT_YAML, types_in
from tests.support.command_line import Headway
from tests.support.databases import PostgresForTests, url_of
from tests.support.project import PROJECT

pytest_plugins = ["tests.support.stack"]

EXAMPLES = sorted((PROJECT / "examples").glob("*.yaml"))
# A week that holds Thanksgiving and every weekday's tasks, and the week of the clocks' change in spring.
WEEKS = [("2026-11-23", "2026-11-30"), ("2027-03-08", "2027-03-15")]


@pytest.fixture(params=EXAMPLES, ids=lambda path: path.stem)
def example(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture
def on_postgres(nowhere: Headway, postgres_server: PostgresForTests) -> Iterator[Headway]:
    """A new installation on PostgreSQL."""
    engine = postgres_server.empty()
    yield Headway(nowhere.home, nowhere.forks, nowhere.folder, {"HEADWAY_DATABASE_URL": url_of(engine)})
    postgres_server.drop(engine)


def test_the_examples_are_there() -> None:
    assert [path.stem for path in EXAMPLES] == ["contact-centre", "parking"]


def test_together_they_show_every_shipped_type() -> None:
    shown = {task["type"] for path in EXAMPLES for task in _tasks(path)}
    assert shown == set(types_in(OWN_PREFECT_YAML))


def test_each_shows_a_chain_a_window_and_a_report(example: Path) -> None:
    tasks = _tasks(example)
    assert sum("after" in (task.get("schedule") or {}) for task in tasks) >= 2
    assert any(task.get("window") == "require" for task in tasks)
    assert any(task["type"] == "report_execution" for task in tasks)
    assert len(yaml.safe_load(example.read_text())["windows"]) == 2


@pytest.mark.parametrize(("start", "end"), WEEKS)
def test_its_forecast_is_clean_and_places_every_run(nowhere: Headway, example: Path, start: str, end: str) -> None:
    found = nowhere("plan", str(example), "--from", start, "--to", end, "--json").json()
    assert found["findings"] == []
    assert {run["status"] for run in found["runs"]} == {"planned"}
    assert {run["task"] for run in found["runs"]} == {task["name"] for task in _tasks(example)}
    held = [run["task"] for run in found["runs"] if run["holds"]]
    assert held == [], "nothing has to wait in an example that is planned well"


def test_it_is_applied_as_it_was_forecast(headway: Headway, example: Path) -> None:
    _apply_and_forecast(headway, example)


def test_it_is_applied_on_postgresql_too(on_postgres: Headway, example: Path) -> None:
    _apply_and_forecast(on_postgres, example)


def _apply_and_forecast(headway: Headway, example: Path) -> None:
    dry = headway("apply", str(example), "--dry-run").ok()
    assert "Dry run" in dry.out and headway("tasks", "--all", "--json").json()["tasks"] == []
    applied = headway("apply", str(example)).ok()
    for answer in (dry, applied):
        assert answer.err == "" and not re.search(r"\bL\d\b", answer.out), "the lint has findings"
    names = [task["name"] for task in _tasks(example)]
    stored = {task["uid"]: task["name"] for task in headway("tasks", "--all", "--json").json()["tasks"]}
    assert [name for _, name in sorted(stored.items())] == names
    week = ("--from", "2030-03-04", "--to", "2030-03-11", "--json")  # ahead of whatever day this test runs on
    planned, forecast = headway("plan", str(example), *week).json(), headway("plan", *week).json()
    assert forecast["findings"] == [] and forecast["runs"] == planned["runs"] != []
    assert "Nothing to change" in headway("apply", str(example)).ok().out


def _tasks(path: Path) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = yaml.safe_load(path.read_text())["tasks"]
    return tasks
