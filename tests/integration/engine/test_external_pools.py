"""Runs handed to another pool, with a Prefect that a test moves: nothing lost, nothing written without a claim."""

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

import httpx
import pytest

from headway.errors import PrefectRefused, PrefectUnreachable
from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import TaskTypeRow, id_of
from headway.models.values.run import RunStatus, Trigger
from headway.privileges import OPERATOR
from headway.scheduler.engine.adoption import adopt
from headway.scheduler.engine.external_pools import ExternalPools
from headway.scheduler.engine.maintenance.lost_runs import end_lost_runs
from headway.scheduler.engine.this_worker import ThisWorker
from headway.scheduler.execution.process_identity import identify_self
from headway.scheduler.prefect_side.api import FlowRunState, PrefectApi
from headway.scheduler.store.queries import run_detail
from headway.scheduler.store.runs.claims import give_back_unbegun
from headway.scheduler.store.runs.run_writer import open_run_ledger
from headway.scheduler.store.tasks import load_catalog
from headway.scheduler.usecases.runs.reset import reset
from tests.support.databases import url_of
from tests.support.installation import Desk

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
    ended: dict[str, str] = field(default_factory=dict)

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

    def end(self, flow_run_id: str, how: str, message: str) -> bool:
        self.ended[flow_run_id] = how
        return True

    def flow_run_of(self, run_id: int, attempt: int) -> str | None:
        return f"flow-{run_id}:{attempt}" if f"{run_id}:{attempt}" in self.made else None

    def unfinished_of(self, deployment_ids: Any) -> dict[str, int]:
        keys = {f"flow-{key}": key for key, made in self.made.items() if made["deployment_id"] in deployment_ids}
        open_ = [one.flow_run_id for one in self.state.values() if not one.terminal and one.flow_run_id in keys]
        return {flow_run_id: int(keys[flow_run_id].partition(":")[0]) for flow_run_id in open_}

    def cancel(self, flow_run_id: str, reason: str) -> bool:
        self.told_to_end.append(flow_run_id)
        self.become(flow_run_id, "CANCELLED")
        return True


@dataclass
class Away:
    """A desk whose one type belongs to another pool, and the watch of its worker."""

    desk: Desk
    prefect: FakePrefect
    watch: ExternalPools

    def claimed(self) -> str:
        """Its flow run's id, after a turn has claimed the run and it was handed over."""
        self.desk.run_now(NAME)
        assert self.desk.turn() == [NAME]
        order = self.desk.orders[NAME]
        assert order.work_pool == "containers"
        self.watch.begin(order)
        return f"flow-{order.run_id}:{order.attempt}"

    def move_type(self, work_pool: str) -> None:
        """As `headway deploy` does with a deployment that names another pool now."""
        with writing(self.desk.engine) as session:
            row = session.get_one(TaskTypeRow, "job0")
            row.work_pool, row.deployment_id = work_pool, "d-1"
            session.add(row)

    def next_worker(self) -> ExternalPools:
        """The watch of worker-2, once worker-1 is silent."""
        self.desk.clock.move(minutes=2)
        self.desk.worker_lives("worker-2")
        return watch_of(self.desk, self.prefect, "worker-2")

    def lost(self) -> list[str]:
        """What is taken for lost now; the run's own status says more."""
        with writing(self.desk.engine) as session:
            return end_lost_runs(session, identify_self().host, self.desk.clock.now())

    def round(self, watch: ExternalPools | None = None) -> bool:
        return (watch or self.watch).round(self.desk.clock.now())

    def status(self) -> RunStatus:
        return self.desk.run(NAME).status


@pytest.fixture
def away(desk: Desk) -> Away:
    desk.worker_lives()
    desk.tasks(f"name: {NAME}, type: job0, schedule: null, window: allow, retries: 0")
    prefect = FakePrefect()
    away = Away(desk, prefect, watch_of(desk, prefect, "worker-1"))
    away.move_type("containers")
    return away


