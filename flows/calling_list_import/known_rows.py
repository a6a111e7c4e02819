"""What the reading of a calling list's file needs besides its rows: numbers left out, keys that the list has."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from headway.blocks.database.block import Database
from headway.flows.calling_list_import.staging import ListStaging, StagedRecord
from headway.flows.shared.result import LOGGED_ROWS
from headway.flows.shared.staging import shown_key
from headway.models.operations.tables import Record


@contextmanager
def collector_paused() -> Iterator[None]:
    """No cyclic garbage collection meanwhile: a block's rows make it look through all of Prefect again and again.

    What is made here has no cycles. It takes half of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class LeftOutNumbers:
    """Counts phone numbers that are not valid but do not spoil their row, and keeps the first of them."""

    def __init__(self, logger: Any, name: str) -> None:
        self.logger = logger
        self.name = name
        self.count = 0
        self.first: list[str] = []

    def add(self, line: int, problem: str) -> None:
        self.count += 1
        if self.count <= LOGGED_ROWS:
            self.first.append(f"{self.name} line {line}: {problem}: left out")

    def tell(self) -> None:
        for sentence in self.first:
            self.logger.warning(sentence)
        if self.count > LOGGED_ROWS:
            self.logger.warning(f"{self.name}: {self.count:,} phone numbers are not valid and were left out.")


def settle_known(target: Database, list_uid: int, staging: ListStaging) -> None:
    """Policy add: a key that the list has with the same values is good; with others, the row is bad."""
    record = Record.__table__  # type: ignore[attr-defined]
    with target.reading() as connection:

        def judge(batch: list[StagedRecord]) -> dict[int, str]:
            return _judge(connection, record, list_uid, staging, batch)

        staging.settle_known(judge)


def _judge(
    connection: sa.Connection, record: Any, list_uid: int, staging: ListStaging, batch: Sequence[StagedRecord]
) -> dict[int, str]:
    by_key = {row.key: row for row in batch}
    query = sa.select(record).where(record.c.list_uid == list_uid, record.c.key.in_(by_key))
    verdicts = {}
    for known in connection.execute(query).mappings():
        row = by_key[known["key"]]
        values = staging.plain_values(row)
        same = values.pop("fields").items() <= known["fields"].items() and values.items() <= {**known}.items()
        verdicts[row.line] = "" if same else f"the key '{shown_key(row.key)}' is in the list with other values"
    return verdicts
