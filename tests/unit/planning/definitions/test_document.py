"""What a YAML file may say, and how a wrong one is refused: the field, the value, the remedy."""

from datetime import datetime, time, timedelta
from pathlib import Path

import pytest

from headway.blocks.sftp.block import SftpServer
from headway.errors import InvalidInput
from headway.models.values.task import CatchUp, OnErrors, OnFailure
from headway.models.values.window import DEFAULT_WINDOWS, WindowPolicy
from headway.scheduler.planning.definitions.document import Definitions, TaskSection, load_file, load_text


def _task(more: str = "") -> TaskSection:
    tasks = load_text(f"tasks: [{{name: a, type: t{more}}}]", "x.yaml").tasks
    assert tasks is not None
    return tasks[0]


def _problems(text: str) -> list[str]:
    with pytest.raises(InvalidInput) as refusal:
        load_text(text, "x.yaml")
    assert refusal.value.exit_code == 2
    return refusal.value.problems


def test_a_task_needs_a_name_and_a_type_and_has_defaults_for_the_rest() -> None:
    task = _task()
    assert (task.object, task.description, task.schedule, task.timezone) == ("", "", None, None)
    assert (task.enabled, task.historical) == (True, False)
    assert (task.window, task.on_failure) == (WindowPolicy.AVOID, OnFailure.HOLD)
    assert (task.on_errors, task.catch_up) == (OnErrors.CONTINUE, CatchUp.LATEST)
    assert (task.expected_duration, task.retries, task.retry_delay) == (None, 0, timedelta(minutes=5))
    assert task.parameters == {}


def test_settings_have_the_contracts_defaults() -> None:
    settings = load_text("settings: {}", "x").settings
    assert settings is not None
    assert (settings.timezone, settings.customer_importer_file_path) == ("America/New_York", None)
    assert (settings.min_spacing, settings.recommended_spacing) == (timedelta(minutes=30), timedelta(minutes=60))
    assert (settings.long_running, settings.max_running) == (timedelta(hours=18), 4)


@pytest.mark.parametrize("text", ["", "{}", "# nothing\n", "tasks:\n"])
def test_an_empty_file_is_a_file(text: str) -> None:
    assert load_text(text, "x").windows is None


def test_a_section_left_out_has_its_default_and_an_empty_list_means_none() -> None:
    assert Definitions().windows_or_default("Europe/London") == DEFAULT_WINDOWS  # New York's, whatever the zone
    assert load_text("windows: []", "x").windows_or_default("Europe/London") == ()
    assert load_text("windows:\n", "x").windows_or_default("Europe/London") == ()


def test_a_windows_zone_is_its_own_or_the_settings() -> None:
    text = "windows: [{name: w, days: [sun, mon], start: '23:30', end: '01:00'}]"
    (window,) = load_text(text, "x").windows_or_default("Europe/London")
    assert (window.timezone, window.days, window.start, window.end) == (
        "Europe/London",
        frozenset({6, 0}),
        time(23, 30),
        time(1),
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"00:20:00"', timedelta(minutes=20)),
        ('"26:00:00"', timedelta(hours=26)),
        ("PT20M", timedelta(minutes=20)),
        ("P1DT2H", timedelta(hours=26)),
        ('"00:00:00.5"', timedelta(seconds=0.5)),
    ],
)
def test_durations_are_clock_like_or_iso(text: str, value: timedelta) -> None:
    assert _task(f", expected_duration: {text}").expected_duration == value


def test_a_once_is_a_local_time() -> None:
    schedule = _task(", schedule: {once: '2026-11-22T08:15'}").schedule
    assert schedule is not None and schedule.once == datetime(2026, 11, 22, 8, 15)


# A wrong file: where it is wrong, and a word of what to do


@pytest.mark.parametrize(
    ("more", "place", "words"),
    [
        (", retry_delay: 12:30", "retry_delay", "quote"),  # YAML has made 750 of it
        (", retry_delay: 300", "retry_delay", "quote"),
        (", expected_duration: '00:00:00'", "expected_duration", "longer than nothing"),
        (", expected_duration: soon", "expected_duration", "not a duration"),
        (", retry_delay: '-00:05:00'", "retry_delay", "negative"),
        (", retries: -1", "retries", "0"),
        (", retries: 1.5", "retries", "1.5"),
        (", window: sometimes", "window", "avoid"),
        (", on_failure: stop", "on_failure", "hold"),
        (", catch_up: none", "catch_up", "latest"),
        (", colour: red", "colour", "unknown key"),
        (", enabled: 'perhaps'", "enabled", "perhaps"),
        (", parameters: [1]", "parameters", ""),
        (", schedule: {}", "schedule", "exactly one of cron, once and after"),
        (", schedule: {cron: '0 1 * * *', after: b}", "schedule", "exactly one"),
        (", schedule: {cron: '0 1 * * *', spacing: '01:00:00'}", "schedule", "spacing goes with after"),
        (", schedule: {once: '2026-11-22T08:15-05:00'}", "schedule.once", "leave out the offset"),
        (", schedule: {once: 2026}", "schedule.once", "quote"),
        (", schedule: {after: b, spacing: 60}", "schedule.spacing", "quote"),
        (', description: "a\\0b"', "description", "NUL"),
    ],
)
def test_a_wrong_task_says_where_and_what_to_do(more: str, place: str, words: str) -> None:
    (problem,) = _problems(f"tasks: [{{name: a, type: t{more}}}]")
    assert problem.startswith("x.yaml: ") and "'a'" in problem
    assert place in problem and words in problem


