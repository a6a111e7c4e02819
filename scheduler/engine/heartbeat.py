"""Signs of life, and what follows from those of others; whether Prefect answers this worker."""

import logging

from headway.models.ledger.database import writing
from headway.scheduler.engine.maintenance.lost_runs import end_lost_runs
from headway.scheduler.engine.prefect_sync import PrefectSync
from headway.scheduler.engine.this_worker import Signals, ThisWorker
from headway.scheduler.store import workers

log = logging.getLogger("headway.worker")


class Heartbeat:
    """One worker's signs of life. Any thread may call any method."""

    def __init__(self, worker: ThisWorker, signals: Signals, prefect: PrefectSync) -> None:
        self.problem: str | None = "not asked yet"
        """Why Prefect does not answer; None if it does."""
        self._worker = worker
        self._signals = signals
        self._prefect = prefect
        self._steadiness = workers.Steadiness()
        self._prefect_knows = False
        """Of every run that ended here: runs may have ended while no worker could tell Prefect."""

    def hello(self) -> None:
        """The worker appears in the ledger, with what it knows of Prefect."""
        self.problem = self._worker.prefect.health()
        with writing(self._worker.engine) as session:
            workers.say_hello(session, self._worker.id, self._worker.process, self._worker.clock.now())
        self.beat()

    def goodbye(self) -> None:
        """The worker has stopped. Raises SQLAlchemyError; then others see it silent."""
        with writing(self._worker.engine) as session:
            workers.say_goodbye(session, self._worker.id, self._worker.clock.now())

    def beat(self) -> None:
        """Give a sign of life, declare dead workers stopped and end the runs of those that are lost."""
        now = self._worker.clock.now()
        with writing(self._worker.engine) as session:
            if not workers.beat(session, self._worker.id, now, self.problem):
                log.error("this worker was declared dead while it was silent; it starts nothing more")
                self._signals.no_starts.set()
            workers.bury_dead(session, self._worker.process, now)
            counts = self._steadiness.beats(now)
            lost = end_lost_runs(session, self._worker.process.host, now, silence_counts=counts)
        for flow_run_id in lost:
            self._prefect.tell(flow_run_id, "crashed", "its worker was lost")

    def check_prefect(self) -> None:
        """Ask whether Prefect answers; say so where that has changed, and catch up with it."""
        problem = self._worker.prefect.health()
        if problem is not None:
            self._prefect_knows = False
        elif not self._prefect_knows:
            self._prefect_knows = self._prefect.catch_up()
        if problem != self.problem:
            self.problem = problem
            log.warning("Prefect cannot be reached: %s", problem) if problem else log.info("Prefect answers again")
            self.beat()
            self._signals.wake.set()

    def problem_in_words(self) -> str | None:
        return None if self.problem is None else f"Prefect cannot be reached: {self.problem}"
