"""The scheduler service: the loop that takes turns, starts runs, and notices what became of them."""

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select

from headway.clock import Clock, SystemClock
from headway.errors import PrefectError
from headway.models.ledger.database import database_url, make_engine, reading, writing
from headway.models.ledger.tables import RunRow
from headway.models.values.run import ACTIVE, RunStatus
from headway.scheduler.engine.adoption import Adoption, adopt
from headway.scheduler.engine.external_pools import ExternalPools
from headway.scheduler.engine.maintenance.alerts import alert_failures, alert_long_running
from headway.scheduler.engine.maintenance.lost_runs import end_lost_runs
from headway.scheduler.engine.maintenance.pickup import EVERY as LOOK_FOR_FILES
from headway.scheduler.engine.maintenance.pickup import PickupWatch
from headway.scheduler.engine.maintenance.stopped_processes import StoppedProcesses
from headway.scheduler.engine.turn import take_turn
from headway.scheduler.execution.ledger_port import ExitCode
from headway.scheduler.execution.process_identity import end_group, identify_self
from headway.scheduler.execution.warm_server import Exited, StartOrder, WarmServer, WarmServerGone
from headway.scheduler.planning.task_types import POOL
from headway.scheduler.prefect_side.api import PrefectApi
from headway.scheduler.prefect_side.importer_block import keep_importer_path
from headway.scheduler.store import workers
from headway.scheduler.store.change_feed import ChangeFeed
from headway.scheduler.store.claims import give_back_unbegun
from headway.scheduler.store.run_ends import Ending, cancel_waiting, end_run
from headway.scheduler.store.settings import wait_for_turn
from headway.scheduler.store.tasks import Catalog, load_catalog, load_chain_catalog
from headway.text import first_line

log = logging.getLogger("headway.worker")

LOOK_SECONDS = 0.05  # how soon a change made by another process is noticed
HELD_SECONDS = 1.0  # how often held runs are judged again
IDLE_SECONDS = 5.0  # how often a turn is taken although nothing changed
BEAT_SECONDS = 10.0
HEALTH_SECONDS = 5.0
CANCEL_SECONDS = 3.0
HANDED_SECONDS = 2.0
ALERT_SECONDS = 10.0

End = Literal["completed", "failed", "cancelled", "crashed"]
_TOLD_AS: dict[RunStatus, End] = {
    RunStatus.COMPLETED: "completed",
    RunStatus.COMPLETED_WITH_ERRORS: "completed",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELLED: "cancelled",
}

__all__ = ["Adoption", "SchedulerLoop"]


