"""python -m tests.faults [PART ...]: breaks things on purpose and prints the table. `--help` lists the parts."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from headway.models.ledger.database import make_engine
from tests.faults import clock, database, kill, postgres, prefect_server
from tests.faults.many_workers import several_workers
from tests.faults.restarting_postgres import restarting_postgres
from tests.faults.stack import Stack
from tests.faults.table import DOCUMENT, Line, Unexplained, as_markdown, rows_of, written
from tests.simulation import forecast_against_life
from tests.simulation.run import live_through
from tests.simulation.scheduler import Installation
from tests.support.databases import _install, url_of
from tests.support.project import PROJECT

_MISHAPS = {
    "freeze": "freezes",
    "kill": "kills",
    "refused": "transactions refused",
    "rolled back": "transactions rolled back",
    "unheard": "commits not heard of",
    "prefect": "failed calls to Prefect",
}
SFTP_TESTS = {
    "test_cuts": "cuts before and after each protocol step, silence, lost answers, plans of up to four faults",
    "test_delivery": "what a delivery promises, also to a receiver that takes the file at once",
    "test_refusals": "full, quota, permission denied at each step",
    "test_login": "changed host key, wrong credentials",
}


SFTP_FOLDER = "tests/integration/blocks/sftp"


def main() -> int:
    options = _options()
    new: dict[str, list[str]] = {}
    held = True
    for part in options.parts:
        lines: list[Line] = []
        for line in PARTS[part](options):
            print(f"{'held' if line.holds else 'BROKEN':7} {line.fault} ({line.where}): {line.measured}", flush=True)
            lines.append(line)
        held = held and all(line.holds for line in lines)
        new[part] = rows_of(part, lines, options.note)
        if options.write:  # at once: the next part may come to no end
            _write(new)
    print("\n" + as_markdown(new, options.parts))
    return 0 if held else 1


def _write(new: dict[str, list[str]]) -> None:
    """Keep the rows in the document; it takes no broken row without a note."""
    try:
        DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8"), new, PARTS), encoding="utf-8")
    except Unexplained as bare:
        print(f"Not written. {bare}", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--seeds", type=int, default=10_000, help="simulated weeks (10000)")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--runs", type=int, default=400, help="dues while workers are killed (400)")
    parser.add_argument("--kills", type=int, default=40, help="kills of the worker (40)")
    parser.add_argument("--dues", type=int, default=10_000, help="dues of the several workers (10000)")
    parser.add_argument("--tasks", type=int, default=300, help="tasks of the forecast (300)")
    parser.add_argument("--days", type=int, default=14, help="days of the forecast (14)")
    parser.add_argument("--write", action="store_true", help="keep the rows in the table of docs/measured/faults.md")
    parser.add_argument("--note", default="", help="what a broken row says: what happened, and what mended it")
    options = parser.parse_args()
    options.parts = options.parts or list(PARTS)
    return options


def _interleavings(options: argparse.Namespace) -> Iterator[Line]:
    weeks, seconds = live_through(options.first, options.seeds, processes=os.cpu_count() or 1)
    broken = [week.seed for week in weeks if week.broken]
    struck: Counter[str] = Counter()
    for week in weeks:
        struck.update(week.mishaps)
    mishaps = ", ".join(f"{struck[what]:,} {words}" for what, words in _MISHAPS.items())
    text = (
        f"{len(weeks):,} weeks, seeds {options.first:,} to {options.first + len(weeks) - 1:,}: "
        f"{sum(w.transactions for w in weeks):,} transactions, {sum(w.starts for w in weeks):,} starts, "
        f"{sum(w.occurrences for w in weeks):,} occurrences; {mishaps}: "
        f"{f'broken: {broken}' if broken else 'none broken'}"
    )
    print(f"{len(weeks) / seconds:.2f} weeks a second")
    yield Line("Every interleaving", "SQLite, simulated", text, not broken)


def _forecast(options: argparse.Namespace) -> Iterator[Line]:
    with tempfile.TemporaryDirectory(prefix="headway-faults-") as folder:
        compared = forecast_against_life.compare(_installed(Path(folder)), tasks=options.tasks, days=options.days)
    yield forecast_against_life.line(compared, "SQLite", options.tasks)


def _clock(options: argparse.Namespace) -> Iterator[Line]:
    for night in clock.NIGHTS:
        yield clock.change_night(Installation().engine, night)
    yield clock.jumps(Installation().engine, hours=24)


def _workers(options: argparse.Namespace) -> Iterator[Line]:
    for count in (2, 4, 8):
        with tempfile.TemporaryDirectory(prefix="headway-faults-") as folder, restarting_postgres() as restarted:
            yield several_workers(restarted, Path(folder), count, options.dues)


def _killed(options: argparse.Namespace) -> Iterator[Line]:
    with _stack() as stack:
        yield kill.worker_killed(stack, options.runs, options.kills)
    with restarting_postgres() as restarted, _stack(url_of(restarted.engine)) as stack:
        yield kill.worker_killed(stack, options.runs, options.kills)


def _process(options: argparse.Namespace) -> Iterator[Line]:
    with _stack() as stack:
        stack.define(2, seconds=30.0)
        with stack.worker():
            for fault in (kill.process_killed, kill.process_frozen, kill.worker_frozen):
                yield fault(stack)
    with _stack() as stack:
        stack.define(1, "eating")
        with stack.worker():
            yield kill.process_out_of_memory(stack)


def _prefect(options: argparse.Namespace) -> Iterator[Line]:
    with _stack() as stack:
        stack.define(4, seconds=1.0)
        with stack.worker():
            for fault in (prefect_server.slow, prefect_server.answers_500, prefect_server.server_killed):
                yield fault(stack)


def _database(options: argparse.Namespace) -> Iterator[Line]:
    with _stack() as stack:
        stack.define(2, seconds=4.0)
        with stack.worker():
            yield database.locked(stack)
    with restarting_postgres() as restarted, _stack(url_of(restarted.engine)) as stack:
        stack.define(2, seconds=4.0)
        with stack.worker():
            yield database.read_only_server(stack)
    with restarting_postgres() as restarted, _stack(url_of(restarted.engine)) as stack:
        yield postgres.restarted(stack, restarted, 10)
    for work in (130, 30):
        with restarting_postgres() as restarted, _stack(url_of(restarted.engine)) as stack:
            yield postgres.away(stack, restarted, 120, work)
    with tempfile.TemporaryDirectory() as folder, database.small_disk(Path(folder)) as disk:
        if disk is None:
            engine = _installed(Path(folder))
            yield database.full(engine)
            engine.dispose()
            yield Line("Disk read-only after a power cut", "SQLite", "NOT RUN: no disk may be mounted here", True)
            return
        with _stack(f"sqlite:///{disk / 'headway.db'}") as stack:
            stack.define(2, seconds=4.0)
            with stack.worker():
                yield database.disk_full(stack, disk)
                yield database.read_only_disk(stack, disk)


def _sftp(options: argparse.Namespace) -> Iterator[Line]:
    for name, fault in SFTP_TESTS.items():
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-o",
            "addopts=",
            "-p",
            "no:warnings",
            f"{SFTP_FOLDER}/{name}.py",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT)
        told = (done.stdout.strip().splitlines() or ["nothing"])[-1]
        counts = told.strip("= ").partition(" in ")[0]
        yield Line(f"SFTP: {fault}", "asyncssh, OpenSSH", f"`blocks/sftp/{name}`: {counts}", done.returncode == 0)


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Line]]] = {
    "interleavings": _interleavings,
    "forecast": _forecast,
    "clock": _clock,
    "killed": _killed,
    "process": _process,
    "prefect": _prefect,
    "database": _database,
    "workers": _workers,
    "sftp": _sftp,
}


def _installed(folder: Path) -> Engine:
    url = f"sqlite:///{folder / 'headway.db'}"
    _install(make_engine(url))
    return make_engine(url)


@contextmanager
def _stack(url: str | None = None) -> Iterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="headway-faults-") as folder, Stack(Path(folder), url) as stack:
        yield stack


__all__ = ["PARTS", "main"]

if __name__ == "__main__":
    sys.exit(main())
