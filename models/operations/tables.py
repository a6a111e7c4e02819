"""The tables that tasks work on: a parking office and a contact centre.

They live in a database of their own (`operations.db` unless a URL says otherwise) and in a MetaData of
their own, so that nothing here can touch the scheduler's ledger, and the ledger's migrations never see
these tables. Uniqueness is a constraint of the database; imports rely on it and only explain it.

Every instant is aware UTC. Money is whole cents. `uid` is a number that the database gives.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from headway.models.columns import UtcDateTime

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

JSON_DATA = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


class OperationsModel(SQLModel, registry=registry(metadata=sa.MetaData(naming_convention=NAMING_CONVENTION))):
    """What all tables of this database share; `OperationsModel.metadata` holds exactly these tables."""


metadata = OperationsModel.metadata


def _choice(values: type[StrEnum], name: str, **kwargs: Any) -> Any:
    """A text column that holds a member's value, with a check constraint named after the column."""
    kind = sa.Enum(
        values,
        values_callable=lambda members: [member.value for member in members],
        native_enum=False,
        create_constraint=True,
        length=20,
        name=name,
    )
    return Field(sa_column=sa.Column(name, kind, nullable=False), **kwargs)


def _instant(*, nullable: bool = False, index: bool = False) -> Any:
    """An instant, aware UTC; None (where it may be) says that it has not happened."""
    column: sa.Column[Any] = sa.Column(UtcDateTime(), nullable=nullable, index=index)
    return Field(default=None, sa_column=column) if nullable else Field(sa_column=column)


def _json(default_factory: Any) -> Any:
    return Field(default_factory=default_factory, sa_column=sa.Column(JSON_DATA, nullable=False))


def _key(**kwargs: Any) -> Any:
    return Field(default=None, primary_key=True, **kwargs)


def _refers(column: str, **kwargs: Any) -> Any:
    return Field(foreign_key=column, index=True, **kwargs)


# --- parking ------------------------------------------------------------------------------------------


class PermitStatus(StrEnum):
    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class CitationStatus(StrEnum):
    OPEN = "open"
    PAID = "paid"
    APPEALED = "appealed"
    VOID = "void"


class Customer(OperationsModel, table=True):
    """A person with an account at the parking office."""

    uid: int | None = _key()
    account: str = Field(max_length=20, unique=True)
    first_name: str
    last_name: str = Field(index=True)
    email: str = ""
    phone: str = ""
    street: str = ""
    city: str = ""
    state: str = Field(default="", max_length=2)
    postal_code: str = Field(default="", max_length=10)
    created_at: datetime = _instant()


class Lot(OperationsModel, table=True):
    """A place to park."""

    __table_args__ = (sa.CheckConstraint("capacity >= 0", name="capacity"),)

    uid: int | None = _key()
    code: str = Field(max_length=10, unique=True)
    name: str
    zone: str = ""
    capacity: int = 0


class Permit(OperationsModel, table=True):
    """The right of one plate to use one lot from `valid_from` to `valid_to`, both days included."""

    __table_args__ = (sa.CheckConstraint("valid_to >= valid_from", name="period"),)

    uid: int | None = _key()
    number: str = Field(max_length=20, unique=True)
    customer_uid: int = _refers("customer.uid")
    lot_uid: int = _refers("lot.uid")
    plate: str = Field(max_length=10, index=True)
    valid_from: date
    valid_to: date
    price_cents: int = 0
    status: PermitStatus = _choice(PermitStatus, "status")


class Citation(OperationsModel, table=True):
    """A parking ticket. `customer_uid` is None until the plate's owner is known.

    `violation_code` names an entry of the lookup table `violation_codes`; it is a plain value, because a
    ticket keeps the code it was written with even after the code has left the lookup table.
    """

    __table_args__ = (sa.CheckConstraint("fine_cents >= 0 AND paid_cents >= 0", name="amounts"),)

    uid: int | None = _key()
    number: str = Field(max_length=20, unique=True)
    issued_at: datetime = _instant(index=True)
    lot_uid: int = _refers("lot.uid")
    customer_uid: int | None = _refers("customer.uid", default=None)
    plate: str = Field(max_length=10, index=True)
    plate_state: str = Field(max_length=2)
    violation_code: str = Field(max_length=10, index=True)
    fine_cents: int
    paid_cents: int = 0
    officer: str = ""
    note: str = ""
    status: CitationStatus = _choice(CitationStatus, "status")


