"""Files at the importer path: which still lie there, what became of them, and whose turn it is to look."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from headway.models.ledger.database import count_changed
from headway.models.ledger.tables import ChoreRow, RunEventRow, RunFileRow, RunRow, TaskRow
from headway.models.values.pickup import PickUp
from headway.wording import length_in_words

MOST_AT_ONCE = 500


@dataclass(frozen=True)
class Overdue:
    """A run whose files were not picked up in time. since: when the last of them was delivered."""

    run_id: int
    task: str
    paths: list[str]
    since: datetime


def take_chore(session: Session, name: str, worker_id: str, now: datetime, for_at_most: timedelta) -> bool:
    """Whether the chore is due and no worker is at it; then it is this worker's for so long."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    made = dialect.insert(ChoreRow).values(name=name, next_at=now, worker_id="").on_conflict_do_nothing()
    session.execute(made)
    due = update(ChoreRow).where(col(ChoreRow.name) == name, col(ChoreRow.next_at) <= now)
    return count_changed(session, due.values(next_at=now + for_at_most, worker_id=worker_id)) == 1


def finish_chore(session: Session, name: str, worker_id: str, next_at: datetime) -> None:
    """The chore is due again then, for any worker."""
    mine = update(ChoreRow).where(col(ChoreRow.name) == name, col(ChoreRow.worker_id) == worker_id)
    session.execute(mine.values(next_at=next_at))


def take_name(session: Session, path: str, now: datetime) -> None:
    """A new file is about to bear this path: one of before that was not seen taken is replaced."""
    session.execute(
        update(RunFileRow)
        .where(col(RunFileRow.pickup) == PickUp.LYING, col(RunFileRow.path) == path)
        .values(pickup=PickUp.REPLACED, pickup_at=now)
    )


def lying(session: Session) -> list[RunFileRow]:
    """Files not seen taken so far, the oldest first."""
    still = select(RunFileRow).where(RunFileRow.pickup == PickUp.LYING)
    return list(session.exec(still.order_by(col(RunFileRow.id)).limit(MOST_AT_ONCE)).all())


def note_what_became(session: Session, sizes: Mapping[str, int | None], files: list[RunFileRow], now: datetime) -> int:
    """Write down what a look found: the size at each path, None for gone; how many were picked up."""
    consumed = 0
    for file in files:
        if file.path not in sizes or sizes[file.path] == file.bytes:
            continue
        what = PickUp.CONSUMED if sizes[file.path] is None else PickUp.REPLACED
        if not _move_on(session, file, what, now):
            continue
        consumed += what is PickUp.CONSUMED
        if file.overdue_at is not None:
            _note(session, file.run_id, f"{file.path} has been {what.value} after all", now)
    return consumed


def give_up(session: Session, before: datetime, now: datetime) -> None:
    """Files delivered before then are not looked at any more."""
    session.execute(
        update(RunFileRow)
        .where(col(RunFileRow.pickup) == PickUp.LYING, col(RunFileRow.at) < before)
        .values(pickup=PickUp.LEFT, pickup_at=now)
    )


def mark_overdue(session: Session, after: timedelta, looked_at: list[RunFileRow], now: datetime) -> list[Overdue]:
    """The runs whose files lie there for longer than that and of which no warning was given; it is given now.

    One warning a run: it waits for the last of the run's files to be overdue.
    """
    ids = [file.id for file in looked_at]
    rows = session.exec(
        select(RunFileRow, TaskRow.name)
        .join(RunRow, col(RunRow.id) == col(RunFileRow.run_id))
        .join(TaskRow, col(TaskRow.uid) == col(RunRow.task_uid))
        .where(col(RunFileRow.id).in_(ids), RunFileRow.pickup == PickUp.LYING)
        .order_by(col(RunFileRow.id))
        .with_for_update(of=RunFileRow)
    ).all()
    by_run: dict[int, list[RunFileRow]] = {}
    names = {}
    for file, name in rows:
        by_run.setdefault(file.run_id, []).append(file)
        names[file.run_id] = name
    found = []
    for run_id, files in by_run.items():
        since = max(file.at for file in files)
        if any(file.overdue_at for file in files) or since > now - after:
            continue
        for file in files:
            file.overdue_at = now
            session.add(file)
        overdue = Overdue(run_id, names[run_id], [file.path for file in files], since)
        _note(session, run_id, f"not picked up within {length_in_words(after)}: {', '.join(overdue.paths)}", now)
        found.append(overdue)
    session.flush()
    return found


def _move_on(session: Session, file: RunFileRow, what: PickUp, now: datetime) -> bool:
    lying = update(RunFileRow).where(col(RunFileRow.id) == file.id, col(RunFileRow.pickup) == PickUp.LYING)
    return count_changed(session, lying.values(pickup=what, pickup_at=now)) == 1


def _note(session: Session, run_id: int, why: str, now: datetime) -> None:
    """An event that moves the run nowhere: it stays what it is."""
    row = session.get(RunRow, run_id)
    if row is not None:
        session.add(RunEventRow(run_id=run_id, at=now, before=row.status, after=row.status, who="scheduler", why=why))
