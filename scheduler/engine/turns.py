"""The turning loop: when a turn is taken, what it hands out, and what is in doubt after one that failed."""

import contextlib
import logging
import threading
from datetime import datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from headway.errors import PrefectError
from headway.models.ledger.database import reading, writing
from headway.scheduler.engine.external_pools import ExternalPools
from headway.scheduler.engine.heartbeat import Heartbeat
from headway.scheduler.engine.process_pool import ProcessPool
from headway.scheduler.engine.repeating import is_expected
from headway.scheduler.engine.this_worker import Signals, ThisWorker
from headway.scheduler.engine.turn import Turn, take_turn
from headway.scheduler.execution.warm_server import StartOrder
from headway.scheduler.prefect_side.importer_block import keep_importer_path
from headway.scheduler.store import workers
from headway.scheduler.store.change_feed import ChangeFeed
from headway.scheduler.store.runs.claims import give_back_unbegun
from headway.scheduler.store.settings import wait_for_turn
from headway.scheduler.store.tasks import Catalog, load_catalog
from headway.text import first_line

log = logging.getLogger("headway.worker")

LOOK_SECONDS = 0.05
"""How soon a change made by another process is noticed."""
HELD_SECONDS = 1.0
"""How often held runs are judged again."""
IDLE_SECONDS = 5.0
"""How often a turn is taken although nothing changed."""


class Turns:
    """One worker's turns. `run` is the work of one thread, `take` one turn of it."""

    def __init__(
        self, worker: ThisWorker, signals: Signals, heartbeat: Heartbeat, pool: ProcessPool, elsewhere: ExternalPools
    ) -> None:
        self.catalog: Catalog | None = None
        """The definitions of the last turn."""
        self._worker = worker
        self._signals = signals
        self._heartbeat = heartbeat
        self._pool = pool
        self._elsewhere = elsewhere
        self._in_doubt = False
        """A turn failed: what it claimed, if anything, was never handed to a process."""

    def run(self) -> None:
        """Take turns until the worker stops."""
        feed: ChangeFeed | None = None
        next_turn: datetime | None = None
        while not self._signals.stopping.is_set():
            try:
                feed = feed or ChangeFeed(self._worker.engine)
                now = self._worker.clock.now()
                if feed.changed() or self._signals.wake.is_set() or is_due(next_turn, now):
                    self._signals.wake.clear()
                    next_turn = self.take(now)
            except Exception as error:  # the loop lives on, whatever one turn stumbled over, and says so
                log.error("a turn failed, the next follows: %s", first_line(error), exc_info=not is_expected(error))
                next_turn = self._worker.clock.now() + timedelta(seconds=HELD_SECONDS)
                _close(feed)
                feed = None
                self._signals.stopping.wait(HELD_SECONDS)
            self._signals.wake.wait(LOOK_SECONDS)
        _close(feed)

    def take(self, now: datetime) -> datetime:
        """Take one turn; when the next is due even if nothing changes."""
        if self._signals.no_starts.is_set():
            return now + timedelta(seconds=IDLE_SECONDS)
        with reading(self._worker.engine) as session:
            self.catalog = catalog = load_catalog(session, self.catalog)
        self._pool.keep_warm(catalog)
        in_doubt, self._in_doubt = self._in_doubt, True  # until the end of this turn is heard of
        turn, now = self._in_one_transaction(catalog, in_doubt)
        if turn is None:
            return now + timedelta(seconds=IDLE_SECONDS)
        self._in_doubt = bool(turn.orders)  # until each is begun; what is claimed and never begun would wait for ever
        self._hand_out(turn.orders, catalog)
        self._in_doubt = False
        if turn.orders:
            return now  # there may be more
        latest = now + timedelta(seconds=HELD_SECONDS if turn.held else IDLE_SECONDS)
        return min(latest, turn.next_due_at) if turn.next_due_at else latest

    def _in_one_transaction(self, catalog: Catalog, in_doubt: bool) -> tuple[Turn | None, datetime]:
        """The turn and its instant; None where this worker was declared dead, and starts nothing more."""
        worker = self._worker
        with writing(worker.engine) as session:
            wait_for_turn(session)
            now = worker.clock.now()  # not before: a worker that waited, or was frozen, would judge by a past time
            if not workers.show_life(session, worker.id, now, self._heartbeat.problem):
                self._signals.no_starts.set()
                return None, now
            if in_doubt:
                give_back_unbegun(session, worker.id, self._pool.begun, now)
            turn = take_turn(
                session,
                catalog,
                worker_id=worker.id,
                database_url=worker.url,
                now=now,
                problem=self._heartbeat.problem_in_words(),
            )
        return turn, now

    def _hand_out(self, orders: list[StartOrder], catalog: Catalog) -> None:
        """Begin each run that the turn claimed. Raises what a process raised that could not be begun."""
        self._lead_exporters(orders, catalog)
        for order in orders:
            if self._signals.no_starts.is_set():
                self._give_back()
                break
            self._begin(order, catalog)

    def _lead_exporters(self, orders: list[StartOrder], catalog: Catalog) -> None:
        """Before an exporter starts, its block says what the setting says: either may have been edited."""
        exporters = {one.deployment_id for one in catalog.resolved.types.values() if one.exporter}
        if not exporters.intersection(order.deployment_id for order in orders):
            return
        try:
            keep_importer_path(self._worker.engine, self._worker.prefect)
        except PrefectError as error:  # then the run's own process finds Prefect away, too
            log.warning("the importer's block could not be looked at: %s", error)

    def _begin(self, order: StartOrder, catalog: Catalog) -> None:
        if order.work_pool:
            # On a thread: Prefect may take its time, and other runs are due.
            threading.Thread(target=self._elsewhere.begin, args=(order,), daemon=True).start()
            return
        try:
            self._pool.begin(order, catalog)
        except BaseException:
            if self._signals.no_starts.is_set():
                self._give_back()
            raise

    def _give_back(self) -> None:
        """This worker is to start nothing more: what it claimed meanwhile waits again, for another."""
        with writing(self._worker.engine) as session:
            give_back_unbegun(session, self._worker.id, self._pool.begun, self._worker.clock.now())


def is_due(next_turn: datetime | None, now: datetime) -> bool:
    """Also where the clock went back: no turn is put off for longer than an idle loop waits."""
    return next_turn is None or not now < next_turn <= now + timedelta(seconds=IDLE_SECONDS)


def _close(feed: ChangeFeed | None) -> None:
    """Give up a connection that may be broken; the next look makes a new one."""
    if feed is not None:
        with contextlib.suppress(SQLAlchemyError):
            feed.close()
