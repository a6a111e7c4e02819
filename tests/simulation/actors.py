"""Who lives in a simulated week: workers with the product's own loop, runs' processes, people, and Prefect."""

from __future__ import annotations

import itertools
import logging
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

from sqlalchemy.exc import SQLAlchemyError

from headway.errors import PrefectError, SchedulerError
from headway.models.ledger.database import writing
from headway.models.ledger.tables import TaskRow
from headway.models.values.schedule import Cron
from headway.privileges import OPERATOR
from headway.scheduler.engine import prefect_sync, process_pool, turns
from headway.scheduler.engine.maintenance import lost_runs
from headway.scheduler.engine.service import SchedulerService
from headway.scheduler.engine.this_worker import Signals, ThisWorker
from headway.scheduler.execution import retrying_ledger
from headway.scheduler.execution.ledger_port import ExitCode, LogLine, Outcome
from headway.scheduler.execution.process_identity import ProcessIdentity
from headway.scheduler.execution.retrying_ledger import LedgerDown, RetryingLedger
from headway.scheduler.execution.warm_server import Exited, StartOrder, WarmServerGone
from headway.scheduler.planning.definitions.document import Definitions
from headway.scheduler.store import workers
from headway.scheduler.store.runs import run_writer
from headway.scheduler.usecases.runs import reset as reset_case
from headway.scheduler.usecases.runs.run_now import run_now
from headway.scheduler.usecases.tasks.apply import apply
from headway.scheduler.usecases.tasks.task_state import set_state
from headway.scheduler.usecases.windows.release_window import release_window
from tests.simulation.scheduler import SECOND, Actor, Hub, Killed, Owner
from tests.simulation.worlds import SmallWorld, cron, section

if TYPE_CHECKING:
    from tests.simulation.invariants import Referee

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class Terminated(Exception):
    """A TERM has arrived, where the process is interruptible."""


class Left(BaseException):
    """The process left by itself, with this code."""

    def __init__(self, code: int) -> None:
        self.code = code


class Stage:
    """Everybody of one simulated week."""

    def __init__(self, hub: Hub, world: SmallWorld, referee: Referee) -> None:
        self.hub, self.world, self.referee = hub, world, referee
        self.workers: list[SimWorker] = []
        self.processes: dict[int, SimProcess] = {}
        self.prefect = SimPrefect(self)
        self.pids = itertools.count(1000)
        self.claims = itertools.count(1)
        self.trouble_at = hub.now

    def now(self) -> datetime:
        """As a Clock."""
        return self.hub.now

    def host(self) -> str:
        me = self.hub.me_or_none()
        return me.owner.host if me else "alpha"

    def worker(self, host: str) -> SimWorker:
        made = SimWorker(self, host)
        self.workers.append(made)
        return made

    def trouble(self) -> None:
        """ChangeFeed of life are watched closely for a while."""
        self.trouble_at = self.hub.now
        for actor in self.hub.actors:
            if actor.name == "beat":
                actor.wake_at = min(actor.wake_at, self.hub.now + self.hub.chance.choice([1, 5, 10]) * SECOND)

    def time_passed(self, before: datetime, after: datetime) -> None:
        """Whoever lives has given a sign of life every ten seconds, too often to be played."""
        if after - before < 5 * SECOND:
            return
        living = [one for one in self.workers if one.said_hello and one.alive and one.frozen_until <= before]
        seen_at = (after - self.hub.chance.random() * 10 * SECOND).replace(tzinfo=None).isoformat(" ", "microseconds")
        for one in living:
            self.referee.driver.execute(
                "UPDATE worker SET seen_at = ? WHERE id = ? AND stopped_at IS NULL AND seen_at < ?",
                (seen_at, one.service.worker.id, seen_at),
            )

    # What stands in for the machine

    def is_alive(self, process: ProcessIdentity) -> bool:
        if process.host != self.host():
            return True
        return (process.pid in self.processes and self.processes[process.pid].alive) or self._is_worker(process)

    def _is_worker(self, process: ProcessIdentity) -> bool:
        return any(one.alive and one.process == process for one in self.workers)

    def end_group(self, process: ProcessIdentity, grace_seconds: float = 10) -> bool:
        self.hub.boundary()
        if process.host != self.host():
            return False
        found = self.processes.get(process.pid)
        if found is None or not found.alive:
            return True
        found.terminate(None)
        deadline = self.hub.now + grace_seconds * SECOND
        while found.alive and self.hub.now < deadline:
            self.hub.pause(SECOND)
        self.hub.kill(found)
        return True


