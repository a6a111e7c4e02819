"""Lookup import: loads a file into a lookup table (violation codes, vehicle makes, ...).

Good rows are loaded in one transaction, all or none. Bad rows go to NAME_error.csv beside the source, with
line number and reason. The source is put away afterwards. A second attempt of a run that died half-way
ends as if nothing had happened.

Its counts: *processed* is the number of good rows (also those that the table had already), *errors* the
number of bad rows, *bytes* the size of the files read, *files* the receipts of the error files.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from pydantic import Field
from sqlalchemy.dialects import postgresql, sqlite

from headway.blocks.database.block import Database
from headway.flows.data_export.flow import load_database
from headway.flows.shared.delivery import TRANSFER
from headway.flows.shared.file_loads import Load, Receipt, Source, import_files, import_staged, keep_load
from headway.flows.shared.file_readers import FileFormat, OpenFile, open_rows, open_text
from headway.flows.shared.files import unbraced
from headway.flows.shared.incoming import After, OnMissing, Place, place_of
from headway.flows.shared.result import InputRefused, RunResult, completed, report_progress
from headway.flows.shared.staging import StagedRow, Staging, make_key, row_problem, shown_key
from headway.models.operations.tables import LookupEntry, LookupTable

Policy = Literal["add", "update", "replace"]
TASK_TYPE = "lookup_import"
READING_SHARE = 60.0  # of the progress, in percent; loading is the rest


@dataclass(kw_only=True, frozen=True)
class Rules:
    """What the parameters ask of each row and of the load."""

    lookup: str
    policy: Policy
    key_columns: list[str]
    required_columns: list[str]
    format: FileFormat
    allow_empty: bool
    create_table: bool


@flow(name=TASK_TYPE, persist_result=False)
def lookup_import(
    lookup: Annotated[str, Field(min_length=1, max_length=60, json_schema_extra={"tokens": True})] = "{object}",
    file_name: Annotated[str, Field(min_length=1, max_length=240, json_schema_extra={"tokens": True})] = "{object}.csv",
    policy: Policy = "update",
    key_columns: list[str] = [],  # noqa: B006 - a JSON default; nothing changes it
    required_columns: list[str] = [],  # noqa: B006
    file: FileFormat = FileFormat(),
    source: Literal["importer", "drop_folder"] = "importer",
    importer: str = "importer",
    drop_folder: str = "drop-folder",
    folder: str = "",
    database: str = "operations",
    on_missing: OnMissing = "fail",
    wait_minutes: Annotated[int, Field(ge=0, le=1440)] = 60,
    after: After = "archive",
    archive_folder: Annotated[str, Field(min_length=1)] = "archive",
    allow_empty: bool = False,
    create_table: bool = False,
) -> State[RunResult]:
    """Loads a file into a lookup table. Good rows load, bad rows go to NAME_error.csv beside the source.

    Args:
        lookup: Name of the lookup table; by default the task's object.
        file_name: Name of the file, or a pattern such as codes_*.csv. It may hold {date}, {time}, {task} and {object}.
        policy: add (a key that the table has with other values is a bad row), update (by key; new keys are
            added) or replace (the table then holds this file's rows only).
        key_columns: The columns that make a row's key. Empty: the table's own.
        required_columns: Columns that must not be empty.
        file: How the file is laid out.
        source: Whether the file comes from the importer path (SFTP) or a local drop folder.
        importer: Name of the SFTP block that holds the importer path.
        drop_folder: Name of the drop folder block.
        folder: Folder below the drop folder's root.
        database: Name of the database block to load into.
        on_missing: Where no file is there: fail, wait (up to wait_minutes, then fail) or skip this time.
        wait_minutes: How long to wait for the file, in minutes.
        after: What becomes of a loaded file: archive, delete or leave.
        archive_folder: Folder for archived files, below the one where they were found.
        allow_empty: Whether a file without good rows may replace, that is clear, the table.
        create_table: Whether the lookup table is made if there is none of that name.
    """
    unbraced(file_name)
    target = load_database(database)
    place = place_of(source, importer, drop_folder, folder)
    rules = Rules(
        lookup=lookup,
        policy=policy,
        key_columns=key_columns,
        required_columns=required_columns,
        format=file,
        allow_empty=allow_empty,
        create_table=create_table,
    )
    files = Source(
        place=place,
        file_name=file_name,
        on_missing=on_missing,
        wait_minutes=wait_minutes,
        after=after,
        archive_folder=archive_folder,
    )

    def import_one(name: str, work: Path) -> tuple[Load, Receipt | None]:
        return import_file(place, name, work, rules, target)

    imported = import_files(files, target, import_one, one_only=policy == "replace")
    return completed(imported.result(f"{imported.processed:,} rows into {lookup}"))


def import_file(place: Place, name: str, work: Path, rules: Rules, target: Database) -> tuple[Load, Receipt | None]:
    """Load a fetched file; returns what was loaded (as `file_load` keeps it) and the error file's receipt."""

    def sort(local: Path, staging: Staging) -> None:
        sort_rows(local, name, rules, target, staging)

    def load_good(staging: Staging, load: Load) -> Load:
        load_rows(target, rules, staging, load)
        return load

    return import_staged(place, name, work, {"task_type": TASK_TYPE, "target": rules.lookup}, sort, load_good)


def sort_rows(local: Path, name: str, rules: Rules, target: Database, staging: Staging) -> None:
    """Read the file once, and sort its rows into good and bad ones. Nothing is changed yet."""
    logger = get_run_logger()
    table = find_table(target, rules)
    key_columns = rules.key_columns or (table["key_columns"] if table else [])
    size = local.stat().st_size
    with open_text(local, rules.format.encoding) as text:
        opened = open_rows(text, rules.format)
        _check_columns(name, opened, key_columns, rules.required_columns)
        for count, row in enumerate(opened.rows, 1):
            fields = dict(zip(opened.columns, row.values, strict=False))
            problem = row.problem or row_problem(fields, key_columns, rules.required_columns)
            if problem:
                staging.reject(row.line, problem, row.raw)
            else:
                staging.add(row.line, make_key(fields, key_columns), fields, row.raw)
            if count % 1000 == 0:
                report_progress(logger, READING_SHARE * text.buffer.tell() / size, count)
    if rules.policy == "add" and table:
        _settle_known_keys(target, table["uid"], staging)
    logger.info(f"{name}: {staging.good:,} good rows, {staging.bad:,} bad rows")


def find_table(target: Database, rules: Rules) -> dict[str, Any] | None:
    """The lookup table, or None where it is to be made. Raises InputRefused where it must be there."""
    with target.reading() as connection:
        rows = connection.execute(sa.select(LookupTable)).mappings().all()
    found = next((dict(row) for row in rows if row["name"] == rules.lookup), None)
    if found is None and not rules.create_table:
        known = ", ".join(sorted(row["name"] for row in rows)) or "none yet"
        raise InputRefused(
            f"There is no lookup table '{rules.lookup}' (there are: {known}). Correct the name, or set create_table."
        )
    if found is None and not rules.key_columns:
        raise InputRefused(f"key_columns is empty: the new lookup table '{rules.lookup}' needs its key.")
    if found and rules.key_columns not in ([], found["key_columns"]) and rules.policy != "replace":
        raise InputRefused(
            f"key_columns {rules.key_columns} differ from those of '{rules.lookup}', {found['key_columns']}. "
            "Only policy replace may change a table's key."
        )
    return found


def _check_columns(name: str, opened: OpenFile, key_columns: list[str], required: list[str]) -> None:
    if not opened.columns:  # an empty file; whether it may be loaded is the policy's question
        return
    missing = [column for column in dict.fromkeys([*key_columns, *required]) if column not in opened.columns]
    if missing:
        raise InputRefused(
            f"'{name}' has no column {', '.join(missing)}; it has {', '.join(opened.columns)}. "
            "Correct the file, its separator, or key_columns and required_columns."
        )


def _settle_known_keys(target: Database, lookup_uid: int, staging: Staging) -> None:
    """Policy add: a key that the table has with the same values is good; with others, the row is bad."""
    with target.reading() as connection:

        def judge(batch: list[StagedRow]) -> dict[int, str]:
            found = connection.execute(
                sa.select(LookupEntry.key, LookupEntry.fields).where(  # type: ignore[call-overload]
                    LookupEntry.lookup_uid == lookup_uid,
                    sa.column("key").in_([row.key for row in batch]),
                )
            )
            known = {row.key: row.fields for row in found}
            return {
                row.line: ""
                if known[row.key] == row.fields
                else f"the key '{shown_key(row.key)}' is in the table with other values"
                for row in batch
                if row.key in known
            }

        staging.settle(judge)


@task(name="load", **TRANSFER)
def load_rows(target: Database, rules: Rules, staging: Staging, load: Load) -> None:
    """Change the lookup table in one transaction: all good rows, or none."""
    engine = target.engine()
    try:
        with engine.begin() as connection:
            table_uid = _locked_table(connection, rules)
            if rules.policy == "replace":
                _clear(connection, table_uid, rules, load)
            _insert(connection, table_uid, staging, load["processed"])
            keep_load(connection, load)
    finally:
        engine.dispose()


def _locked_table(connection: sa.Connection, rules: Rules) -> int:
    """The lookup table's uid, made if it may be; its row stays locked, so that loads of one table queue."""
    values: dict[str, Any] = {"loaded_at": datetime.now(UTC)}
    if rules.key_columns:
        values["key_columns"] = rules.key_columns
    table = LookupTable.__table__  # type: ignore[attr-defined]
    updated = sa.update(table).where(table.c.name == rules.lookup).values(values).returning(table.c.uid)
    uid = connection.execute(updated).scalar()
    if uid is None:
        made = sa.insert(table).values(name=rules.lookup, description="", **values).returning(table.c.uid)
        uid = connection.execute(made).scalar_one()
    return int(uid)


def _clear(connection: sa.Connection, table_uid: int, rules: Rules, load: Load) -> None:
    entries = LookupEntry.__table__  # type: ignore[attr-defined]
    theirs = entries.c.lookup_uid == table_uid
    if not load["processed"] and not rules.allow_empty:
        count = connection.execute(sa.select(sa.func.count()).select_from(entries).where(theirs)).scalar_one()
        raise InputRefused(
            f"'{load['file_name']}' holds no good row, and policy replace would clear '{rules.lookup}' "
            f"({count:,} entries). Correct the file, or set allow_empty if that is meant."
        )
    connection.execute(sa.delete(entries).where(theirs))


def _insert(connection: sa.Connection, table_uid: int, staging: Staging, total: int) -> None:
    logger = get_run_logger()
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement: Any = insert(LookupEntry.__table__)  # type: ignore[attr-defined]
    changed = {"fields": statement.excluded.fields, "updated_at": statement.excluded.updated_at}
    statement = statement.on_conflict_do_update(index_elements=["lookup_uid", "key"], set_=changed)
    now, done = datetime.now(UTC), 0
    for batch in staging.batches():
        rows = [{"lookup_uid": table_uid, "key": row.key, "fields": row.fields, "updated_at": now} for row in batch]
        connection.execute(statement, rows)
        done += len(rows)
        report_progress(logger, READING_SHARE + (100 - READING_SHARE) * done / (total + 1), done)
