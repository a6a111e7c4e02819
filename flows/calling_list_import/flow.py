"""Calling list import: loads a file of people to call into a calling list of the contact centre.

The file comes from the importer path, any SFTP folder or a local drop folder. Phone numbers become E.164; how the
file writes them stays with the record. Good rows are loaded in one transaction, all or none. Bad rows go to
NAME_error.csv beside the source, with line number and reason; where there are more of them than reject_limit
allows, nothing is loaded and the run fails. Policy replace puts the results of the old records into the archive
first. The source is put away afterwards. A second attempt of a run that died half-way ends as if nothing had
happened.

Its counts: *processed* is the number of good rows (also those that the list had already), *errors* the number of
bad rows, and one more where the file was late, *bytes* the size of the files read, *files* the receipts of the
error files. Of rows with the same key the first is good; the summary says how many others there were.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from pydantic import Field

from headway.blocks.database.block import Database
from headway.flows.calling_list_import.columnar_reader import open_blocks
from headway.flows.calling_list_import.known_rows import LeftOutNumbers, collector_paused, settle_known
from headway.flows.calling_list_import.layout import Layout, ListShape, Mapping, layout_of
from headway.flows.calling_list_import.load import Loaded, Order, load_list
from headway.flows.calling_list_import.phones import PhoneNumbers, Region
from headway.flows.calling_list_import.records import TakesGoodRows
from headway.flows.calling_list_import.rows import InvalidPhones, ListRows, staged_columns
from headway.flows.calling_list_import.staging import Duplicates, ListStaging
from headway.flows.calling_list_import.streaming_load import NotStraight, StraightLoad
from headway.flows.data_export.flow import load_database
from headway.flows.shared.delivery import TRANSFER
from headway.flows.shared.file_loads import Imported, Load, Receipt, Source, import_files, new_load
from headway.flows.shared.file_readers import FileFormat, open_text
from headway.flows.shared.files import unbraced
from headway.flows.shared.incoming import (
    After,
    Late,
    OnMissing,
    Place,
    SourceKind,
    error_file_name,
    place_of,
    put_error_file,
)
from headway.flows.shared.mail import MailDelivery, send_mail
from headway.flows.shared.result import LOGGED_ROWS, BadRows, InputRefused, completed, report_progress
from headway.models.operations.tables import CallingList

Policy = Literal["add", "update", "replace"]
OnMissingOrAlert = Literal["fail", "wait", "skip", "alert"]
RejectLimit = Annotated[str, Field(pattern=r"^([0-9]{1,9}|[0-9]{1,2}(\.[0-9]{1,3})?%|100%)?$")]
TASK_TYPE = "calling_list_import"
READING_SHARE = 60.0  # of the progress, in percent; loading is the rest


@dataclass(kw_only=True, frozen=True)
class Rules:
    """What the parameters ask of each row and of the load."""

    calling_list: str
    policy: Policy
    mapping: Mapping
    key_columns: list[str]
    required_columns: list[str]
    format: FileFormat
    region: str
    invalid_phones: InvalidPhones
    duplicates: Duplicates
    reject_limit: str
    allow_empty: bool
    create_list: bool


@flow(name=TASK_TYPE, persist_result=False)
def calling_list_import(
    calling_list: Annotated[str, Field(min_length=1, max_length=100, json_schema_extra={"tokens": True})] = "{object}",
    file_name: Annotated[str, Field(min_length=1, max_length=240, json_schema_extra={"tokens": True})] = "{object}.csv",
    which: Literal["all", "newest"] = "all",
    policy: Policy = "update",
    mapping: Mapping = Mapping(),
    key_columns: list[str] = [],  # noqa: B006 - a JSON default; nothing changes it
    required_columns: list[str] = [],  # noqa: B006
    file: FileFormat = FileFormat(),
    region: Region = "US",
    invalid_phones: InvalidPhones = "reject",
    duplicates: Duplicates = "reject",
    reject_limit: RejectLimit = "",
    source: SourceKind = "importer",
    importer: str = "importer",
    sftp_server: str = "",
    drop_folder: str = "drop-folder",
    folder: str = "",
    database: str = "operations",
    on_missing: OnMissingOrAlert = "fail",
    wait_minutes: Annotated[int, Field(ge=0, le=1440)] = 60,
    alert_minutes: Annotated[int, Field(ge=0, le=1440)] = 30,
    alert_mail: MailDelivery | None = None,
    after: After = "archive",
    archive_folder: Annotated[str, Field(min_length=1)] = "archive",
    allow_empty: bool = False,
    create_list: bool = False,
) -> State[Any]:
    """Loads a file into a calling list. Good rows load, bad rows go to NAME_error.csv beside the source.

    Args:
        calling_list: Name of the calling list; by default the task's object.
        file_name: Name of the file, or a pattern such as leads_*.csv. It may hold {date}, {time}, {task} and {object}.
        which: Of several files that fit: all, oldest first, or the newest only (older ones are put away unread).
        policy: add (a key that the list has with other values is a bad row), update (by key; new keys are added) or
            replace (results of the old records go to the archive, then the list holds this file's records only).
        mapping: Which column of the file holds what. Empty: by the columns' names.
        key_columns: The list's fields that make a record's key. Empty: the list's own.
        required_columns: Fields that must not be empty, besides the list's own required ones.
        file: How the file is laid out.
        region: Where phone numbers without a country code are from: two letters, such as US or DE.
        invalid_phones: What a number that is not valid does: reject (its row is bad) or warn (the record is loaded
            without that number).
        duplicates: What a row does whose key an earlier row has: reject (it is bad) or skip (it is only counted).
        reject_limit: So many bad rows are bearable, as a number (100) or percentage (2.5%). With more, nothing is
            loaded and the run fails. Empty: any number.
        source: Where the file comes from: the importer path, a folder of another SFTP server, or a local drop folder.
        importer: Name of the SFTP block that holds the importer path.
        sftp_server: Source sftp: name of the SFTP block.
        drop_folder: Source drop_folder: name of the drop folder block.
        folder: Folder below the SFTP server's or the drop folder's root.
        database: Name of the database block to load into.
        on_missing: Where no file is there: fail, wait (up to wait_minutes, then fail), alert (the same, and tell
            after alert_minutes) or skip this time.
        wait_minutes: How long to wait for the file, in minutes.
        alert_minutes: After how many minutes of waiting to tell that the file is late.
        alert_mail: Who is told by mail, besides the log.
        after: What becomes of a loaded file: archive, delete or leave.
        archive_folder: Folder for archived files, below the one where they were found.
        allow_empty: Whether a file without good rows may replace, that is clear, the list.
        create_list: Whether the calling list is made if there is none of that name.
    """
    unbraced(file_name)
    target = load_database(database)
    place = place_of(source, importer, drop_folder, folder, sftp_server)
    rules = Rules(
        calling_list=calling_list,
        policy=policy,
        mapping=mapping,
        key_columns=key_columns,
        required_columns=required_columns,
        format=file,
        region=region,
        invalid_phones=invalid_phones,
        duplicates=duplicates,
        reject_limit=reject_limit,
        allow_empty=allow_empty,
        create_list=create_list,
    )
    find_list(target, rules)
    lateness = Lateness(alert_mail)
    late = Late(timedelta(minutes=alert_minutes), lateness.tell) if on_missing == "alert" else None
    waiting: OnMissing = "wait" if on_missing == "alert" else on_missing
    files = Source(
        place=place,
        file_name=file_name,
        on_missing=waiting,
        wait_minutes=wait_minutes,
        after=after,
        archive_folder=archive_folder,
        newest=which == "newest",
        late=late,
    )

    def import_one(name: str, work: Path) -> tuple[Load, Receipt | None]:
        return import_file(place, name, work, rules, target)

    imported = import_files(files, target, import_one, one_only=policy == "replace")
    result = imported.result(what_was_loaded(imported, rules))
    result.errors += lateness.errors
    result.files += lateness.receipts
    return completed(result)


def what_was_loaded(imported: Imported, rules: Rules) -> str:
    """The beginning of the summary."""
    duplicates = sum(load["duplicates"] for load in imported.loads)
    told = f" ({duplicates:,} more repeated the key of an earlier row)" if duplicates else ""
    return f"{imported.processed:,} records into '{rules.calling_list}'{told}"


@dataclass
class Lateness:
    """Tells that the file is late, by the log and by mail; each error line that it writes is an error of the run."""

    mail: MailDelivery | None
    errors: int = 0
    receipts: list[Receipt] = field(default_factory=list)

    def tell(self, sentence: str) -> None:
        self.errors += 1
        get_run_logger().error(sentence)
        if self.mail is None:
            return
        receipt = send_mail(self.mail, text=sentence)
        self.receipts.append(receipt)
        self.errors += len(receipt["refused"])


@dataclass(kw_only=True)
class FileImport:
    """One fetched file on its way into the list, by one way or the other."""

    place: Place
    name: str
    work: Path
    rules: Rules
    target: Database
    shape: ListShape
    layout: Layout
    bad_when_told: int | None = None
    """So many bad rows had been sent and logged when the first way was closed."""
    receipt: Receipt | None = None
    """Of the error file."""

    @property
    def local(self) -> Path:
        return self.work / "source"

    @property
    def full_shape(self) -> ListShape:
        return self.shape if self.shape.columns else shape_of_new(self.shape, self.layout)

    @property
    def account_is_key(self) -> bool:
        return self.layout.account is not None and [self.layout.account] == self.layout.key

    def staging(self, name: str) -> ListStaging:
        return ListStaging(self.work / name, staged_columns(self.layout), account_is_key=self.account_is_key)

    def note(self, staging: ListStaging, repeated: int) -> Load:
        facts = {"task_type": TASK_TYPE, "target": self.rules.calling_list, "duplicates": repeated}
        error_file = error_file_name(self.name) if staging.bad else ""
        return new_load(
            self.local, self.name, **facts, processed=staging.good, errors=staging.bad, error_file=error_file
        )


def import_file(place: Place, name: str, work: Path, rules: Rules, target: Database) -> tuple[Load, Receipt | None]:
    """Load a fetched file; returns what was loaded (as `file_load` keeps it) and the error file's receipt."""
    shape = find_list(target, rules)
    with open_text(work / "source", rules.format.encoding) as text:
        columns = open_blocks(text, rules.format).columns
    layout = (
        layout_of(columns, rules.mapping, shape, rules.required_columns)
        if columns
        else Layout(columns=[], fields=[], key=[])
    )
    file = FileImport(place=place, name=name, work=work, rules=rules, target=target, shape=shape, layout=layout)
    try:
        load = load_straight(file)
    except NotStraight as reason:
        get_run_logger().debug(f"{name} is read first and then loaded: {reason}")
        load = load_staged(file)
    return load, file.receipt


def load_straight(file: FileImport) -> Load:
    """Load the file while it is read. Raises NotStraight where that cannot be; then nothing was changed."""
    replaces = file.rules.policy == "replace"
    columns, account_is_key = staged_columns(file.layout), file.account_is_key
    straight = StraightLoad(file.target, file.full_shape, columns, account_is_key=account_is_key, replace=replaces)
    with file.staging("straight.db") as staging, straight:
        left_out = sort_rows(file, staging, straight)
        if not straight.good:
            raise NotStraight("it has no good row")
        staging.good = straight.good
        settle_bad_rows(file, staging, 0, left_out)
        load = file.note(staging, 0)
        done = straight.finish(load)
    log_replaced(file.full_shape, replaces, done)
    return load


def load_staged(file: FileImport) -> Load:
    """Read the file into a scratch file, then load it."""
    rules = file.rules
    with file.staging("staging.db") as staging:
        left_out = sort_rows(file, staging, staging)
        repeated = staging.settle_duplicates(rules.duplicates)
        if repeated and rules.duplicates == "skip":
            get_run_logger().warning(f"{file.name}: {repeated:,} rows repeat the key of an earlier row: left out.")
        if rules.policy == "add" and file.shape.uid is not None:
            settle_known(file.target, file.shape.uid, staging)
        staging.finish()
        settle_bad_rows(file, staging, repeated, left_out)
        load = file.note(staging, repeated)
        replaces, updates = rules.policy == "replace", rules.policy == "update"
        load_rows(
            file.target,
            staging,
            Order(shape=file.full_shape, replace=replaces, update=updates, allow_empty=rules.allow_empty, load=load),
        )
    return load


def settle_bad_rows(file: FileImport, staging: ListStaging, repeated: int, left_out: LeftOutNumbers) -> None:
    """Tell of bad rows and numbers, once, and raise InputRefused where they are too many."""
    if file.bad_when_told != staging.bad:
        counts = f"{staging.good:,} good rows, {staging.bad:,} bad rows, {repeated:,} duplicates"
        get_run_logger().info(f"{file.name}: {counts}")
        left_out.tell()
        file.receipt = deliver_bad_rows(file.place, file.local, file.name, file.work, file.rules, staging)
        file.bad_when_told = staging.bad
    check_reject_limit(file.name, file.rules, staging, repeated)


def find_list(target: Database, rules: Rules) -> ListShape:
    """The calling list, or what is to be made. Raises InputRefused where it must be there."""
    with target.reading() as connection:
        rows = connection.execute(sa.select(CallingList).order_by(CallingList.name)).mappings().all()
    found = next((row for row in rows if row["name"] == rules.calling_list), None)
    if found is None:
        if not rules.create_list:
            known = ", ".join(f"'{row['name']}'" for row in rows) or "none yet"
            raise InputRefused(
                f"There is no calling list '{rules.calling_list}' (there are: {known}). "
                "Correct the name, or set create_list."
            )
        if not rules.key_columns:
            raise InputRefused(f"key_columns is empty: the new calling list '{rules.calling_list}' needs its key.")
        return ListShape(
            uid=None,
            name=rules.calling_list,
            columns=[],
            key_columns=rules.key_columns,
            required_columns=rules.required_columns,
        )
    own_key = found["key_columns"]
    if rules.key_columns not in ([], own_key) and rules.policy != "replace" and own_key:
        raise InputRefused(
            f"key_columns {rules.key_columns} differ from those of '{rules.calling_list}', {own_key}. "
            "Only policy replace may change a list's key."
        )
    key_columns = rules.key_columns or own_key
    if not key_columns:
        raise InputRefused(f"The calling list '{rules.calling_list}' has no key yet: name its fields in key_columns.")
    return ListShape(
        uid=found["uid"],
        name=found["name"],
        columns=found["columns"],
        key_columns=key_columns,
        required_columns=found["required_columns"],
    )


def shape_of_new(shape: ListShape, layout: Layout) -> ListShape:
    """The shape of a list that has no fields yet: it takes those of the file."""
    return ListShape(
        uid=shape.uid,
        name=shape.name,
        columns=layout.list_columns,
        key_columns=shape.key_columns,
        required_columns=shape.required_columns,
    )


def sort_rows(file: FileImport, staging: ListStaging, good_ones: TakesGoodRows) -> LeftOutNumbers:
    """Read the file once: bad rows into `staging`, good ones to where they are taken."""
    logger, rules = get_run_logger(), file.rules
    size = file.local.stat().st_size or 1
    left_out = LeftOutNumbers(logger, file.name)
    rows = ListRows(file.layout, PhoneNumbers(rules.region), rules.invalid_phones, rules.format.trim, left_out.add)
    with open_text(file.local, rules.format.encoding) as text, collector_paused():
        for block in open_blocks(text, rules.format).blocks:
            rows.take(block, staging, good_ones)
            report_progress(logger, READING_SHARE * text.buffer.tell() / size)  # nothing is processed yet
    return left_out


def deliver_bad_rows(
    place: Place, local: Path, name: str, work: Path, rules: Rules, staging: ListStaging
) -> Receipt | None:
    """Put the bad rows beside the source, and log them. Without any, an error file of earlier ones goes away."""
    count = staging.bad
    if count:
        with open_text(local, rules.format.encoding) as text:
            staging.write_error_file(work / "errors.csv", text)
    receipt = put_error_file(place, work / "errors.csv" if count else None, error_file_name(name))
    bad_rows = BadRows(get_run_logger(), name)
    for line, reason, _ in staging.bad_rows(LOGGED_ROWS):
        bad_rows.add(line, reason)
    bad_rows.count = count
    bad_rows.finish(error_file_name(name))
    return receipt


def check_reject_limit(name: str, rules: Rules, staging: ListStaging, repeated: int) -> None:
    """Raises InputRefused where more rows are bad than reject_limit allows."""
    limit, bad = rules.reject_limit, staging.bad
    if not limit:
        return
    rows = staging.good + bad + (repeated if rules.duplicates == "skip" else 0)
    allowed = rows * float(limit[:-1]) / 100 if limit.endswith("%") else float(limit)
    if bad > allowed:
        raise InputRefused(
            f"'{name}': {bad:,} of {rows:,} rows are bad, and reject_limit allows {limit}: nothing was loaded. "
            f"Correct the file (the bad rows are in {error_file_name(name)}), or raise the limit."
        )


@task(name="load", **TRANSFER)
def load_rows(target: Database, staging: ListStaging, order: Order) -> None:
    """Change the calling list in one transaction, and say what happened to its old records."""
    log_replaced(order.shape, order.replace, load_list(target, staging, order))


def log_replaced(shape: ListShape, replaced: bool, done: Loaded) -> None:
    if replaced:
        get_run_logger().info(
            f"Replaced {done.removed:,} records of '{shape.name}'; {done.archived:,} results are in the archive."
        )