class SimPrefect:
    """As much of PrefectApi as the loop and a run's process use. Away at times."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.away = False
        self._flow_runs: dict[str, str] = {}  # by idempotency key
        self.ended: set[str] = set()

    def _call(self) -> None:
        self._stage.hub.boundary()
        if self.away or self._stage.hub.prefect_fails():
            raise PrefectError("connection refused")

    def health(self) -> str | None:
        return "connection refused" if self.away else None

    def create(self, order: StartOrder) -> str:
        """The run's flow run; ValueError where another process has it."""
        self._call()
        key = f"{order.run_id}:{order.attempt}"
        if key in self._flow_runs:
            raise ValueError("twin")
        self._flow_runs[key] = f"flow-{key}"
        self._call()  # the answer may be lost
        return self._flow_runs[key]

    def flow_run_of(self, run_id: int, attempt: int) -> str | None:
        self._call()
        return self._flow_runs.get(f"{run_id}:{attempt}")

    def end(self, flow_run_id: str, how: str, message: str) -> bool:
        self._call()
        self.ended.add(flow_run_id)
        return True

    def unfinished(self) -> list[str]:
        self._call()
        return [key for key in self._flow_runs.values() if key not in self.ended]


class SimWarm:
    """Stands in for the warm server: its children are actors."""

    def __init__(self, modules: Any, env: Any, on_exit: Callable[[Exited], None], *, program: str) -> None:
        self.worker = SimWarm.stage.worker_of_actor()
        self.on_exit = on_exit
        self.ready = types.SimpleNamespace(is_set=lambda: True)
        self.gone = False

    stage: Any

    @property
    def alive(self) -> bool:
        return not self.gone and self.worker.alive

    def start(self) -> None: ...

    def begin(self, order: StartOrder) -> None:
        SimWarm.stage.stage.hub.boundary()
        if self.gone:
            raise WarmServerGone
        SimProcess(SimWarm.stage.stage, self.worker, order)

    def running(self) -> list[Any]:
        return []

    def drain(self, timeout: float | None = None) -> bool:
        return True

    def stop(self) -> None: ...


