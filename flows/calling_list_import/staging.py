"""The scratch file of a calling list import: good records ready to be loaded, bad rows with their reasons.

The target is touched only once everything about the file is known, and then by a few statements that the
database carries out as a whole.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from headway.flows.calling_list_import.records import GoodRows, KeyOrder
from headway.flows.shared.scratch_file import ScratchFile
from headway.flows.shared.staging import shown_key

BATCH_ROWS = 5_000
Duplicates = Literal["reject", "skip"]


@dataclass(frozen=True)
class StagedRecord:
    """A good record: its line, its key, and its other staged columns by name."""

    line: int
    key: str
    values: dict[str, Any]


class ListStaging(ScratchFile):
    """Use it with `with`. `columns` are the names of what is staged behind line and key."""

    def __init__(self, path: Path, columns: Sequence[str], *, account_is_key: bool = False) -> None:
        self.columns = [*columns]
        self.account_is_key = account_is_key
        self.in_order = True
        """Whether each key is greater than the one before: then none is there twice, and none need be sorted."""
        self._order = KeyOrder()
        self.good = 0
        """Good rows, also those that need no loading."""
        self.to_load = 0
        self._insert = f"INSERT INTO good VALUES (?, ?{', ?' * len(self.columns)})"
        super().__init__(path)

    def _make_tables(self) -> None:
        definitions = ", ".join(f"{column} TEXT" for column in self.columns)
        self._db.execute(f"CREATE TABLE good (line INTEGER PRIMARY KEY, key TEXT, {definitions})")

    def add(self, good: GoodRows) -> None:
        """Keep good records."""
        self.in_order = self.in_order and self._order.goes_on(good.keys)
        self._db.executemany(self._insert, zip(good.lines, *good.texts(), strict=True))
        self.good += len(good.lines)
        self.to_load += len(good.lines)

    def settle_duplicates(self, duplicates: Duplicates) -> int:
        """Of records with the same key keep the first; returns how many others there were.

        They become bad rows, or are left out.
        """
        if self.in_order:
            return 0
        self._db.execute("CREATE INDEX good_key ON good (key, line)")
        self._db.execute(
            "CREATE TEMP TABLE repeated AS SELECT line, key, first FROM "
            "(SELECT line, key, min(line) OVER (PARTITION BY key) AS first FROM good) WHERE line > first"
        )
        repeated = self._db.execute("SELECT line, key, first FROM repeated")
        count = 0
        for line, key, first in repeated:
            count += 1
            if duplicates == "reject":
                self.reject(line, f"the key '{shown_key(key)}' is already on line {first}", None)
        self._remove("SELECT line FROM repeated")
        self._db.execute("DROP TABLE repeated")
        return count

    def settle_known(self, judge: Callable[[list[StagedRecord]], dict[int, str]]) -> None:
        """Let `judge` compare the good records with the list, batch by batch.

        It returns the lines that are not to be loaded: with a reason (a bad row), or with an empty one (the
        list has exactly that already: good, and nothing to do).
        """
        self._db.execute("CREATE TEMP TABLE settled (line INTEGER PRIMARY KEY)")
        already = 0
        for batch in self.records():
            verdicts = judge(batch)
            self._db.executemany("INSERT INTO settled VALUES (?)", [(line,) for line in verdicts])
            already += sum(not reason for reason in verdicts.values())
            for line, reason in verdicts.items():
                if reason:
                    self.reject(line, reason, None)
        self._remove("SELECT line FROM settled")
        self.good += already

    def _remove(self, lines: str) -> None:
        removed = self._db.execute(f"DELETE FROM good WHERE line IN ({lines})").rowcount
        self.good -= removed
        self.to_load -= removed

    def rows(self, columns: Sequence[str]) -> Iterator[list[tuple[Any, ...]]]:
        """These columns of the records to be loaded, at most BATCH_ROWS at once, by line."""
        cursor = self._db.execute(f"SELECT {', '.join(columns)} FROM good ORDER BY line")
        while batch := cursor.fetchmany(BATCH_ROWS):
            yield batch

    def records(self) -> Iterator[list[StagedRecord]]:
        """The same as records."""
        for batch in self.rows(["line", "key", *self.columns]):
            yield [StagedRecord(line, key, dict(zip(self.columns, rest, strict=True))) for line, key, *rest in batch]

    def plain_values(self, record: StagedRecord) -> dict[str, Any]:
        """What the record gives for the columns of `record`: texts, and the fields as a dict.

        Without the numbers: how the file writes them is among the fields.
        """
        values = {"account": record.key} if self.account_is_key else {}
        values |= {name: value for name, value in record.values.items() if name != "phones"}
        return values | {"fields": json.loads(record.values["fields"])}
