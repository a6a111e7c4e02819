"""Apply and export: all or nothing, by name, and back again without a difference."""

import string
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st
from sqlalchemy import delete, update
from sqlmodel import Session, col, select

from headway.errors import InvalidInput, Refused
from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import ReleaseRow, SettingRow, TaskRow, TaskTypeRow, WindowRow
from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR
from headway.scheduler.execution.ledger_port import Outcome
from headway.scheduler.execution.process_identity import identify_self
from headway.scheduler.planning.definitions.document import DAYS, LONGEST, Definitions, load_text
from headway.scheduler.store.runs.run_writer import open_run_ledger
from headway.scheduler.store.tasks import load_definitions
from headway.scheduler.usecases.tasks.apply import Applied, apply
from headway.scheduler.usecases.tasks.export import as_yaml, length
from tests.support.databases import url_of
from tests.support.installation import Desk

FULL = r"""
settings:
  timezone: Europe/London
  customer_importer_file_path: '\\flexftp\acme\import'
  min_spacing: "00:10:00"
  max_running: 7
windows:
  - {name: "Nightly: 'quoted'", days: [sun, mon], start: "23:30", end: "01:15", released: [2026-11-29]}
  - {name: Seconds, days: [tue], start: "05:00:30", end: "06:00", timezone: Asia/Kathmandu}
tasks:
  - {name: "Step 1: \"load\"", type: lookup_import, schedule: {cron: "15 1 * * *"}, parameters: {rows: 3}}
  - name: 'yes'
    type: data_export
    object: "123"
    description: "two\nlines # no comment"
    schedule: {after: "Step 1: \"load\"", spacing: "26:00:00"}
    timezone: Australia/Lord_Howe
    on_failure: continue
    on_errors: stop
    catch_up: all
    window: require
    expected_duration: PT0.5S
    retries: 3
    retry_delay: "P2DT1H"
    parameters: {file_name: "{task}_{date:%d.%m.%Y}.csv"}
  - {name: once, type: job0, schedule: {once: "2026-11-22T08:15:30"}, enabled: false}
  - {name: nothing, type: job1, historical: true}
"""


def _apply(desk: Desk, definitions: Definitions | str, **options: Any) -> Applied:
    if isinstance(definitions, str):
        definitions = load_text(definitions, "test")
    with writing(desk.engine) as session:
        return apply(session, desk.clock, OPERATOR, definitions, **options)


def _stored(desk: Desk) -> str:
    with reading(desk.engine) as session:
        return as_yaml(load_definitions(session))


def _everything(session: Session) -> list[dict[str, Any]]:
    tables = (TaskRow, WindowRow, ReleaseRow, SettingRow)
    return [row.model_dump() for table in tables for row in session.exec(select(table)).all()]


def test_a_file_is_made_so_and_exported_applies_without_a_change(desk: Desk) -> None:
    applied = _apply(desk, FULL)
    assert applied.errors == []
    made = {(change.kind, change.name) for change in applied.changes}
    assert ("settings", "settings") in made and ("task", "yes") in made
    assert ("window", "Seconds") in made and ("window", "Daily maintenance") not in made  # not named, so it stays
    exported = _stored(desk)
    with reading(desk.engine) as session:
        before = _everything(session)
    assert _apply(desk, exported).changes == []
    with reading(desk.engine) as session:
        assert _everything(session) == before
    assert _stored(desk) == exported


def test_an_export_reads_back_as_the_very_values(desk: Desk) -> None:
    _apply(desk, FULL)
    again = load_text(_stored(desk), "export")
    tasks = {task.name: task for task in again.tasks or []}
    assert tasks["yes"].object == "123" and tasks["yes"].description == "two\nlines # no comment"
    assert tasks["yes"].expected_duration == timedelta(seconds=0.5)
    assert tasks["yes"].retry_delay == timedelta(days=2, hours=1)
    assert tasks["yes"].schedule is not None and tasks["yes"].schedule.spacing == timedelta(hours=26)
    windows = {window.name: window for window in again.windows or []}
    assert windows["Nightly: 'quoted'"].released == [date(2026, 11, 29)]
    assert {"Monday maintenance", "Daily maintenance", "Seconds"} < set(windows)
    assert again.settings is not None and again.settings.customer_importer_file_path == r"\\flexftp\acme\import"


