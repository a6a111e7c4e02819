"""Exclusion import ("Import exclusions by account"): loads accounts into a do-not-call list of the kind *record*.

The records of these accounts are excluded in every list of each campaign that the list is associated with: they
are neither dialled nor exported as results. Good rows are loaded in one transaction, all or none. Bad rows go to
NAME_error.csv beside the source, with line number and reason. The source is put away afterwards. A second attempt
of a run that died half-way ends as if nothing had happened.

Its counts: *processed* is the number of good rows, *errors* the number of bad rows, *bytes* the size of the files
read, *files* the receipts of the error files. A good row whose account is on an earlier line, or (policy add) in
the list already, is a duplicate: it is processed, changes nothing, and the summary says how many there were.
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
from headway.flows.shared.campaigns import load_writable
from headway.flows.shared.delivery import TRANSFER
from headway.flows.shared.exclusions import ENTRY, HOLDS_FOR, LIST
from headway.flows.shared.file_loads import Imported, Load, Receipt, Source, import_files, import_staged, keep_load
from headway.flows.shared.file_readers import FileFormat, OpenFile, open_rows, open_text
from headway.flows.shared.files import unbraced
from headway.flows.shared.incoming import After, OnMissing, Place, place_of
from headway.flows.shared.result import InputRefused, completed, report_progress
from headway.flows.shared.staging import Staging
from headway.models.operations.tables import ExclusionEntry, ExclusionKind

Policy = Literal["add", "replace"]
TASK_TYPE = "exclusion_import"
COMMENT_COLUMN = "comment"
MAX_ACCOUNT_CHARACTERS = 60
READING_SHARE = 60.0  # of the progress, in percent; loading is the rest


@dataclass(kw_only=True, frozen=True)
class Rules:
    """What the parameters ask of each row and of the load."""

    exclusion_list: str
    policy: Policy
    account_column: str
    comment_column: str
    format: FileFormat
    allow_empty: bool
    create_list: bool


@flow(name=TASK_TYPE, persist_result=False)
def exclusion_import(
    exclusion_list: Annotated[
        str, Field(min_length=1, max_length=100, json_schema_extra={"tokens": True})
    ] = "{object}",
    file_name: Annotated[str, Field(min_length=1, max_length=240, json_schema_extra={"tokens": True})] = "{object}.csv",
    policy: Policy = "add",
    account_column: Annotated[str, Field(min_length=1)] = "account",
    comment_column: str = COMMENT_COLUMN,
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
    create_list: bool = False,
) -> State[Any]:
    """Loads accounts into a do-not-call list of the kind record. Bad rows go to NAME_error.csv beside the source.

    Args:
        exclusion_list: Name of the do-not-call list; by default the task's object.
        file_name: Name of the file, or a pattern such as open_*.csv. It may hold {date}, {time}, {task} and {object}.
        policy: add (accounts that the list has already stay as they are) or replace (the list then holds this file's
            accounts only).
        account_column: The column that holds the account, as the header or the layout names it.
        comment_column: The column that holds the comment. A file without the column comment has no comments.
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
        allow_empty: Whether a file without good rows may replace, that is clear, the list.
        create_list: Whether the do-not-call list is made if there is none of that name.
    """
    unbraced(file_name)
    target = load_writable(database)
    place = place_of(source, importer, drop_folder, folder)
    rules = Rules(
        exclusion_list=exclusion_list,
        policy=policy,
        account_column=account_column,
        comment_column=comment_column,
        format=file,
        allow_empty=allow_empty,
        create_list=create_list,
    )
    check_list(target, rules)
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
    unused = warn_if_unused(target, rules)
    return completed(imported.result(what_was_loaded(imported, rules) + unused))


def what_was_loaded(imported: Imported, rules: Rules) -> str:
    """The beginning of the summary: rows, and how many of them were duplicates."""
    duplicates = sum(load["duplicates"] for load in imported.loads)
    new = imported.processed - duplicates
    told = f" ({new:,} new, {duplicates:,} duplicates ignored)" if duplicates else ""
    return f"{imported.processed:,} accounts into '{rules.exclusion_list}'{told}"


def import_file(place: Place, name: str, work: Path, rules: Rules, target: Database) -> tuple[Load, Receipt | None]:
    """Load a fetched file; returns what was loaded (as `file_load` keeps it) and the error file's receipt."""
    repeated = 0

    def sort(local: Path, staging: Staging) -> None:
        nonlocal repeated
        repeated = sort_rows(local, name, rules, staging)

    def load_good(staging: Staging, load: Load) -> Load:
        return load_rows(target, rules, staging, {**load, "processed": staging.good + repeated})

    return import_staged(place, name, work, {"task_type": TASK_TYPE, "target": rules.exclusion_list}, sort, load_good)


def sort_rows(local: Path, name: str, rules: Rules, staging: Staging) -> int:
    """Read the file once, and sort its rows into good and bad ones; returns how many accounts were repeated."""
    logger = get_run_logger()
    size, repeated = local.stat().st_size, 0
    with open_text(local, rules.format.encoding) as text:
        opened = open_rows(text, rules.format)
        comment_column = _checked_columns(name, opened, rules)
        for count, row in enumerate(opened.rows, 1):
            fields = dict(zip(opened.columns, row.values, strict=False))
            account = fields.get(rules.account_column, "").strip()
            if problem := row.problem or _problem_of(account, rules):
                staging.reject(row.line, problem, row.raw)
            elif not staging.add_first(row.line, account, {"comment": fields.get(comment_column, "")}, row.raw):
                repeated += 1
            if count % 1000 == 0:
                report_progress(logger, READING_SHARE * text.buffer.tell() / size, count)
    logger.info(
        f"{name}: {staging.good + repeated:,} good rows ({repeated:,} repeat an account), {staging.bad:,} bad rows"
    )
    return repeated


