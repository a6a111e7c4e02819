"""The task list, why, the stored forecast, enable and disable, delete."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select

from headway.errors import InvalidInput, Refused
from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import TaskRow, id_of
from headway.models.values.rule import RuleId
from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR
from headway.scheduler.engine.maintenance.lost_runs import end_lost_runs
from headway.scheduler.execution.process_identity import identify_self
from headway.scheduler.planning.forecast.planned import Planned
from headway.scheduler.planning.rules import RULES
from headway.scheduler.store.runs.run_ends import Ending, end_run
from headway.scheduler.store.runs.run_writer import open_run_ledger
from headway.scheduler.store.tasks import load_catalog, load_chain_catalog, save_types
from headway.scheduler.usecases.ahead.forecast_stored import forecast_stored
from headway.scheduler.usecases.runs.why import Why, earliest_if_run_now, why
from headway.scheduler.usecases.tasks.find_task import find_task
from headway.scheduler.usecases.tasks.task_list import TaskLine, task_list
from headway.scheduler.usecases.tasks.task_state import delete_task, set_state
from tests.support.clock import utc
from tests.support.databases import TYPES, url_of
from tests.support.installation import Desk, hours_and_minutes, task_named

HOURLY = "schedule: {cron: '0 * * * *'}, timezone: UTC"
DAILY = "[{name: Daily, days: [mon, tue, wed, thu, fri, sat, sun], start: '16:30', end: '17:30', timezone: UTC}]"


def _list(desk: Desk, everything: bool = False) -> dict[str, TaskLine]:
    with reading(desk.engine) as session:
        return {line.name: line for line in task_list(session, desk.clock, OPERATOR, everything=everything)}


def _why(desk: Desk, name: str, *, alive: bool = True) -> Why:
    if alive:
        desk.worker_lives(f"worker seen {desk.clock.now()}")
    with reading(desk.engine) as session:
        return why(session, desk.clock, OPERATOR, task_named(session, name))


def _held(told: Why) -> dict[str, str | None]:
    return {rule.value: hours_and_minutes(hold.until) for rule, hold in told.verdicts if hold is not None}


def _state(desk: Desk, name: str, **options: Any) -> bool:
    with writing(desk.engine) as session:
        return set_state(session, desk.clock, OPERATOR, task_named(session, name), **options)


def _forecast(desk: Desk, start: str, end: str) -> list[Planned]:
    with reading(desk.engine) as session:
        return forecast_stored(session, desk.clock, OPERATOR, utc(start), utc(end))[0]


# The list


def test_the_list_says_what_each_task_is_doing(desk: Desk) -> None:
    desk.tasks(
        f"name: idle, type: job0, {HOURLY}",
        "name: unplanned, type: job1",
        f"name: runs, type: report_execution, object: Sales, {HOURLY}",
        f"name: waits, type: report_execution, {HOURLY}",
        f"name: failed, type: job2, {HOURLY}",
    )
    desk.turn("2026-11-23T16:00")
    desk.end("idle", RunStatus.COMPLETED_WITH_ERRORS)
    desk.end("failed", RunStatus.FAILED)
    desk.clock.move(seconds=30)
    lines = _list(desk)
    facts = {
        name: (line.state, hours_and_minutes(line.next_start_at), line.last_result) for name, line in lines.items()
    }
    assert facts == {
        "idle": ("Scheduled", "17:00", "Completed - With Errors"),
        "unplanned": ("", None, None),
        "runs": ("In progress", "17:00", None),
        "waits": ("Waiting", "16:00", None),
        "failed": ("Scheduled", "17:00", "Execution failed"),
    }
    assert "'runs'" in lines["waits"].reason and lines["runs"].reason == ""
    assert lines["failed"].needs_reset and not lines["idle"].needs_reset
    assert (lines["runs"].attempts, lines["runs"].object, lines["waits"].attempts) == (1, "Sales", 0)
    assert list(lines) == ["waits", "idle", "runs", "failed", "unplanned"]  # by next start, then UID


def test_the_list_shows_the_process_id_of_a_run_in_progress(desk: Desk) -> None:
    desk.tasks("name: a, type: job0")
    desk.run_now("a")
    desk.turn()
    assert _list(desk)["a"].process_id == 0
    ledger = open_run_ledger(url_of(desk.engine), desk.orders["a"].run_id, desk.orders["a"].claim)
    ledger.began(identify_self())
    ledger.progress(40, None)
    ledger.close()
    assert (_list(desk)["a"].process_id, _list(desk)["a"].progress) == (identify_self().pid, 40)


def test_only_enabled_tasks_are_listed_unless_literally_every_one_is_wanted(desk: Desk) -> None:
    desk.tasks("name: a, type: job0", "name: b, type: job1, enabled: false", "name: c, type: job2, historical: true")
    assert set(_list(desk)) == {"a"}
    assert set(_list(desk, everything=True)) == {"a", "b", "c"}


def test_a_retry_shows_when_it_starts(desk: Desk) -> None:
    desk.tasks("name: a, type: job0, retries: 1, retry_delay: '00:10:00'")
    desk.clock.set("2026-11-23T16:00")
    desk.run_now("a")
    desk.turn()
    desk.end("a", RunStatus.FAILED)
    line = _list(desk)["a"]
    assert (line.state, hours_and_minutes(line.next_start_at), line.attempts) == ("Waiting", "16:10", 1)


# Why


def test_why_has_every_rules_verdict_on_the_waiting_run(desk: Desk) -> None:
    desk.tasks(
        f"name: a, type: report_execution, {HOURLY}",
        "name: b, type: task_error_report, schedule: {cron: '0 16 * * *'}, timezone: UTC, "
        "expected_duration: '00:20:00'",
        windows=DAILY,
        settings="max_running: 1",
    )
    desk.turn("2026-11-23T16:00")
    desk.clock.set("2026-11-23T16:20")
    told = _why(desk, "b")
    assert told.run_id == desk.run("b").id and told.due_at == utc("2026-11-23T16:00")
    assert [rule for rule, _ in told.verdicts] == list(RULES) == list(RuleId)
    assert _held(told) == {"group": None, "capacity": None, "window": "17:30"}
    assert hours_and_minutes(told.earliest_start_at) == "17:30"


def test_why_without_a_waiting_run_looks_at_the_next_one_when_it_comes_due(desk: Desk) -> None:
    desk.tasks("name: a, type: job0, schedule: {cron: '45 16 * * *'}, timezone: UTC", windows=DAILY)
    told = _why(desk, "a")
    assert (told.run_id, hours_and_minutes(told.due_at)) == (None, "16:45")
    assert _held(told) == {"window": "17:30"}
    assert hours_and_minutes(told.earliest_start_at) == "17:30"


def test_why_of_a_task_with_nothing_to_come(desk: Desk) -> None:
    desk.tasks("name: a, type: job0")
    told = _why(desk, "a")
    assert (told.run_id, told.due_at, told.earliest_start_at) == (None, None, None)
    assert _held(told) == {}


def test_why_knows_of_a_failure_before_the_next_run_comes_due(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {HOURLY}")
    desk.turn("2026-11-23T16:00")
    desk.end("a", RunStatus.FAILED)
    told = _why(desk, "a")
    assert _held(told) == {"reset": None} and told.earliest_start_at is None


def test_why_is_not_misled_by_the_failure_of_a_neighbour(desk: Desk) -> None:
    """The neighbour's next run will not start, so it does not stand in the way."""
    desk.tasks(
        f"name: a, type: report_execution, expected_duration: '00:30:00', {HOURLY}",
        "name: b, type: report_execution, schedule: {cron: '10 17 * * *'}, timezone: UTC",
    )
    assert desk.turn("2026-11-23T16:00") == ["a"]
    desk.end("a", RunStatus.FAILED)
    desk.clock.move(minutes=1)
    assert hours_and_minutes(_why(desk, "b").earliest_start_at) == "17:10"