_LETTERS = string.ascii_letters + string.digits + " '\"\\:#{}[]&*!|>%@`,?-~äß漢\ufeff"
NAMES = st.text(st.sampled_from(_LETTERS), min_size=1, max_size=12).filter(lambda name: name == name.strip())
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
VALUES = st.none() | st.booleans() | st.integers() | TEXTS
LENGTHS = st.one_of(
    st.timedeltas(timedelta(microseconds=1), LONGEST),
    st.integers(1, 10**7).map(lambda seconds: timedelta(seconds=seconds)),
)
ZONES = st.sampled_from(["America/New_York", "Europe/London", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC"])


@st.composite
def _files(draw: st.DrawFn) -> dict[str, Any]:
    """Any definitions that are valid but for the lint's opinion of spacing."""
    names = draw(st.lists(NAMES, unique=True, min_size=1, max_size=4))
    tasks = []
    for number, name in enumerate(names):
        schedules: list[dict[str, Any] | None] = [None, {"cron": "*/7 3 * * 1-5"}, {"once": "2026-11-22T08:15"}]
        if number:
            schedules.append({"after": draw(st.sampled_from(names[:number])), "spacing": length(draw(LENGTHS))})
        tasks.append(
            {
                "name": name,
                "type": f"job{number}",
                "object": draw(NAMES),
                "description": draw(TEXTS),
                "schedule": draw(st.sampled_from(schedules)),
                "timezone": draw(st.none() | ZONES),
                "enabled": draw(st.booleans()),
                "historical": draw(st.booleans()),
                "expected_duration": draw(st.none() | LENGTHS.map(length)),
                "retry_delay": length(draw(LENGTHS)),
                "retries": draw(st.integers(0, 100)),
                "parameters": draw(
                    st.dictionaries(NAMES, st.none() | st.booleans() | st.integers() | NAMES, max_size=3)
                ),
            }
        )
    window = {
        "name": draw(NAMES),
        "days": draw(st.lists(st.sampled_from(DAYS), min_size=1, unique=True)),
        "start": draw(st.times()).isoformat(),
        "end": draw(st.times()).isoformat(),
        "timezone": draw(st.none() | ZONES),
        "released": draw(st.lists(st.dates(date(2020, 1, 1), date(2040, 1, 1)), unique=True, max_size=3)),
    }
    return {"settings": {"min_spacing": "00:00:00", "timezone": draw(ZONES)}, "windows": [window], "tasks": tasks}


@how(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(content=_files())
def test_whatever_is_defined_its_export_changes_nothing(quick_desk: Desk, content: dict[str, Any]) -> None:
    with writing(quick_desk.engine) as session:
        session.execute(delete(TaskRow).where(col(TaskRow.after_uid).is_not(None)))
        session.execute(delete(TaskRow))
    assert _apply(quick_desk, Definitions.model_validate(content)).errors == []
    exported = _stored(quick_desk)
    assert _apply(quick_desk, load_text(exported, "export")).changes == []
    assert _stored(quick_desk) == exported


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(minutes=90), "01:30:00"),
        (timedelta(hours=23, minutes=59, seconds=59), "23:59:59"),
        (timedelta(hours=26), "P1DT7200S"),
        (timedelta(seconds=0.5), "P0DT0.500000S"),
        (timedelta(0), "00:00:00"),
    ],
)
def test_a_duration_is_written_so_that_it_reads_back(value: timedelta, text: str) -> None:
    assert length(value) == text
    made = load_text(f'tasks: [{{name: a, type: t, retry_delay: "{text}"}}]', "test")
    assert made.tasks is not None and made.tasks[0].retry_delay == value


