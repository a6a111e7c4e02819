"""Every interleaving: a simulated week of workers, processes, people and mishaps, from one number."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from multiprocessing import get_context

from headway.models.ledger.database import writing
from tests.simulation.actors import Person, Stage, simulated_machine
from tests.simulation.invariants import Referee, Violation
from tests.simulation.scheduler import Hub, Installation, Killed, Owner, Weather
from tests.simulation.worlds import allowing, small_world, store

WEEK = timedelta(days=7)
AFTERWARDS = timedelta(days=2)
HOUR = timedelta(hours=1)
_CALM = Weather()


@dataclass
class Lived:
    """One week: what it was made of, and what broke."""

    seed: int
    transactions: int = 0
    occurrences: int = 0
    starts: int = 0
    mishaps: dict[str, int] = field(default_factory=dict)
    broken: str | None = None
    log: list[str] = field(default_factory=list)


class Theatre:
    """Lives one week after the other in one database in memory."""

    def __init__(self) -> None:
        self._installation = Installation()
        self._hub = Hub(self._installation.engine)

    def live(self, seed: int) -> Lived:
        """The week of that number; never raises for what it finds."""
        self._installation.make_anew()
        world = allowing(small_world(seed))
        hub = self._hub
        hub.begin(seed, world.start, _CALM)
        with writing(hub.engine) as session:
            store(session, world)
        lived = Lived(seed)
        referee = Referee(hub, world, self._installation.driver())
        stage = Stage(hub, world, referee)
        hub.passed, hub.looked = stage.time_passed, referee.look
        with simulated_machine(stage):
            try:
                _play(hub, stage, world.start + WEEK)
                lived.occurrences = _bow(hub, stage, referee)
            except Violation as broken:
                lived.broken = str(broken)
            except Exception:
                lived.broken = traceback.format_exc()
            finally:
                for actor in hub.actors:
                    actor.owner.dying = True
                hub._bury()
        lived.transactions, lived.mishaps, lived.log = hub.transactions, hub.mishaps, hub.log
        lived.starts = referee.counts.starts
        return lived


class _Fate(Owner):
    """Starts workers anew, takes Prefect away, lets the weather change."""

    def __init__(self, stage: Stage, workers: int) -> None:
        self.stage, self.workers = stage, workers

    def watch(self) -> None:
        """After a worker's death another takes its place: soon, or only after a day."""
        hub, chance = self.stage.hub, self.stage.hub.chance
        while True:
            hub.pause(chance.choice([0.02, 0.5, 2, 2, 20]) * HOUR * chance.random())
            if sum(one.alive for one in self.stage.workers) < self.workers:
                self.stage.worker(chance.choice(["alpha", "alpha", "beta"]))

    def prefect(self) -> None:
        hub, chance = self.stage.hub, self.stage.hub.chance
        while True:
            hub.pause(30 * HOUR * chance.random())
            self._set(True)
            hub.pause(chance.choice([0.01, 0.5, 5]) * HOUR * chance.random())
            self._set(False)

    def _set(self, away: bool) -> None:
        self.stage.prefect.away = away
        self.stage.trouble()

    def strike(self) -> None:
        """kill -9 and SIGSTOP at instants of their own, not only at boundaries."""
        hub, chance = self.stage.hub, self.stage.hub.chance
        while True:
            hub.pause(20 * HOUR * chance.random())
            living = [one for one in [*self.stage.workers, *self.stage.processes.values()] if one.alive]
            if not living:
                continue
            victim = chance.choice(living)
            if chance.random() < 0.5:
                hub.kill(victim)
                self.stage.trouble()
            else:
                victim.frozen_until = hub.now + timedelta(seconds=chance.choice([5, 70, 130, 600]))
                hub.say(f"{victim} is frozen until {victim.frozen_until:%H:%M:%S}")
                self.stage.trouble()


def _play(hub: Hub, stage: Stage, until: object) -> None:
    chance = hub.chance
    hub.weather = chance.choice(
        [
            Weather(late=0.05),
            Weather(kill=0.003, freeze=0.003, refused=0.003, unheard=0.003, prefect=0.005),
            Weather(kill=0.01, unheard=0.01),
            Weather(freeze=0.02, late=0.2),
            Weather(kill=0.02, freeze=0.01, refused=0.01, unheard=0.02, prefect=0.02, late=0.1),
        ]
    )
    count = chance.choice([1, 2, 2, 3])
    for _ in range(count):
        stage.worker(chance.choice(["alpha", "alpha", "beta"]))
    fate = _Fate(stage, count)
    for name, life in (("watch", fate.watch), ("prefect", fate.prefect), ("strike", fate.strike)):
        hub.enter(_Untouchable.of(fate), name, life)
    Person(stage, chance.choice([3, 8, 30]) * HOUR)
    hub.run(until)  # type: ignore[arg-type]


class _Untouchable(Owner):
    """Fate itself is not struck: its pauses are no boundaries."""

    @staticmethod
    def of(fate: _Fate) -> Owner:
        return fate


def _bow(hub: Hub, stage: Stage, referee: Referee) -> int:
    """The weather clears, people go, workers of both hosts see to what is left; then everything is counted."""
    hub.weather = Weather(late=0.0)
    for actor in hub.actors:
        if actor.name in ("person", "watch", "prefect", "strike"):
            actor.owner.dying = True
    hub._bury()
    stage.prefect.away = False
    for owner in [*stage.workers, *stage.processes.values()]:
        owner.frozen_until = hub.now
    stage.worker("alpha")
    stage.worker("beta")
    for _ in range(4):
        stage.trouble()
        hub.run(hub.now + AFTERWARDS / 4)
    for actor in hub.actors:
        if actor.name == "turns":  # workers may have slept for hours; what came due up to now has to have its row
            actor.wake_at = hub.now
    until = hub.now
    hub.run(until + timedelta(seconds=1))
    referee.look()
    referee.settled(stage.processes)
    return referee.count_occurrences(until)


def live_through(first: int, count: int, processes: int = 1) -> tuple[list[Lived], float]:
    """That many weeks; and seconds taken. Broken ones are told at once."""
    began = time.monotonic()
    seeds = range(first, first + count)
    if processes == 1:
        weeks = _told(map(_live, seeds), began)
    else:
        pool = get_context("spawn").Pool(processes)
        weeks = _told(pool.imap(_live, seeds, chunksize=5), began)
        pool.close()  # a pool that is terminated at its end may never come to it
        pool.join()
    return weeks, time.monotonic() - began


def _told(lived: Iterable[Lived], began: float) -> list[Lived]:
    weeks = []
    for number, week in enumerate(lived, 1):
        weeks.append(week)
        if week.broken:
            print(f"seed {week.seed}: {week.broken}", flush=True)
        if number % 500 == 0:
            rate = number / (time.monotonic() - began)
            broken = sum(bool(one.broken) for one in weeks)
            print(f"{number} weeks, {rate:.2f} a second, {broken} broken", flush=True)
    return weeks


@cache
def _theatre() -> Theatre:
    return Theatre()


def _live(seed: int) -> Lived:
    week = _theatre().live(seed)
    week.log = week.log if week.broken else []
    return week


__all__ = ["Killed", "Lived", "Theatre", "live_through"]
