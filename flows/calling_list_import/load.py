"""Changing a calling list by what an import has staged, in one transaction: all of it or nothing.

Two ways lead into the tables. Where the list is empty (new, or cleared by the policy replace) the records are
copied in by the fastest way that the database has. Where it is not, the database compares the keys as a whole:
it changes the records that are there and adds the others. (A file whose keys ascend comes into an empty list
while it is read: `headway.flows.calling_list_import.streaming_load`.)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from psycopg.errors import UniqueViolation
from sqlalchemy.exc import IntegrityError

from headway.blocks.database.block import Database
from headway.flows.calling_list_import.archive import archive_results, remove_records
from headway.flows.calling_list_import.layout import ListShape
from headway.flows.calling_list_import.staging import ListStaging
from headway.flows.shared.file_loads import keep_load
from headway.flows.shared.result import InputRefused
from headway.models.operations.tables import CallingList

SQLITE_CACHE_KIB = 16_384
_COPY_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(kw_only=True, frozen=True)
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
            set_up(connection)
            _attach(connection, staging)
            with connection.begin():
                return _change(connection, staging, order)
    except (IntegrityError, UniqueViolation) as error:
        raise InputRefused(
            f"The list '{order.shape.name}' was changed by somebody else while the file was read; nothing was loaded. "
            "Run the task again."
        ) from error
    finally:
        engine.dispose()


def set_up(connection: sa.Connection) -> None:
    """What SQLite allows only outside of a transaction; on the driver, because SQLAlchemy would begin one."""
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        driver.execute(f"PRAGMA cache_size = -{SQLITE_CACHE_KIB}")


def _attach(connection: sa.Connection, staging: ListStaging) -> None:
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        driver.execute("ATTACH ? AS staged", (str(staging.path),))


def _change(connection: sa.Connection, staging: ListStaging, order: Order) -> Loaded:
    now = datetime.now(UTC)
    list_uid = locked_list(connection, order.shape, now)
    first_uid = highest_uid(connection)  # before records go: a number is not given twice
    done = Loaded()
    if order.replace:
        _refuse_to_clear_by_nothing(connection, list_uid, order)
        done = clear_list(connection, list_uid, order.shape.name, now)
    if is_empty(connection, list_uid) or not order.update:
        fresh = _copy_in if connection.dialect.name == "postgresql" else _insert_all
        fresh(connection, staging, list_uid, first_uid, now)
    else:
        _merge(connection, staging, list_uid, now)
    keep_load(connection, order.load)
    return done


def locked_list(connection: sa.Connection, shape: ListShape, now: datetime) -> int:
    """The list's uid, made if there is none; its row stays locked, so that loads of one list queue."""
    table = CallingList.__table__  # type: ignore[attr-defined]
    known = {"columns": shape.columns, "key_columns": shape.key_columns, "loaded_at": now}
    updated = sa.update(table).where(table.c.name == shape.name).values(known).returning(table.c.uid)
    uid = connection.execute(updated).scalar()
    if uid is None:
        row = {"name": shape.name, "description": "", "required_columns": shape.required_columns, **known}
        uid = connection.execute(sa.insert(table).values(row).returning(table.c.uid)).scalar_one()
    return int(uid)


def highest_uid(connection: sa.Connection) -> int:
    return int(connection.exec_driver_sql("SELECT coalesce(max(uid), 0) FROM record").scalar_one())


def is_empty(connection: sa.Connection, list_uid: int) -> bool:
    """Whether the list has no records."""
    records = sa.text("SELECT EXISTS (SELECT 1 FROM record WHERE list_uid = :list_uid)")
    return not connection.execute(records, {"list_uid": list_uid}).scalar_one()


def clear_list(connection: sa.Connection, list_uid: int, list_name: str, now: datetime) -> Loaded:
    """Results into the archive first, then the records go."""
    archived = archive_results(connection, list_uid, list_name, now)
    return Loaded(archived, remove_records(connection, list_uid))


def _refuse_to_clear_by_nothing(connection: sa.Connection, list_uid: int, order: Order) -> None:
    if order.load["processed"] or order.allow_empty:
        return
    counted = sa.text("SELECT count(*) FROM record WHERE list_uid = :list_uid")
    count = connection.execute(counted, {"list_uid": list_uid}).scalar_one()
    raise InputRefused(
        f"'{order.load['file_name']}' holds no good row, and policy replace would clear '{order.shape.name}' "
        f"({count:,} records). Correct the file, or set allow_empty if that is meant."
    )


