"""The forecast beside CronSim: what planning costs on top of merely knowing when everything comes due.

    python -m benchmarks.forecast [--tasks 10000] [--days 7]

Each world is forecast over the days; the peer is CronSim itself, iterated over the same expressions and days
without rules, windows or holds. The ratio is the forecast's time by CronSim's; the target is 2 at most. The second
table shows that the time for an occurrence does not grow with the number of tasks, nor with the number of runs
that wait for one group.
"""

from __future__ import annotations

import argparse
import gc
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median
from time import process_time
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim

from benchmarks.table import Row, show
from headway.models.values.instant import LEAVES_AFTER
from headway.models.values.schedule import After, Cron
from headway.models.values.task import CatchUp, Task
from headway.models.values.window import DEFAULT_WINDOWS, WindowPolicy
from headway.scheduler.planning import local_time, occurrences
from headway.scheduler.planning.chains import link
from headway.scheduler.planning.forecast.forecast import forecast
from headway.scheduler.planning.forecast.planned import Planned
from headway.scheduler.planning.windows import Calendar

TARGET = 2.0
START = datetime(2026, 11, 23, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@dataclass
class World:
    name: str
    tasks: dict[int, Task]
    max_running: int


def distinct_groups(count: int) -> World:
    """Every task its own group: nothing but windows holds a run."""
    tasks = [_task(uid, f"group {uid}", _daily(uid), 5 * MINUTE) for uid in range(1, count + 1)]
    return World("distinct groups", link(tasks), 1_000)


def overloaded(count: int) -> World:
    """Nine groups, four at a time, far more work than fits: thousands of runs wait for one another."""
    tasks = [_task(uid, f"group {uid % 9}", _daily(uid), 5 * MINUTE) for uid in range(1, count + 1)]
    return World("9 groups, 4 at a time", link(tasks), 4)


def mixed(count: int) -> World:
    """All policies and estimates, hourly tasks among daily ones, a chain step for every tenth task."""
    dice = random.Random(1)
    lengths = [None, MINUTE, 5 * MINUTE, 20 * MINUTE, 90 * MINUTE, 1500 * MINUTE]
    tasks = []
    for uid in range(1, count + 1):
        task = _task(uid, f"group {dice.randrange(max(9, count // 10))}", _daily(uid), dice.choice(lengths))
        policy = dice.choices(list(WindowPolicy), [8, 1, 1])[0]
        schedule = Cron(f"{dice.randrange(60)} */4 * * *") if dice.random() < 0.1 else task.schedule
        if uid % 10 == 0:
            schedule = After(uid - 1, 60 * MINUTE)
        changes = {"window": policy, "schedule": schedule, "catch_up": dice.choice(list(CatchUp))}
        tasks.append(_changed(task, changes))
    return World("mixed, some chains", link(tasks), max(4, count // 50))


def one_group(count: int) -> World:
    """Everything in one group, due within the same hour and keeping every occurrence: the queue is the whole day."""
    length = timedelta(hours=20) / count
    tasks = []
    for uid in range(1, count + 1):
        task = _task(uid, "reports", f"{uid % 60} 6 * * *", length)
        tasks.append(_changed(task, {"catch_up": CatchUp.ALL}))
    return World("one group", link(tasks), 4)


def hopeless(count: int) -> World:
    """One group that could never do a tenth of it: nearly every run waits its 192 hours and leaves."""
    tasks = [_task(uid, "reports", _daily(uid), 15 * MINUTE) for uid in range(1, count + 1)]
    tasks = [_changed(task, {"catch_up": CatchUp.ALL}) for task in tasks]
    return World("one group, hopeless", link(tasks), 4)


def _task(uid: int, group: str, expression: str, estimate: timedelta | None) -> Task:
    return Task(uid=uid, name=f"task {uid}", type="sleep", group=group, schedule=Cron(expression), estimate=estimate)


def _changed(task: Task, changes: Mapping[str, object]) -> Task:
    return replace(task, **changes)  # type: ignore[arg-type]


def _daily(uid: int) -> str:
    return f"{uid * 7 % 60} {uid * 5 % 24} * * *"


def by_cronsim(tasks: Sequence[Task], end: datetime) -> int:
    """The peer: how many occurrences CronSim yields from the start to the end."""
    count = 0
    for task in tasks:
        if not isinstance(task.schedule, Cron):
            continue
        where = ZoneInfo(task.timezone)
        for moment in CronSim(task.schedule.expression, (START - MINUTE).astimezone(where)):
            if moment >= end:
                break
            count += 1
    return count


def cold_forecast(world: World, end: datetime) -> list[Planned]:
    """A forecast as a new process makes it: with empty caches."""
    for remembered in (
        local_time.plain_midnight,
        occurrences._plain_midnight,
        occurrences._parsed,
        occurrences._clock_times,
        occurrences._matches_day,
    ):
        remembered.cache_clear()
    return forecast(world.tasks, Calendar(DEFAULT_WINDOWS), world.max_running, START, end)


def timed(what: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of CPU time (others may share the machine), and the result."""
    gc.collect()
    began = process_time()
    result = what()
    return process_time() - began, result


def most_waiting(runs: Sequence[Planned]) -> int:
    """How many runs waited at the busiest instant."""
    changes = []
    newer: dict[int, datetime] = {}
    for run in sorted(runs, key=lambda run: run.due_at, reverse=True):  # what supersedes a run is the next one due
        left_at = run.started_at or (newer[run.task.uid] if run.outcome == "superseded" else None)
        changes += [(run.due_at, 1), (left_at or run.due_at + LEAVES_AFTER, -1)]
        newer[run.task.uid] = run.due_at
    waiting = most = 0
    for _, change in sorted(changes):
        waiting += change
        most = max(most, waiting)
    return most


def compare(world: World, end: datetime, rounds: int) -> float:
    """Print one row; the ratio. Both sides alternate, and the median of the rounds' ratios counts."""
    ratios, ours, peers = [], [], []
    for _ in range(rounds):
        peer, count = timed(partial(by_cronsim, list(world.tasks.values()), end))
        seconds, runs = timed(partial(cold_forecast, world, end))
        ratios.append(seconds / peer)
        ours.append(seconds)
        peers.append(peer)
    ratio = median(ratios)
    rows = f"{world.name:22} {len(world.tasks):7} {count:11} {len(runs):9} {most_waiting(runs):8}"
    print(f"{rows} {median(ours):10.2f} {median(peers):9.2f} {ratio:6.2f}", flush=True)
    return ratio


def show_growth(make: Callable[[int], World], count: int, end: datetime, rounds: int) -> None:
    """Print the time for a run at a quarter, half and all of the tasks."""
    for part in (4, 2, 1):
        world = make(count // part)
        results = [timed(partial(cold_forecast, world, end)) for _ in range(rounds)]
        seconds, runs = min(results, key=lambda pair: pair[0])
        rows = f"{world.name:22} {len(world.tasks):7} {len(runs):9} {most_waiting(runs):8}"
        print(f"{rows} {seconds:10.2f} {seconds / len(runs) * 1e6:12.1f}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=10_000, help="tasks in each world (10000)")
    parser.add_argument("--days", type=int, default=7, help="days to look ahead (7)")
    parser.add_argument("--repeat", type=int, default=3, help="measured rounds (3)")
    options = parser.parse_args()
    end = START + timedelta(days=options.days)
    print("world                    tasks occurrences      rows  waiting forecast s cronsim s  ratio")
    worlds = (distinct_groups, overloaded, mixed, one_group, hopeless)
    ratios = [compare(make(options.tasks), end, options.repeat) for make in worlds]
    print("\nworld                    tasks      rows  waiting forecast s us for a row")
    for make in (distinct_groups, overloaded, mixed, one_group, hopeless):
        show_growth(make, options.tasks, end, options.repeat)
    worst = max(ratios)
    what = f"forecast of {options.tasks:,} tasks, {options.days} days, the worst of {len(worlds)} worlds"
    peer = "CronSim's bare occurrences"
    return show([Row(what, "", peer, f"{worst:.2f} times", f"{TARGET:g} times at most", worst <= TARGET)])


if __name__ == "__main__":
    raise SystemExit(main())
