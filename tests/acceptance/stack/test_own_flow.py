"""A data team's own flow, as docs/howto/task-types.md has it: deployed from its folder, then a task type."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from headway.models.values.run import RunStatus, Trigger
from tests.acceptance.stack.test_runs import final_state, held_state
from tests.support.command_line import Answer
from tests.support.project import PROJECT
from tests.support.running_stack import RunningStack, until

pytest_plugins = ["tests.support.stack"]

EXAMPLE = PROJECT / "examples" / "own_flow"
SCHEDULED_THERE = "lot_audit_hourly (started in Prefect)"
STARTED_THERE = "lot_audit (started in Prefect)"


@pytest.fixture(scope="module")
def own_folder(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the example, far from Headway's own folder, deployed; Prefect's schedule comes due every minute."""
    folder = tmp_path_factory.mktemp("data-team") / "flows"
    shutil.copytree(EXAMPLE, folder)
    text = (folder / "prefect.yaml").read_text()
    assert '"20 * * * *"' in text
    (folder / "prefect.yaml").write_text(text.replace('"20 * * * *"', '"* * * * *"'))
    answer = headway_in(stack, folder, "deploy").ok()
    assert "lot_audit" in answer.out and "audits" in answer.out
    assert "data_export" in answer.out, "the shipped types are gone"
    yield folder
    api = stack.server.api()
    for one in api.deployments():
        if one.name.startswith("lot_audit"):
            api.delete_deployment(one.id)
    stack.headway.apply("windows: []\n")
    stack.headway("deploy").ok()


def headway_in(stack: RunningStack, folder: Path, *args: str) -> Answer:
    return stack.headway.forks.run(args, stack.headway.environment, folder, 120)


def test_the_example_imports_nothing_of_headway() -> None:
    for file in EXAMPLE.glob("*.py"):
        words = file.read_text().split()
        assert not any(word.startswith("headway.") for word in words), file


def test_it_is_a_type_with_a_form_that_obeys_and_shows_its_counts(stack: RunningStack, own_folder: Path) -> None:
    bad = stack.headway(
        "apply",
        stack.headway.file("tasks:\n  - {name: Audit, type: lot_audit, parameters: {tolerance: -1, day: someday}}\n"),
    )
    bad.refused(2, "parameters.tolerance", "-1")
    stack.apply("  - {name: Audit, type: lot_audit, object: Lots, parameters: {tolerance: 5, detail: all}}\n")
    stack.headway("run", "Audit", "--wait").ok()
    run = stack.headway("log", "--task", "Audit", "--json").json()["runs"][0]
    assert (run["result"], run["processed"], run["errors"]) == ("Completed - With Errors", 2, 1)
    detail = stack.headway("log", str(run["id"]), "--json").json()
    lines = {line["message"]: line["level"] for line in detail["lines"]}
    assert lines["Harbour is off by 25 cars"] == 40 and lines["North is right to 2 cars"] == 20


def test_what_prefect_starts_waits_for_its_turn_and_says_so(stack: RunningStack, own_folder: Path) -> None:
    stack.headway.apply(window_around_now())
    started = prefect(stack, own_folder, "deployment", "run", "lot_audit/lot_audit", "--param", "tolerance=30")
    assert "Created flow run" in started
    for name in (STARTED_THERE, SCHEDULED_THERE):  # the second one by Prefect's own schedule, within a minute
        run = stack.in_state(name, RunStatus.WAITING, timeout_seconds=120)
        assert run.trigger is Trigger.PREFECT and run.flow_run_id is not None
        flow_run_id = run.flow_run_id
        held = stack.held_by(name)
        assert "'Now'" in held["window"]["reason"] and held["window"]["until"] is not None
        told = until(lambda: held_state(stack, flow_run_id), "a reason in Prefect")  # noqa: B023
        assert (told["type"], told["name"]) == ("SCHEDULED", "Held") and held["window"]["reason"] in told["message"]
    first = stack.ledger.runs(STARTED_THERE)[0]
    assert first.flow_run_id is not None
    stack.headway.apply("windows: []\n")
    run = stack.ended(STARTED_THERE)
    assert (run.status, run.processed, run.errors, run.id) == (RunStatus.COMPLETED, 2, 0, first.id)
    assert until(lambda: final_state(stack, first.flow_run_id or ""), "its end in Prefect")["type"] == "COMPLETED"
    scheduled = until(lambda: completed(stack, SCHEDULED_THERE), "the end of what Prefect scheduled")
    assert scheduled == (RunStatus.COMPLETED, 2, 0)


def completed(stack: RunningStack, name: str) -> tuple[RunStatus, int, int] | None:
    return next(
        ((run.status, run.processed, run.errors) for run in stack.ledger.runs(name) if run.ended_at is not None), None
    )


def window_around_now() -> str:
    start, end = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-1, 2))
    days = "[mon, tue, wed, thu, fri, sat, sun]"
    return f'windows:\n  - {{name: Now, days: {days}, start: "{start:%H:%M}", end: "{end:%H:%M}", timezone: UTC}}\n'


def prefect(stack: RunningStack, folder: Path, *args: str) -> str:
    """Prefect's own command line, as a data team uses it."""
    environment = {**stack.headway.environment, **stack.server.api()._as_environment()}
    command = [sys.executable, "-m", "prefect", *args]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