class LookupTable(OperationsModel, table=True):
    """A named code list: violation codes, vehicle makes, states.

    Generic on purpose: every office keeps other code lists, each with columns of its own, and ops staff
    add one by importing a file. Real tables would want a migration for each. What must hold is held all
    the same: the name is unique here, the key is unique within its table in `lookup_entry`.
    """

    __tablename__ = "lookup_table"

    uid: int | None = _key()
    name: str = Field(max_length=60, unique=True)
    description: str = ""
    key_columns: list[str] = _json(list)
    loaded_at: datetime | None = _instant(nullable=True)


class LookupEntry(OperationsModel, table=True):
    """One row of a lookup table: its key (several key columns are joined by U+001F) and all its fields."""

    __tablename__ = "lookup_entry"
    __table_args__ = (sa.UniqueConstraint("lookup_uid", "key"),)

    uid: int | None = _key()
    lookup_uid: int = Field(foreign_key="lookup_table.uid")
    key: str = Field(max_length=400)
    fields: dict[str, Any] = _json(dict)
    updated_at: datetime = _instant()


# --- contact centre -----------------------------------------------------------------------------------


class CampaignState(StrEnum):
    STOPPED = "stopped"
    RUNNING = "running"


class DispositionKind(StrEnum):
    RECORD = "record"  # what became of the record as a whole
    CALL = "call"  # what became of one call


class ExclusionKind(StrEnum):
    INTERNAL = "internal"  # the number is skipped
    RECORD = "record"  # the whole record is skipped, by account
    AREA_CODE = "area_code"
    POSTAL_CODE = "postal_code"
    STATE = "state"


class Campaign(OperationsModel, table=True):
    """An outbound campaign. Its contact hours are wall-clock times (HH:MM) in its own IANA zone."""

    uid: int | None = _key()
    name: str = Field(max_length=100, unique=True)
    description: str = ""
    timezone: str = "America/New_York"
    opens: str = Field(default="09:00", max_length=5)
    closes: str = Field(default="20:00", max_length=5)
    form_fields: list[str] = _json(list)
    state: CampaignState = _choice(CampaignState, "state", default=CampaignState.STOPPED)
    started_at: datetime | None = _instant(nullable=True)
    stopped_at: datetime | None = _instant(nullable=True)


class CallingList(OperationsModel, table=True):
    """A list of records to call. `columns` is the order of the list's own fields in files."""

    __tablename__ = "calling_list"

    uid: int | None = _key()
    name: str = Field(max_length=100, unique=True)
    description: str = ""
    columns: list[str] = _json(list)
    key_columns: list[str] = _json(list)
    required_columns: list[str] = _json(list)
    loaded_at: datetime | None = _instant(nullable=True)


class CampaignList(OperationsModel, table=True):
    """A calling list at work in a campaign; only an enabled one is dialled."""

    __tablename__ = "campaign_list"

    campaign_uid: int = Field(foreign_key="campaign.uid", primary_key=True)
    list_uid: int = Field(foreign_key="calling_list.uid", primary_key=True, index=True)
    enabled: bool = True
    priority: int = 0


class Record(OperationsModel, table=True):
    """One entry of a calling list. `key` is unique within it (several columns are joined by U+001F).

    `account` is what exclusion lists of the kind *record* name. `phones` are the valid phone numbers (E.164) in the
    order in which they are tried; an empty text stands where a number is missing. How the file wrote a number stays
    in `fields`.

    A million of these are loaded at once, and each of these would cost a quarter of such a load and more: a foreign
    key of `list_uid` (a list that has records cannot be deleted: a trigger looks when that is tried), a table of the
    numbers, and JSONB (`fields` is read as a whole).
    """

    __table_args__ = (sa.UniqueConstraint("list_uid", "key"),)

    uid: int | None = _key()
    list_uid: int
    key: str = Field(max_length=400)
    account: str = ""
    state: str = Field(default="", max_length=2)
    postal_code: str = Field(default="", max_length=10)
    fields: dict[str, Any] = Field(default_factory=dict, sa_column=sa.Column(sa.JSON(), nullable=False))
    phones: list[str] = Field(
        default_factory=list, sa_column=sa.Column(sa.JSON(), nullable=False, server_default=sa.text("'[]'"))
    )
    created_at: datetime = _instant()
    updated_at: datetime = _instant()