# By name: what the file does not name stays.


def test_what_the_file_does_not_name_stays(desk: Desk) -> None:
    _apply(desk, FULL)
    before = _stored(desk)
    applied = _apply(desk, "tasks: [{name: nothing, type: job1, historical: true, description: new}]")
    assert [(change.name, change.fields()) for change in applied.changes] == [("nothing", ["description"])]
    lines, lines_before = _stored(desk).splitlines(), before.splitlines()
    assert [line for line in lines if line not in lines_before] == ["  description: new"]
    assert len(lines) == len(lines_before) + 1


def test_a_setting_that_the_file_does_not_name_stays(desk: Desk) -> None:
    desk.define("settings: {max_running: 7, timezone: Europe/London}")
    desk.define("settings: {max_running: 8}")
    exported = load_text(_stored(desk), "export")
    assert exported.settings is not None
    assert (exported.settings.max_running, exported.settings.timezone) == (8, "Europe/London")


def test_a_task_of_the_same_name_keeps_its_uid_and_counts_its_version(desk: Desk) -> None:
    desk.tasks("name: a, type: job0", "name: b, type: job1")
    desk.tasks("name: a, type: job2")
    assert (desk.task("a").uid, desk.task("a").type, desk.task("a").version) == (1, "job2", 2)
    assert (desk.task("b").uid, desk.task("b").version) == (2, 1)


def test_new_steps_find_their_predecessors_whatever_their_order(desk: Desk) -> None:
    desk.tasks("name: two, type: job1, schedule: {after: one, spacing: '01:00:00'}", "name: one, type: job0")
    assert desk.task("two").after_uid == desk.task("one").uid


# All or nothing.


@pytest.mark.parametrize(
    ("bad", "finding"),
    [
        ("{name: bad, type: no_such_type}", "L8"),
        ("{name: bad, type: data_export, parameters: {rows: many}}", "L8"),
        ("{name: bad, type: job0, schedule: {cron: '61 * * * *'}}", "L8"),
        ("{name: bad, type: job0, timezone: Mars/Olympus}", "L8"),
        ("{name: good, type: job0}", "L8"),  # the name twice
        ("{name: bad, type: job0, schedule: {after: nobody}}", "L6"),
        ("{name: bad, type: job0, schedule: {after: good, spacing: '00:29:59'}}", "L2"),
        ("{name: bad, type: data_export}", "L7"),
    ],
)
def test_one_error_keeps_all_of_it_from_being_written(desk: Desk, bad: str, finding: str) -> None:
    with reading(desk.engine) as session:
        before = _everything(session)
    applied = _apply(
        desk, f"settings: {{max_running: 9}}\nwindows: []\ntasks:\n  - {{name: good, type: job0}}\n  - {bad}"
    )
    assert finding in {error.id for error in applied.errors}
    with reading(desk.engine) as session:
        assert _everything(session) == before
    assert desk.audit() == []


def test_a_dry_run_tells_the_changes_and_makes_none(desk: Desk) -> None:
    with reading(desk.engine) as session:
        before = _everything(session)
    applied = _apply(desk, FULL, dry_run=True)
    assert len(applied.changes) == 7 and applied.errors == []
    with reading(desk.engine) as session:
        assert _everything(session) == before
    assert desk.audit() == []


def test_a_file_that_is_wrong_in_itself_names_every_problem() -> None:
    with pytest.raises(InvalidInput) as refusal:
        load_text("tasks: [{name: a, type: t, retries: -1, colour: red}]\nsettings: {max_running: 0}", "x.yaml")
    assert len(refusal.value.problems) == 3 and refusal.value.exit_code == 2
    assert all(problem.startswith("x.yaml") for problem in refusal.value.problems)


