"""Good rows of an import by their key, in its scratch file: rows of a lookup table, accounts of an exclusion list."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from headway.flows.shared.scratch_file import ScratchFile

BATCH_ROWS = 1000
KEY_SEPARATOR = "\x1f"
MAX_KEY_CHARACTERS = 400


@dataclass(frozen=True)
class StagedRow:
    """A good row, waiting to be loaded."""

    line: int
    key: str
    fields: dict[str, str]


class Staging(ScratchFile):
    """Good rows by key and bad rows by line, in a file that only this run knows. Use it with `with`."""

    def _make_tables(self) -> None:
        self._db.execute("CREATE TABLE good (line INTEGER PRIMARY KEY, key TEXT UNIQUE, fields TEXT, raw TEXT)")
        self._db.execute("CREATE TABLE settled (line INTEGER PRIMARY KEY)")

    def add(self, line: int, key: str, fields: dict[str, str], raw: str) -> None:
        """Keep a good row. One whose key an earlier line has is bad: which of the two holds is not ours to guess."""
        if not self.add_first(line, key, fields, raw):
            first = self._db.execute("SELECT line FROM good WHERE key = ?", (key,)).fetchone()[0]
            self.reject(line, f"the key '{shown_key(key)}' is already on line {first}", raw)

    def add_first(self, line: int, key: str, fields: dict[str, str], raw: str) -> bool:
        """Keep a good row if no earlier line has its key; whether it was kept."""
        cursor = self._db.execute(
            "INSERT OR IGNORE INTO good VALUES (?, ?, ?, ?)",
            (line, key, json.dumps(fields, ensure_ascii=False), raw),
        )
        return bool(cursor.rowcount)

    def settle(self, judge: Callable[[list[StagedRow]], dict[int, str]]) -> None:
        """Let `judge` compare the good rows with the target, batch by batch.

        It returns the lines that are not to be loaded: with a reason (a bad row), or with an empty one
        (the target has exactly that already: good, and nothing to do).
        """
        for batch in self.batches():
            for line, reason in judge(batch).items():
                if reason:
                    raw = self._db.execute("DELETE FROM good WHERE line = ? RETURNING raw", (line,)).fetchone()[0]
                    self.reject(line, reason, raw)
                else:
                    self._db.execute("INSERT INTO settled VALUES (?)", (line,))

    def batches(self) -> Iterator[list[StagedRow]]:
        """The good rows that are still to be loaded, in file order, at most BATCH_ROWS at once."""
        last = 0
        while True:
            rows = self._db.execute(
                "SELECT line, key, fields FROM good WHERE line > ? AND line NOT IN (SELECT line FROM settled) "
                "ORDER BY line LIMIT ?",
                (last, BATCH_ROWS),
            ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield [StagedRow(line, key, json.loads(fields)) for line, key, fields in rows]

    @property
    def good(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM good").fetchone()[0])


def shown_key(key: str) -> str:
    return key.replace(KEY_SEPARATOR, " / ")


def make_key(fields: dict[str, Any], key_columns: list[str]) -> str:
    return KEY_SEPARATOR.join(fields[name] for name in key_columns)


def row_problem(fields: dict[str, str], key_columns: list[str], required_columns: list[str]) -> str:
    """Why the row cannot be loaded: a key or required value is missing, or the key is too long; else empty."""
    for name in [*key_columns, *required_columns]:
        if not fields[name].strip():
            return f"column '{name}' is empty"
    if len(make_key(fields, key_columns)) > MAX_KEY_CHARACTERS:
        return f"the key is longer than {MAX_KEY_CHARACTERS} characters"
    return ""
