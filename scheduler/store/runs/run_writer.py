"""The ledger as one run's process sees it: every write carries the claim."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, update
from sqlmodel import Session, col

from headway.models.ledger.database import count_changed, make_engine, reading, writing
from headway.models.ledger.tables import RunFileRow, RunLogRow, RunRow
from headway.models.values.pickup import PickUp
from headway.models.values.run import ACTIVE, RunStatus
from headway.scheduler.execution.ledger_port import LogLine, Outcome
from headway.scheduler.execution.process_identity import ProcessIdentity
from headway.scheduler.planning.definitions.task_types import IMPORTER_BLOCK
from headway.scheduler.store.pickups import take_name
from headway.scheduler.store.runs.claims import record_not_started
from headway.scheduler.store.runs.run_ends import Ending, end_run
from headway.scheduler.store.runs.transitions import record_transition
from headway.scheduler.store.tasks import load_chain_catalog
from headway.text import storable

_KINDS = {"failed": RunStatus.FAILED, "cancelled": RunStatus.CANCELLED}


def open_run_ledger(database_url: str, run_id: int, claim: str) -> "StoredRunLedger":
    """The ledger for one claimed run, with a connection of its own made in the calling process."""
    return StoredRunLedger(database_url, run_id, claim)


class StoredRunLedger:
    """Implements `execution.ledger_port.RunLedger`. False from any call: the claim is lost, end at once."""

    def __init__(self, database_url: str, run_id: int, claim: str) -> None:
        self._engine = make_engine(database_url)
        self._run_id = run_id
        self._claim = claim

    def began(self, process: ProcessIdentity) -> bool:
        facts = {
            "process_id": process.pid,
            "process_ticks": process.started_ticks,
            "process_boot": process.boot_id,
            "process_host": process.host,
        }
        return self._set(only_without_process=True, **facts) or self._is_written(ACTIVE, **facts)

    def bind(self, flow_run_id: str) -> bool:
        return self._set(flow_run_id=flow_run_id)

    def running(self) -> bool:
        with writing(self._engine) as session:
            moved = self._pass_through_running(session)
        return moved or self._is_written([RunStatus.RUNNING])

    def log(self, lines: Sequence[LogLine]) -> bool:
        rows = [
            {
                "run_id": self._run_id,
                "at": line.at,
                "level": line.level,
                "logger": storable(line.logger),
                "message": storable(line.message),
            }
            for line in lines
        ]
        with writing(self._engine) as session:
            if not self._mine(session):
                return False
            session.execute(insert(RunLogRow), rows)
        return True

    def progress(self, percent: float | None, processed: int | None) -> bool:
        values: dict[str, Any] = {}
        if percent is not None:
            values["progress"] = percent
        if processed is not None:
            values["processed"] = processed
        return self._set(**values)

    def receipt(self, receipt: dict[str, Any]) -> bool:
        receipt = {key: storable(value) if isinstance(value, str) else value for key, value in receipt.items()}
        with writing(self._engine) as session:
            if not self._mine(session):
                return False
            now, path, consumed = (
                datetime.now(UTC),
                storable(str(receipt.get("path", ""))),
                bool(receipt.get("consumed")),
            )
            watched = receipt.get("block") == IMPORTER_BLOCK and bool(path)
            if watched:
                take_name(session, path, now)
            session.add(
                RunFileRow(
                    run_id=self._run_id,
                    at=now,
                    name=str(receipt.get("name", "")),
                    path=path,
                    bytes=_whole(receipt.get("bytes")),
                    sha256=str(receipt.get("sha256", "")),
                    receipt=receipt,
                    pickup=PickUp.CONSUMED if consumed else PickUp.LYING if watched else None,
                    pickup_at=now if consumed else None,
                )
            )
        return True

    def ended(self, outcome: Outcome) -> bool:
        status = _KINDS.get(outcome.kind)
        if status is None:
            status = RunStatus.COMPLETED_WITH_ERRORS if outcome.errors else RunStatus.COMPLETED
        values: dict[str, Any] = {"errors": outcome.errors}
        if outcome.processed is not None:
            values["processed"] = outcome.processed
        if outcome.bytes is not None:
            values["bytes"] = outcome.bytes
        if status in (RunStatus.COMPLETED, RunStatus.COMPLETED_WITH_ERRORS):
            values["progress"] = 100.0
        with writing(self._engine) as session:
            row = session.get(RunRow, self._run_id, with_for_update=True)
            if row is not None and row.cancel_asked_by and status is RunStatus.FAILED:
                status = RunStatus.CANCELLED  # what failed is its tidying up after it was told to end
            ending = Ending(
                status=status, message=outcome.message, error=outcome.error, values=values, permanent=outcome.permanent
            )
            who = (row.cancel_asked_by if row is not None and status is RunStatus.CANCELLED else None) or "run"
            if row is not None and row.status is RunStatus.STARTING and status in _ENDS_FROM_RUNNING:
                self._pass_through_running(session)
            if row is None:
                return False
            catalog = load_chain_catalog(session, row.task_uid)
            ended = end_run(session, catalog, self._run_id, ending, now=datetime.now(UTC), who=who, claim=self._claim)
        return ended or self._is_written([status])

    def not_started(self, reason: str) -> bool:
        now = datetime.now(UTC)
        with writing(self._engine) as session:
            row = session.get(RunRow, self._run_id, with_for_update=True)
            if row is None or row.claim != self._claim:
                return False
            return record_not_started(session, row, reason, now, "run")

    def close(self) -> None:
        self._engine.dispose()

    def _pass_through_running(self, session: Session) -> bool:
        """starting -> running; a flow whose Running state could not be recorded still ran before it completed."""
        now = datetime.now(UTC)
        return record_transition(
            session,
            self._run_id,
            [RunStatus.STARTING],
            RunStatus.RUNNING,
            now=now,
            who="run",
            under_claim=self._claim,
            running_at=now,
        )

    def _is_written(self, statuses: Collection[RunStatus], **facts: Any) -> bool:
        """Whether the write was done before: its answer was lost, and this is the repetition."""
        with reading(self._engine) as session:
            row = session.get(RunRow, self._run_id)
        if row is None or row.claim != self._claim or row.status not in statuses:
            return False
        return all(getattr(row, name) == value for name, value in facts.items())

    def _mine(self, session: Session) -> bool:
        row = session.get(RunRow, self._run_id, with_for_update=True)  # so that it stays ours until the commit
        return row is not None and row.claim == self._claim and row.status in ACTIVE

    def _set(self, *, only_without_process: bool = False, **values: Any) -> bool:
        statement = update(RunRow).where(
            col(RunRow.id) == self._run_id, col(RunRow.claim) == self._claim, col(RunRow.status).in_(ACTIVE)
        )
        if only_without_process:
            statement = statement.where(col(RunRow.process_id) == 0)
        with writing(self._engine) as session:
            return count_changed(session, statement.values(**values)) == 1


def _whole(value: object) -> int:
    """A count that a flow wrote; 0 where it is none."""
    return value if isinstance(value, int) and value >= 0 else 0


_ENDS_FROM_RUNNING = (RunStatus.COMPLETED, RunStatus.COMPLETED_WITH_ERRORS)
