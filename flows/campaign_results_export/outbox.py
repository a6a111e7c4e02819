"""Files with new rows on their way out: each is delivered, and its watermark moved, whatever dies in between.

A finished file is kept in the database, whole, together with the rows that it took (one transaction). Then it is
sent; then one transaction moves the watermark, says that the file is delivered, and lets its content go. Who dies in
between leaves a pending file. The next attempt, or the next run of the task, sends that first: the same name, the
same bytes, so that a delivery which had taken place already is only repeated.
"""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from headway.blocks.database.block import Database
from headway.flows.campaign_results_export.watermarks import EXPORT, Reached, Stream, keep_taken, move
from headway.flows.shared.files import sha256_of
from headway.flows.shared.result import InputRefused, run_key
from headway.models.operations.tables import FileExportPart

PART_BYTES = 1 << 20
PART: Any = FileExportPart.__table__  # type: ignore[attr-defined]
Send = Callable[["Pending", Path], list[dict[str, Any]]]
"""Delivers a file; returns the receipts."""


@dataclass(kw_only=True, frozen=True)
class Pending:
    """A file that is kept, delivered or not (then `receipts` is empty)."""

    uid: int
    run_key: str | None
    file_name: str
    ready_name: str
    processed: int
    sha256: str
    mark: Reached
    delivered: bool
    receipts: list[dict[str, Any]]


class Outbox:
    """The files of one stream."""

    def __init__(self, database: Database, stream: Stream) -> None:
        self.database = database
        self.stream = stream

    def of_this_run(self) -> list[Pending]:
        """What earlier attempts of this run have delivered, oldest first."""
        key = run_key()
        return self._found(EXPORT.c.run_key == key, EXPORT.c.delivered_at.is_not(None)) if key else []

    def pending(self) -> Pending | None:
        """The file that was kept and is not known to be delivered."""
        return next(iter(self._found(EXPORT.c.delivered_at.is_(None))), None)

    def _found(self, *where: Any) -> list[Pending]:
        theirs = (EXPORT.c.consumer == self.stream.consumer, EXPORT.c.stream == self.stream.name)
        with self.database.reading() as connection:
            rows = connection.execute(sa.select(EXPORT).where(*theirs, *where).order_by(EXPORT.c.uid)).all()
        return [
            Pending(
                uid=row.uid,
                run_key=row.run_key,
                file_name=row.file_name,
                ready_name=row.ready_name,
                processed=row.processed,
                sha256=row.sha256,
                mark=Reached(row.reached_at, row.reached_uid),
                delivered=row.delivered_at is not None,
                receipts=row.receipts,
            )
            for row in rows
        ]

    def keep(
        self, local: Path, file_name: str, ready_name: str, processed: int, mark: Reached, taken: Iterator[Reached]
    ) -> Pending:
        """Keep a finished file, and the rows that it took, before anything is sent."""
        facts: dict[str, Any] = {
            "consumer": self.stream.consumer,
            "stream": self.stream.name,
            "run_key": run_key(),
            "file_name": file_name,
            "ready_name": ready_name,
            "processed": processed,
            "bytes": local.stat().st_size,
            "sha256": sha256_of(local),
            "reached_at": mark.at,
            "reached_uid": mark.uid,
            "made_at": datetime.now(UTC),
            "receipts": [],
        }
        with self._changing() as connection:
            uid = int(connection.execute(sa.insert(EXPORT).values(facts).returning(EXPORT.c.uid)).scalar_one())
            for number, part in enumerate(_parts(local)):
                connection.execute(sa.insert(PART), {"export_uid": uid, "number": number, "content": part})
            keep_taken(connection, uid, mark, taken)
        kept = self.pending()
        assert kept is not None and kept.uid == uid
        return kept

    def deliver(self, pending: Pending, local: Path, send: Send) -> Pending:
        """Send a pending file, by way of `local`, and move the watermark; this run has delivered it then."""
        self._restore(pending, local)
        receipts = send(pending, local)
        values = {"delivered_at": datetime.now(UTC), "receipts": receipts, "run_key": run_key()}
        with self._changing() as connection:
            connection.execute(sa.update(EXPORT).where(EXPORT.c.uid == pending.uid).values(values))
            connection.execute(sa.delete(PART).where(PART.c.export_uid == pending.uid))
            move(connection, self.stream, pending.mark)
        return next(one for one in self._found(EXPORT.c.uid == pending.uid))

    def _restore(self, pending: Pending, local: Path) -> None:
        statement = sa.select(PART.c.content).where(PART.c.export_uid == pending.uid).order_by(PART.c.number)
        with self.database.reading() as connection, local.open("wb") as file:
            for (part,) in connection.execution_options(yield_per=4).execute(statement):
                file.write(zlib.decompress(part))
        if sha256_of(local) != pending.sha256:
            raise InputRefused(
                f"'{pending.file_name}' was begun by an earlier run, and its content in the table file_export_part is "
                "damaged. Delete its row in file_export: its rows are new again then."
            )

    @contextmanager
    def _changing(self) -> Iterator[sa.Connection]:
        engine = self.database.engine()
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()


def _parts(local: Path) -> Iterator[bytes]:
    with local.open("rb") as file:
        while block := file.read(PART_BYTES):
            yield zlib.compress(block, 1)
