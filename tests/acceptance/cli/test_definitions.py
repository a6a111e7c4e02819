"""plan, apply and export: what they need, what they leave alone, and that they agree with each other."""

import re
from pathlib import Path

import pytest

from headway.privileges import OPERATOR
from tests.support.command_line import Headway
from tests.support.written_ledger import Ledger

pytest_plugins = ["tests.support.stack"]

# The contract's own example, as it stands there.
EXAMPLE = r"""
settings:
  timezone: America/New_York            # default zone of schedules and windows
  customer_importer_file_path: '\\flexftp\acme\import'   # two leading backslashes, or it is an error
  min_spacing: "00:30:00"
  recommended_spacing: "01:00:00"
  long_running: "18:00:00"
  max_running: 4
windows:
  - {name: Monday maintenance, days: [mon], start: "00:01", end: "02:00"}
  - {name: Daily maintenance, days: [mon, tue, wed, thu, fri, sat, sun], start: "05:00", end: "06:00",
     timezone: America/New_York, released: [2026-11-25]}
tasks:                                   # without stored UIDs, UID = position in the file, from 1
  - name: Citations export
    type: data_export
    object: Citations
    description: Nightly hand-off
    schedule: {cron: "15 1 * * *"}       # or {once: "2026-11-22T08:15"}, {after: NAME, spacing: "01:00:00"}, or null
    timezone: America/New_York
    enabled: true
    historical: false
    window: avoid                        # avoid | require | allow
    on_failure: hold                     # hold | continue
    on_errors: continue                  # continue | stop (the chain)
    catch_up: latest                     # latest | all
    expected_duration: "00:20:00"        # optional
    retries: 0
    retry_delay: "00:05:00"
    parameters: {}
"""
# Every kind of value that export has to write so that apply reads the same.
EVERYTHING = r"""
settings:
  timezone: Europe/Berlin
  customer_importer_file_path: '\\flexftp\acme\import\'
  min_spacing: "00:00:30.5"
  recommended_spacing: "P1DT2H"
  long_running: "100:00:00"
  max_running: 7
windows:
  - {name: "yes", days: [sun, mon], start: "23:30:15", end: "00:30", released: [2026-11-25, 2026-12-24]}
  - {name: "12:30", days: [wed], start: "00:00", end: "00:00", timezone: Asia/Kolkata}
tasks:
  - {name: "null", type: lookup_import, description: "a: b # c", schedule: {cron: "5 2-4 * * mon-fri"},
     timezone: Pacific/Auckland}
  - {name: "007", type: lookup_import, schedule: {once: "2027-03-28T02:30"}, enabled: false, object: "~"}
  - {name: "Größe: 1'000 \"x\"", type: lookup_import, schedule: {after: "007", spacing: "25:30:00"}, on_errors: stop}
  - {name: "- dash", type: lookup_import, schedule: {after: "null"}, retries: 3, retry_delay: "00:00:00.25"}
  - name: "{brace}"
    type: lookup_import
    historical: true
    window: require
    on_failure: continue
    catch_up: all
    expected_duration: "P2DT0.5S"
    parameters: {lookup: "on", file_name: "c_{date}_{sequence}.csv", key_columns: ["1", "true"], wait_minutes: 5}
"""


def test_the_contracts_example_applies_cleanly(headway: Headway) -> None:
    answer = headway("apply", headway.file(EXAMPLE))
    assert answer.ok().err == ""
    assert "+ task 'Citations export'" in answer.out and "released" in answer.out
    task = headway("tasks", "--json").json()["tasks"][0]
    assert (task["uid"], task["name"], task["object"]) == (1, "Citations export", "Citations")
    again = headway("apply", headway.file(EXAMPLE)).ok().out
    assert "Nothing to change" in again


@pytest.mark.parametrize(
    "schedule", ['{once: "2026-11-22T08:15"}', "null", '{once: "2031-11-22T08:15"}', '{cron: "15 1 * * *"}']
)
def test_the_contracts_other_schedules_apply_too(headway: Headway, schedule: str) -> None:
    headway.apply(re.sub(r"schedule: \{cron.*", f"schedule: {schedule}", EXAMPLE))


def test_plan_of_a_file_makes_nothing(nowhere: Headway) -> None:
    answer = nowhere("plan", nowhere.file(EXAMPLE), HEADWAY_DATABASE_URL="postgresql://127.0.0.1:1/none").ok()
    assert "Citations export" in answer.out and not nowhere.home.exists()


