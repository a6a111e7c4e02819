"""Changing a calling list by what an import has staged, in one transaction: all of it or nothing.

Two ways lead into the tables. Where the list is empty (new, or cleared by the policy replace) the records are
copied in by the fastest way that the database has. Where it is not, the database compares the keys as a whole:
it changes the records that are there and adds the others. Numbers of records are given here, so that their
phone numbers need not ask for them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, islice, repeat
from typing import Any

import sqlalchemy as sa
from psycopg.errors import UniqueViolation
from sqlalchemy.exc import IntegrityError

from blocks.database import Database
from flows.file_loads import keep_load
from flows.list_archive import archive_results, remove_records
from flows.list_layout import ListShape
from flows.list_staging import ListStaging
from flows.result import InputRefused
from models.operations import CallingList

UIDS_AT_ONCE = 100_000
SQLITE_CACHE_KIB = 16_384
_COPY_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True)
class Order:
    """What is to be done with the list. `load` is the row of `file_load` that says it was done."""

    shape: ListShape
    replace: bool
    update: bool
    allow_empty: bool
    load: dict[str, Any]


@dataclass(frozen=True)
class Loaded:
    """What was done: results put into the archive, records removed."""

    archived: int = 0
    removed: int = 0


def load_list(target: Database, staging: ListStaging, order: Order) -> Loaded:
    """Carry out the order in one transaction. Raises InputRefused where nothing may be changed."""
    engine = target.engine()
    try:
        with engine.connect() as connection:
            _set_up(connection, staging, order.shape)
            with connection.begin():
                return _change(connection, staging, order)
    except (IntegrityError, UniqueViolation) as error:
        raise InputRefused(
            f"The list '{order.shape.name}' was changed by somebody else while the file was read; nothing was loaded. "
            "Run the task again."
        ) from error
    finally:
        engine.dispose()


def _set_up(connection: sa.Connection, staging: ListStaging, shape: ListShape) -> None:
    """What SQLite allows only outside of a transaction; on the driver, because SQLAlchemy would begin one."""
    if connection.dialect.name != "sqlite":
        return
    driver: Any = connection.connection.driver_connection
    driver.execute(f"PRAGMA cache_size = -{SQLITE_CACHE_KIB}")
    driver.execute("ATTACH ? AS staged", (str(staging.path),))
    records = (
        "SELECT EXISTS (SELECT 1 FROM record JOIN calling_list AS list ON list.uid = list_uid WHERE list.name = ?)"
    )
    if not driver.execute(records, (shape.name,)).fetchone()[0]:
        # Nothing will go that others refer to, and what is added refers to this list and its records: looking
        # each reference up would take a quarter of the load.
        driver.execute("PRAGMA foreign_keys = OFF")


def _change(connection: sa.Connection, staging: ListStaging, order: Order) -> Loaded:
    now = datetime.now(UTC)
    list_uid = _locked_list(connection, order.shape, now)
    first_uid = _highest_uid(connection)  # before records go: a number is not given twice
    done = _clear(connection, list_uid, order, now) if order.replace else Loaded()
    records = sa.text("SELECT EXISTS (SELECT 1 FROM record WHERE list_uid = :list_uid)")
    if not connection.execute(records, {"list_uid": list_uid}).scalar_one() or not order.update:
        fresh = _copy_in if connection.dialect.name == "postgresql" else _insert_all
        fresh(connection, staging, list_uid, first_uid, now)
    else:
        _merge(connection, staging, list_uid, now)
    keep_load(connection, order.load)
    return done


def _locked_list(connection: sa.Connection, shape: ListShape, now: datetime) -> int:
    """The list's uid, made if there is none; its row stays locked, so that loads of one list queue."""
    table = CallingList.__table__  # type: ignore[attr-defined]
    known = {"columns": shape.columns, "key_columns": shape.key_columns, "loaded_at": now}
    updated = sa.update(table).where(table.c.name == shape.name).values(known).returning(table.c.uid)
    uid = connection.execute(updated).scalar()
    if uid is None:
        row = {"name": shape.name, "description": "", "required_columns": shape.required_columns, **known}
        uid = connection.execute(sa.insert(table).values(row).returning(table.c.uid)).scalar_one()
    return int(uid)


