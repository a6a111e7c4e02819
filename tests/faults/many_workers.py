"""Several workers on one PostgreSQL that is restarted now and then; one is frozen, overtaken, and wakes up.

Another is frozen in the middle of a turn, with the turn's lock in its hands.

Without Prefect: each worker is a process that takes the product's turns, and writes about its runs with the product's
ledger. The clock is the machine's plus an offset that all of them share, so that two minutes pass quickly.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from headway.clock import SystemClock
from headway.models.ledger import database
from headway.models.ledger.database import make_engine, writing
from headway.privileges import OPERATOR
from headway.scheduler.engine.maintenance.lost_runs import end_lost_runs
from headway.scheduler.engine.turn import BATCH, Turn, take_turn
from headway.scheduler.execution.ledger_port import Outcome
from headway.scheduler.execution.process_identity import identify_self
from headway.scheduler.planning.definitions.document import Definitions, ScheduleSection, SettingsSection, TaskSection
from headway.scheduler.planning.definitions.task_types import TaskType
from headway.scheduler.store import settings, workers
from headway.scheduler.store.runs import run_writer
from headway.scheduler.store.runs.claims import give_back_unbegun
from headway.scheduler.store.settings import wait_for_turn
from headway.scheduler.store.tasks import Catalog, load_catalog, save_types
from headway.scheduler.usecases.tasks.apply import apply
from tests.faults.table import Line
from tests.support.project import PROJECT

BEAT = timedelta(seconds=5)
CLAIMED, IN_THE_MIDDLE = "freeze", "freeze-in-the-middle"
FREEZE = (CLAIMED, IN_THE_MIDDLE)
"""Files that say that the first worker freezes with runs claimed and not begun, the second in the middle of a turn."""

_OVERLAPS = """
WITH span AS (
  SELECT run.id, run.type,
         MAX(e.id) FILTER (WHERE e.after = 'starting') AS first,
         MAX(e.id) FILTER (WHERE e.after NOT IN ('waiting', 'starting', 'running')) AS last
  FROM run JOIN run_event e ON e.run_id = run.id GROUP BY run.id, run.type)
SELECT COUNT(*) FROM span a JOIN span b ON a.type = b.type AND a.id < b.id AND a.first < b.last AND b.first < a.last
"""
"""Two of a group at a time, by the order of their events: what a claim has seen end has an earlier one."""


class SharedClock:
    """The machine's clock and an offset in a file."""

    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.write_bytes(struct.pack("d", 0.0))
        with file.open("r+b") as opened:
            self._map = mmap.mmap(opened.fileno(), 8)

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=struct.unpack("d", self._map[:8])[0])

    def advance(self, seconds: float) -> None:
        self._map[:8] = struct.pack("d", struct.unpack("d", self._map[:8])[0] + seconds)