def test_why_keeps_a_steps_distance_before_it_has_a_row(desk: Desk) -> None:
    desk.tasks("name: one, type: job0", "name: two, type: job1, schedule: {after: one, spacing: '01:00:00'}")
    desk.clock.set("2026-11-23T16:00")
    desk.run_now("one")
    desk.turn()
    desk.end("one")
    assert _held(_why(desk, "two")) == {"spacing": "17:00"}
    with reading(desk.engine) as session:
        uid = id_of(desk.task("two"))
        earliest = earliest_if_run_now(session, desk.clock, load_catalog(session), uid, frozenset())
        overridden = earliest_if_run_now(session, desk.clock, load_catalog(session), uid, frozenset({"spacing"}))
    assert (hours_and_minutes(earliest), hours_and_minutes(overridden)) == ("17:00", "16:00")


def test_why_of_a_later_step_is_what_the_forecast_says_of_it(desk: Desk) -> None:
    desk.tasks(
        "name: one, type: job0, schedule: {cron: '0 16 * * *'}, timezone: UTC, expected_duration: '00:10:00'",
        "name: two, type: job1, schedule: {after: one, spacing: '01:00:00'}",
        windows=DAILY,
    )
    told = _why(desk, "two")
    assert (told.run_id, hours_and_minutes(told.due_at)) == (None, "17:00")
    assert hours_and_minutes(told.earliest_start_at) == "17:30" and _held(told) == {"window": "17:30"}
    assert desk.turn("2026-11-23T16:00") == ["one"]
    told = _why(desk, "two")
    assert (hours_and_minutes(told.due_at), hours_and_minutes(told.earliest_start_at)) == ("17:00", "17:30")


