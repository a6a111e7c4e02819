"""Run now: as soon as possible, under the same rules."""

import threading

import pytest
from sqlalchemy import Engine

from headway.errors import InvalidInput, Refused
from headway.models.values.run import RunStatus, Trigger
from tests.support.clock import FixedClock
from tests.support.installation import Desk


def test_it_adds_a_waiting_run_that_is_due_now(desk: Desk) -> None:
    desk.tasks("name: a, type: job0")
    asked = desk.run_now("a")
    row = desk.run("a")
    assert asked.new and asked.run_id == row.id and asked.due_at == desk.clock.now()
    assert (row.status, row.trigger, row.due_at) == (RunStatus.WAITING, Trigger.MANUAL, desk.clock.now())
    assert row.requested_by == "operator of this machine" and row.follow is False


def test_a_second_run_now_answers_with_the_one_that_waits(desk: Desk) -> None:
    desk.tasks("name: a, type: job0")
    first = desk.run_now("a")
    desk.clock.move(minutes=1)
    second = desk.run_now("a")
    assert (second.run_id, second.due_at, second.new) == (first.run_id, first.due_at, False)
    assert len(desk.audit("run now")) == 1


def test_what_the_second_asks_for_is_added_to_the_one_that_waits(desk: Desk) -> None:
    desk.tasks("name: a, type: job0")
    desk.run_now("a")
    desk.run_now("a", follow=True, override=frozenset({"window"}), reason="the customer waits")
    row = desk.run("a")
    assert (row.follow, row.overrides, row.override_reason) == (True, ["window"], "the customer waits")
    (_, audit) = desk.audit("run now")
    assert audit.before == {"follow": False, "overrides": []}
    assert audit.after == {"follow": True, "overrides": ["window"]} and audit.reason == "the customer waits"


def test_while_one_runs_another_may_wait(desk: Desk) -> None:
    desk.tasks("name: a, type: job0")
    desk.run_now("a")
    desk.turn()
    asked = desk.run_now("a")  # in the same instant as the first: still a run of its own
    assert asked.new
    assert [status for _, status in desk.seen("a")] == ["starting", "waiting"]


def test_a_scheduled_run_that_waits_does_not_answer_for_one_that_somebody_wants(desk: Desk) -> None:
    desk.tasks("name: a, type: job0, schedule: {cron: '0 * * * *'}, timezone: UTC")
    desk.turn("2026-11-23T16:00", problem="away")
    assert desk.run_now("a").new


def test_a_disabled_task_may_be_run(desk: Desk) -> None:
    desk.tasks("name: a, type: job0, enabled: false")
    desk.run_now("a")
    assert desk.turn() == ["a"]


def test_a_historical_task_may_not(desk: Desk) -> None:
    desk.tasks("name: a, type: job0, historical: true")
    with pytest.raises(Refused, match="historical") as refusal:
        desk.run_now("a")
    assert refusal.value.exit_code == 4 and desk.runs() == []


def test_a_task_that_needs_a_reset_says_so(desk: Desk) -> None:
    desk.tasks("name: a, type: job0")
    desk.run_now("a")
    desk.turn()
    desk.end("a", RunStatus.FAILED)
    with pytest.raises(Refused, match="needs a reset first: headway reset 'a'"):
        desk.run_now("a")


def test_a_failed_task_that_says_continue_may_be_run(desk: Desk) -> None:
    desk.tasks("name: a, type: job0, on_failure: continue")
    desk.run_now("a")
    desk.turn()
    desk.end("a", RunStatus.FAILED)
    desk.clock.move(minutes=1)
    assert desk.run_now("a").new


@pytest.mark.parametrize("reason", [None, "", "  "])
def test_an_override_needs_a_reason(quick_desk: Desk, reason: str | None) -> None:
    quick_desk.tasks("name: a, type: job0")
    with pytest.raises(InvalidInput, match="--reason"):
        quick_desk.run_now("a", override=frozenset({"window"}), reason=reason)
    assert quick_desk.runs() == []


@pytest.mark.parametrize("rule", ["reset", "busy", "group", "capacity", "engine", "nonsense"])
def test_only_window_and_spacing_can_be_overridden(quick_desk: Desk, rule: str) -> None:
    quick_desk.tasks("name: a, type: job0")
    with pytest.raises(InvalidInput, match=rule):
        quick_desk.run_now("a", override=frozenset({"window", rule}), reason="why not")
    assert quick_desk.runs() == []


def test_an_override_is_kept_with_its_reason_in_the_audit(desk: Desk) -> None:
    desk.tasks("name: a, type: job0")
    desk.run_now("a", override=frozenset({"spacing", "window"}), reason="the customer waits")
    (row,) = desk.audit("run now")
    assert row.reason == "the customer waits"
    assert row.after["overrides"] == ["spacing", "window"] and row.after["run"] == desk.run("a").id
    assert row.subject == "task 1 'a'"


def test_two_that_ask_at_once_get_one_run(postgres: Engine) -> None:
    desk = Desk(postgres, FixedClock())
    desk.tasks("name: a, type: job0")
    both = threading.Barrier(2)
    answers: list[bool] = []

    def ask() -> None:
        both.wait(30)
        answers.append(desk.run_now("a").new)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(answers) == [False, True]
    assert len(desk.runs("a")) == 1
