"""A simulated world's only clock and only thread: whose step is next, and what goes wrong at it.

Everybody in it is a greenlet that runs the product's own code. At each boundary to the outside (a transaction begins
or commits, Prefect is called, a process is started or signalled, somebody waits) the hub may let others go first, and
may end, freeze or disappoint whoever is there. All chances come from one seed, so that a week can be lived again.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

from greenlet import getcurrent, greenlet
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

from headway.models.ledger import database
from headway.models.ledger.database import make_engine, migrate, sqlite_module, writing
from headway.scheduler.store import settings
from headway.scheduler.store.tasks import save_types
from tests.support.databases import TYPES

SECOND = timedelta(seconds=1)
LONGEST_LOCK = timedelta(seconds=30)
"""So long does SQLite wait for the lock before it gives up: no transaction begins later than that."""


class Killed(BaseException):
    """kill -9: nothing of this actor's runs on. Raised only where no transaction is open."""


class Owner:
    """Whoever is ended or frozen as one: a worker, a run's process, a person."""

    frozen_until = datetime.min.replace(tzinfo=UTC)
    dying = False
    alive = True
    host = "alpha"

    def died(self) -> None:
        """What follows for others."""


@dataclass(eq=False)
class Actor:
    """One thread of control of an owner."""

    owner: Owner
    name: str
    wake_at: datetime
    heedful: bool = False  # wakes when anything was committed
    thread: greenlet = field(default_factory=greenlet)


@dataclass
class Weather:
    """How likely each mishap is, at each boundary."""

    kill: float = 0.0
    freeze: float = 0.0
    refused: float = 0.0  # the database refuses the transaction
    unheard: float = 0.0  # it commits, and the answer is lost
    late: float = 0.02  # somebody takes his time
    prefect: float = 0.0  # a call to Prefect fails