@pytest.mark.parametrize("name", ["''", "' a'", "'a '", '"a\\nb"', '"a\\x85b"', '"a\\u2028b"', "x" * 201, "5"])
def test_a_name_that_cannot_be_typed_is_refused(name: str) -> None:
    assert len(_problems(f"tasks: [{{name: {name}, type: t}}]")) == 1


@pytest.mark.parametrize(
    "path",
    [
        r"\\flexftp\acme\import",
        r"\\flexftp\acme",
        r"\\flexftp\acme folder\in-2",
    ],
)
def test_an_importer_path_has_two_backslashes_a_server_and_a_folder(path: str) -> None:
    settings = load_text(f"settings: {{customer_importer_file_path: '{path}'}}", "x").settings
    assert settings is not None and settings.customer_importer_file_path == path


@pytest.mark.parametrize(
    "path",
    [
        r"\flexftp\acme",
        r"\\\flexftp\acme",
        r"flexftp\acme",
        r"\\flexftp",
        r"\\flexftp\\acme",
        "//flexftp/acme",
        r"\\flexftp\..\acme",
        "",
    ],
)
def test_anything_else_is_no_importer_path(path: str) -> None:
    (problem,) = _problems(f"settings: {{customer_importer_file_path: '{path}'}}")
    assert "customer_importer_file_path" in problem and "two leading backslashes" in problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("settings: {timezone: Mars/Olympus}", "unknown time zone 'Mars/Olympus'"),
        ("settings: {max_running: 0}", "max_running"),
        ("windows: [{name: w, days: [], start: '05:00', end: '06:00'}]", "at least one of mon"),
        ("windows: [{name: w, days: [monday], start: '05:00', end: '06:00'}]", "monday"),
        ("windows: [{name: w, days: [mon], start: 5:00, end: '06:00'}]", "quote"),
        ("windows: [{name: w, days: [mon], start: '25:00', end: '06:00'}]", "not a time of day"),
        ("windows: [{name: w, days: [mon], start: '05:00', end: '06:00', released: [soon]}]", "not a date"),
        (
            "windows: [{name: w, days: [mon], start: '05:00', end: '06:00'},"
            " {name: w, days: [tue], start: '05:00', end: '06:00'}]",
            "two windows are named 'w'",
        ),
        ("task: []", "task: unknown key"),
        ("tasks: {name: a}", "tasks"),
        ("- a", "a mapping"),
        ("tasks: [", "not valid YAML"),
        ("tasks: []\ntasks: []", "stands twice"),
        ("tasks: [{name: a, name: b, type: t}]", "stands twice"),
        ("tasks: !!python/object/apply:os.system [ls]", "not valid YAML"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(text: str, words: str) -> None:
    assert any(words in problem for problem in _problems(text)), _problems(text)


def test_a_nest_without_end_is_an_error_not_a_crash() -> None:
    assert _problems("tasks: " + "[" * 5000)


def test_every_problem_is_named_at_once() -> None:
    assert len(_problems("tasks: [{name: a, retries: -1}, {type: t, colour: red}]\nsettings: {max_running: x}")) == 5


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such file"):
        load_file(tmp_path / "missing.yaml")
    (tmp_path / "latin.yaml").write_bytes("tasks: [{name: Müller, type: t}]".encode("latin-1"))
    with pytest.raises(InvalidInput, match="UTF-8"):
        load_file(tmp_path / "latin.yaml")
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_file(tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        r"\\flexftp\acme\imp:ort",
        r"\\flexftp\acme\imp*ort",
        r"\\flex ftp\acme",
        r"\\flexftp\acme\import.",
        r"\\flexftp\acme\ import",
        r"\\flexftp\acme\..",
        r'\\flexftp\acme\a"b',
        r"\\flexftp\acme\a<b>",
        r"\\flexftp\acme\a|b",
        r"\\flexftp\acme\a?b",
        r"\\-flexftp\acme",
        r"\\flexftp\acme\a/b",
        "\\\\flexftp\\acme\\" + "x" * 256,
    ],
)
def test_an_importer_path_that_the_sftp_block_refuses_is_refused_when_it_is_saved(path: str) -> None:
    with pytest.raises(ValueError, match="Importer path"):
        SftpServer(host="flexftp", username="headway", importer_path=path)
    (problem,) = _problems(f"settings: {{customer_importer_file_path: '{path}'}}")
    assert "settings.customer_importer_file_path: Importer path" in problem
