"""Runs handed to another pool, with a Prefect that a test moves: nothing lost, nothing written without a claim."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from models.db import reading, writing
from models.domain import RunStatus
from models.tables import TaskTypeRow
from scheduler.handover import HandOver
from scheduler.lost import end_lost_runs
from scheduler.prefect_api import FlowRunState, PrefectRefused, PrefectUnreachable
from scheduler.store import logs
from tests.databases import url_of
from tests.desk import Desk

NAME = "away"


@dataclass
class FakePrefect:
    """Another pool's side of Prefect: flow runs by idempotency key."""

    made: dict[str, dict[str, Any]] = field(default_factory=dict)
    state: dict[str, FlowRunState] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] | None = None
    stored: list[Any] = field(default_factory=list)  # what each look at the result storage finds, or raises
    trouble: Exception | None = None
    told_to_end: list[str] = field(default_factory=list)

    def create_flow_run(self, deployment_id: str, *, idempotency_key: str, **facts: Any) -> str:
        if self.trouble is not None:
            raise self.trouble
        self.made.setdefault(idempotency_key, {"deployment_id": deployment_id, **facts})
        self.become(f"flow-{idempotency_key}", "SCHEDULED")
        return f"flow-{idempotency_key}"

    def become(self, flow_run_id: str, kind: str, message: str = "") -> None:
        self.state[flow_run_id] = FlowRunState(flow_run_id, kind, kind.capitalize(), message)

    def states(self, ids: Any) -> dict[str, FlowRunState]:
        return {one: self.state[one] for one in ids if one in self.state}

    def log_lines(self, flow_run_id: str, after: datetime | None) -> Iterator[dict[str, Any]]:
        yield from (one for one in self.lines if after is None or datetime.fromisoformat(one["timestamp"]) > after)

    def left_result(self, flow_run_id: str) -> dict[str, Any] | None:
        return self.result

    def read_result(self, flow_run_id: str) -> Any:
        found = self.stored.pop(0) if self.stored else None
        if isinstance(found, Exception):
            raise found
        return found

    def unfinished_of(self, deployment_ids: Any) -> list[str]:
        return [one.flow_run_id for one in self.state.values() if not one.terminal]

    def cancel(self, flow_run_id: str, reason: str) -> bool:
        self.told_to_end.append(flow_run_id)
        self.become(flow_run_id, "CANCELLED")
        return True


@dataclass
class Away:
    """A desk whose one type belongs to another pool, and the watch of its worker."""

    desk: Desk
    prefect: FakePrefect
    watch: HandOver

    def claimed(self) -> str:
        """Its flow run's id, after a turn has claimed the run and it was handed over."""
        self.desk.run_now(NAME)
        assert self.desk.turn() == [NAME]
        order = self.desk.orders[NAME]
        assert order.work_pool == "containers"
        self.watch.begin(order)
        return f"flow-{order.run_id}:{order.attempt}"

    def round(self, watch: HandOver | None = None) -> bool:
        return (watch or self.watch).round(self.desk.clock.now())

    def status(self) -> RunStatus:
        return self.desk.run(NAME).status


@pytest.fixture
def away(desk: Desk) -> Away:
    desk.worker_lives()
    desk.tasks(f"name: {NAME}, type: job0, schedule: null, window: allow, retries: 0")
    with writing(desk.engine) as session:
        row = session.get(TaskTypeRow, "job0")
        assert row is not None
        row.work_pool, row.deployment_id = "containers", "d-1"
        session.add(row)
    prefect = FakePrefect()
    return Away(desk, prefect, watch_of(desk, prefect, "worker-1"))


def watch_of(desk: Desk, prefect: FakePrefect, worker_id: str) -> HandOver:
    return HandOver(desk.engine, url_of(desk.engine), prefect, worker_id, prefect.read_result)  # type: ignore[arg-type]


def test_a_run_elsewhere_is_told_in_the_ledger_with_counts_lines_and_receipts(away: Away) -> None:
    flow_run = away.claimed()
    (made,) = away.prefect.made.values()
    assert made["deployment_id"] == "d-1" and made["labels"]["headway.zone"] == "America/New_York"
    assert not away.round() and away.status() is RunStatus.STARTING
    away.prefect.become(flow_run, "RUNNING")
    at = away.desk.clock.now()
    away.prefect.lines = [{"timestamp": at.isoformat(), "level": 20, "name": "flow", "message": "half way"}]
    assert not away.round() and away.status() is RunStatus.RUNNING

    away.prefect.become(flow_run, "COMPLETED", "7 rows")
    file = {"name": "a.csv", "path": "/in/a.csv", "bytes": 12, "sha256": "ab"}
    away.prefect.result = {"processed": 7, "errors": 2, "bytes": 12, "files": [file], "summary": "7 rows"}
    assert not away.round(), "its last lines may still be on the way"
    late = (at + timedelta(seconds=1)).isoformat()
    away.prefect.lines.append({"timestamp": late, "level": 40, "name": "flow", "message": "a bad row"})
    assert away.round()
    run = away.desk.run(NAME)
    assert (run.status, run.processed, run.errors, run.bytes) == (RunStatus.COMPLETED_WITH_ERRORS, 7, 2, 12)
    assert run.message == "7 rows" and run.process_id == 0 and not away.desk.locks()
    with reading(away.desk.engine) as session:
        lines = [(line.level, line.message) for line in logs.run_lines(session, run.id or 0)]
        assert [file.path for file in logs.run_files(session, run.id or 0)] == ["/in/a.csv"]
    assert lines == [(20, "half way"), (40, "a bad row")]
    assert not away.round()