def watch_of(desk: Desk, prefect: FakePrefect, worker_id: str) -> ExternalPools:
    worker = ThisWorker(engine=desk.engine, url=url_of(desk.engine), prefect=prefect, id=worker_id)  # type: ignore[arg-type]
    return ExternalPools(worker, prefect.read_result)


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
    odd = {"name": "b.csv", "path": "/in/b.csv", "bytes": "12 MB"}  # of a flow of one's own
    away.prefect.result = {"processed": 7, "errors": 2, "bytes": 12, "files": [file, odd], "summary": "7 rows"}
    assert not away.round(), "its last lines may still be on the way"
    late = (at + timedelta(seconds=1)).isoformat()
    away.prefect.lines.append({"timestamp": late, "level": 40, "name": "flow", "message": "a bad row"})
    assert away.round()
    run = away.desk.run(NAME)
    assert (run.status, run.processed, run.errors, run.bytes) == (RunStatus.COMPLETED_WITH_ERRORS, 7, 2, 12)
    assert run.message == "7 rows" and run.process_id == 0 and not away.desk.locks()
    with reading(away.desk.engine) as session:
        lines = [(line.level, line.message) for line in run_detail.run_lines(session, id_of(run))]
        assert [file.path for file in run_detail.run_files(session, id_of(run))] == ["/in/a.csv", "/in/b.csv"]
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
    away.prefect.trouble = PrefectUnreachable("connection refused", nothing_done=True)
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


# Where a run is, is the run's: its type may move, and its task may be given another one.


def test_a_run_elsewhere_is_followed_to_its_end_though_its_type_moves_here(away: Away) -> None:
    flow_run = away.claimed()
    away.prefect.become(flow_run, "RUNNING")
    away.round()
    away.move_type("headway")
    other = away.next_worker()
    assert away.lost() == [] and away.status() is RunStatus.RUNNING
    away.prefect.become(flow_run, "COMPLETED")
    away.round(other)
    assert away.round(other) and away.status() is RunStatus.COMPLETED and not away.desk.locks()


def test_a_reset_ends_the_flow_run_elsewhere_though_its_type_has_moved_here(away: Away) -> None:
    flow_run = away.claimed()
    away.move_type("headway")
    away.round()
    away.desk.end(NAME, RunStatus.CANCELLED)
    away.round()
    assert away.prefect.told_to_end == [flow_run]


def test_a_run_of_this_machine_is_lost_with_its_worker_though_its_type_moves_elsewhere(away: Away) -> None:
    away.move_type("headway")
    away.desk.run_now(NAME)
    away.desk.turn()
    ledger = open_run_ledger(url_of(away.desk.engine), away.desk.orders[NAME].run_id, away.desk.orders[NAME].claim)
    gone = replace(identify_self(), started_ticks=1)
    assert ledger.began(gone) and ledger.bind("flow-here") and ledger.running()
    ledger.close()
    away.prefect.become("flow-here", "RUNNING")
    away.move_type("containers")
    away.round(away.next_worker())
    assert away.desk.run(NAME).worker_id == "worker-1"
    assert away.lost() == ["flow-here"] and away.status() is RunStatus.FAILED


def test_a_flow_run_of_this_machine_is_not_told_to_end_by_the_watch_of_other_pools(away: Away) -> None:
    """Its process tells Prefect itself, a moment after the ledger."""
    away.move_type("headway")
    away.desk.run_now(NAME)
    away.desk.turn()
    order = away.desk.orders[NAME]
    flow_run = away.prefect.create_flow_run("d-1", idempotency_key=f"{order.run_id}:1")
    away.desk.change(away.desk.run(NAME), flow_run_id=flow_run)
    away.move_type("containers")
    away.desk.end(NAME)
    away.round()
    assert away.prefect.told_to_end == []


def test_a_waiting_run_is_claimed_as_what_its_task_is_by_then(desk: Desk) -> None:
    desk.worker_lives()
    opens = "[{name: W, days: [tue], start: '05:00', end: '06:00'}]"
    desk.tasks(f"name: {NAME}, type: job1, object: Lots, schedule: null, window: require", windows=opens)
    prefect = FakePrefect()
    away = Away(desk, prefect, watch_of(desk, prefect, "worker-1"))
    away.move_type("containers")
    desk.run_now(NAME)
    assert desk.turn() == [] and desk.run(NAME).type == "job1"
    desk.define(f"tasks: [{{name: {NAME}, type: job0, object: Pallets, window: allow}}]")
    assert desk.turn() == [NAME]
    run = desk.run(NAME)
    assert (run.type, run.object, run.work_pool) == ("job0", "Pallets", "containers")
    assert not away.round() and len(prefect.made) == 1
    prefect.become(f"flow-{run.id}:1", "COMPLETED")
    assert [away.round() for _ in range(3)] == [False, True, False]
    assert away.status() is RunStatus.COMPLETED and not desk.locks()