def test_plan_of_a_file_imports_neither_server_nor_screen(nowhere: Headway) -> None:
    answer = nowhere.anew("plan", nowhere.file(EXAMPLE), "--json", PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in answer.err.splitlines()}
    assert answer.exit_code == 0 and "cronsim" in imported
    assert not imported & {"prefect", "streamlit", "sqlalchemy", "sqlmodel", "alembic", "paramiko", "flows", "blocks"}


def test_commands_on_the_ledger_import_neither_server_nor_screen(headway: Headway) -> None:
    answer = headway.anew("tasks", PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in answer.err.splitlines()}
    assert answer.exit_code == 0 and "sqlalchemy" in imported
    assert not imported & {"prefect", "streamlit", "paramiko", "flows", "blocks"}


def test_export_applied_changes_nothing(headway: Headway) -> None:
    headway.apply(EXAMPLE)
    headway.apply(EVERYTHING)
    ledger = Ledger(headway.database)
    exported = headway("export").ok().out
    before = ledger.contents()
    answer = headway("apply", headway.file(exported, "exported.yaml")).ok()
    assert answer.out.splitlines()[0] == "Nothing to change."
    assert ledger.contents() == before


def test_export_makes_another_installation_the_same(headway: Headway, tmp_path: Path) -> None:
    headway.apply(EXAMPLE)
    headway.apply(EVERYTHING)
    exported = headway("export").ok().out
    other = Headway(tmp_path / "other", headway.forks, tmp_path)
    other.apply(exported)
    assert other("export").ok().out == exported


def test_a_dry_run_shows_the_difference_and_writes_nothing(headway: Headway) -> None:
    headway.apply(EXAMPLE)
    ledger = Ledger(headway.database)
    before = ledger.contents()
    file = headway.file(EXAMPLE.replace('cron: "15 1 * * *"', 'cron: "15 3 * * *"').replace("retries: 0", "retries: 2"))
    out = headway("apply", file, "--dry-run").ok().out
    assert "~ task 'Citations export'" in out and "retries: 0 -> 2" in out and "15 3 * * *" in out
    assert "Dry run: nothing was changed." in out and ledger.contents() == before


def test_what_a_file_does_not_name_stays(headway: Headway) -> None:
    headway.apply(EXAMPLE)
    headway.apply("settings: {max_running: 9}")
    headway.apply("tasks:\n  - {name: Codes, type: lookup_import}\n")
    exported = headway("export").ok().out
    for kept in ("max_running: 9", "Citations export", "Codes", "Monday maintenance", r"\\flexftp\acme\import"):
        assert kept in exported
    headway.apply("windows:\n  - {name: Lunch, days: [fri], start: '12:00', end: '13:00'}\n")
    exported = headway("export").ok().out
    assert "Lunch" in exported and "Daily maintenance" in exported
    headway.apply("windows: []")  # none at all, said so
    assert "maintenance" not in headway("export").ok().out


def test_apply_leaves_one_audit_row_a_change(headway: Headway) -> None:
    headway.apply(EXAMPLE)
    rows = Ledger(headway.database).audit()
    assert [(row.actor, row.action, row.subject) for row in rows] == [
        (OPERATOR.name, "edit settings", "settings 'settings'"),
        # its zone is now the settings', and in the other an occurrence is released
        (OPERATOR.name, "edit window", "window 'Monday maintenance'"),
        (OPERATOR.name, "edit window", "window 'Daily maintenance'"),
        (OPERATOR.name, "create task", "task 'Citations export'"),
    ]
    assert all(row.after is not None for row in rows)


def test_lint_warnings_are_told_and_do_not_stop(headway: Headway) -> None:
    out = headway.apply(EXAMPLE).out
    assert "L3 warning: 'Citations export' comes due" in out and "it will start" in out


def test_the_package_has_its_script(headway: Headway) -> None:
    import sysconfig

    script = Path(sysconfig.get_path("scripts")) / "headway"
    if not script.exists():
        pytest.fail("the script `headway` is not installed: pip install -e .")
    assert "apply" in headway.anew(str(script), "--help").ok().out


COMMANDS = """
up, demo, status, worker, deploy, apply, export, tasks, plan, why, run, reset, enable, disable, delete, log, purge,
user add, user list, user grant, user revoke, host-key
"""


@pytest.mark.parametrize("command", [command.strip() for command in COMMANDS.split(",")])
def test_every_command_teaches(nowhere: Headway, command: str) -> None:
    out = nowhere(*command.split(), "--help").ok().out
    assert "Usage: " in out and len(out.splitlines()) >= 5 and not nowhere.home.exists()