@pytest.mark.parametrize(
    ("state", "message", "status"),
    [
        ("FAILED", "ValueError: no such lot", RunStatus.FAILED),
        ("CRASHED", "the container was killed", RunStatus.FAILED),
        ("CANCELLED", "by somebody in Prefect", RunStatus.CANCELLED),
    ],
)
def test_other_ends_keep_their_message(away: Away, state: str, message: str, status: RunStatus) -> None:
    away.prefect.become(away.claimed(), state, message)
    away.round()
    assert away.round()
    run = away.desk.run(NAME)
    assert run.status is status and message in (run.error or run.message)


def test_a_flow_run_deleted_in_prefect_ends_its_run(away: Away) -> None:
    del away.prefect.state[away.claimed()]
    assert away.round() and away.status() is RunStatus.CANCELLED


def test_prefect_away_puts_the_run_back_and_it_starts_once(away: Away) -> None:
    away.prefect.trouble = PrefectUnreachable("no answer")
    away.claimed()
    assert away.status() is RunStatus.WAITING and not away.desk.locks()
    away.prefect.trouble = None
    assert away.desk.turn() == [NAME]
    away.watch.begin(away.desk.orders[NAME])
    assert len(away.prefect.made) == 1 and away.desk.run(NAME).attempt == 1


def test_what_prefect_refuses_has_failed_with_its_reason(away: Away) -> None:
    away.prefect.trouble = PrefectRefused("there is no such deployment")
    away.claimed()
    run = away.desk.run(NAME)
    assert run.status is RunStatus.FAILED and "no such deployment" in (run.error or "")


def test_a_dead_workers_runs_are_watched_by_another_and_never_lost_or_made_twice(away: Away) -> None:
    """Its worker dies between the claim and the flow run's id reaching the ledger, the worst instant."""
    away.desk.run_now(NAME)
    assert away.desk.turn() == [NAME]
    order = away.desk.orders[NAME]
    away.prefect.create_flow_run("d-1", idempotency_key=f"{order.run_id}:1")  # made, but nobody heard of it
    away.desk.clock.move(minutes=2)  # worker-1 is silent by now
    away.desk.worker_lives("worker-2")
    with writing(away.desk.engine) as session:
        assert end_lost_runs(session, "elsewhere", away.desk.clock.now()) == []
    other = watch_of(away.desk, away.prefect, "worker-2")
    away.round(other)
    away.round(other)
    assert len(away.prefect.made) == 1 and away.desk.run(NAME).worker_id == "worker-2"
    flow_run = away.desk.run(NAME).flow_run_id
    assert flow_run == f"flow-{order.run_id}:1"
    away.prefect.become(flow_run, "COMPLETED")
    away.round(other)
    assert away.round(other) and away.status() is RunStatus.COMPLETED


def test_a_reset_ends_the_flow_run_elsewhere_and_its_late_words_are_void(away: Away) -> None:
    flow_run = away.claimed()
    away.prefect.become(flow_run, "RUNNING")
    away.round()
    away.desk.end(NAME, RunStatus.CANCELLED)
    away.round()
    assert away.prefect.told_to_end == [flow_run]
    away.prefect.become(flow_run, "COMPLETED")
    away.round()
    assert not away.round() and away.status() is RunStatus.CANCELLED


def test_a_result_that_cannot_be_read_just_now_is_read_later(away: Away) -> None:
    away.prefect.become(away.claimed(), "COMPLETED")
    away.prefect.stored = [OSError("the storage is away"), {"processed": 3}]
    assert [away.round() for _ in range(3)] == [False, False, True]
    assert away.desk.run(NAME).processed == 3


def test_a_result_that_can_never_be_read_does_not_keep_a_run_for_ever(away: Away) -> None:
    away.prefect.become(away.claimed(), "COMPLETED")
    away.prefect.stored = [OSError("the storage is gone")] * 100
    assert any(away.round() for _ in range(20))
    assert away.status() is RunStatus.COMPLETED and not away.desk.locks()