def _highest_uid(connection: sa.Connection) -> int:
    return int(connection.exec_driver_sql("SELECT coalesce(max(uid), 0) FROM record").scalar_one())


def _clear(connection: sa.Connection, list_uid: int, order: Order, now: datetime) -> Loaded:
    if not order.load["processed"] and not order.allow_empty:
        counted = sa.text("SELECT count(*) FROM record WHERE list_uid = :list_uid")
        count = connection.execute(counted, {"list_uid": list_uid}).scalar_one()
        raise InputRefused(
            f"'{order.load['file_name']}' holds no good row, and policy replace would clear '{order.shape.name}' "
            f"({count:,} records). Correct the file, or set allow_empty if that is meant."
        )
    archived = archive_results(connection, list_uid, order.shape.name, now)
    return Loaded(archived, remove_records(connection, list_uid))


def _expressions(staging: ListStaging, prefix: str = "") -> dict[str, str]:
    """SQL for the columns of `record` that the file gives, out of the staged ones."""
    account = {"account": f"{prefix}key"} if staging.account_is_key else {}
    staged = ("account", "state", "postal_code", "fields")
    return account | {name: prefix + name for name in staged if name in staging.columns}


def _numbers(staging: ListStaging) -> list[str]:
    return [column for column in staging.columns if column.startswith("number_")]


# --- into an empty list -------------------------------------------------------------------------------


def _insert_all(connection: sa.Connection, staging: ListStaging, list_uid: int, first_uid: int, now: datetime) -> None:
    """SQLite: out of the attached scratch file. By key, so that the index is filled from its left to its right."""
    given = {"account": "''", "state": "''", "postal_code": "''"} | _expressions(staging)
    order = "" if staging.in_order else "ORDER BY key"
    instant = _stored(now)
    connection.exec_driver_sql(
        f"INSERT INTO record (uid, list_uid, key, {', '.join(given)}, created_at, updated_at) "
        f"SELECT ? + line, ?, key, {', '.join(given.values())}, ?, ? FROM staged.good {order}",
        (first_uid, list_uid, instant, instant),
    )
    numbers = _numbers(staging)
    if not numbers:
        return
    choice = " ".join(f"WHEN {position} THEN {column}" for position, column in enumerate(numbers, 1))
    positions = " UNION ALL ".join(f"SELECT {position} AS position" for position, _ in enumerate(numbers, 1))
    # CROSS JOIN keeps SQLite to this order of loops: by record and position, as the table is stored.
    connection.exec_driver_sql(
        "INSERT INTO record_phone (record_uid, position, number) SELECT ? + line, position, number FROM "
        f"(SELECT line, position, CASE position {choice} END AS number FROM staged.good CROSS JOIN ({positions})) "
        "WHERE number <> ''"
        if len(numbers) > 1
        else "INSERT INTO record_phone (record_uid, position, number) "
        "SELECT ? + line, 1, number_1 FROM staged.good WHERE number_1 <> ''",
        (first_uid,),
    )


def _stored(instant: datetime) -> str:
    """An instant as SQLite has it (`models.columns.UtcDateTime`)."""
    return instant.replace(tzinfo=None).isoformat(" ", "microseconds")


def _copy_in(connection: sa.Connection, staging: ListStaging, list_uid: int, _: int, now: datetime) -> None:
    """PostgreSQL: by COPY, with numbers taken from the sequence beforehand."""
    given = {"account": "''", "state": "''", "postal_code": "''"} | _expressions(staging)
    starts = _reserved_uids(connection, staging.to_load)
    names = f"uid, list_uid, key, {', '.join(given)}, created_at, updated_at"
    uids, fixed, instant = chain.from_iterable(starts), str(list_uid), now.isoformat()
    driver: Any = connection.connection.driver_connection
    with driver.cursor().copy(f"COPY record ({names}) FROM STDIN") as copy:
        for batch in staging.rows(["key", *given.values()]):
            columns = [_escaped(column) for column in zip(*batch, strict=True)]
            numbered = map(str, islice(uids, len(batch)))
            ends = repeat(f"{instant}\t{instant}\n")
            copy.write("".join(map("\t".join, zip(numbered, repeat(fixed), *columns, ends, strict=False))))
    numbers = _numbers(staging)
    uids = chain.from_iterable(starts)
    with driver.cursor().copy("COPY record_phone (record_uid, position, number) FROM STDIN") as copy:
        for batch in staging.rows(numbers) if numbers else ():
            copy.write(
                "".join(
                    f"{uid}\t{position}\t{number}\n"
                    for uid, row in zip(uids, batch, strict=False)
                    for position, number in enumerate(row, 1)
                    if number
                )
            )


