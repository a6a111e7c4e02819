"""The lint: each finding with what makes it, and what just does not."""

from datetime import timedelta

import pytest

from headway.models.values.finding import Finding, Level
from headway.scheduler.planning.definitions.document import load_text
from headway.scheduler.planning.definitions.resolved_definitions import build
from headway.scheduler.planning.definitions.task_types import TaskType
from headway.scheduler.planning.lint import lint
from tests.support.clock import utc

NOW = utc("2026-11-23T17:00")  # Monday noon in New York
TYPES = {
    one.name: one
    for one in (
        TaskType(name="job", group="job"),
        TaskType(name="other", group="other"),
        TaskType(name="report_execution", group="reports"),
        TaskType(name="task_error_report", group="reports"),
        TaskType(name="export", group="export", exporter=True),
        TaskType(name="strict", group="strict", parameter_schema={"properties": {"rows": {"type": "integer"}}}),
    )
}
NIGHT = "windows: [{name: Night, days: [mon, tue, wed, thu, fri, sat, sun], start: '05:00', end: '06:00'}]\n"


def _lint(*tasks: str, top: str = "windows: []\n", estimates: dict[int, timedelta] | None = None) -> list[Finding]:
    text = top + "tasks:\n" + "".join(f"  - {{{task}}}\n" for task in tasks)
    return lint(build(load_text(text, "test"), TYPES, estimates=estimates), NOW)


def _ids(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.id, finding.level.value) for finding in findings]


def _cron(name: str, cron: str, kind: str = "job", more: str = "") -> str:
    return f"name: {name}, type: {kind}, schedule: {{cron: '{cron}'}}{more}"


def test_tasks_that_keep_their_distance_have_no_findings() -> None:
    assert _lint(_cron("a", "0 8 * * *"), _cron("b", "0 9 * * *"), _cron("c", "0 8 * * *", "other")) == []


# L1


@pytest.mark.parametrize(
    ("first", "second", "collide"),
    [
        (_cron("a", "0 8 * * *"), _cron("b", "0 8 * * *"), True),
        (_cron("a", "0 8 * * *"), _cron("b", "1 8 * * *"), False),  # a minute apart, and nothing known of length
        (_cron("a", "0 8 * * *", more=", expected_duration: '00:01:00'"), _cron("b", "1 8 * * *"), False),  # touching
        (_cron("a", "0 8 * * *", more=", expected_duration: '00:01:01'"), _cron("b", "1 8 * * *"), True),
        (_cron("a", "0 8 * * *"), _cron("b", "0 8 * * *", "other"), False),  # another group
        (_cron("a", "0 8 * * *", "report_execution"), _cron("b", "0 8 * * *", "task_error_report"), True),  # one group
        (_cron("a", "0 8 * * *"), _cron("b", "0 8 * * *", more=", enabled: false"), False),
        (_cron("a", "0 8 * * 1"), _cron("b", "0 8 * * 2"), False),
        (_cron("a", "0 8 27 12 *"), _cron("b", "0 8 27 12 *"), True),  # 34 days ahead
        (_cron("a", "0 8 30 12 *"), _cron("b", "0 8 30 12 *"), False),  # 37 days ahead
        (_cron("a", "30 2 14 3 *"), _cron("b", "0 3 14 3 *"), True),  # only on the night that skips 02:30
        (
            _cron("a", "0 8 * * *", more=", timezone: America/New_York"),
            _cron("b", "0 13 * * *", more=", timezone: UTC"),
            True,
        ),
    ],
)
def test_l1_two_of_one_group_at_one_time(first: str, second: str, collide: bool) -> None:
    findings = _lint(first, second)
    assert _ids(findings) == ([("L1", "warning")] if collide else [])
    if collide:
        assert findings[0].tasks == ("a", "b")


def test_l1_names_the_dates_and_the_nearest_free_slot() -> None:
    busy = ", expected_duration: '00:30:00'"
    (finding,) = _lint(_cron("a", "0 8 24 11 *", more=busy), _cron("b", "10 8 24 11 *", more=busy))
    assert "Tue 24 Nov 08:10 EST" in finding.message
    assert "the nearest free slot is Tue 24 Nov 08:30 EST" in finding.message


def test_l1_offers_no_slot_inside_a_window() -> None:
    (finding,) = _lint(
        _cron("a", "58 4 24 11 *"), _cron("b", "58 4 24 11 *", more=", expected_duration: '00:05:00'"), top=NIGHT
    )
    assert "the nearest free slot is Tue 24 Nov 04:53 EST" in finding.message