# What is running.


def _running(desk: Desk) -> None:
    desk.tasks("name: a, type: job0", "name: b, type: job1")
    desk.run_now("a")
    desk.turn()
    ledger = open_run_ledger(url_of(desk.engine), desk.orders["a"].run_id, desk.orders["a"].claim)
    assert ledger.began(identify_self()) and ledger.running()
    ledger.close()


def test_editing_a_task_with_a_process_must_be_confirmed(desk: Desk) -> None:
    _running(desk)
    edit = "tasks: [{name: a, type: job0, description: edited}]"
    with pytest.raises(Refused, match="could break the process") as refusal:
        _apply(desk, edit, confirmed=False)
    assert "'a'" in str(refusal.value) and desk.task("a").description == ""
    assert _apply(desk, edit, confirmed=True).running == ["a"]
    assert desk.task("a").description == "edited"


def test_other_edits_need_no_confirmation(desk: Desk) -> None:
    _running(desk)
    applied = _apply(desk, "tasks: [{name: b, type: job1, description: edited}]", confirmed=False)
    assert applied.running == [] and desk.task("b").description == "edited"


def test_a_dry_run_says_what_would_have_to_be_confirmed(desk: Desk) -> None:
    _running(desk)
    applied = _apply(desk, "tasks: [{name: a, type: job0, description: e}]", confirmed=False, dry_run=True)
    assert applied.running == ["a"]


def test_the_ended_run_of_an_edited_task_still_finds_its_task(desk: Desk) -> None:
    _running(desk)
    desk.tasks("name: a, type: job2")
    ledger = open_run_ledger(url_of(desk.engine), desk.orders["a"].run_id, desk.orders["a"].claim)
    assert ledger.ended(Outcome(kind="completed"))
    ledger.close()
    assert desk.run("a").status is RunStatus.COMPLETED and desk.run("a").type == "job0"
    assert desk.locks() == set()


# What a changed type does to the tasks that were saved before.


def _tighten(desk: Desk) -> None:
    """The type's schema changes under two saved tasks, so that their parameters no longer fit."""
    desk.tasks(
        "name: a, type: lookup_import, parameters: {rows: 3}", "name: b, type: lookup_import, parameters: {rows: 3}"
    )
    schema = {"type": "object", "properties": {"rows": {"type": "string"}}}
    with writing(desk.engine) as session:
        session.execute(
            update(TaskTypeRow).where(col(TaskTypeRow.name) == "lookup_import").values(parameter_schema=schema)
        )


def test_an_edit_answers_for_its_own_parameters_alone(desk: Desk) -> None:
    _tighten(desk)
    assert _apply(desk, "tasks: [{name: a, type: lookup_import, parameters: {rows: x}}]").errors == []
    applied = _apply(desk, "tasks: [{name: a, type: lookup_import, parameters: {rows: 4}}]")
    assert [(error.id, error.tasks) for error in applied.errors] == [("L8", ("a",))]


def test_the_audit_has_a_row_for_each_thing_changed(desk: Desk) -> None:
    desk.tasks("name: a, type: job0")
    desk.define(
        "settings: {max_running: 5}\nwindows: []\ntasks: [{name: a, type: job0, retries: 2}, {name: b, type: job1}]"
    )
    rows = {row.subject: row for row in desk.audit()[-3:]}
    assert set(rows) == {"settings 'settings'", "task 'a'", "task 'b'"}
    assert (rows["task 'a'"].before["retries"], rows["task 'a'"].after["retries"]) == (0, 2)
    assert rows["task 'b'"].before is None and rows["task 'b'"].action == "create task"
    assert rows["settings 'settings'"].after["max_running"] == 5
    deleted = desk.audit("delete window")
    assert {row.subject for row in deleted} == {"window 'Monday maintenance'", "window 'Daily maintenance'"}
    assert all(row.before is not None and row.after is None for row in deleted)