def given_columns(staged: Sequence[str], *, account_is_key: bool, prefix: str = "") -> dict[str, str]:
    """SQL for the columns of `record` that the file gives, out of the staged ones."""
    account = {"account": f"{prefix}key"} if account_is_key else {}
    return account | {name: prefix + name for name in staged}


EMPTY = {"account": "''", "state": "''", "postal_code": "''"}
"""What a new record has where the file gives nothing. (Without numbers the database puts an empty array.)"""


# --- into an empty list -------------------------------------------------------------------------------


def _insert_all(connection: sa.Connection, staging: ListStaging, list_uid: int, first_uid: int, now: datetime) -> None:
    """SQLite: out of the attached scratch file. By key, so that the index is filled from its left to its right."""
    given = EMPTY | given_columns(staging.columns, account_is_key=staging.account_is_key)
    order = "" if staging.in_order else "ORDER BY key"
    instant = stored(now)
    connection.exec_driver_sql(
        f"INSERT INTO record (uid, list_uid, key, {', '.join(given)}, created_at, updated_at) "
        f"SELECT ? + line, ?, key, {', '.join(given.values())}, ?, ? FROM staged.good {order}",
        (first_uid, list_uid, instant, instant),
    )


def stored(instant: datetime) -> str:
    """An instant as SQLite has it (`headway.models.columns.UtcDateTime`)."""
    return instant.replace(tzinfo=None).isoformat(" ", "microseconds")


def _copy_in(connection: sa.Connection, staging: ListStaging, list_uid: int, _: int, _now: datetime) -> None:
    """PostgreSQL: by COPY. Both instants are the database's own defaults."""
    given = EMPTY | given_columns(staging.columns, account_is_key=staging.account_is_key)
    names = ", ".join(["key", *given, "list_uid"])
    driver: Any = connection.connection.driver_connection
    with driver.cursor().copy(f"COPY record ({names}) FROM STDIN") as copy:
        for batch in staging.rows(["key", *given.values()]):
            copy.write(copy_text(*zip(*batch, strict=True), [str(list_uid)] * len(batch)))


def copy_text(*columns: Sequence[str]) -> str:
    """Rows as COPY reads them, out of a sequence of values for each column."""
    rows = map("\t".join, zip(*(_escaped(column) for column in columns), strict=True))
    return "".join([f"{row}\n" for row in rows])


def _escaped(column: Sequence[str]) -> Iterable[str]:
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
    given = given_columns(staging.columns, account_is_key=staging.account_is_key, prefix="s.")
    merged = "json_patch(record.fields, s.fields)"
    if postgresql:
        merged = "CAST(CAST(record.fields AS jsonb) || CAST(s.fields AS jsonb) AS json)"
    changes = ", ".join(f"{name} = {merged if name == 'fields' else value}" for name, value in given.items())
    values = {
        "list_uid": list_uid,
        "now": now if postgresql else stored(now),
    }
    ours = "record.list_uid = :list_uid AND record.key = s.key"

    def run(statement: str) -> None:
        connection.execute(sa.text(statement), values)

    run(f"UPDATE record SET {changes}, updated_at = :now FROM {staged} AS s WHERE {ours}")
    new = EMPTY | given
    run(
        f"INSERT INTO record (list_uid, key, {', '.join(new)}, created_at, updated_at) "
        f"SELECT :list_uid, s.key, {', '.join(new.values())}, :now, :now FROM {staged} AS s "
        f"WHERE NOT EXISTS (SELECT 1 FROM record WHERE {ours}) ORDER BY s.line"
    )


def _copy_to_temporary(connection: sa.Connection, staging: ListStaging) -> None:
    kinds = {"line": "bigint", "key": "text"} | {
        name: "json" if name in ("fields", "phones") else "text" for name in staging.columns
    }
    columns = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
    connection.exec_driver_sql(f"CREATE TEMP TABLE staged ({columns}) ON COMMIT DROP")
    driver: Any = connection.connection.driver_connection
    with driver.cursor().copy(f"COPY staged ({', '.join(kinds)}) FROM STDIN") as copy:
        for batch in staging.rows([*kinds]):
            lines, *columns_ = zip(*batch, strict=True)
            texts = [_escaped(column) for column in columns_]
            copy.write("".join(f"{row}\n" for row in map("\t".join, zip(map(str, lines), *texts, strict=True))))
    connection.exec_driver_sql("ANALYZE staged")
