"""The scheduler service: it starts and stops the parts of one worker, each on its thread."""

import logging
import threading
from collections.abc import Callable
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from headway.models.ledger.database import writing
from headway.scheduler.engine.adoption import Adoption, adopt
from headway.scheduler.engine.external_pools import ExternalPools
from headway.scheduler.engine.heartbeat import Heartbeat
from headway.scheduler.engine.maintenance.alerts import alert_failures, alert_long_running
from headway.scheduler.engine.maintenance.pickup import EVERY as LOOK_FOR_FILES
from headway.scheduler.engine.maintenance.pickup import PickupWatch
from headway.scheduler.engine.maintenance.stopped_processes import StoppedProcesses
from headway.scheduler.engine.prefect_sync import PrefectSync
from headway.scheduler.engine.process_pool import ProcessPool
from headway.scheduler.engine.repeating import repeat
from headway.scheduler.engine.run_exits import RunExits
from headway.scheduler.engine.this_worker import Signals, ThisWorker
from headway.scheduler.engine.turns import Turns
from headway.scheduler.store.tasks import load_catalog

log = logging.getLogger("headway.worker")

BEAT_SECONDS = 10.0
HEALTH_SECONDS = 5.0
CANCEL_SECONDS = 3.0
HANDED_SECONDS = 2.0
ALERT_SECONDS = 10.0


class SchedulerService:
    """One worker's parts. `start`, `stop` and `adopt` may be called from any thread."""

    def __init__(self, worker: ThisWorker, signals: Signals | None = None) -> None:
        self.worker = worker
        self.signals = signals or Signals()
        self.prefect = PrefectSync(worker)
        self.heartbeat = Heartbeat(worker, self.signals, self.prefect)
        self.exits = RunExits(worker, self.signals, self.heartbeat, self.prefect)
        self.pool = ProcessPool(self.signals, self.exits.begun, self.exits.on_exit)
        self.elsewhere = ExternalPools(worker)
        self.turns = Turns(worker, self.signals, self.heartbeat, self.pool, self.elsewhere)
        self._stopped_processes = StoppedProcesses(worker.engine, worker.process.host)
        self._pickup = PickupWatch(worker.engine, worker.prefect, worker.id)
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Say hello, and begin: turns, signs of life, and the watch over Prefect, each on a thread."""
        self.heartbeat.hello()
        self._begin("turns", self.turns.run)
        self._begin_every(BEAT_SECONDS, "signs of life", self.heartbeat.beat)
        self._begin_every(HEALTH_SECONDS, "engine", self.heartbeat.check_prefect)
        self._begin_every(CANCEL_SECONDS, "cancellations", self._watch_cancellations)
        self._begin_every(ALERT_SECONDS, "alerts", self._alert)
        self._begin_every(HANDED_SECONDS, "other pools", self._watch_other_pools)
        self._begin_every(LOOK_FOR_FILES.total_seconds(), "pick-up", self._look_for_files)

    def stop(self, grace_seconds: float = 30) -> None:
        """Start nothing more, let running ones finish for so long, then end them and say goodbye."""
        self.signals.no_starts.set()
        self.signals.wake.set()
        self.pool.stop(grace_seconds)
        self.signals.stopping.set()
        self.signals.wake.set()
        self._pickup.stop()
        for thread in self._threads:
            thread.join(5)
        try:
            self.heartbeat.goodbye()
        except SQLAlchemyError as error:
            log.error("the goodbye could not be written; others will see this worker silent: %s", error)
        self.worker.engine.dispose()

    def running(self) -> int:
        """How many runs this worker has in progress."""
        return self.pool.running()

    def adopt(
        self, flow_run_id: str, deployment_id: str, parameters: dict[str, object], scheduled_at: datetime
    ) -> Adoption:
        """Take a flow run that was started in Prefect into the ledger, and say what became of it."""
        with writing(self.worker.engine) as session:
            catalog = load_catalog(session, self.turns.catalog)
            now = self.worker.clock.now()
            adoption = adopt(session, catalog, flow_run_id, deployment_id, parameters, scheduled_at, now)
        self.signals.wake.set()
        return adoption

    # What the threads do

    def _begin(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=f"headway {name}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _begin_every(self, seconds: float, name: str, work: Callable[[], object]) -> None:
        self._begin(name, lambda: repeat(work, seconds, self.signals.stopping))

    def _watch_cancellations(self) -> None:
        if self.heartbeat.problem is None:
            self.prefect.watch_cancellations()

    def _alert(self) -> None:
        """On a thread of its own: a mail server that is slow to answer must not make this worker look dead."""
        now = self.worker.clock.now
        alert_long_running(self.worker.engine, now())
        alert_failures(self.worker.engine, now())
        self._stopped_processes.round(now())

    def _watch_other_pools(self) -> None:
        if self.heartbeat.problem is None and self.elsewhere.round(self.worker.clock.now()):
            self.signals.wake.set()

    def _look_for_files(self) -> None:
        if self.heartbeat.problem is None:
            self._pickup.round(self.worker.clock.now())
