"""A scheduler without its processes: an installation, a clock to move, turns to take, runs to end by hand."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import AuditRow, LockRow, RunEventRow, RunRow, TaskRow
from headway.models.values.actor import Actor
from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR
from headway.scheduler.engine.turn import Turn, take_turn
from headway.scheduler.execution.process_identity import ProcessIdentity, identify, identify_self
from headway.scheduler.execution.warm_server import StartOrder
from headway.scheduler.planning.definitions.document import load_text
from headway.scheduler.store import workers
from headway.scheduler.store.runs.run_ends import Ending, end_run
from headway.scheduler.store.tasks import load_catalog, load_chain_catalog
from headway.scheduler.usecases.runs.run_now import Asked, run_now
from headway.scheduler.usecases.tasks.apply import Applied, apply
from tests.support.clock import FixedClock
from tests.support.databases import url_of

IMPORTER = "settings: {customer_importer_file_path: '\\\\flexftp\\acme\\import', min_spacing: '00:00:00'}\n"


@dataclass
class Desk:
    """What a test does in a line. Instants are the clock's unless said otherwise."""

    engine: Engine
    clock: FixedClock
    orders: dict[str, StartOrder] = field(default_factory=dict)

    def define(self, text: str, actor: Actor = OPERATOR, **options: Any) -> Applied:
        """Apply YAML; its errors are the test's."""
        with writing(self.engine) as session:
            applied = apply(session, self.clock, actor, load_text(text, "test"), **options)
        assert not applied.errors, applied.errors
        return applied

    def tasks(self, *lines: str, settings: str = "", windows: str = "[]") -> None:
        """Define tasks, each a YAML flow mapping's inside; without maintenance windows unless given."""
        made = "".join(f"  - {{{line}}}\n" for line in lines)
        self.define(f"{IMPORTER[:-2]}{', ' + settings if settings else ''}}}\nwindows: {windows}\ntasks:\n{made}")

    def turn(self, at: str | None = None, worker_id: str = "worker-1", problem: str | None = None) -> list[str]:
        """Take a turn; the names of the tasks whose runs it claimed, in order."""
        if at is not None:
            self.clock.set(at)
        turn = self.whole_turn(worker_id, problem)
        names = [order.name.rpartition(" ")[0] for order in turn.orders]
        self.orders.update(zip(names, turn.orders, strict=True))
        return names

    def whole_turn(self, worker_id: str = "worker-1", problem: str | None = None) -> Turn:
        with writing(self.engine) as session:
            return take_turn(
                session,
                load_catalog(session),
                worker_id=worker_id,
                database_url=url_of(self.engine),
                now=self.clock.now(),
                problem=problem,
            )

    def run_now(self, name: str, actor: Actor = OPERATOR, **options: Any) -> Asked:
        with writing(self.engine) as session:
            return run_now(session, self.clock, actor, task_named(session, name), **options)

    def end(self, name: str, status: RunStatus = RunStatus.COMPLETED, **facts: Any) -> bool:
        """End the task's active run as its process would: running, then so."""
        order = self.orders[name]
        with writing(self.engine) as session:
            row = session.get(RunRow, order.run_id)
            assert row is not None
            if row.status is RunStatus.STARTING:
                row.status = RunStatus.RUNNING
                session.add(row)
                session.flush()
            catalog = load_chain_catalog(session, row.task_uid)
            ending = Ending(status=status, **facts)
            return end_run(session, catalog, order.run_id, ending, now=self.clock.now(), who="run", claim=order.claim)

    def worker_lives(self, worker_id: str = "worker-1") -> None:
        """A worker says hello, so that the rule `engine` is content."""
        with writing(self.engine) as session:
            workers.say_hello(session, worker_id, identify_self(), self.clock.now())

    # What is stored

    def task(self, name: str) -> TaskRow:
        with reading(self.engine) as session:
            return task_named(session, name)

    def runs(self, name: str | None = None) -> list[RunRow]:
        """The task's ledger rows, in the order of their due."""
        with reading(self.engine) as session:
            statement = select(RunRow).order_by(col(RunRow.due_at), col(RunRow.id))
            if name is not None:
                statement = statement.where(RunRow.task_uid == task_named(session, name).uid)
            return list(session.exec(statement).all())

    def run(self, name: str) -> RunRow:
        """The task's only run."""
        (only,) = self.runs(name)
        return only

    def seen(self, name: str) -> list[tuple[str, str]]:
        """The task's rows as (due `HH:MM` UTC, status)."""
        return [(f"{row.due_at:%H:%M}", row.status.value) for row in self.runs(name)]

    def locks(self) -> set[str]:
        with reading(self.engine) as session:
            return set(session.exec(select(LockRow.name)).all())

    def events(self, run_id: int | None) -> list[RunEventRow]:
        with reading(self.engine) as session:
            return list(
                session.exec(select(RunEventRow).where(RunEventRow.run_id == run_id).order_by(col(RunEventRow.id)))
            )

    def audit(self, action: str | None = None) -> list[AuditRow]:
        with reading(self.engine) as session:
            statement = select(AuditRow).order_by(col(AuditRow.id))
            return list(session.exec(statement if action is None else statement.where(AuditRow.action == action)))

    def change(self, row: Any, **values: Any) -> None:
        """Write values into a row, behind everybody's back."""
        with writing(self.engine) as session:
            current = session.get(type(row), getattr(row, "id", None) or getattr(row, "uid", None))
            for key, value in values.items():
                setattr(current, key, value)
            session.add(current)


def task_named(session: Session, name: str) -> TaskRow:
    return session.exec(select(TaskRow).where(TaskRow.name == name)).one()


def hours_and_minutes(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%H:%M}"


@pytest.fixture
def desk(database: Engine) -> Desk:
    """On both databases."""
    return Desk(database, FixedClock())


@pytest.fixture
def quick_desk(sqlite: Engine) -> Desk:
    """On SQLite only, for what does not touch the databases' differences."""
    return Desk(sqlite, FixedClock())


@pytest.fixture
def process() -> Iterator[ProcessIdentity]:
    """A real process in a group of its own."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    identity = identify(child.pid)
    assert identity is not None
    yield identity
    child.kill()
    child.communicate()
