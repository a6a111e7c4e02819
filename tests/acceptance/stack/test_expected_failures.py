"""An expected failure is one sentence and a remedy, in the log and on the reset page; a defect keeps its traceback."""

import pytest

from headway.models.values.run import RunStatus
from tests.support.running_stack import RunningStack

pytest_plugins = ["tests.support.stack"]

FAILURES = {
    "No table": ("data_export", "{table: no_such_table, file_name: x.csv}", "There is no table 'no_such_table'"),
    "No file": (
        "lookup_import",
        "{lookup: codes, file_name: never.csv, wait_minutes: 0, on_missing: fail}",
        "never.csv",
    ),
    "Bad query": ("data_export", "{query: SELEC 1, file_name: x.csv}", 'near "SELEC": syntax error'),
}


def lines_of(stack: RunningStack, name: str) -> tuple[str, list[dict[str, str]]]:
    stack.headway("run", name).ok()
    run = stack.ended(name)
    assert run.status is RunStatus.FAILED
    return run.error, stack.headway("log", str(run.id), "--json").json()["lines"]


@pytest.mark.parametrize("name", FAILURES)
def test_an_expected_failure_shows_no_traceback(stack: RunningStack, name: str) -> None:
    kind, parameters, told = FAILURES[name]
    stack.apply(f"  - {{name: {name}, type: {kind}, window: allow, parameters: {parameters}}}\n")
    error, lines = lines_of(stack, name)
    assert told in error and "Error:" not in error and "Refused:" not in error
    assert not [line for line in lines if "Traceback" in line["message"] or "  File " in line["message"]]
    assert error in {line["message"] for line in lines}
    stack.headway("reset", name, "--yes").ok()


def test_a_refused_login_shows_no_traceback(stack: RunningStack) -> None:
    stack.apply("  - {name: No login, type: data_export, window: allow, parameters: {query: SELECT 1 AS a}}\n")
    api = stack.server.api()
    fields = api.block("sftp-server", "importer", secrets=True)
    assert fields is not None
    api.save_block("sftp-server", "importer", {**fields, "password": "wrong"})
    try:
        error, lines = lines_of(stack, "No login")
    finally:
        api.save_block("sftp-server", "importer", fields)
    assert "password" in error.lower() or "login" in error.lower()
    assert not [line for line in lines if "Traceback" in line["message"]]
    stack.headway("reset", "No login", "--yes").ok()