class Worker:
    """One process: turns, signs of life, and the runs' own writes, until told to stop."""

    def __init__(self, url: str, folder: Path, number: int) -> None:
        self._engine, self._url = make_engine(url), url
        self._id = f"worker-{number}"
        self._clock = SharedClock(folder / "clock")
        self._marks = os.open(folder / "marks", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._stop = folder / "stop"
        self._freeze = folder / FREEZE[number] if number < len(FREEZE) else None
        self._catalog: Catalog | None = None
        self._begun: set[str] = set()
        self._beaten_at = datetime.min.replace(tzinfo=UTC)
        self._steadiness = workers.Steadiness()
        self._pause = threading.Event()

    def live(self) -> None:
        clock = self._clock

        class Today(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
                return clock.now()

        run_writer.datetime = Today  # type: ignore[attr-defined]
        database._STANDSTILL_SECONDS = 5  # not 20: for so long nobody starts anything
        self._insist(self._hello)
        while not self._stop.exists():
            try:
                self._beat()
                if not self._turn():
                    self._pause.wait(0.1)
            except SQLAlchemyError:
                self._mark("refused", "turn")
                self._pause.wait(0.2)

    def _hello(self) -> bool:
        with writing(self._engine) as session:
            workers.say_hello(session, self._id, identify_self(), self._clock.now())
        return True

    def _beat(self) -> None:
        now = self._clock.now()
        if now - self._beaten_at > BEAT:
            with writing(self._engine) as session:
                workers.beat(session, self._id, now, None)
                counts = self._steadiness.beats(now)
                end_lost_runs(session, socket.gethostname(), now, silence_counts=counts)
            self._beaten_at = now

    def _turn(self) -> int:
        with writing(self._engine) as session:
            wait_for_turn(session)
            now = self._clock.now()
            if not workers.show_life(session, self._id, now, None):
                return 0
            give_back_unbegun(session, self._id, self._begun, now)
            self._catalog = load_catalog(session, self._catalog)
            turn = take_turn(session, self._catalog, worker_id=self._id, database_url=self._url, now=now, problem=None)
            self._stand_still(turn, IN_THE_MIDDLE)
        for order in turn.orders:
            self._begun.add(order.claim)
        self._stand_still(turn, CLAIMED)
        for order in turn.orders:
            self._run(order.run_id, order.claim)
        return len(turn.orders)

    def _stand_still(self, turn: Turn, where: str) -> None:
        if turn.orders and self._freeze is not None and self._freeze.name == where and self._freeze.exists():
            self._freeze.unlink()
            os.kill(os.getpid(), signal.SIGSTOP)

    def _run(self, run_id: int, claim: str) -> None:
        ledger = run_writer.StoredRunLedger.__new__(run_writer.StoredRunLedger)
        ledger._engine, ledger._run_id, ledger._claim = self._engine, run_id, claim
        if not self._insist(ledger.running):
            return self._mark("fenced", run_id)
        self._mark("began", run_id)
        ended = self._insist(lambda: ledger.ended(Outcome(kind="completed", processed=1)))
        return self._mark("ended" if ended else "fenced", run_id)

    def _insist(self, write: Any) -> bool:
        """As a run's process does: again, while the database is away. A repeated write may find itself done."""
        while True:
            try:
                return bool(write())
            except SQLAlchemyError:
                self._mark("refused", "write")
                self._pause.wait(0.2)

    def _mark(self, what: str, about: object) -> None:
        os.write(self._marks, f"{what} {about} {self._id}\n".encode())


def install(engine: Engine, tasks: int) -> None:
    """So many tasks in half as many groups, `catch_up: all`, as many running at a time."""
    kinds = max(2, tasks // 2)
    types = [
        TaskType(name=f"kind{n}", group=f"kind{n}", entrypoint="f.x.e", deployment_id=f"d{n}") for n in range(kinds)
    ]
    sections = [
        TaskSection(name=f"task {n}", type=f"kind{n % kinds}", window="allow", catch_up="all", timezone="UTC")  # type: ignore[arg-type]
        for n in range(tasks)
    ]
    with writing(engine) as session:
        settings.install(session)
        save_types(session, types, datetime.now(UTC))
        given = Definitions(settings=SettingsSection(max_running=64), windows=None, tasks=sections)
        assert not apply(session, SystemClock(), OPERATOR, given).errors


def come_due(engine: Engine, each: int) -> None:
    hour = (datetime.now(UTC) - timedelta(hours=2)).replace(minute=0, second=0, microsecond=0)
    cron = ScheduleSection(cron=f"0-{each - 1} {hour.hour} * * *").cron
    with writing(engine) as session:
        statement = text(
            "UPDATE task SET cron = :cron, accounted_at = :hour, next_due_at = :hour, on_failure = 'continue'"
        )
        session.execute(statement, {"cron": cron, "hour": hour})
        settings.definitions_changed(session)


def several_workers(database: Any, folder: Path, count: int, dues: int, seed: int = 0) -> Line:
    """That many workers and dues; `database` offers `engine`, and `restart()`, called every 5 to 20 s."""
    chance = random.Random(f"workers {seed}")
    engine: Engine = database.engine
    tasks = 20 if dues < 1000 else 200
    each = dues // tasks
    assert each <= 60, "an hour has sixty minutes: at most 12,000 dues"
    install(engine, tasks)
    clock = SharedClock(folder / "clock")
    url = engine.url.render_as_string(hide_password=False)
    began = time.monotonic()
    command = [sys.executable, "-m", "tests.faults.many_workers", url, str(folder)]
    started = [subprocess.Popen([*command, str(number)], cwd=PROJECT) for number in range(count)]
    restarts, next_restart = 0, time.monotonic() + chance.uniform(5, 20)
    passed, woken = 0.0, False
    freeze, in_the_middle = (folder / name for name in FREEZE)
    done = 0
    stood_still_at: int | None = None  # so many runs had ended
    passed_by = False
    try:
        while _count(engine, "SELECT COUNT(*) FROM worker") < count:
            assert time.monotonic() - began < 120, "the workers did not say hello"
            threading.Event().wait(0.05)
        in_the_middle.touch()
        come_due(engine, each)
        ended = "SELECT COUNT(*) FROM run WHERE ended_at IS NOT NULL"
        while (done := max(done, _count(engine, ended))) < tasks * each:
            time_left = 1800 - (time.monotonic() - began)
            assert time_left > 0, f"{done} of {tasks * each} runs after half an hour"
            if stood_still_at is None and not in_the_middle.exists():
                stood_still_at = done
            if not passed_by and stood_still_at is not None and done > stood_still_at + BATCH * count:
                started[1].send_signal(signal.SIGCONT)  # turns were taken without it
                passed_by = True
                freeze.touch()
            if passed_by and not woken and not freeze.exists():
                clock.advance(2.0)
                passed += 2.0
                if passed >= 120:
                    started[0].send_signal(signal.SIGCONT)
                    woken = True
            if time.monotonic() > next_restart or (not restarts and done > tasks * each / 2):
                database.restart()
                restarts, next_restart = restarts + 1, time.monotonic() + chance.uniform(5, 20)
            threading.Event().wait(0.25)
    finally:
        (folder / "stop").touch()
        for one in started:
            one.send_signal(signal.SIGCONT)
        for one in started:
            one.wait(60)
    line = _line(engine, folder, count, tasks * each, restarts, time.monotonic() - began)
    return replace(line, holds=line.holds and passed_by)


def _count(engine: Engine, statement: str) -> int:
    try:
        with engine.connect() as connection:
            return int(connection.execute(text(statement)).scalar_one())
    except SQLAlchemyError:
        return 0


def _line(engine: Engine, folder: Path, count: int, dues: int, restarts: int, seconds: float) -> Line:
    marks = [line.split() for line in (folder / "marks").read_text().splitlines()]
    began = Counter(mark[1] for mark in marks if mark[0] == "began")
    fenced = sum(mark[0] == "fenced" for mark in marks)
    refused = sum(mark[0] == "refused" for mark in marks)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT COUNT(*), COUNT(DISTINCT (task_uid, due_at)) FROM run")).one()
        locks = connection.execute(text("SELECT COUNT(*) FROM lock")).scalar_one()
        statuses = dict(connection.execute(text("SELECT status, COUNT(*) FROM run GROUP BY status")).all())  # type: ignore[arg-type]
        overlaps = connection.execute(text(_OVERLAPS)).scalar_one()
    twice = sum(1 for times in began.values() if times > 1)
    right = rows == (dues, dues) and not twice and not locks and not overlaps and restarts and fenced
    told = (
        f"{dues} dues: {rows[0]} rows, {json.dumps(statuses)}, {twice} began twice, {overlaps} overlaps in a group, "
        f"{locks} locks left; {restarts} restarts ({refused} calls refused); "
        f"{fenced} writes of overtaken runs refused; {dues / seconds:.0f} runs a second"
    )
    return Line(
        f"{count} workers, one frozen in a turn, one for two minutes, PostgreSQL restarted",
        "PostgreSQL",
        told,
        bool(right),
    )


if __name__ == "__main__":
    Worker(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])).live()
