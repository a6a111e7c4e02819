"""`headway purge` as an operator types it: days by type and result, and what it refuses."""

from datetime import UTC, datetime, timedelta

import pytest

from headway.models.values.run import RunStatus
from tests.support.command_line import Headway
from tests.support.written_ledger import Ledger

pytest_plugins = ["tests.support.stack"]


@pytest.fixture
def old(headway: Headway) -> Headway:
    """Runs of one task that ended 400, 300, 200 and 100 days ago, in turn failed and completed."""
    headway.apply("tasks: [{name: Codes, type: lookup_import, parameters: {lookup: codes, file_name: c.csv}}]")
    ledger = Ledger(headway.database)
    for number, days in enumerate((400, 300, 200, 100)):
        status = RunStatus.COMPLETED if number % 2 else RunStatus.FAILED
        ledger.ended("Codes", datetime.now(UTC) - timedelta(days=days), status=status)
    return headway


def test_without_days_and_setting_it_says_what_to_give(old: Headway) -> None:
    old("purge").refused(2, "--older-than DAYS", "retention_days")
    old("purge", "--dry-run").refused(2, "--older-than DAYS", "retention_days")
    file = old.folder / "settings.yaml"
    file.write_text("settings: {retention_days: 350}\n")
    old("apply", str(file)).ok()
    assert old("purge", "--dry-run", "--json").json()["runs"] == 1


def test_days_by_type_and_result(old: Headway) -> None:
    rule = ("--rule", "lookup_import:failed:keep")
    dry = old("purge", "--older-than", "50", *rule, "--dry-run", "--json").json()
    assert dry["counts"] == [{"type": "lookup_import", "result": "completed", "runs": 1}]
    assert dry["kept_why"] == {"the last run of its task": 1}
    failed = ("--result", "failed", "--type", "lookup_import")
    assert old("purge", "--older-than", "50", *failed, "--json").json()["runs"] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--older-than", "-1"], ["--older-than -1", "number of days"]),
        (["--rule", "lookup_import:30"], ["--rule 'lookup_import:30'", "TYPE:RESULT:DAYS"]),
        (["--older-than", "3", "--result", "running"], ["--result", "'running'"]),
        (["--older-than", "3", "--type", "exports"], ["'exports' is no task type"]),
    ],
)
def test_what_cannot_be_read_is_refused(old: Headway, arguments: list[str], words: list[str]) -> None:
    old("purge", *arguments).refused(2, *words)


def test_progress_is_told_on_stderr_and_the_document_stays_one(old: Headway) -> None:
    answer = old("purge", "--older-than", "150", "--progress", "--reason", "room", "--json")
    assert answer.json()["runs"] == 3
    assert answer.err.splitlines()[-1] == "3/3"