def test_the_retry_of_a_run_elsewhere_may_be_a_run_of_this_machine(away: Away) -> None:
    away.desk.define(f"tasks: [{{name: {NAME}, type: job0, window: allow, retries: 1, retry_delay: '00:00:00'}}]")
    away.prefect.become(away.claimed(), "FAILED", "no such lot")
    away.round()
    away.round()
    assert away.status() is RunStatus.WAITING
    away.move_type("headway")
    assert away.desk.turn(str(away.desk.run(NAME).retry_at)) == [NAME]
    assert (away.desk.run(NAME).work_pool, away.desk.orders[NAME].work_pool) == ("", "")


@pytest.mark.parametrize("made", [False, True])
def test_of_a_type_that_moved_before_the_hand_over_only_the_flow_run_that_exists_counts(away: Away, made: bool) -> None:
    """A flow run made now would go to the pool of now, where nobody takes one that bears a run's key."""
    away.desk.run_now(NAME)
    away.desk.turn()
    if made:
        away.prefect.create_flow_run("d-1", idempotency_key=f"{away.desk.orders[NAME].run_id}:1")
    away.move_type("headway")
    away.round(away.next_worker())
    assert len(away.prefect.made) == made
    assert away.status() is (RunStatus.STARTING if made else RunStatus.WAITING)
    assert (away.desk.run(NAME).flow_run_id is not None) is made


# Prefect was asked, and its answer is lost: perhaps it has made the flow run.


