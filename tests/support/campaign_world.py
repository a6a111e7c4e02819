"""A contact centre to change as a test needs it, on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import sqlalchemy as sa

from headway.blocks.database.block import Database
from headway.models.operations.database import operations_engine
from headway.models.operations.sample_data import WORLD_NOW
from headway.models.operations.tables import CampaignExclusion, ExclusionEntry, ExclusionKind, ExclusionList, metadata

_numbers = count(1)


@contextmanager
def changing(database: Database) -> Iterator[sa.Connection]:
    """A transaction in which a test changes the world."""
    engine = operations_engine(database.url.get_secret_value())
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def insert(database: Database, model: Any, *rows: dict[str, Any]) -> None:
    with changing(database) as connection:
        connection.execute(sa.insert(model), list(rows))


def update(database: Database, model: Any, where: Any = None, **values: Any) -> None:
    statement = sa.update(model).values(values)
    with changing(database) as connection:
        connection.execute(statement if where is None else statement.where(where))


def rows(database: Database, name: str, *order: str) -> list[dict[str, Any]]:
    """All rows of a table, by primary key or as ordered."""
    table = metadata.tables[name]
    ordered = [table.c[one] for one in order] or list(table.primary_key.columns)
    with database.reading() as connection:
        return [dict(row) for row in connection.execute(sa.select(table).order_by(*ordered)).mappings()]


def exclude(database: Database, kind: ExclusionKind, *values: str, campaign_uid: int | None = 1) -> None:
    """A new do-not-call list with these entries, associated with the campaign (or with none)."""
    name = f"{kind} list {next(_numbers)}"
    with changing(database) as connection:
        made = sa.insert(ExclusionList).values(name=name, description="", kind=kind, loaded_at=None)
        uid = connection.execute(made.returning(sa.column("uid"))).scalar_one()
        for value in values:
            entry = {"exclusion_list_uid": uid, "value": value, "comment": "", "added_at": WORLD_NOW}
            connection.execute(sa.insert(ExclusionEntry), entry)
        if campaign_uid is not None:
            holds = {"campaign_uid": campaign_uid, "exclusion_list_uid": uid}
            connection.execute(sa.insert(CampaignExclusion), holds)
