"""Files that are wrong in one place each: refused with one clear message, and nothing is written."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import Forks, Headway
from tests.support.written_ledger import Ledger

pytest_plugins = ["tests.support.stack"]

BROKEN = Path(__file__).parent / "broken"
GOOD = r"""
settings:
  customer_importer_file_path: '\\flexftp\acme\import'
tasks:
  - {name: Lots export, type: data_export, schedule: {cron: "30 3 * * *"}, parameters: {table: lot}}
"""
WITHOUT_PATH = """
tasks:
  - {name: Codes, type: lookup_import, schedule: {cron: "30 3 * * *"}, parameters: {lookup: codes}}
"""
EXPECTED = {
    # what the message must name: the field, the value, the remedy
    "after_itself": ("Citations export", "loops", "times of its own"),
    "bad_cron": ("schedule.cron", "61 1 * * *", "minute", "15 1 * * *"),
    "bad_day_name": ("windows[1] 'Night'.days", "monday", "mon, tue"),
    "bad_once": ("schedule.once", "2026-02-30T08:15", "2026-11-22T08:15"),
    "binary": ("cannot be read as UTF-8",),
    "binary_parameter": ("parameters", "binary data", "as text"),
    "control_characters_in_a_name": ("tasks[1]", "name", "control characters"),
    "cron_and_once": ("schedule", "exactly one of cron, once and after"),
    "cron_with_a_word": ("schedule.cron", "every night", "five fields"),
    "duplicate_key": ("line 9", "retries", "twice", "remove one"),
    "duplicate_task_name": ("Citations export", "unique"),
    "duplicate_window_name": ("Night", "unique"),
    "duration_of_ages": ("expected_duration", "366 days"),
    "number_as_a_date": ("released", "86400", "2026-11-25"),
    "once_in_the_year_one": ("schedule.once", "1970 to 2200"),
    "parameters_in_a_circle": ("parameters", "refer to themselves"),
    "yes_as_a_number": ("settings.max_running", "whole number"),
    "duration_in_words": ("retry_delay", "five minutes", "00:30:00"),
    "empty_name": ("tasks[1]", "name", "empty"),
    "empty_schedule": ("schedule", "exactly one of"),
    "half_valid": ("Bad one", "schedule.cron", "99 1 * * *"),
    "importer_path_with_slashes": ("customer_importer_file_path", "'//flexftp/acme/import'", "two leading backslashes"),
    "importer_path_without_folder": ("customer_importer_file_path", r"Importer path '\\flexftp'", "names no share"),
    "list_at_the_top": ("a mapping with settings, windows and tasks",),
    "loop": ("loops", "'Citations export' -> 'Customers export' -> 'Citations export'", "times of its own"),
    "missing_predecessor": ("schedule.after", "Customers exprot", "no task named"),
    "negative_duration": ("expected_duration", "-00:20:00", "longer than nothing"),
    "negative_retries": ("retries", "-1", "greater than or equal to 0"),
    "no_days": ("windows[1] 'Night'.days", "at least one of mon"),
    "no_name": ("tasks[1].name", "required"),
    "no_slots": ("settings.max_running", "it is 0", "greater than or equal to 1"),
    "number_as_duration": ("expected_duration", "20 is a number", "quote"),
    "once_with_offset": ("schedule.once", "-05:00", "leave out the offset"),
    "one_leading_backslash": (
        "customer_importer_file_path",
        r"Importer path '\flexftp\acme\import'",
        "two leading backslashes",
    ),
    "parameter_of_the_wrong_type": ("parameters.ready_file", "tomorrow", "boolean"),
    "parameter_outside_its_choices": ("parameters.format", "pdf", "csv"),
    "python_object": ("not valid YAML", "python/object"),
    "require_without_windows": ("Citations export", "maintenance window", "define one"),
    "spacing_of_29_minutes": ("Citations export", "29 min", "minimum of 30 min", "schedule.spacing"),
    "spacing_without_after": ("schedule", "spacing goes with after"),
    "tabs": ("line 2", "spaces, not tabs"),
    "tasks_as_a_mapping": ("tasks", "a list is expected"),
    "text_at_the_top": ("a mapping with settings, windows and tasks",),
    "three_leading_backslashes": ("customer_importer_file_path", r"'\\\flexftp", "exactly two leading backslashes"),
    "unclosed_bracket": ("not valid YAML", "line 4"),
    "unknown_key_at_the_top": ("task: unknown key", "spelling"),
    "unknown_key_of_a_schedule": ("schedule.tz", "unknown key"),
    "unknown_key_of_a_task": ("retrys", "unknown key"),
    "unknown_key_of_a_window": ("windows[1] 'Night'.zone", "unknown key"),
    "unknown_on_failure": ("on_failure", "ignore", "'hold' or 'continue'"),
    "unknown_parameter": ("parameters.destination", "no such parameter", "file_name"),
    "unknown_setting": ("settings.max_runing", "unknown key"),
    "unknown_token": ("parameters.file_name", "'dat'", "date, time, task"),
    "unknown_type": ("data_exprot", "data_export", "lookup_import"),
    "unknown_window_policy": ("window", "never", "'avoid', 'require' or 'allow'"),
    "unknown_zone_of_a_task": ("timezone", "America/New_Yrok", "IANA"),
    "unknown_zone_of_the_settings": ("settings.timezone", "Eastern", "IANA"),
    "unquoted_time": ("windows[1] 'Night'.start", "750 is a number", "quote"),
}


@pytest.fixture(scope="module")
def installed(forks: Forks, new_installation: Path, tmp_path_factory: pytest.TempPathFactory) -> Headway:
    """An installation with a task of its own, shared: none of the files may change it."""
    folder = tmp_path_factory.mktemp("broken")
    shutil.copytree(new_installation, folder / "home")
    headway = Headway(folder / "home", forks, folder)
    headway.apply(GOOD)
    return headway


@pytest.fixture(scope="module")
def ledger(installed: Headway) -> Iterator[Ledger]:
    ledger = Ledger(installed.database)
    yield ledger
    ledger.engine.dispose()


def test_every_broken_file_has_its_expectation() -> None:
    on_disk = {path.stem for path in BROKEN.glob("*.yaml")}
    assert on_disk == {*EXPECTED, "exporter_without_importer_path"} and len(on_disk) >= 30


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_broken_file_is_refused_with_one_message_and_changes_nothing(
    installed: Headway, ledger: Ledger, name: str
) -> None:
    before = ledger.contents()
    answer = installed("apply", str(BROKEN / f"{name}.yaml"))
    message = answer.refused(2, *EXPECTED[name])
    assert len(message.splitlines()) == 1, message
    assert message.isprintable() or message.rstrip("\n").isprintable(), "control characters reach the terminal"
    assert "Dry run" not in answer.out and "+ task" not in answer.out, "says that something was made"
    assert ledger.contents() == before


def test_an_exporter_needs_the_importer_path(headway: Headway) -> None:
    headway.apply(WITHOUT_PATH)
    ledger = Ledger(headway.database)
    before = ledger.contents()
    answer = headway("apply", str(BROKEN / "exporter_without_importer_path.yaml"))
    answer.refused(2, "L7", "Citations export", "settings.customer_importer_file_path", r"'\\flexftp\acme\import'")
    assert ledger.contents() == before


def test_plan_of_a_broken_file_is_refused_as_well(installed: Headway, ledger: Ledger) -> None:
    before = ledger.contents()
    for name in ("bad_cron", "loop", "spacing_of_29_minutes", "unquoted_time", "duplicate_task_name", "binary"):
        installed("plan", str(BROKEN / f"{name}.yaml")).refused(2, *EXPECTED[name])
    assert ledger.contents() == before


def test_what_a_broken_file_leaves_is_what_export_says(installed: Headway) -> None:
    before = installed("export").ok().out
    for name in ("half_valid", "unknown_setting", "duplicate_window_name"):
        installed("apply", str(BROKEN / f"{name}.yaml")).refused(2)
    assert installed("export").ok().out == before and "Lots export" in before


def test_every_problem_of_a_file_is_told_at_once(installed: Headway) -> None:
    text = "settings: {max_running: 0, timezone: Eastern}\ntasks:\n  - {name: '', type: data_export, retrys: 1}\n"
    message = installed("apply", installed.file(text)).refused(2)
    assert len(message.splitlines()) == 4


def test_files_that_cannot_be_read(installed: Headway) -> None:
    installed("apply", "no-such-file.yaml").refused(2, "no-such-file.yaml", "no such file")
    installed("apply", str(installed.folder)).refused(2, str(installed.folder), "cannot be read")
    installed("plan", "no-such-file.yaml").refused(2, "no-such-file.yaml", "no such file")
    installed("apply").refused(2, "FILE")


def test_what_a_merge_brings_in_may_be_overridden(installed: Headway) -> None:
    base = "{name: Merged, type: data_export, enabled: false, parameters: {table: lot}}"
    text = f"tasks:\n  - &base {base}\n  - {{<<: *base, name: 'Merged, too'}}\n"
    assert "+ task 'Merged, too'" in installed("apply", installed.file(text), "--dry-run").ok().out


def test_a_prefect_yaml_that_cannot_be_read(installed: Headway, ledger: Ledger) -> None:
    (installed.folder / "prefect.yaml").write_bytes(b"deployments: [\xff]")
    try:
        installed("plan", str(BROKEN / "loop.yaml")).refused(2, "prefect.yaml", "not a prefect.yaml")
    finally:
        (installed.folder / "prefect.yaml").unlink()


@pytest.mark.parametrize(("arguments", "words"), [
    (["plan", "--from", "0001-01-01", "--to", "0001-01-02"], ("--from", "1970 to 2200")),
    (["plan", "--from", "9999-12-30"], ("--from", "1970 to 2200")),
    (["plan", "--to", "2150-01-01"], ("--to", "ten years")),
    (["log", "--since", "9999-12-31T23:59"], ("--since", "1970 to 2200")),
    (["why", "\udcff"], ("UTF-8", "headway tasks --all")),
])  # fmt: skip
def test_what_no_calendar_and_no_database_holds(installed: Headway, arguments: list[str], words: tuple[str]) -> None:
    installed(*arguments).refused(2, *words)


@pytest.mark.parametrize(("variable", "value"), [
    ("HEADWAY_DASHBOARD_PORT", "abc"), ("HEADWAY_PREFECT_PORT", "99999999"), ("HEADWAY_PREFECT_PORT", "0"),
    ("HEADWAY_DATABASE_URL", "postgresql://u:p@h:port/x"),
])  # fmt: skip
def test_an_environment_that_cannot_be_used(installed: Headway, variable: str, value: str) -> None:
    answer = installed("status", **{variable: value})
    answer.refused(5 if variable == "HEADWAY_DATABASE_URL" else 2, *([] if "URL" in variable else [variable, value]))
    assert "defect" not in answer.err


def test_a_deep_file_is_an_error_and_no_defect(installed: Headway) -> None:
    installed("apply", installed.file("tasks: " + "[" * 5000 + "]" * 5000)).refused(2)


def test_nothing_of_an_alias_bomb_is_built(installed: Headway) -> None:
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))
    installed("apply", installed.file(f"a0: &a0 [x]\n{levels}\n"), timeout_seconds=20).refused(2, "a0")