class SimWorker(Owner):
    """The product's SchedulerService, its threads being actors."""

    def __init__(self, stage: Stage, host: str) -> None:
        self.stage, self.host = stage, host
        self.said_hello = False
        worker_id = f"worker-{next(stage.pids)}"
        self.process = ProcessIdentity(next(stage.pids), 1, "boot", host)
        self.service = self._made(worker_id)
        self.children: list[SimProcess] = []
        stage.hub.enter(self, "turns", self._live)

    def _made(self, worker_id: str) -> SchedulerService:
        hub, prefect = self.stage.hub, self.stage.prefect
        worker = ThisWorker(
            engine=hub.engine,
            url="sqlite://",
            prefect=prefect,  # type: ignore[arg-type]
            clock=self.stage,
            id=worker_id,
            process=self.process,
        )
        stopping: Any = types.SimpleNamespace(is_set=lambda: False, wait=lambda seconds: hub.pause(seconds * SECOND))
        return SchedulerService(worker, Signals(stopping=stopping))

    def __str__(self) -> str:
        return self.service.worker.id

    def died(self) -> None:
        self.stage.trouble()
        for child in list(self.children):
            child.orphaned()

    def _live(self) -> None:
        hub = self.stage.hub
        self.service.heartbeat.problem = problem = self.stage.prefect.health()
        while not self.said_hello:
            try:
                with writing(self.stage.hub.engine) as session:
                    workers.say_hello(session, self.service.worker.id, self.process, hub.now)
                self.said_hello = True
            except SQLAlchemyError:
                if "unheard" in hub.mishaps:
                    self.service = self._made(f"{self}'")  # as a worker that is started again
                    self.service.heartbeat.problem = problem
                hub.pause(SECOND)
        hub.enter(self, "beat", self._beats)
        while True:
            try:
                now = hub.now
                again_at = self.service.turns.take(now)
            except Exception as error:
                hub.say(f"{self}: a turn failed: {error!r:.100}")
                hub.pause(SECOND)
                continue
            if again_at > now:
                hub.pause(self._wait(now, again_at), heedful=True)

    def _wait(self, now: datetime, again_at: datetime) -> timedelta:
        """As long as nothing can happen; what is held by time alone is looked at now and then."""
        chance, following = self.stage.hub.chance, self.stage.referee.next_due()
        longest = max(following - now, SECOND) if following else timedelta(days=1)
        if again_at == now + turns.HELD_SECONDS * SECOND:
            return min(chance.choice([1, 30, 240, 1440]) * MINUTE * chance.random(), longest)
        return longest

    def _beats(self) -> None:
        hub = self.stage.hub
        while True:
            since = hub.now - self.stage.trouble_at
            near = since < timedelta(minutes=10)  # at 10, 65 and 195 s, ten minutes: what others see of a silence
            hub.pause(max(55 * SECOND, 2 * since) if near else HOUR * (2 + 10 * hub.chance.random()))
            for work in (self.service.heartbeat.check_prefect, self.service.heartbeat.beat):
                try:
                    work()
                except Exception as error:
                    hub.say(f"{self}: {work.__name__} failed: {error!r:.100}")

    def heard(self, exited: Exited, on_exit: Callable[[Exited], None]) -> None:
        self.stage.hub.enter(self, "exit", lambda: on_exit(exited))