def _answers(away: Away, *answers: int | type[httpx.HTTPError], heard: bool) -> None:
    """What the real client gets, call by call, when it asks for a flow run; heard: each call has its effect."""
    left = list(answers)

    def server(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(404)  # no protection against CSRF
        if heard:
            make(request.url.path.split("/")[-2], **json.loads(request.content))
        answer = left.pop(0)
        if isinstance(answer, int):
            return httpx.Response(answer)
        raise answer("it broke")

    make = away.prefect.create_flow_run
    api = PrefectApi("http://prefect.test/api", timeout_seconds=1)
    api._client = httpx.Client(base_url=api.url, transport=httpx.MockTransport(server))
    away.prefect.create_flow_run = api.create_flow_run  # type: ignore[method-assign, assignment]
    away.claimed()
    api.close()
    assert not left
    away.prefect.create_flow_run = make  # type: ignore[method-assign]


def _named(answers: list[Any]) -> str:
    return " ".join(getattr(one, "__name__", str(one)) for one in answers)


LOST = [
    [httpx.ReadTimeout],
    [httpx.WriteTimeout],
    [httpx.RemoteProtocolError],
    [httpx.ReadError],
    [500],
    [504],
    [408],
    [503, httpx.ConnectError],  # of a gateway: the first call may have come through
    [503, 401],
]


@pytest.mark.parametrize("heard", [True, False])
@pytest.mark.parametrize("answers", LOST, ids=_named)
def test_after_a_lost_answer_it_keeps_its_group_until_a_round_has_found_its_flow_run(
    away: Away, answers: list[Any], heard: bool
) -> None:
    away.desk.define("tasks: [{name: next, type: job0, window: allow}]")
    _answers(away, *answers, heard=heard)
    assert away.status() is RunStatus.STARTING and away.desk.run(NAME).flow_run_id is None
    away.desk.run_now("next")
    assert away.desk.turn() == [], "the pool may be at work by now"
    away.round()
    flow_run = away.desk.run(NAME).flow_run_id
    assert flow_run in away.prefect.state and len(away.prefect.made) == 1
    away.prefect.become(flow_run, "COMPLETED")
    assert [away.round(), away.round()] == [False, True]
    assert away.status() is RunStatus.COMPLETED and away.desk.turn() == ["next"]


@pytest.mark.parametrize(
    "answers", [[httpx.ConnectError], [httpx.ConnectTimeout], [401], [429, httpx.ConnectError]], ids=_named
)
def test_where_surely_nothing_was_sent_it_waits_again_at_once(away: Away, answers: list[Any]) -> None:
    _answers(away, *answers, heard=False)
    assert away.status() is RunStatus.WAITING and not away.desk.locks()
    assert away.desk.turn() == [NAME] and away.desk.run(NAME).attempt == 1


def test_after_a_lost_answer_and_its_worker_s_death_another_finds_the_flow_run(away: Away) -> None:
    _answers(away, httpx.ReadTimeout, heard=True)
    other = away.next_worker()
    assert away.lost() == [] and away.status() is RunStatus.STARTING
    away.round(other)
    run = away.desk.run(NAME)
    assert (run.worker_id, run.flow_run_id in away.prefect.state, len(away.prefect.made)) == ("worker-2", True, 1)


def test_after_a_lost_answer_and_a_reset_the_flow_run_is_ended(away: Away) -> None:
    _answers(away, httpx.ReadTimeout, heard=True)
    _reset(away)
    assert away.status() is RunStatus.CANCELLED and not away.desk.locks()
    away.round()
    (key,) = away.prefect.made
    assert away.prefect.told_to_end == [f"flow-{key}"]


def test_after_a_lost_answer_no_later_failure_is_taken_for_the_whole_truth(away: Away) -> None:
    """Prefect is restarted: what the first call did, a refused connection or a refusal does not tell."""
    _answers(away, httpx.ReadTimeout, heard=True)
    found, away.prefect.flow_run_of = away.prefect.flow_run_of, mock.Mock(return_value=None)  # type: ignore[method-assign]
    away.prefect.trouble = PrefectUnreachable("connection refused", nothing_done=True)
    with pytest.raises(PrefectUnreachable):
        away.round()
    assert away.status() is RunStatus.STARTING and away.desk.locks()
    away.prefect.flow_run_of = found  # type: ignore[method-assign]
    away.prefect.trouble = PrefectRefused("there is no such deployment")
    away.round()
    assert away.status() is RunStatus.STARTING and away.desk.run(NAME).flow_run_id in away.prefect.state


def test_what_is_bound_is_not_given_back_by_a_late_word_of_the_first_call(away: Away) -> None:
    flow_run = away.claimed()
    order, locks = away.desk.orders[NAME], away.desk.locks()
    ledger = open_run_ledger(url_of(away.desk.engine), order.run_id, order.claim)
    assert not ledger.not_started("Prefect cannot be reached")
    ledger.close()
    run = away.desk.run(NAME)
    assert (run.status, run.flow_run_id, run.claim) == (RunStatus.STARTING, flow_run, order.claim)
    assert locks and away.desk.locks() == locks


@pytest.mark.parametrize("heard", [True, False])
def test_a_first_call_that_fails_after_another_worker_took_the_watch_gives_nothing_back(
    away: Away, heard: bool
) -> None:
    """Frozen between the claim and its call. heard: the other's call has come back, with the flow run."""
    make = away.prefect.create_flow_run

    def late(*args: Any, **facts: Any) -> str:
        away.prefect.create_flow_run = make  # type: ignore[method-assign]
        if not heard:
            away.prefect.trouble = PrefectUnreachable("no answer")
        with pytest.raises(PrefectUnreachable) if not heard else nullcontext():
            away.round(away.next_worker())
        raise PrefectUnreachable("connection refused", nothing_done=True)

    away.prefect.create_flow_run = late  # type: ignore[method-assign]
    away.claimed()
    run = away.desk.run(NAME)
    assert (run.status, run.worker_id, run.flow_run_id is not None) == (RunStatus.STARTING, "worker-2", heard)
    assert away.desk.locks()


def test_a_round_leaves_the_first_call_alone_while_it_is_under_way(away: Away) -> None:
    calls: list[str] = []
    make = away.prefect.create_flow_run

    def slow(*args: Any, **facts: Any) -> str:
        calls.append(facts["idempotency_key"])
        away.round()
        return make(*args, **facts)

    away.prefect.create_flow_run = slow  # type: ignore[method-assign]
    flow_run = away.claimed()
    assert len(calls) == 1 and away.desk.run(NAME).flow_run_id == flow_run


def test_what_a_round_has_taken_up_is_not_begun_by_the_thread_that_comes_late(away: Away) -> None:
    away.desk.run_now(NAME)
    away.desk.turn()
    away.prefect.trouble = PrefectUnreachable("no answer")
    with pytest.raises(PrefectUnreachable):
        away.round()
    away.prefect.trouble = PrefectUnreachable("connection refused", nothing_done=True)
    away.watch.begin(away.desk.orders[NAME])
    assert away.status() is RunStatus.STARTING and away.desk.locks()
    away.prefect.trouble = None
    away.round()
    assert away.desk.run(NAME).flow_run_id in away.prefect.state


# Born in Prefect, on the pool of this machine, and its type moved: it has had a flow run all along.


def _born(away: Away) -> str:
    """Its run's name, waiting by now for the other pool."""
    away.move_type("headway")
    with writing(away.desk.engine) as session:
        now = away.desk.clock.now()
        assert adopt(session, load_catalog(session), "born", "d-1", {}, now, now).state == "held"
    away.move_type("containers")
    (born,) = [run for run in away.desk.runs() if run.trigger is Trigger.PREFECT]
    name = "job0 (started in Prefect)"
    assert away.desk.turn() == [name] and born.flow_run_id == "born"
    return name


@pytest.mark.parametrize("lost", [False, True])
def test_one_born_in_prefect_gets_its_flow_run_elsewhere_and_the_first_one_is_over(away: Away, lost: bool) -> None:
    name = _born(away)
    if lost:
        away.prefect.trouble = PrefectUnreachable("no answer")
        away.watch.begin(away.desk.orders[name])
        run = away.desk.run(name)
        assert (run.status, run.flow_run_id, away.prefect.ended) == (RunStatus.STARTING, "born", {})
        away.prefect.trouble = None
        away.round()
    else:
        away.watch.begin(away.desk.orders[name])
    flow_run = f"flow-{away.desk.run(name).id}:1"
    assert (away.desk.run(name).flow_run_id, away.prefect.ended) == (flow_run, {"born": "crashed"})
    with writing(away.desk.engine) as session:
        assert give_back_unbegun(session, "worker-1", set(), away.desk.clock.now()) == []
    away.prefect.become(flow_run, "COMPLETED")
    assert [away.round(), away.round()] == [False, True] and len(away.prefect.made) == 1


def test_one_born_in_prefect_waits_again_with_its_first_flow_run_where_nothing_was_sent(away: Away) -> None:
    name = _born(away)
    away.prefect.trouble = PrefectUnreachable("connection refused", nothing_done=True)
    away.watch.begin(away.desk.orders[name])
    run = away.desk.run(name)
    assert (run.status, run.flow_run_id, away.prefect.ended) == (RunStatus.WAITING, "born", {})


def test_one_born_in_prefect_is_not_given_back_where_only_its_first_flow_run_could_not_be_ended(away: Away) -> None:
    name, end = _born(away), away.prefect.end
    refused = PrefectUnreachable("connection refused", nothing_done=True)
    away.prefect.end = mock.Mock(side_effect=refused)  # type: ignore[method-assign]
    away.watch.begin(away.desk.orders[name])
    assert (away.desk.run(name).status, away.desk.run(name).flow_run_id) == (RunStatus.STARTING, "born")
    away.prefect.end = end  # type: ignore[method-assign]
    away.round()
    assert away.desk.run(name).flow_run_id in away.prefect.state and away.prefect.ended == {"born": "crashed"}


def test_one_born_in_prefect_that_is_reset_before_it_is_bound_is_ended_elsewhere(away: Away) -> None:
    name = _born(away)
    away.prefect.create_flow_run("d-1", idempotency_key=f"{away.desk.run(name).id}:1")  # and nobody heard of it
    uid = away.desk.task(name).uid
    assert uid is not None
    reset(away.desk.engine, away.desk.clock, OPERATOR, uid)
    away.round()
    assert away.prefect.told_to_end == [f"flow-{away.desk.run(name).id}:1"]


# A turn whose end its worker did not hear of.


def test_a_watch_that_was_taken_over_is_not_given_back(away: Away) -> None:
    flow_run = away.claimed()
    other = away.next_worker()
    away.round(other)
    locks = away.desk.locks()
    with writing(away.desk.engine) as session:
        assert give_back_unbegun(session, "worker-2", set(), away.desk.clock.now()) == []
    run = away.desk.run(NAME)
    assert (run.status, run.worker_id, run.flow_run_id) == (RunStatus.STARTING, "worker-2", flow_run)
    assert locks and away.desk.locks() == locks


def test_what_was_claimed_for_another_pool_unheard_is_handed_over_by_the_watch(away: Away) -> None:
    away.desk.run_now(NAME)
    away.desk.turn()
    with writing(away.desk.engine) as session:
        assert give_back_unbegun(session, "worker-1", set(), away.desk.clock.now()) == []
    away.round()
    assert len(away.prefect.made) == 1 and away.desk.run(NAME).flow_run_id in away.prefect.state


# A reset while the flow run is being made: its run never hears of it.


def _meanwhile(away: Away, what: Callable[[], object]) -> None:
    """It happens once Prefect has made the flow run, and before its maker hears of it."""
    make = away.prefect.create_flow_run

    def slowly(*args: Any, **facts: Any) -> str:
        made = make(*args, **facts)
        what()
        return made

    away.prefect.create_flow_run = slowly  # type: ignore[method-assign]


def _reset(away: Away) -> None:
    uid = away.desk.task(NAME).uid
    assert uid is not None
    assert reset(away.desk.engine, away.desk.clock, OPERATOR, uid) is RunStatus.CANCELLED


def test_a_reset_during_the_hand_over_ends_the_flow_run_at_once(away: Away) -> None:
    _meanwhile(away, lambda: _reset(away))
    flow_run = away.claimed()
    assert away.prefect.told_to_end == [flow_run]
    assert away.status() is RunStatus.CANCELLED and not away.desk.locks()


def test_a_reset_during_a_hand_over_whose_worker_dies_ends_the_flow_run_in_the_next_round(away: Away) -> None:
    class Killed(BaseException):
        pass

    def killed() -> None:
        _reset(away)
        raise Killed

    _meanwhile(away, killed)
    with pytest.raises(Killed):
        away.claimed()
    away.round(away.next_worker())
    (key,) = away.prefect.made
    assert away.prefect.told_to_end == [f"flow-{key}"] and away.desk.run(NAME).flow_run_id is None


def test_a_run_that_waits_again_by_then_is_bound_to_the_same_flow_run_by_its_next_claim(away: Away) -> None:
    def put_back() -> None:
        order = away.desk.orders[NAME]
        ledger = open_run_ledger(url_of(away.desk.engine), order.run_id, order.claim)
        assert ledger.not_started("Prefect is slow")
        ledger.close()

    make = away.prefect.create_flow_run
    _meanwhile(away, put_back)
    flow_run = away.claimed()
    away.prefect.create_flow_run = make  # type: ignore[method-assign]
    away.round()
    assert away.prefect.told_to_end == [] and away.status() is RunStatus.WAITING
    assert away.desk.turn() == [NAME]
    away.watch.begin(away.desk.orders[NAME])
    assert away.desk.run(NAME).flow_run_id == flow_run and len(away.prefect.made) == 1


def test_one_run_s_trouble_is_not_the_others(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.worker_lives()
    desk.tasks(*(f"name: {name}, type: {kind}, schedule: null" for name, kind in (("a", "job0"), ("b", "job1"))))
    with writing(desk.engine) as session:
        for kind in ("job0", "job1"):
            session.get_one(TaskTypeRow, kind).work_pool = "containers"
    prefect = FakePrefect()
    watch = watch_of(desk, prefect, "worker-1")
    for name in ("a", "b"):
        desk.run_now(name)
    assert sorted(desk.turn()) == ["a", "b"]
    for name in ("a", "b"):
        watch.begin(desk.orders[name])
        prefect.become(desk.run(name).flow_run_id or "", "COMPLETED")
    lines, first = prefect.log_lines, desk.run("a").flow_run_id

    def unreadable(flow_run_id: str, after: datetime | None) -> Iterator[dict[str, Any]]:
        if flow_run_id == first:
            raise ValueError("no such instant\nat all")
        return lines(flow_run_id, after)

    prefect.log_lines = unreadable  # type: ignore[method-assign]
    assert [watch.round(desk.clock.now()) for _ in range(2)] == [False, True]
    assert desk.run("b").status is RunStatus.COMPLETED and desk.run("a").status is RunStatus.STARTING
    assert {one.getMessage() for one in caplog.records} == {f"run {desk.run('a').id} on another pool: no such instant"}

    prefect.log_lines = mock.Mock(side_effect=PrefectUnreachable("away"))  # type: ignore[method-assign]
    with pytest.raises(PrefectUnreachable):
        watch.round(desk.clock.now())