class SchedulerLoop:
    """One worker's loop. `start` and `stop` from any thread; everything else happens on its own threads."""

    def __init__(self, engine: Engine, url: str, prefect: PrefectApi, clock: Clock | None = None) -> None:
        self.worker_id = f"worker-{uuid.uuid4().hex[:12]}"
        self._engine = engine
        self._url = url
        self._prefect = prefect
        self._clock = clock or SystemClock()
        self._catalog: Catalog | None = None
        self._warm: WarmServer | None = None
        self._coming: WarmServer | None = None
        self._draining: list[WarmServer] = []
        self._warm_for: tuple[object, ...] | None = None
        self._problem: str | None = "not asked yet"
        self._prefect_knows = False  # of every run that ended here: it may have, while no worker could tell it
        self._pickup = PickupWatch(engine, prefect, self.worker_id)
        self._hand_over = ExternalPools(engine, url, prefect, self.worker_id)
        self._steadiness = workers.Steadiness()
        self._begun: set[str] = set()  # claims that were handed to a process
        self._in_doubt = False  # a turn failed: what it claimed, if it did, was never handed to anybody
        self._stopping = threading.Event()
        self._no_starts = threading.Event()
        self._wake = threading.Event()
        self._threads: list[threading.Thread] = []
        self._process = identify_self()
        self._standstill = StoppedProcesses(engine, self._process.host)

    @classmethod
    def from_environment(cls) -> "SchedulerLoop":
        """The loop for HEADWAY_DATABASE_URL (or HEADWAY_HOME) and PREFECT_API_URL."""
        url = database_url()
        return cls(make_engine(url), url, PrefectApi.from_environment())

    def start(self) -> None:
        """Say hello, and begin: turns, signs of life, and watching over Prefect each on a thread."""
        self._problem = self._prefect.health()
        with writing(self._engine) as session:
            workers.say_hello(session, self.worker_id, self._process, self._clock.now())
        self._beat()
        for name, work, seconds in (
            ("turns", self._turns, None),
            ("signs of life", self._beat, BEAT_SECONDS),
            ("engine", self._check_engine, HEALTH_SECONDS),
            ("cancellations", self._watch_cancellations, CANCEL_SECONDS),
            ("alerts", self._alert, ALERT_SECONDS),
            ("other pools", self._watch_other_pools, HANDED_SECONDS),
            ("pick-up", self._look_for_files, LOOK_FOR_FILES.total_seconds()),
        ):
            target = work if seconds is None else self._every(seconds, work)
            thread = threading.Thread(target=target, name=f"headway {name}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, grace_seconds: float = 30) -> None:
        """Start nothing more, let running ones finish for so long, then end them and say goodbye."""
        self._no_starts.set()
        self._wake.set()
        until = time.monotonic() + grace_seconds
        for server in self._servers():
            server.drain(max(0.0, until - time.monotonic()))
            server.stop()
        self._stopping.set()
        self._wake.set()
        self._pickup.stop()
        for thread in self._threads:
            thread.join(5)
        try:
            with writing(self._engine) as session:
                workers.say_goodbye(session, self.worker_id, self._clock.now())
        except SQLAlchemyError as error:
            log.error("the goodbye could not be written; others will see this worker silent: %s", error)
        self._engine.dispose()

    def running(self) -> int:
        """How many runs this worker has in progress."""
        return sum(len(server.running()) for server in self._servers())

    def adopt(
        self, flow_run_id: str, deployment_id: str, parameters: dict[str, object], scheduled_at: datetime, name: str
    ) -> Adoption:
        """Take a flow run that somebody started in Prefect into the ledger, and say what became of it."""
        with writing(self._engine) as session:
            catalog = load_catalog(session, self._catalog)
            adoption = adopt(session, catalog, flow_run_id, deployment_id, parameters, scheduled_at, self._clock.now())
        self._wake.set()
        return adoption

    # Turns

    def _turns(self) -> None:
        signs: ChangeFeed | None = None
        next_turn: datetime | None = None
        while not self._stopping.is_set():
            try:
                signs = signs or ChangeFeed(self._engine)
                now = self._clock.now()
                if signs.changed() or self._wake.is_set() or _is_due(next_turn, now):
                    self._wake.clear()
                    next_turn = self._turn(now)
            except Exception as error:  # the loop lives on, whatever one turn stumbled over, and says so
                log.error("a turn failed, the next follows: %s", first_line(error), exc_info=not _expected(error))
                next_turn = self._clock.now() + timedelta(seconds=HELD_SECONDS)
                _close(signs)
                signs = None
                self._stopping.wait(HELD_SECONDS)
            self._wake.wait(LOOK_SECONDS)
        _close(signs)

    def _turn(self, now: datetime) -> datetime:
        """One turn; when the next is due even if nobody changes anything."""
        if self._no_starts.is_set():
            return now + timedelta(seconds=IDLE_SECONDS)
        with reading(self._engine) as session:
            self._catalog = load_catalog(session, self._catalog)
        self._keep_warm(self._catalog)
        in_doubt, self._in_doubt = self._in_doubt, True  # until the end of this turn is heard of
        with writing(self._engine) as session:
            wait_for_turn(session)
            now = self._clock.now()  # not before: whoever waited, or was frozen, would judge by a time that is over
            if not workers.show_life(session, self.worker_id, now, self._problem):
                self._no_starts.set()
                return now + timedelta(seconds=IDLE_SECONDS)
            if in_doubt:
                give_back_unbegun(session, self.worker_id, self._begun, now)
            turn = take_turn(
                session,
                self._catalog,
                worker_id=self.worker_id,
                database_url=self._url,
                now=now,
                problem=self._engine_problem(),
            )
        self._in_doubt = bool(turn.orders)  # until each is begun; what is claimed and never begun would wait for ever
        self._lead_exporters(turn.orders, self._catalog)
        for order in turn.orders:
            if self._no_starts.is_set():
                self._give_back()
                break
            self._begun.add(order.claim)
            self._begin(order)
        self._in_doubt = False
        if turn.orders:
            return now  # there may be more
        latest = now + timedelta(seconds=HELD_SECONDS if turn.held else IDLE_SECONDS)
        return min(latest, turn.next_due_at) if turn.next_due_at else latest

    def _lead_exporters(self, orders: list[StartOrder], catalog: Catalog) -> None:
        """Before an exporter starts, its block says what the setting says: somebody may have edited either."""
        exporters = {one.deployment_id for one in catalog.resolved.types.values() if one.exporter}
        if not exporters.intersection(order.deployment_id for order in orders):
            return
        try:
            keep_importer_path(self._engine, self._prefect)
        except PrefectError as error:  # then the run's own process finds Prefect away, too
            log.warning("the importer's block could not be looked at: %s", error)

    def _engine_problem(self) -> str | None:
        return None if self._problem is None else f"Prefect cannot be reached: {self._problem}"

    def _begin(self, order: StartOrder) -> None:
        if order.work_pool:
            # On a thread: Prefect may take its time, and other runs are due.
            threading.Thread(target=self._hand_over.begin, args=(order,), daemon=True).start()
            return
        try:
            self._begin_warm(order)
        except BaseException:
            self._begun.discard(order.claim)
            if self._no_starts.is_set():
                self._give_back()
            raise

    def _begin_warm(self, order: StartOrder) -> None:
        assert self._warm is not None and self._catalog is not None
        try:
            self._warm.begin(order)
        except WarmServerGone:
            if self._no_starts.is_set():
                raise
            log.warning("the warm process is gone; a new one takes run %s", order.run_id)
            self._keep_warm(self._catalog).begin(order)

    def _give_back(self) -> None:
        """This worker is to start nothing more: what it claimed meanwhile waits again, for another."""
        with writing(self._engine) as session:
            give_back_unbegun(session, self.worker_id, self._begun, self._clock.now())

    def _keep_warm(self, catalog: Catalog) -> WarmServer:
        """A warm process with the flows of today's deployments; while it imports, the one before serves on."""
        own = [one for one in catalog.resolved.types.values() if one.work_pool == POOL and "." in one.entrypoint]
        modules = {one.entrypoint.rpartition(".")[0] for one in own}
        wanted = (catalog.deployed_at, *sorted(module for module in modules if "/" not in module and ":" not in module))
        if wanted != self._warm_for or not self._newest_alive():
            self._retire(self._coming)
            self._coming = WarmServer([str(module) for module in wanted[1:]], None, self._on_exit)
            self._warm_for = wanted
            self._coming.start()
        if self._coming is not None and (self._coming.ready.is_set() or self._warm is None or not self._warm.alive):
            self._retire(self._warm)
            self._warm, self._coming = self._coming, None
        assert self._warm is not None
        return self._warm

    def _newest_alive(self) -> bool:
        newest = self._coming or self._warm
        return newest is not None and newest.alive

    def _retire(self, server: WarmServer | None) -> None:
        """It finishes what it has, and goes."""
        if server is not None:
            self._draining = [one for one in self._draining if one.running()]
            self._draining.append(server)
            threading.Thread(target=_drain, args=(server,), daemon=True).start()

    def _servers(self) -> list[WarmServer]:
        return [one for one in (self._warm, self._coming, *self._draining) if one is not None]

    # What becomes of runs

    def _on_exit(self, exited: Exited) -> None:
        """A run's process is gone: see to it that the ledger and Prefect know, however it left."""
        while not self._stopping.is_set():
            try:
                self._close(exited)
                break
            except SQLAlchemyError as error:
                log.error("the end of run %s could not be written, trying again: %s", exited.run_id, first_line(error))
                self._stopping.wait(1)
        self._wake.set()

    def _close(self, exited: Exited) -> None:
        self._begun.discard(exited.claim)
        with writing(self._engine) as session:
            row = session.get(RunRow, exited.run_id)
            if row is None:
                return
            if row.claim not in (exited.claim, None):
                return  # another attempt's by now: what this one left is not to be written over it
            asked_by, flow_run_id, attempt = row.cancel_asked_by, row.flow_run_id, row.attempt
            ours = row.claim == exited.claim and row.status in ACTIVE
            if ours:
                status = RunStatus.CANCELLED if asked_by else RunStatus.FAILED
                ending = Ending(status=status, error=None if asked_by else exited.describe(), message=exited.describe())
                catalog = load_chain_catalog(session, row.task_uid)
                now = self._clock.now()
                who = asked_by or self.worker_id
                end_run(session, catalog, exited.run_id, ending, now=now, who=who, claim=exited.claim)
            put_back = row.status is RunStatus.WAITING
        if put_back:
            self._check_engine()  # it found Prefect away, perhaps before we did
        elif exited.exit_code != ExitCode.RECORDED:
            flow_run_id = flow_run_id or self._flow_run_of(exited.run_id, attempt)
            if flow_run_id:
                self._tell_prefect(flow_run_id, "cancelled" if asked_by else "crashed", exited.describe())

    def _flow_run_of(self, run_id: int, attempt: int) -> str | None:
        """The flow run of a process that died before it could write which one it had."""
        try:
            return self._prefect.flow_run_of(run_id, attempt)
        except PrefectError as error:
            log.warning("Prefect could not be asked about run %s: %s", run_id, error)
            return None

    def _catch_up_prefect(self) -> None:
        """Flow runs that ended here while Prefect could not be told (it was away, or no worker was up) are told now."""
        try:
            unfinished = self._prefect.unfinished()
        except PrefectError as error:
            log.warning("Prefect could not be caught up, it will be later: %s", error)
            return
        with reading(self._engine) as session:
            rows = session.exec(
                select(RunRow).where(col(RunRow.ended_at).is_not(None), col(RunRow.flow_run_id).in_(unfinished))
            ).all()
        for row in rows:
            if row.flow_run_id and row.status in _TOLD_AS:
                self._tell_prefect(row.flow_run_id, _TOLD_AS[row.status], row.error or row.message)
        self._prefect_knows = True

    def _tell_prefect(self, flow_run_id: str, how: End, message: str) -> None:
        try:
            self._prefect.end(flow_run_id, how, message)
        except PrefectError as error:
            log.warning("Prefect could not be told that flow run %s has ended: %s", flow_run_id, error)

    def _watch_cancellations(self) -> None:
        """Cancel here what somebody cancelled in Prefect."""
        with reading(self._engine) as session:
            rows = session.exec(
                select(RunRow).where(col(RunRow.ended_at).is_(None), col(RunRow.flow_run_id).is_not(None))
            ).all()
            ours = {r.flow_run_id: r for r in rows if r.status is RunStatus.WAITING or r.worker_id == self.worker_id}
        if not ours or self._problem is not None:
            return
        for state in self._prefect.cancelled_among([key for key in ours if key]):
            row = ours[state.flow_run_id]
            assert row.id is not None
            self._cancel(row)

    def _cancel(self, row: RunRow) -> None:
        who = "somebody in Prefect"
        assert row.id is not None
        with writing(self._engine) as session:
            current = session.get(RunRow, row.id)
            if current is None or current.ended_at is not None:
                return
            if current.status is RunStatus.WAITING:
                catalog = load_chain_catalog(session, row.task_uid)
                cancel_waiting(session, catalog, row.id, now=self._clock.now(), who=who, why="cancelled in Prefect")
                return
            current.cancel_asked_by = who
            session.add(current)
        process = workers.process_of(row)
        if process is not None:
            end_group(process)

    # ChangeFeed of life

    def _beat(self) -> None:
        now = self._clock.now()
        with writing(self._engine) as session:
            if not workers.beat(session, self.worker_id, now, self._problem):
                log.error("this worker was declared dead while it was silent; it starts nothing more")
                self._no_starts.set()
            workers.bury_dead(session, self._process, now)
            lost = end_lost_runs(session, self._process.host, now, silence_counts=self._steadiness.beats(now))
        for flow_run_id in lost:
            self._tell_prefect(flow_run_id, "crashed", "its worker was lost")

    def _alert(self) -> None:
        """On a thread of its own: a mail server that is slow to answer must not make this worker look dead."""
        alert_long_running(self._engine, self._clock.now())
        alert_failures(self._engine, self._clock.now())
        self._standstill.round(self._clock.now())

    def _look_for_files(self) -> None:
        if self._problem is None:
            self._pickup.round(self._clock.now())

    def _watch_other_pools(self) -> None:
        if self._problem is None and self._hand_over.round(self._clock.now()):
            self._wake.set()

    def _check_engine(self) -> None:
        problem = self._prefect.health()
        if problem is not None:
            self._prefect_knows = False
        elif not self._prefect_knows:
            self._catch_up_prefect()
        if problem != self._problem:
            self._problem = problem
            log.warning("Prefect cannot be reached: %s", problem) if problem else log.info("Prefect answers again")
            self._beat()
            self._wake.set()

    def _every(self, seconds: float, work: Callable[[], None]) -> Callable[[], None]:
        def forever() -> None:
            while not self._stopping.wait(seconds):
                try:
                    work()
                except Exception as error:
                    name = threading.current_thread().name
                    log.error("%s: %s", name, first_line(error), exc_info=not _expected(error))

        return forever


def _is_due(next_turn: datetime | None, now: datetime) -> bool:
    """Also where the clock went back: no turn is put off for longer than an idle loop waits."""
    return next_turn is None or not now < next_turn <= now + timedelta(seconds=IDLE_SECONDS)


def _drain(server: WarmServer) -> None:
    server.drain()
    server.stop()


def _close(signs: ChangeFeed | None) -> None:
    """Give up a connection that may be broken; the next look makes a new one."""
    if signs is not None:
        with contextlib.suppress(SQLAlchemyError):
            signs.close()


def _expected(error: Exception) -> bool:
    """Whether it is the world's fault, so that its first line is enough."""
    return isinstance(error, (SQLAlchemyError, PrefectError, OSError))
