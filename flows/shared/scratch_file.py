"""A scratch file in which an import sorts good rows from bad ones before it touches its target.

So the target is changed in one short transaction that holds all good rows or none, a repeated key is found, and
memory stays the same however long the file is. This is what all imports share: the file, its bad rows and the error
file made of them. Which columns good rows have is each import's own.
"""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Self, TextIO

from headway.flows.shared.file_readers import MAX_RECORD_CHARACTERS, SHOWN_CHARACTERS
from headway.flows.shared.spreadsheet_safety import inert
from headway.models.ledger.database import sqlite_module


class ScratchFile:
    """A SQLite file that only this run knows, in one transaction until `finish`. Use it with `with`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # isolation_level None: BEGIN and COMMIT are ours; a crash loses the file, and that is fine.
        self._db = sqlite_module().connect(str(path), isolation_level=None)
        for pragma in ("page_size = 65536", "journal_mode = OFF", "synchronous = OFF", "cache_size = -2048"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE bad (line INTEGER PRIMARY KEY, reason TEXT, raw BLOB)")
        self._make_tables()
        self._db.execute("BEGIN")

    def _make_tables(self) -> None:
        """The tables of good rows."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def finish(self) -> None:
        """End the writing, so that others may read the file."""
        self._db.execute("COMMIT")

    def reject(self, line: int, reason: str, raw: str | None) -> None:
        """Keep a bad row with the text it came with; None: that is looked up when the error file is written."""
        content = None if raw is None else raw.encode("utf-8", "surrogateescape")
        self._db.execute("INSERT OR REPLACE INTO bad VALUES (?, ?, ?)", (line, reason, content))

    @property
    def bad(self) -> int:
        """How many bad rows there are."""
        return int(self._db.execute("SELECT count(*) FROM bad").fetchone()[0])

    def bad_rows(self, most: int = -1) -> Iterator[tuple[int, str, bytes | None]]:
        """Line, reason and raw bytes of each bad row, by line; at most so many, all of them if -1."""
        yield from self._db.execute("SELECT line, reason, raw FROM bad ORDER BY line LIMIT ?", (most,))

    def write_error_file(self, path: Path, source: TextIO | None = None) -> None:
        """The bad rows as CSV: line, reason, row. `source` is the file that they came from, at its beginning.

        People open this file in a spreadsheet, so a row that would begin a formula gets an apostrophe.
        """
        lines = _NumberedLines(source)
        with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["line", "reason", "row"])
            for line, reason, raw in self.bad_rows():
                text = lines.line(line) if raw is None else raw.decode("utf-8", "surrogateescape")
                writer.writerow([line, inert(reason), inert(text.rstrip("\r\n"))])


class _NumberedLines:
    """Lines of a file by their number (from 1), each asked for once and in order."""

    def __init__(self, source: TextIO | None) -> None:
        self._source = source or iter(())
        self._passed = 0

    def line(self, number: int) -> str:
        text = next(islice(self._source, number - self._passed - 1, None), "")
        self._passed = number
        return text if len(text) <= MAX_RECORD_CHARACTERS else text[:SHOWN_CHARACTERS] + " ..."