def test_what_history_has_taught_is_foreseen_at_once(desk: Desk) -> None:
    """Runs are learned from without anybody changing a definition; a book that somebody keeps has yesterday's."""
    desk.tasks("name: a, type: job0, schedule: {cron: '20 16 * * *'}, timezone: UTC", windows=DAILY)
    with reading(desk.engine) as session:
        kept = load_catalog(session)
    desk.change(desk.task("a"), learned_duration=timedelta(minutes=20))
    desk.worker_lives()
    with reading(desk.engine) as session:
        told = why(session, desk.clock, OPERATOR, task_named(session, "a"), catalog=kept)
    assert hours_and_minutes(told.earliest_start_at) == "17:30"


def test_a_group_that_deploy_changed_is_held_as_long_as_it_is_locked(desk: Desk) -> None:
    desk.tasks("name: a, type: report_execution", "name: b, type: task_error_report")
    desk.run_now("a")
    assert desk.turn() == ["a"]
    with writing(desk.engine) as session:
        types = [replace(one, group="alone") if one.name == "report_execution" else one for one in TYPES]
        save_types(session, types, desk.clock.now())
    desk.run_now("b")
    assert desk.turn() == [] and _held(_why(desk, "b")) == {"group": None}
    desk.end("a")
    assert desk.turn() == ["b"]


def test_why_says_who_keeps_a_group_that_a_lost_run_left(desk: Desk) -> None:
    desk.tasks("name: a, type: report_execution", f"name: b, type: task_error_report, {HOURLY}")
    desk.run_now("a")
    desk.turn()
    with writing(desk.engine) as session:
        catalog, now = load_chain_catalog(session, 1), desk.clock.now()
        end_run(
            session, catalog, 1, Ending(status=RunStatus.FAILED), now=now, who="t", keep_process=True, keep_group=True
        )
    desk.turn("2026-11-23T16:00")
    told = _why(desk, "b")
    assert _held(told) == {"group": None} and told.earliest_start_at is None
    hold = dict(told.verdicts)[RuleId.GROUP]
    assert hold is not None and "reset 'a'" in hold.reason