class Disposition(OperationsModel, table=True):
    """An outcome with its code; `completes` ends the work on a record."""

    __table_args__ = (sa.UniqueConstraint("kind", "code"),)

    uid: int | None = _key()
    code: str = Field(max_length=20)
    name: str
    completes: bool = False
    kind: DispositionKind = _choice(DispositionKind, "kind")


class Attempt(OperationsModel, table=True):
    """One try at a record in a campaign, also one where nothing was dialled (`is_call_attempt` false).

    A call attempt is open until it has a call disposition.
    """

    __table_args__ = (
        sa.Index(None, "campaign_uid", "started_at", "uid"),
        sa.Index(None, "record_uid", "campaign_uid"),
        sa.CheckConstraint("answered_seconds >= 0", name="answered_seconds"),
    )

    uid: int | None = _key()
    campaign_uid: int = Field(foreign_key="campaign.uid")
    record_uid: int = Field(foreign_key="record.uid")
    started_at: datetime = _instant()
    phone: str = Field(default="", max_length=20)
    is_call_attempt: bool = True
    completed: bool = False
    out_of_quota: bool = False
    record_disposition_uid: int | None = Field(default=None, foreign_key="disposition.uid")
    call_disposition_uid: int | None = Field(default=None, foreign_key="disposition.uid")
    note: str = ""
    agent: str = ""
    ani: str = Field(default="", max_length=20)
    answered_seconds: int = 0
    interaction_id: str = Field(max_length=40, unique=True)
    form: dict[str, Any] = _json(dict)


class RecordResult(OperationsModel, table=True):
    """Where a record stands in a campaign: its latest disposition and how often it was tried."""

    __tablename__ = "record_result"
    __table_args__ = (
        sa.Index(None, "campaign_uid", "updated_at", "record_uid"),
        sa.CheckConstraint("attempts >= 0", name="attempts"),
    )

    campaign_uid: int = Field(foreign_key="campaign.uid", primary_key=True)
    record_uid: int = Field(foreign_key="record.uid", primary_key=True, index=True)
    disposition_uid: int | None = Field(default=None, foreign_key="disposition.uid")
    last_attempt_uid: int | None = Field(default=None, foreign_key="attempt.uid", index=True)
    attempts: int = 0
    completed: bool = False
    out_of_quota: bool = False
    updated_at: datetime = _instant()


class ResultArchive(OperationsModel, table=True):
    """What a replaced calling list's record had come to: a snapshot that refers to nothing that may go.

    A replacing import writes one row for each record and campaign before the record is deleted.
    `result` and `attempts` hold the names and codes of dispositions, not their numbers.
    """

    __tablename__ = "result_archive"
    __table_args__ = (sa.Index(None, "list_name", "archived_at"),)

    uid: int | None = _key()
    list_name: str = Field(max_length=100)
    campaign_name: str = Field(default="", max_length=100)
    record_key: str = Field(max_length=400)
    fields: dict[str, Any] = _json(dict)
    result: dict[str, Any] = _json(dict)
    attempts: list[dict[str, Any]] = _json(list)
    archived_at: datetime = _instant()


class ExclusionList(OperationsModel, table=True):
    """A do-not-call list. One that no campaign is associated with excludes nothing."""

    __tablename__ = "exclusion_list"

    uid: int | None = _key()
    name: str = Field(max_length=100, unique=True)
    description: str = ""
    kind: ExclusionKind = _choice(ExclusionKind, "kind")
    loaded_at: datetime | None = _instant(nullable=True)