def test_l1_offers_no_slot_that_is_over() -> None:
    once = "type: job, schedule: {once: '2026-11-23T12:10'}, expected_duration: '00:30:00'"
    (finding,) = _lint(f"name: a, {once}", f"name: b, {once}")
    assert "the nearest free slot is Mon 23 Nov 12:40" in finding.message


def test_l1_counts_a_chains_later_step() -> None:
    step = "name: two, type: other, schedule: {after: one, spacing: '01:00:00'}"
    findings = _lint(_cron("one", "0 8 * * *"), step, _cron("beside", "0 9 * * *", "other"))
    assert _ids(findings) == [("L1", "warning")] and set(findings[0].tasks) == {"two", "beside"}


def test_l1_is_found_once_for_each_pair() -> None:
    findings = _lint(*(_cron(name, "0 8 * * *") for name in "abc"))
    assert [finding.tasks for finding in findings] == [("a", "b"), ("a", "c"), ("b", "c")]


def test_l1_knows_what_history_has_taught() -> None:
    tasks = _cron("a", "0 8 * * *"), _cron("b", "20 8 * * *")
    assert _ids(_lint(*tasks, estimates={1: timedelta(minutes=21)})) == [("L1", "warning")]
    assert _lint(*tasks, estimates={1: timedelta(minutes=20)}) == []


# L2


@pytest.mark.parametrize(
    ("spacing", "level"),
    [("00:29:59", "error"), ("00:30:00", "warning"), ("00:59:59", "warning"), ("01:00:00", None), (None, None)],
)
def test_l2_steps_too_close(spacing: str | None, level: str | None) -> None:
    given = f", spacing: '{spacing}'" if spacing else ""
    findings = _lint("name: one, type: job", f"name: two, type: other, schedule: {{after: one{given}}}")
    assert _ids(findings) == ([("L2", level)] if level else [])
    assert not findings or findings[0].tasks == ("two",)


def test_l2_goes_by_the_settings() -> None:
    top = "settings: {min_spacing: '00:05:00', recommended_spacing: '00:10:00'}\nwindows: []\n"
    steps = ["name: one, type: job", "name: two, type: other, schedule: {after: one, spacing: '00:07:00'}"]
    assert _ids(_lint(*steps, top=top)) == [("L2", "warning")]


def test_l2_leaves_historical_steps_alone() -> None:
    step = "name: two, type: other, historical: true, schedule: {after: one, spacing: '00:01:00'}"
    assert _lint("name: one, type: job", step) == []


# L3


@pytest.mark.parametrize(
    ("cron", "more", "found"),
    [
        ("59 4 * * *", "", False),
        ("0 5 * * *", "", True),
        ("59 5 * * *", "", True),
        ("0 6 * * *", "", False),
        ("15 5 * * *", ", window: allow", False),
        ("15 5 * * *", ", window: require", False),
        ("15 5 * * *", ", enabled: false", False),
    ],
)
def test_l3_due_inside_a_window(cron: str, more: str, found: bool) -> None:
    findings = _lint(_cron("a", cron, more=more), top=NIGHT)
    assert _ids(findings) == ([("L3", "warning")] if found else [])
    if found:
        assert "it will start Tue 24 Nov 06:00 EST instead" in findings[0].message
        assert "'Night'" in findings[0].message


@pytest.mark.parametrize("timezone", ["America/New_York", "Asia/Tokyo"])
def test_l3_says_that_a_window_has_no_end(timezone: str) -> None:
    always = NIGHT.replace("'05:00'", "'00:00'").replace("'06:00'", "'00:00'")
    findings = _lint(_cron("a", "0 9 * * *"), top=f"settings: {{timezone: {timezone}}}\n{always}")
    assert ["it will never start" in finding.message for finding in findings if finding.id == "L3"] == [True]


def test_l3_looks_at_the_nights_on_which_a_windows_clock_changes() -> None:
    day = NIGHT.replace("'06:00'", "'06:00', timezone: America/New_York")
    (finding,) = _lint(_cron("a", "30 9 * * *", more=", timezone: UTC"), top=day)  # 05:30 there from 14 March on
    assert finding.id == "L3" and "14 Mar" in finding.message


def test_l3_says_nothing_of_an_occurrence_that_was_released() -> None:
    top = NIGHT.replace("}]", ", released: [2026-11-24]}]")
    assert _lint(_cron("a", "15 5 24 11 *"), top=top) == []
    assert _ids(_lint(_cron("a", "15 5 25 11 *"), top=top)) == [("L3", "warning")]


# L4 and L5