class SimProcess(Owner):
    """A run's process: the ledger's real other side, and a flow that takes some time."""

    def __init__(self, stage: Stage, worker: SimWorker, order: StartOrder) -> None:
        self.stage, self.worker, self.order, self.host = stage, worker, order, worker.host
        self.pid = next(stage.pids)
        self.on_exit = worker.service.exits.on_exit
        self.identity = ProcessIdentity(self.pid, 1, "boot", self.host)
        self.exit: tuple[int | None, int | None] = (None, 9)
        self.term: list[str | None] = []
        self.in_flow = False
        self.outcome: Outcome | None = None
        stage.processes[self.pid] = self
        worker.children.append(self)
        stage.hub.enter(self, "process", self._live)

    def __str__(self) -> str:
        return f"process {self.pid} of run {self.order.run_id}:{self.order.attempt}"

    def died(self) -> None:
        self.in_flow = False
        if self in self.worker.children:
            self.worker.children.remove(self)
        if self.worker.alive:
            code, number = self.exit
            exited = Exited(
                run_id=self.order.run_id, claim=self.order.claim, pid=self.pid, exit_code=code, signal=number
            )
            self.worker.heard(exited, self.on_exit)
        else:
            self.stage.trouble()

    def terminate(self, why: str | None) -> None:
        self.term.append(why)
        for actor in self.stage.hub.actors:
            if actor.owner is self and actor.name == "process":
                actor.wake_at = min(actor.wake_at, self.stage.hub.now)

    def orphaned(self) -> None:
        """Its worker is gone: mostly it has a TERM, at times a KILL, and once in a while it lives on unseen."""
        luck = self.stage.hub.chance.random()
        if luck < 0.6:
            self.terminate("the worker died while the run was in progress")
            self.stage.hub.enter(_Machine(self.host), "reaper", self._end_in_ten_seconds)
        elif luck < 0.85:
            self.stage.hub.kill(self)

    def _end_in_ten_seconds(self) -> None:
        self.stage.hub.pause(10 * SECOND)
        self.stage.hub.kill(self)

    def _live(self) -> None:
        ledger = RetryingLedger(CheckedLedger(self), self._leave)
        try:
            self._run(ledger)
            self.exit = (ExitCode.RECORDED, None)
        except Left as left:
            self.exit = (left.code, None)
        except LedgerDown:
            self.exit = (ExitCode.NOT_RECORDED, None)
        if self.alive:
            self.alive = False
            self.died()

    @staticmethod
    def _leave(code: int) -> None:
        raise Left(code)

    def _run(self, ledger: RetryingLedger) -> None:
        try:
            ledger.write(lambda one: one.began(self.identity))
            self._flow(ledger)
        except PrefectError as error:
            reason = str(error)
            ledger.write(lambda one: one.not_started(reason), 60)
        except Terminated:
            self.in_flow = False
            if self.outcome is None:
                why = self.term[0]
                self.outcome = Outcome(kind="failed", error=why) if why else Outcome(kind="cancelled", message="ended")
            self._record(ledger)

    def _flow(self, ledger: RetryingLedger) -> None:
        hub, order = self.stage.hub, self.order
        try:
            flow_run_id = self.stage.prefect.create(order)
        except ValueError:
            raise Left(ExitCode.TWIN) from None
        ledger.write(lambda one: one.bind(flow_run_id))
        ledger.write(lambda one: one.running())
        self.in_flow = True
        self.stage.referee.flow_begins(self)
        length = self._length()
        self._sleep(length / 2)
        if hub.chance.random() < 0.2:
            line = LogLine(hub.now, 20, "sim", "half way")
            ledger.try_write(lambda one: one.log([line]), "a line")
            ledger.try_write(lambda one: one.progress(50.0, 5), "progress")
        self._sleep(length / 2)
        self.in_flow = False
        self.outcome = self._ending()
        self._record(ledger)

    def _record(self, ledger: RetryingLedger) -> None:
        outcome = self.outcome
        assert outcome is not None
        ledger.write(lambda one: one.ended(outcome), 60)

    def _length(self) -> timedelta:
        task = self.stage.world.tasks[self.stage.referee.task_of(self.order.run_id)]
        usual = task.estimate or 10 * MINUTE
        return usual * self.stage.hub.chance.choice([0.01, 0.3, 0.9, 1.0, 1.5, 3.0])

    def _ending(self) -> Outcome:
        luck = self.stage.hub.chance.random()
        if luck < 0.75:
            return Outcome(kind="completed", processed=3)
        if luck < 0.85:
            return Outcome(kind="completed", errors=2)
        return Outcome(kind="failed", error="no such list", permanent=luck > 0.95)

    def _sleep(self, length: timedelta) -> None:
        until = self.stage.hub.now + length
        while self.stage.hub.now < until:
            if self.term:
                raise Terminated
            self.stage.hub.pause(until - self.stage.hub.now)
        if self.term:
            raise Terminated


class _Machine(Owner):
    """The kernel, or a fork server that outlives its worker."""

    def __init__(self, host: str) -> None:
        self.host = host


class CheckedLedger(run_writer.StoredRunLedger):
    """The product's ledger; the referee hears of every write that was accepted."""

    def __init__(self, process: SimProcess) -> None:
        self._engine = process.stage.hub.engine
        self._run_id, self._claim = process.order.run_id, process.order.claim
        self._process = process

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in ("began", "bind", "running", "log", "progress", "receipt", "ended", "not_started"):
            return found

        def told(*args: Any) -> bool:
            accepted = bool(found(*args))
            if accepted:
                self._process.stage.referee.accepted(self._process, name)
            return accepted

        return told

    def close(self) -> None: ...


