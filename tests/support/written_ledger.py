"""What a test puts into an installation's database itself, and how it sees whether anything changed there.

Runs are written by the store's own steps (waiting, claimed, ended), at instants of the test's choice.
"""

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, inspect, text
from sqlmodel import select

from headway.models.ledger.database import make_engine, reading, writing
from headway.models.ledger.tables import AuditRow, RunRow, TaskRow, id_of
from headway.models.values.run import RunStatus, Trigger
from headway.scheduler.store.runs.claims import claim_run
from headway.scheduler.store.runs.run_ends import Ending, end_run
from headway.scheduler.store.runs.transitions import add_run, record_transition
from headway.scheduler.store.tasks import as_run, load_catalog

_MINUTE = timedelta(minutes=1)
_claims = itertools.count(1)


@dataclass
class Ledger:
    """One installation's database, beside the command line."""

    url: str
    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        self.engine = make_engine(self.url)

    def contents(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table, as text: two that are equal mean that nothing was written in between."""
        with self.engine.connect() as connection:
            names = sorted(inspect(connection).get_table_names())
            found = {name: connection.execute(text(f'SELECT * FROM "{name}"')).all() for name in names}
        assert {"task", "run", "audit", "setting", "window"} <= set(found)
        return {name: sorted(tuple(map(str, row)) for row in rows) for name, rows in found.items()}

    def audit(self) -> list[AuditRow]:
        with reading(self.engine) as session:
            return list(session.exec(select(AuditRow).order_by(AuditRow.id)).all())  # type: ignore[arg-type]

    def runs(self, name: str) -> list[RunRow]:
        """The task's runs, oldest first."""
        with reading(self.engine) as session:
            found = select(RunRow).join(TaskRow).where(TaskRow.name == name).order_by(RunRow.id)  # type: ignore[arg-type]
            return list(session.exec(found).all())

    def waiting(self, name: str, due_at: datetime, trigger: Trigger = Trigger.SCHEDULE) -> int:
        """A run that waits; its ID."""
        with writing(self.engine) as session:
            catalog = load_catalog(session)
            row = session.exec(select(TaskRow).where(TaskRow.name == name)).one()
            run = add_run(
                session, catalog.tasks[id_of(row)], row, due_at=due_at, trigger=trigger, now=due_at, who="test"
            )
            assert run is not None and run.id is not None
            return run.id

    def running(self, name: str, started_at: datetime) -> int:
        """A run in progress, of a process that nobody can find; its ID."""
        run_id = self.waiting(name, started_at)
        with writing(self.engine) as session:
            catalog = load_catalog(session)
            row = session.get(RunRow, run_id)
            assert row is not None
            claim = f"claim-{next(_claims)}"
            claimed = claim_run(
                session,
                as_run(row, catalog.tasks[row.task_uid]),
                claim=claim,
                worker_id="worker-of-the-test",
                max_running=1000,
                now=started_at,
                parameters={},
                sequence=1,
                object_name=row.object,
                work_pool="",
            )
            moved = record_transition(
                session, run_id, [RunStatus.STARTING], RunStatus.RUNNING, now=started_at, who="run", under_claim=claim
            )
            assert claimed and moved
        return run_id

    def ended(
        self,
        name: str,
        started_at: datetime,
        length: timedelta = _MINUTE,
        status: RunStatus = RunStatus.COMPLETED,
        error: str | None = None,
        **values: Any,
    ) -> int:
        """A run that has ended; its ID."""
        run_id = self.running(name, started_at)
        with writing(self.engine) as session:
            ending = Ending(status=status, message="", error=error, values=values, permanent=True)
            assert end_run(session, load_catalog(session), run_id, ending, now=started_at + length, who="run")
        return run_id


def now() -> datetime:
    return datetime.now(UTC)