@pytest.mark.parametrize(
    ("top", "more", "found"),
    [
        ("windows: []\n", ", window: require", True),
        (NIGHT, ", window: require", False),
        ("windows: []\n", "", False),
        ("windows: []\n", ", window: require, historical: true", False),
        ("windows: []\n", ", window: require, enabled: false", True),
    ],
)
def test_l4_must_run_in_a_window_and_there_is_none(top: str, more: str, found: bool) -> None:
    assert _ids(_lint(f"name: a, type: job{more}", top=top)) == ([("L4", "error")] if found else [])


@pytest.mark.parametrize(
    ("window", "length", "found"),
    [
        ("avoid", "PT23H", False),
        ("avoid", "PT23H1S", True),
        ("require", "PT1H", False),
        ("require", "PT1H1S", True),
        ("allow", "PT90H", False),
    ],
)
def test_l5_too_long_for_any_stretch(window: str, length: str, found: bool) -> None:
    findings = _lint(f"name: a, type: job, window: {window}, expected_duration: '{length}'", top=NIGHT)
    assert _ids(findings) == ([("L5", "warning")] if found else [])


# L6


def test_l6_a_chain_that_names_a_missing_task() -> None:
    (finding,) = _lint("name: two, type: job, schedule: {after: nobody}")
    assert (finding.id, finding.level, finding.tasks) == ("L6", Level.ERROR, ("two",))
    assert "'nobody'" in finding.message


@pytest.mark.parametrize("count", [1, 2, 3])
def test_l6_a_chain_that_loops(count: int) -> None:
    steps = [f"name: t{n}, type: job, schedule: {{after: t{(n + 1) % count}}}" for n in range(count)]
    (finding,) = _lint(*steps)
    assert (finding.id, finding.level) == ("L6", Level.ERROR)
    assert set(finding.tasks) == {f"t{n}" for n in range(count)}


def test_l6_names_the_loop_and_not_what_leads_into_it() -> None:
    findings = _lint(
        "name: a, type: job, schedule: {after: b}",
        "name: b, type: job, schedule: {after: a}",
        "name: c, type: job, schedule: {after: b}",
    )
    assert [finding.tasks for finding in findings if finding.id == "L6"] == [("a", "b")]


def test_l6_leaves_two_steps_behind_one_alone() -> None:
    steps = [f"name: {name}, type: other, schedule: {{after: one}}, enabled: false" for name in ("two", "three")]
    assert _lint("name: one, type: job", *steps) == []


# L7


@pytest.mark.parametrize(
    ("top", "more", "found"),
    [
        ("windows: []\n", "", True),
        ("windows: []\n", ", enabled: false", True),
        ("windows: []\n", ", historical: true", False),
        ("settings: {customer_importer_file_path: '\\\\flexftp\\acme'}\nwindows: []\n", "", False),
    ],
)
def test_l7_an_exporter_without_the_importer_path(top: str, more: str, found: bool) -> None:
    findings = _lint(f"name: a, type: export{more}", top=top)
    assert _ids(findings) == ([("L7", "error")] if found else [])


# L8


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("name: a, type: nothing", "unknown type 'nothing'"),
        ("name: a, type: strict, parameters: {rows: many}", "parameters.rows: 'many' is not of type 'integer'"),
        ("name: a, type: strict, parameters: {colour: red}", "parameters.colour"),
        ("name: a, type: job, schedule: {cron: '61 * * * *'}", "bad cron expression '61 * * * *'"),
        ("name: a, type: job, schedule: {cron: '0 0 30 2 *'}", "0 0 30 2 *"),
        ("name: a, type: job, timezone: Mars/Olympus", "unknown time zone 'Mars/Olympus'"),
    ],
)
def test_l8_what_cannot_be(task: str, words: str) -> None:
    (finding,) = _lint(task)
    assert (finding.id, finding.level, finding.tasks) == ("L8", Level.ERROR, ("a",))
    assert words in finding.message


def test_l8_a_name_that_stands_twice() -> None:
    (finding,) = _lint("name: a, type: job", "name: a, type: other")
    assert finding.id == "L8" and "unique" in finding.message


def test_l8_tells_every_problem_of_a_task_at_once() -> None:
    findings = _lint("name: a, type: nothing, timezone: Mars/Olympus, schedule: {cron: 'x'}")
    assert _ids(findings) == [("L8", "error")] * 3


def test_one_broken_task_does_not_hide_what_is_wrong_with_the_others() -> None:
    findings = _lint("name: a, type: nothing", "name: b, type: export", "name: c, type: job, window: require")
    assert _ids(findings) == [("L4", "error"), ("L7", "error"), ("L8", "error")]