def test_without_a_worker_nothing_starts_and_why_says_so(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {HOURLY}")
    told = _why(desk, "a", alive=False)
    assert _held(told) == {"engine": None} and told.earliest_start_at is None


# The forecast of what is stored


def test_the_forecast_begins_with_what_is_open(desk: Desk) -> None:
    desk.tasks(
        f"name: a, type: report_execution, expected_duration: '00:40:00', {HOURLY}",
        "name: b, type: report_execution, schedule: {cron: '10 16 * * *'}, timezone: UTC",
    )
    desk.turn("2026-11-23T16:00")
    desk.turn("2026-11-23T16:10")
    rows = _forecast(desk, "2026-11-23T16:10", "2026-11-23T17:30")
    told = [(row.task.name, hours_and_minutes(row.started_at), hours_and_minutes(row.ended_at)) for row in rows]
    assert told == [("a", "16:00", "16:40"), ("b", "16:40", "16:41"), ("a", "17:00", "17:40")]


def test_the_forecast_starts_no_task_that_needs_a_reset(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {HOURLY}")
    desk.turn("2026-11-23T16:00")
    desk.end("a", RunStatus.FAILED)
    desk.clock.move(minutes=1)
    rows = _forecast(desk, "2026-11-23T16:00", "2026-11-23T18:30")
    assert [row.outcome for row in rows] == ["superseded", "unplaced"]


def test_the_forecast_goes_by_what_was_learned(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {HOURLY}")
    desk.change(desk.task("a"), learned_duration=timedelta(minutes=25))
    (row,) = _forecast(desk, "2026-11-23T15:30", "2026-11-23T16:30")
    assert hours_and_minutes(row.ended_at) == "16:25"


def test_looking_ahead_leaves_out_what_is_due_before(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {HOURLY}")
    rows = _forecast(desk, "2026-11-23T18:00", "2026-11-23T20:00")
    assert [hours_and_minutes(row.due_at) for row in rows] == ["18:00", "19:00"]


def test_the_findings_name_parameters_that_a_changed_type_no_longer_allows(desk: Desk) -> None:
    desk.tasks("name: a, type: data_export")
    desk.change(desk.task("a"), parameters={"rows": "many"})
    with reading(desk.engine) as session:
        findings = forecast_stored(session, desk.clock, OPERATOR, desk.clock.now(), desk.clock.now())[1]
    assert [(finding.id, finding.tasks) for finding in findings] == [("L8", ("a",))]


# Enable, disable, historical, delete


def test_enabling_and_disabling_say_whether_they_changed_anything(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {HOURLY}")
    assert [_state(desk, "a", enabled=on) for on in (False, False, True, True)] == [True, False, True, False]
    assert [row.action for row in desk.audit()[-2:]] == ["disable task", "enable task"]
    (last,) = desk.audit("enable task")
    assert (last.before, last.after) == (
        {"enabled": False, "historical": False},
        {"enabled": True, "historical": False},
    )
    assert desk.task("a").version == 3


def test_disabling_a_task_with_a_process_must_be_confirmed(desk: Desk) -> None:
    desk.tasks("name: a, type: job0")
    desk.run_now("a")
    desk.turn()
    ledger = open_run_ledger(url_of(desk.engine), desk.orders["a"].run_id, desk.orders["a"].claim)
    ledger.began(identify_self())
    ledger.close()
    with pytest.raises(Refused, match="could break the process"):
        _state(desk, "a", enabled=False, confirmed=False)
    assert desk.task("a").enabled
    assert _state(desk, "a", enabled=False, confirmed=True)
    assert desk.run("a").status is RunStatus.STARTING


def _delete(desk: Desk, name: str) -> None:
    with writing(desk.engine) as session:
        delete_task(session, desk.clock, OPERATOR, task_named(session, name))


def test_a_task_that_never_ran_is_deleted(desk: Desk) -> None:
    desk.tasks("name: a, type: job0", "name: b, type: job1")
    _delete(desk, "a")
    with reading(desk.engine) as session:
        assert [row.name for row in session.exec(select(TaskRow)).all()] == ["b"]
    (row,) = desk.audit("delete task")
    assert row.before["name"] == "a" and row.after is None


@pytest.mark.parametrize("status", [None, RunStatus.COMPLETED, RunStatus.FAILED])
def test_a_task_that_has_runs_is_kept_and_historical_is_offered(desk: Desk, status: RunStatus | None) -> None:
    desk.tasks("name: a, type: job0")
    desk.run_now("a")
    desk.turn()
    if status is not None:
        desk.end("a", status)
    with pytest.raises(Refused, match="historical"):
        _delete(desk, "a")
    assert desk.task("a").uid == 1


def test_a_task_with_a_step_behind_it_is_kept(desk: Desk) -> None:
    desk.tasks("name: a, type: job0", "name: b, type: job1, schedule: {after: a, spacing: '01:00:00'}")
    with pytest.raises(Refused, match="'b' comes after 'a'"):
        _delete(desk, "a")


def test_a_task_is_found_by_its_name_before_its_uid(desk: Desk) -> None:
    desk.tasks("name: a, type: job0", "name: '1', type: job1")
    with reading(desk.engine) as session:
        assert [find_task(session, name).uid for name in ("a", "1", "2")] == [1, 2, 2]
        with pytest.raises(InvalidInput, match="no task 'x'"):
            find_task(session, "x")


def test_the_process_of_a_lost_run_is_shown_though_the_next_run_waits(desk: Desk) -> None:
    """It is why disabling the task asks for a confirmation."""
    desk.tasks(f"name: a, type: job0, {HOURLY}")
    desk.worker_lives()
    assert desk.turn("2026-11-23T16:00") == ["a"]
    order, elsewhere = desk.orders["a"], replace(identify_self(), host="elsewhere")
    ledger = open_run_ledger(url_of(desk.engine), order.run_id, order.claim)
    assert ledger.began(elsewhere) and ledger.running()
    ledger.close()
    with writing(desk.engine) as session:
        end_lost_runs(session, "here", desk.clock.move(minutes=2))
    desk.turn("2026-11-23T17:00")
    line = _list(desk)["a"]
    assert (line.state, line.process_id) == ("Waiting", elsewhere.pid)