class Hub:
    """The clock, the database in memory, and the actors. `run` lives until an instant."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.chance = random.Random(0)
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.weather = Weather()
        self.actors: list[Actor] = []
        self.commits = 0
        self.transactions = 0
        self.mishaps: dict[str, int] = {}
        self.log: list[str] = []
        self.passed: Callable[[datetime, datetime], None] = lambda before, after: None
        self.looked: Callable[[], bool] = lambda: True
        self._main = getcurrent()
        self._open = False
        _listen(self)

    def begin(self, seed: int, now: datetime, weather: Weather) -> None:
        """A new life: nobody there yet."""
        self.chance, self.now, self.weather = random.Random(seed), now, weather
        self.actors, self.mishaps, self.log = [], {}, []
        self.commits = self.transactions = 0
        self._open = False

    def say(self, text: str) -> None:
        self.log.append(f"{self.now:%a %d %H:%M:%S} {text}")

    # Actors

    def enter(self, owner: Owner, name: str, life: Callable[[], None], after: timedelta = timedelta()) -> Actor:
        actor = Actor(owner, name, self.now + after)

        def live() -> None:
            try:
                life()
            except Killed:
                pass

        actor.thread = greenlet(live, parent=self._main)
        self.actors.append(actor)
        return actor

    def me_or_none(self) -> Actor | None:
        current = getcurrent()
        return next((actor for actor in self.actors if actor.thread is current), None)

    def me(self) -> Actor:
        found = self.me_or_none()
        assert found is not None, "this happens outside of every actor"
        return found

    def kill(self, owner: Owner) -> None:
        """Everything of the owner's stops where it is; from inside or outside."""
        if not owner.alive:
            return
        owner.dying, owner.alive = True, False
        self.say(f"{owner} is killed")
        owner.died()

    def _bury(self) -> None:
        for actor in [one for one in self.actors if one.owner.dying]:
            if actor.thread is not getcurrent():
                if actor.thread:
                    actor.thread.throw(Killed)
                if actor in self.actors:
                    self.actors.remove(actor)

    def run(self, until: datetime) -> None:
        """Let everybody live until then."""
        while True:
            ready = [one for one in self.actors if self._when(one) <= self.now]
            if not ready:
                following = min((self._when(one) for one in self.actors), default=until)
                if following >= until:
                    self.passed(self.now, until)
                    self.now = until
                    return
                self.passed(self.now, following)
                self.now = following
                continue
            actor = self.chance.choice(ready)
            commits = self.commits
            actor.thread.switch()
            if actor.thread.dead and actor in self.actors:
                self.actors.remove(actor)
            self._bury()
            if self.commits != commits and self.looked():
                for one in self.actors:
                    if one.heedful and one is not actor:
                        one.wake_at = min(one.wake_at, self.now + timedelta(seconds=0.05))

    def _when(self, actor: Actor) -> datetime:
        return max(actor.wake_at, actor.owner.frozen_until)

    # Boundaries

    def pause(self, length: timedelta = timedelta(), heedful: bool = False) -> None:
        """The current actor waits; others go on."""
        actor = self.me()
        assert not self._open, "somebody waits with a transaction open"
        actor.wake_at, actor.heedful = self.now + length, heedful
        self._main.switch()
        actor.heedful = False
        if actor.owner.dying:
            raise Killed

    def boundary(self) -> None:
        """Something outside is about to be touched: others may be first, and the owner may be struck."""
        if getcurrent() is self._main:
            return
        owner = self.me().owner
        self._strike(owner)
        late = self.chance.random() < self.weather.late
        self.pause(self.chance.random() * (20 if self.chance.random() < 0.1 else 1) * SECOND if late else timedelta())

    def _strike(self, owner: Owner) -> None:
        if self._happens("kill", self.weather.kill):
            self.kill(owner)
            raise Killed
        if self._happens("freeze", self.weather.freeze):
            length = self.chance.choice([5, 40, 70, 130, 400]) * SECOND
            owner.frozen_until = self.now + length
            self.say(f"{owner} is frozen for {length}")
            self.pause(length)

    def _happens(self, what: str, likely: float) -> bool:
        if not likely or self.chance.random() >= likely:
            return False
        self.mishaps[what] = self.mishaps.get(what, 0) + 1
        return True

    def prefect_fails(self) -> bool:
        return self._happens("prefect", self.weather.prefect)

    # The database

    def transaction_begins(self) -> None:
        self.boundary()
        self.transactions += 1
        if getcurrent() is not self._main and self._happens("refused", self.weather.refused):
            raise OperationalError("BEGIN", {}, _driver_error("database is locked"))
        self._open = True

    def transaction_commits(self, commit: Callable[[], None]) -> None:
        inside = getcurrent() is not self._main
        owner = self.me().owner if inside else None
        if owner is not None and self._happens("rolled back", self.weather.refused):
            self._maybe_fatal(owner)
            raise _driver_error("disk I/O error")
        commit()
        self._open = False
        self.commits += 1
        if owner is not None and self._happens("unheard", self.weather.unheard):
            self._maybe_fatal(owner)
            raise _driver_error("server closed the connection unexpectedly")

    def transaction_ends(self) -> None:
        self._open = False

    def _maybe_fatal(self, owner: Owner) -> None:
        """Half of the time it is its own death that an actor does not live to see; it dies at its next boundary."""
        if self.chance.random() < 0.5:
            self._happens("kill", 1.0)
            self.kill(owner)


def _driver_error(text: str) -> Exception:
    return sqlite_module().OperationalError(text)  # type: ignore[no-any-return]


def _listen(hub: Hub) -> None:
    """The hub hears of each transaction of its engine."""
    engine, dialect = hub.engine, hub.engine.dialect
    event.remove(engine, "begin", database._on_begin)  # ours has to be first: nobody waits with a transaction open
    event.listen(engine, "begin", lambda connection: hub.transaction_begins())
    event.listen(engine, "begin", database._on_begin)
    do_commit, do_rollback = dialect.do_commit, dialect.do_rollback

    def roll_back(connection: Any) -> None:
        do_rollback(connection)
        hub.transaction_ends()

    dialect.do_rollback = roll_back  # type: ignore[method-assign]
    dialect.do_commit = lambda connection: hub.transaction_commits(lambda: do_commit(connection))  # type: ignore[method-assign]


class Installation:
    """A database in memory that can be made anew in no time."""

    def __init__(self) -> None:
        # One connection below, but a life of its own for each that is checked out.
        with mock.patch.object(database, "create_engine", functools.partial(create_engine, poolclass=StaticPool)):
            self.engine = make_engine("sqlite:///:memory:")
        migrate(self.engine)
        with writing(self.engine) as session:
            settings.install(session)
            save_types(session, TYPES, datetime(2026, 1, 1, tzinfo=UTC))
        self._fresh = sqlite_module().connect(":memory:")
        self.driver().backup(self._fresh)

    def driver(self) -> Any:
        """The one connection, below SQLAlchemy; only outside of transactions."""
        raw = self.engine.raw_connection()
        driver = raw.driver_connection
        raw.close()
        return driver

    def make_anew(self) -> None:
        self._fresh.backup(self.driver())