def _reserved_uids(connection: sa.Connection, count: int) -> list[range]:
    """So many numbers out of the sequence of `record`, as unbroken ranges."""
    taken: list[range] = []
    size = UIDS_AT_ONCE
    statement = sa.text(
        "SELECT min(uid), max(uid) FROM "
        "(SELECT nextval(pg_get_serial_sequence('record', 'uid')) AS uid FROM generate_series(1, :count)) AS taken"
    )
    while count:
        wanted = min(size, count)
        first, last = connection.execute(statement, {"count": wanted}).one()
        if last - first + 1 == wanted:
            taken.append(range(first, last + 1))
            count -= wanted
        else:  # somebody else took some in between: leave these, and ask for fewer
            size = max(size // 2, 1)
    return taken


def _escaped(column: tuple[str, ...]) -> Iterator[str] | tuple[str, ...]:
    """The values as COPY reads them."""
    joined = "".join(column)
    if "\\" in joined or "\t" in joined or "\n" in joined or "\r" in joined:
        return (value.translate(_COPY_ESCAPES) for value in column)
    return column


# --- into a list with records ---------------------------------------------------------------------------


def _merge(connection: sa.Connection, staging: ListStaging, list_uid: int, now: datetime) -> None:
    """Change the records whose keys are there, add the others. Fields that the file does not give stay."""
    postgresql = connection.dialect.name == "postgresql"
    if postgresql:
        _copy_to_temporary(connection, staging)
    staged = "staged" if postgresql else "staged.good"
    given = _expressions(staging, "s.")
    merged = "record.fields || s.fields" if postgresql else "json_patch(record.fields, s.fields)"
    changes = ", ".join(f"{name} = {merged if name == 'fields' else value}" for name, value in given.items())
    values = {
        "list_uid": list_uid,
        "now": now if postgresql else now.replace(tzinfo=None).isoformat(" ", "microseconds"),
    }
    ours = "record.list_uid = :list_uid AND record.key = s.key"
    run = lambda statement: connection.execute(sa.text(statement), values)  # noqa: E731
    run(f"UPDATE record SET {changes}, updated_at = :now FROM {staged} AS s WHERE {ours}")
    new = {"account": "''", "state": "''", "postal_code": "''"} | given
    run(
        f"INSERT INTO record (list_uid, key, {', '.join(new)}, created_at, updated_at) "
        f"SELECT :list_uid, s.key, {', '.join(new.values())}, :now, :now FROM {staged} AS s "
        f"WHERE NOT EXISTS (SELECT 1 FROM record WHERE {ours}) ORDER BY s.line"
    )
    numbers = _numbers(staging)
    if not numbers:
        return
    run(f"DELETE FROM record_phone WHERE record_uid IN (SELECT record.uid FROM {staged} AS s JOIN record ON {ours})")
    for position, column in enumerate(numbers, 1):
        run(
            f"INSERT INTO record_phone (record_uid, position, number) SELECT record.uid, {position}, s.{column} "
            f"FROM {staged} AS s JOIN record ON {ours} WHERE s.{column} <> ''"
        )


def _copy_to_temporary(connection: sa.Connection, staging: ListStaging) -> None:
    kinds = {"line": "bigint", "key": "text"} | dict.fromkeys(staging.columns, "text") | {"fields": "jsonb"}
    columns = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
    connection.exec_driver_sql(f"CREATE TEMP TABLE staged ({columns}) ON COMMIT DROP")
    driver: Any = connection.connection.driver_connection
    with driver.cursor().copy(f"COPY staged ({', '.join(kinds)}) FROM STDIN") as copy:
        for batch in staging.rows([*kinds]):
            lines, *columns_ = zip(*batch, strict=True)
            texts = [_escaped(column) for column in columns_]
            copy.write("".join(f"{row}\n" for row in map("\t".join, zip(map(str, lines), *texts, strict=True))))
    connection.exec_driver_sql("ANALYZE staged")
