"""How far an export has got: which rows are new to it, and when that moves on.

A row is known by when it last changed and its uid. New is what changed after the watermark; but a transaction may
commit late, with an instant that the watermark has passed already, and a call that was open may end. So the rows
that an export took are kept by uid and instant (`exported_row`) for as long as they are not more than LOOK_BACK
older than the watermark, and of that stretch a row is new that is not among them. Nothing is lost or doubled as long
as a row turns up no more than LOOK_BACK behind the newest one that was exported.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import sqlalchemy as sa

from headway.models.operations.tables import ExportedRow, FileExport, Watermark

LOOK_BACK = timedelta(hours=24)
BATCH_ROWS = 2000

MARK: Any = Watermark.__table__  # type: ignore[attr-defined]
EXPORT: Any = FileExport.__table__  # type: ignore[attr-defined]
TAKEN: Any = ExportedRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Stream:
    """What is exported to whom; it has one watermark."""

    consumer: str
    name: str


@dataclass(frozen=True, order=True)
class Reached:
    """The newest row that was exported."""

    at: datetime
    uid: int


def reached(connection: sa.Connection, stream: Stream) -> Reached | None:
    """Where the watermark stands; None before the first export."""
    row = connection.execute(sa.select(MARK.c.reached_at, MARK.c.reached_uid).where(*_of(MARK, stream))).first()
    return Reached(row.reached_at, row.reached_uid) if row else None


def is_new(stream: Stream, mark: Reached | None, at: Any, uid: Any) -> sa.ColumnElement[bool]:
    """Of a row with these columns: whether no export of the stream has taken it as it is now."""
    if mark is None:
        return sa.true()
    taken = sa.exists().where(
        TAKEN.c.row_uid == uid, TAKEN.c.row_at == at, EXPORT.c.uid == TAKEN.c.export_uid, *_of(EXPORT, stream)
    )
    return sa.and_(at > mark.at - LOOK_BACK, ~taken.correlate(at.table))


def next_mark(before: Reached | None, last: Reached | None, now: datetime) -> Reached:
    """Where an export moves the watermark whose newest row is `last`.

    Never back; and not into the future, where a row with a wrong clock would take it past all that is to come.
    """
    nothing = Reached(datetime(1970, 1, 1, tzinfo=UTC), 0)
    found = last or nothing
    if found.at > now:
        found = Reached(now, 0)
    return max(before or nothing, found)


def keep_taken(connection: sa.Connection, export_uid: int, mark: Reached, rows: Iterable[Reached]) -> None:
    """Write down which rows an export took, in the transaction that keeps its file."""
    near = (row for row in rows if row.at > mark.at - LOOK_BACK)
    while batch := list(islice(near, BATCH_ROWS)):
        values = [{"row_uid": row.uid, "export_uid": export_uid, "row_at": row.at} for row in batch]
        connection.execute(sa.insert(TAKEN), values)


def move(connection: sa.Connection, stream: Stream, mark: Reached) -> None:
    """Move the watermark, in the transaction that says that the file is delivered."""
    values = {"reached_at": mark.at, "reached_uid": mark.uid, "updated_at": datetime.now(UTC)}
    moved = connection.execute(sa.update(MARK).where(*_of(MARK, stream)).values(**values))
    if not moved.rowcount:
        connection.execute(sa.insert(MARK).values(consumer=stream.consumer, stream=stream.name, **values))
    theirs = sa.select(EXPORT.c.uid).where(*_of(EXPORT, stream))
    old = TAKEN.c.row_at <= mark.at - LOOK_BACK
    connection.execute(sa.delete(TAKEN).where(TAKEN.c.export_uid.in_(theirs), old))


def _of(table: Any, stream: Stream) -> tuple[Any, Any]:
    return table.c.consumer == stream.consumer, table.c.stream == stream.name