class Person(Owner):
    """Somebody who edits, runs, resets and releases, at odd times."""

    def __init__(self, stage: Stage, every: timedelta) -> None:
        self.stage, self.every = stage, every
        self.host = stage.hub.chance.choice(["alpha", "beta"])
        stage.hub.enter(self, "person", self._live)

    def __str__(self) -> str:
        return "a person"

    def _live(self) -> None:
        hub = self.stage.hub
        acts = [self._run_now, self._run_now, self._reset, self._reset, self._state, self._release, self._edit]
        while True:
            hub.pause(self.every * hub.chance.expovariate(1))
            act = hub.chance.choice(acts)
            uid = hub.chance.choice(sorted(self.stage.world.tasks))
            try:
                act(uid)
            except (SchedulerError, SQLAlchemyError) as error:
                hub.say(f"{act.__name__} of task {uid}: {error!r:.80}")

    def _run_now(self, uid: int) -> None:
        chance = self.stage.hub.chance
        override = frozenset(chance.choice([[], [], ["window"], ["spacing"], ["window", "spacing"]]))
        with writing(self.stage.hub.engine) as session:
            task = session.get(TaskRow, uid)
            assert task is not None
            follow = chance.random() < 0.5
            run_now(session, self.stage, OPERATOR, task, follow=follow, override=override, reason="sim")

    def _reset(self, uid: int) -> None:
        failed = self.stage.referee.failed_tasks()
        uid = self.stage.hub.chance.choice(failed) if failed else uid
        if not failed and self.stage.hub.chance.random() < 0.7:
            return
        reset_case.reset(self.stage.hub.engine, self.stage, OPERATOR, uid)

    def _state(self, uid: int) -> None:
        with writing(self.stage.hub.engine) as session:
            task = session.get(TaskRow, uid)
            assert task is not None
            set_state(session, self.stage, OPERATOR, task, enabled=not task.enabled)

    def _release(self, uid: int) -> None:
        if not self.stage.world.windows:
            return
        chance = self.stage.hub.chance
        window = chance.choice(self.stage.world.windows)
        day = (self.stage.hub.now + timedelta(days=chance.choice([-1, 0, 0, 1, 2]))).date()
        with writing(self.stage.hub.engine) as session:
            release_window(session, self.stage, OPERATOR, window.name, day, reserve=chance.random() < 0.3)

    def _edit(self, uid: int) -> None:
        from dataclasses import replace

        task = self.stage.referee.tasks[uid]
        if not isinstance(task.schedule, Cron):
            return
        new = replace(task, schedule=Cron(cron(self.stage.hub.chance)))
        with writing(self.stage.hub.engine) as session:
            given = Definitions.model_construct(settings=None, windows=None, tasks=[section(self.stage.world, new)])
            apply(session, self.stage, OPERATOR, given)


class _StageHand:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def worker_of_actor(self) -> SimWorker:
        owner = self.stage.hub.me().owner
        assert isinstance(owner, SimWorker)
        return owner


@contextmanager
def simulated_machine(stage: Stage) -> Iterator[None]:
    """Within, the product's looks at clock, processes and warm servers are looks at the stage."""
    hub = stage.hub

    class Today(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return hub.now

    clock = types.SimpleNamespace(
        monotonic=lambda: hub.now.timestamp(), sleep=lambda seconds: hub.pause(seconds * SECOND)
    )
    claims = types.SimpleNamespace(uuid4=lambda: types.SimpleNamespace(hex=f"claim{next(stage.claims):027}"))
    SimWarm.stage = _StageHand(stage)
    patches = [
        mock.patch.object(run_writer, "datetime", Today),
        mock.patch.object(retrying_ledger, "time", clock),
        mock.patch.object(process_pool, "WarmServer", SimWarm),
        mock.patch.object(prefect_sync, "end_group", stage.end_group),
        mock.patch.object(lost_runs, "is_alive", stage.is_alive),
        mock.patch.object(workers, "is_alive", stage.is_alive),
        mock.patch.object(reset_case, "is_alive", stage.is_alive),
        mock.patch.object(reset_case, "end_group", stage.end_group),
        mock.patch("headway.scheduler.engine.turn.uuid", claims),
        mock.patch("headway.scheduler.usecases.runs.reset.socket.gethostname", stage.host),
    ]
    logging.getLogger("headway").setLevel(logging.CRITICAL + 1)
    with ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        try:
            yield
        finally:
            logging.getLogger("headway").setLevel(logging.NOTSET)


__all__ = ["Actor", "Killed", "Person", "SimProcess", "SimWorker", "Stage", "simulated_machine"]