class CampaignExclusion(OperationsModel, table=True):
    """A do-not-call list that holds for a campaign."""

    __tablename__ = "campaign_exclusion"

    campaign_uid: int = Field(foreign_key="campaign.uid", primary_key=True)
    exclusion_list_uid: int = Field(foreign_key="exclusion_list.uid", primary_key=True, index=True)


class ExclusionEntry(OperationsModel, table=True):
    """One excluded value (a number, an account, an area code, ...) and why."""

    __tablename__ = "exclusion_entry"
    __table_args__ = (sa.UniqueConstraint("exclusion_list_uid", "value"),)

    uid: int | None = _key()
    exclusion_list_uid: int = Field(foreign_key="exclusion_list.uid")
    value: str = Field(max_length=60, index=True)
    comment: str = ""
    added_at: datetime = _instant()


# --- what imports and exports remember ----------------------------------------------------------------


class Watermark(OperationsModel, table=True):
    """How far an export has got: the newest row (`reached_at`, `reached_uid`) that it has delivered.

    It is moved only after the file has been delivered, so a failed export loses nothing. `consumer` names
    who exports, `stream` what.
    """

    consumer: str = Field(max_length=100, primary_key=True)
    stream: str = Field(max_length=100, primary_key=True)
    reached_at: datetime = _instant()
    reached_uid: int = 0
    updated_at: datetime = _instant()


class FileLoad(OperationsModel, table=True):
    """A file that an import has loaded, written in the load's own transaction.

    `run_key` is the scheduler's run; a second attempt of that run finds the row, and loads nothing twice.
    """

    __tablename__ = "file_load"
    __table_args__ = (sa.UniqueConstraint("run_key", "file_name"), sa.Index(None, "target", "loaded_at"))

    uid: int | None = _key()
    run_key: str | None = Field(default=None, max_length=100)
    task_type: str = Field(max_length=60)
    target: str = Field(max_length=100)
    file_name: str = Field(max_length=255)
    bytes: int = Field(sa_type=sa.BigInteger)
    sha256: str = Field(max_length=64)
    processed: int
    errors: int
    error_file: str = ""
    duplicates: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # good rows that were there already
    loaded_at: datetime = _instant()


class FileExport(OperationsModel, table=True):
    """A file with new rows, written down before it is sent, so that the next run can end what was begun.

    Pending (`delivered_at` is None) there is one of a consumer and stream at most; `file_export_part` holds its
    content meanwhile. `reached_at` and `reached_uid` are what the watermark becomes. `run_key` is the scheduler's
    run that delivers it.
    """

    __tablename__ = "file_export"
    __table_args__ = (
        sa.Index(
            "uq_file_export_pending",
            "consumer",
            "stream",
            unique=True,
            sqlite_where=sa.text("delivered_at IS NULL"),
            postgresql_where=sa.text("delivered_at IS NULL"),
        ),
        sa.Index(None, "run_key"),
    )

    uid: int | None = _key()
    consumer: str = Field(max_length=100)
    stream: str = Field(max_length=100)
    run_key: str | None = Field(default=None, max_length=100)
    file_name: str = Field(max_length=255)
    ready_name: str = Field(default="", max_length=255)
    processed: int
    bytes: int = Field(sa_type=sa.BigInteger)
    sha256: str = Field(max_length=64)
    reached_at: datetime = _instant()
    reached_uid: int = 0
    made_at: datetime = _instant()
    delivered_at: datetime | None = _instant(nullable=True)
    receipts: list[dict[str, Any]] = _json(list)


class FileExportPart(OperationsModel, table=True):
    """A piece of a pending file's content, compressed (zlib); the pieces in order are the file."""

    __tablename__ = "file_export_part"

    export_uid: int = Field(foreign_key="file_export.uid", primary_key=True, ondelete="CASCADE")
    number: int = Field(primary_key=True)
    content: bytes


class ExportedRow(OperationsModel, table=True):
    """A row that an export took, as it was at `row_at`: so late ones near the watermark are told from those taken.

    Only rows not much older than the watermark are kept here.
    """

    __tablename__ = "exported_row"

    row_uid: int = Field(primary_key=True)
    export_uid: int = Field(foreign_key="file_export.uid", primary_key=True, index=True, ondelete="CASCADE")
    row_at: datetime = _instant()