def _problem_of(account: str, rules: Rules) -> str:
    if not account:
        return f"column '{rules.account_column}' is empty"
    if len(account) > MAX_ACCOUNT_CHARACTERS:
        return f"the account is longer than {MAX_ACCOUNT_CHARACTERS} characters"
    return ""


def _checked_columns(name: str, opened: OpenFile, rules: Rules) -> str:
    """The comment's column, empty where the file has none. Raises InputRefused for a column that is not there."""
    wanted = {"account_column": rules.account_column}
    if rules.comment_column != COMMENT_COLUMN and rules.comment_column:  # it was named, so it has to be there
        wanted["comment_column"] = rules.comment_column
    for parameter, column in wanted.items():
        if opened.columns and column not in opened.columns:
            raise InputRefused(
                f"'{name}' has no column {column}; it has {', '.join(opened.columns)}. "
                f"Correct the file, its separator, or {parameter}."
            )
    return rules.comment_column if rules.comment_column in opened.columns else ""


def check_list(target: Database, rules: Rules) -> None:
    """Raises InputRefused unless the list is one of accounts, or may be made."""
    with target.reading() as connection:
        rows = connection.execute(sa.select(LIST.c.name, LIST.c.kind).order_by(LIST.c.name)).all()
    kinds = {row.name: ExclusionKind(row.kind) for row in rows}
    known = ", ".join(f"'{name}'" for name, kind in kinds.items() if kind is ExclusionKind.RECORD) or "none yet"
    kind = kinds.get(rules.exclusion_list)
    if kind is not None:
        _check_kind(rules.exclusion_list, kind, known)
    elif not rules.create_list:
        raise InputRefused(
            f"There is no exclusion list '{rules.exclusion_list}' (of the kind record there are: {known}). "
            "Correct the name, or set create_list."
        )


def _check_kind(name: str, kind: ExclusionKind, known: str) -> None:
    if kind is not ExclusionKind.RECORD:
        raise InputRefused(
            f"The exclusion list '{name}' is of the kind {kind.value}, which holds no accounts. "
            f"Name one of the kind record (there are: {known})."
        )


@task(name="load", **TRANSFER)
def load_rows(target: Database, rules: Rules, staging: Staging, load: Load) -> Load:
    """Change the list in one transaction: all good rows, or none. Returns the load with its duplicates counted."""
    engine = target.engine()
    try:
        with engine.begin() as connection:
            list_uid = _locked_list(connection, rules)
            if rules.policy == "replace":
                _clear(connection, list_uid, rules, load)
            before = _size(connection, list_uid)
            _insert(connection, list_uid, staging)
            new = _size(connection, list_uid) - before
            load = {**load, "duplicates": load["processed"] - new}
            keep_load(connection, load)
    finally:
        engine.dispose()
    return load


def _locked_list(connection: sa.Connection, rules: Rules) -> int:
    """The list's uid, made if it may be; its row stays locked, so that loads of one list queue."""
    name, now = rules.exclusion_list, datetime.now(UTC)
    updated = sa.update(LIST).where(LIST.c.name == name).values(loaded_at=now).returning(LIST.c.uid, LIST.c.kind)
    row = connection.execute(updated).first()
    if row is not None:
        _check_kind(name, ExclusionKind(row.kind), "see the task's page")
        return int(row.uid)
    made = sa.insert(LIST).values(name=name, description="", kind=ExclusionKind.RECORD, loaded_at=now)
    return int(connection.execute(made.returning(LIST.c.uid)).scalar_one())


def _size(connection: sa.Connection, list_uid: int) -> int:
    theirs = sa.select(sa.func.count()).select_from(ENTRY).where(ENTRY.c.exclusion_list_uid == list_uid)
    return int(connection.execute(theirs).scalar_one())


def _clear(connection: sa.Connection, list_uid: int, rules: Rules, load: Load) -> None:
    if not load["processed"] and not rules.allow_empty:
        raise InputRefused(
            f"'{load['file_name']}' holds no good row, and policy replace would clear '{rules.exclusion_list}' "
            f"({_size(connection, list_uid):,} accounts). Correct the file, or set allow_empty if that is meant."
        )
    connection.execute(sa.delete(ENTRY).where(ENTRY.c.exclusion_list_uid == list_uid))


def _insert(connection: sa.Connection, list_uid: int, staging: Staging) -> None:
    """Add the accounts; one that the list has already stays as it is."""
    logger = get_run_logger()
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(ExclusionEntry).on_conflict_do_nothing(index_elements=["exclusion_list_uid", "value"])
    now, total, done = datetime.now(UTC), staging.good, 0
    for batch in staging.batches():
        rows = [
            {"exclusion_list_uid": list_uid, "value": row.key, "comment": row.fields["comment"], "added_at": now}
            for row in batch
        ]
        connection.execute(statement, rows)
        done += len(rows)
        report_progress(logger, READING_SHARE + (100 - READING_SHARE) * done / (total + 1), done)


def warn_if_unused(target: Database, rules: Rules) -> str:
    """Warns, and returns what the summary says, where no campaign is associated with the list."""
    used = sa.exists().where(HOLDS_FOR.c.exclusion_list_uid == LIST.c.uid)
    with target.reading() as connection:
        found = connection.execute(sa.select(used).where(LIST.c.name == rules.exclusion_list)).scalar()
    if found is not False:  # None: there is no such list (yet), because no file was there
        return ""
    get_run_logger().warning(
        f"No campaign uses '{rules.exclusion_list}', so it excludes nothing. Associate a campaign with it."
    )
    return ", which no campaign uses"
