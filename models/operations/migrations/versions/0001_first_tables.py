"""The first tables of the operations database.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

DATA = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

TABLES = [
    "record_result",
    "record_phone",
    "attempt",
    "record",
    "permit",
    "lookup_entry",
    "exclusion_entry",
    "citation",
    "campaign_list",
    "campaign_exclusion",
    "watermark",
    "result_archive",
    "lot",
    "lookup_table",
    "file_load",
    "exclusion_list",
    "disposition",
    "customer",
    "campaign",
    "calling_list",
]


def upgrade() -> None:
    op.create_table(
        "calling_list",
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("columns", DATA, nullable=False),
        sa.Column("key_columns", DATA, nullable=False),
        sa.Column("required_columns", DATA, nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_calling_list")),
        sa.UniqueConstraint("name", name=op.f("uq_calling_list_name")),
    )
    op.create_table(
        "campaign",
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("timezone", sa.String(), nullable=False),
        sa.Column("opens", sa.String(5), nullable=False),
        sa.Column("closes", sa.String(5), nullable=False),
        sa.Column("form_fields", DATA, nullable=False),
        sa.Column(
            "state",
            sa.Enum("stopped", "running", name="state", native_enum=False, create_constraint=True, length=20),
            nullable=False,
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_campaign")),
        sa.UniqueConstraint("name", name=op.f("uq_campaign_name")),
    )
    op.create_table(
        "customer",
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("account", sa.String(20), nullable=False),
        sa.Column("first_name", sa.String(), nullable=False),
        sa.Column("last_name", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("phone", sa.String(), nullable=False),
        sa.Column("street", sa.String(), nullable=False),
        sa.Column("city", sa.String(), nullable=False),
        sa.Column("state", sa.String(2), nullable=False),
        sa.Column("postal_code", sa.String(10), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_customer")),
        sa.UniqueConstraint("account", name=op.f("uq_customer_account")),
    )
    with op.batch_alter_table("customer", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_customer_last_name"), ["last_name"], unique=False)

    op.create_table(
        "disposition",
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(20), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("completes", sa.Boolean(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum("record", "call", name="kind", native_enum=False, create_constraint=True, length=20),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_disposition")),
        sa.UniqueConstraint("kind", "code", name=op.f("uq_disposition_kind_code")),
    )
    op.create_table(
        "exclusion_list",
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "internal",
                "record",
                "area_code",
                "postal_code",
                "state",
                name="kind",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("loaded_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_exclusion_list")),
        sa.UniqueConstraint("name", name=op.f("uq_exclusion_list_name")),
    )
    op.create_table(
        "file_load",
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("run_key", sa.String(100), nullable=True),
        sa.Column("task_type", sa.String(60), nullable=False),
        sa.Column("target", sa.String(100), nullable=False),
        sa.Column("file_name", sa.String(255), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("processed", sa.Integer(), nullable=False),
        sa.Column("errors", sa.Integer(), nullable=False),
        sa.Column("error_file", sa.String(), nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_file_load")),
        sa.UniqueConstraint("run_key", "file_name", name=op.f("uq_file_load_run_key_file_name")),
    )
    with op.batch_alter_table("file_load", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_file_load_target_loaded_at"), ["target", "loaded_at"], unique=False)

    op.create_table(
        "lookup_table",
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("key_columns", DATA, nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_lookup_table")),
        sa.UniqueConstraint("name", name=op.f("uq_lookup_table_name")),
    )
    op.create_table(
        "lot",
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(10), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("zone", sa.String(), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=False),
        sa.CheckConstraint("capacity >= 0", name=op.f("ck_lot_capacity")),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_lot")),
        sa.UniqueConstraint("code", name=op.f("uq_lot_code")),
    )
    op.create_table(
        "result_archive",
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("list_name", sa.String(100), nullable=False),
        sa.Column("campaign_name", sa.String(100), nullable=False),
        sa.Column("record_key", sa.String(400), nullable=False),
        sa.Column("fields", DATA, nullable=False),
        sa.Column("result", DATA, nullable=False),
        sa.Column("attempts", DATA, nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_result_archive")),
    )
    with op.batch_alter_table("result_archive", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_result_archive_list_name_archived_at"), ["list_name", "archived_at"], unique=False
        )

    op.create_table(
        "watermark",
        sa.Column("consumer", sa.String(100), nullable=False),
        sa.Column("stream", sa.String(100), nullable=False),
        sa.Column("reached_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reached_uid", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("consumer", "stream", name=op.f("pk_watermark")),
    )
    op.create_table(
        "campaign_exclusion",
        sa.Column("campaign_uid", sa.Integer(), nullable=False),
        sa.Column("exclusion_list_uid", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_uid"], ["campaign.uid"], name=op.f("fk_campaign_exclusion_campaign_uid_campaign")
        ),
        sa.ForeignKeyConstraint(
            ["exclusion_list_uid"],
            ["exclusion_list.uid"],
            name=op.f("fk_campaign_exclusion_exclusion_list_uid_exclusion_list"),
        ),
        sa.PrimaryKeyConstraint("campaign_uid", "exclusion_list_uid", name=op.f("pk_campaign_exclusion")),
    )
    with op.batch_alter_table("campaign_exclusion", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_campaign_exclusion_exclusion_list_uid"), ["exclusion_list_uid"], unique=False
        )

    op.create_table(
        "campaign_list",
        sa.Column("campaign_uid", sa.Integer(), nullable=False),
        sa.Column("list_uid", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_uid"], ["campaign.uid"], name=op.f("fk_campaign_list_campaign_uid_campaign")
        ),
        sa.ForeignKeyConstraint(
            ["list_uid"], ["calling_list.uid"], name=op.f("fk_campaign_list_list_uid_calling_list")
        ),
        sa.PrimaryKeyConstraint("campaign_uid", "list_uid", name=op.f("pk_campaign_list")),
    )
    with op.batch_alter_table("campaign_list", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_campaign_list_list_uid"), ["list_uid"], unique=False)

    op.create_table(
        "citation",
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("number", sa.String(20), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lot_uid", sa.Integer(), nullable=False),
        sa.Column("customer_uid", sa.Integer(), nullable=True),
        sa.Column("plate", sa.String(10), nullable=False),
        sa.Column("plate_state", sa.String(2), nullable=False),
        sa.Column("violation_code", sa.String(10), nullable=False),
        sa.Column("fine_cents", sa.Integer(), nullable=False),
        sa.Column("paid_cents", sa.Integer(), nullable=False),
        sa.Column("officer", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "open",
                "paid",
                "appealed",
                "void",
                name="status",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.CheckConstraint("fine_cents >= 0 AND paid_cents >= 0", name=op.f("ck_citation_amounts")),
        sa.ForeignKeyConstraint(["customer_uid"], ["customer.uid"], name=op.f("fk_citation_customer_uid_customer")),
        sa.ForeignKeyConstraint(["lot_uid"], ["lot.uid"], name=op.f("fk_citation_lot_uid_lot")),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_citation")),
        sa.UniqueConstraint("number", name=op.f("uq_citation_number")),
    )
    with op.batch_alter_table("citation", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_citation_customer_uid"), ["customer_uid"], unique=False)
        batch_op.create_index(batch_op.f("ix_citation_issued_at"), ["issued_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_citation_lot_uid"), ["lot_uid"], unique=False)
        batch_op.create_index(batch_op.f("ix_citation_plate"), ["plate"], unique=False)
        batch_op.create_index(batch_op.f("ix_citation_violation_code"), ["violation_code"], unique=False)

    op.create_table(
        "exclusion_entry",
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("exclusion_list_uid", sa.Integer(), nullable=False),
        sa.Column("value", sa.String(60), nullable=False),
        sa.Column("comment", sa.String(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["exclusion_list_uid"],
            ["exclusion_list.uid"],
            name=op.f("fk_exclusion_entry_exclusion_list_uid_exclusion_list"),
        ),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_exclusion_entry")),
        sa.UniqueConstraint("exclusion_list_uid", "value", name=op.f("uq_exclusion_entry_exclusion_list_uid_value")),
    )
    with op.batch_alter_table("exclusion_entry", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_exclusion_entry_value"), ["value"], unique=False)

    op.create_table(
        "lookup_entry",
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("lookup_uid", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(400), nullable=False),
        sa.Column("fields", DATA, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["lookup_uid"], ["lookup_table.uid"], name=op.f("fk_lookup_entry_lookup_uid_lookup_table")
        ),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_lookup_entry")),
        sa.UniqueConstraint("lookup_uid", "key", name=op.f("uq_lookup_entry_lookup_uid_key")),
    )
    op.create_table(
        "permit",
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("number", sa.String(20), nullable=False),
        sa.Column("customer_uid", sa.Integer(), nullable=False),
        sa.Column("lot_uid", sa.Integer(), nullable=False),
        sa.Column("plate", sa.String(10), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=False),
        sa.Column("price_cents", sa.Integer(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "active",
                "expired",
                "revoked",
                name="status",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.CheckConstraint("valid_to >= valid_from", name=op.f("ck_permit_period")),
        sa.ForeignKeyConstraint(["customer_uid"], ["customer.uid"], name=op.f("fk_permit_customer_uid_customer")),
        sa.ForeignKeyConstraint(["lot_uid"], ["lot.uid"], name=op.f("fk_permit_lot_uid_lot")),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_permit")),
        sa.UniqueConstraint("number", name=op.f("uq_permit_number")),
    )
    with op.batch_alter_table("permit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_permit_customer_uid"), ["customer_uid"], unique=False)
        batch_op.create_index(batch_op.f("ix_permit_lot_uid"), ["lot_uid"], unique=False)
        batch_op.create_index(batch_op.f("ix_permit_plate"), ["plate"], unique=False)

    op.create_table(
        "record",
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("list_uid", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(400), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("state", sa.String(2), nullable=False),
        sa.Column("postal_code", sa.String(10), nullable=False),
        sa.Column("fields", DATA, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["list_uid"], ["calling_list.uid"], name=op.f("fk_record_list_uid_calling_list")),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_record")),
        sa.UniqueConstraint("list_uid", "key", name=op.f("uq_record_list_uid_key")),
    )
    with op.batch_alter_table("record", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_record_account"), ["account"], unique=False)

    op.create_table(
        "attempt",
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("campaign_uid", sa.Integer(), nullable=False),
        sa.Column("record_uid", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("phone", sa.String(20), nullable=False),
        sa.Column("is_call_attempt", sa.Boolean(), nullable=False),
        sa.Column("completed", sa.Boolean(), nullable=False),
        sa.Column("out_of_quota", sa.Boolean(), nullable=False),
        sa.Column("record_disposition_uid", sa.Integer(), nullable=True),
        sa.Column("call_disposition_uid", sa.Integer(), nullable=True),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("agent", sa.String(), nullable=False),
        sa.Column("ani", sa.String(20), nullable=False),
        sa.Column("answered_seconds", sa.Integer(), nullable=False),
        sa.Column("interaction_id", sa.String(40), nullable=False),
        sa.Column("form", DATA, nullable=False),
        sa.CheckConstraint("answered_seconds >= 0", name=op.f("ck_attempt_answered_seconds")),
        sa.ForeignKeyConstraint(
            ["call_disposition_uid"],
            ["disposition.uid"],
            name=op.f("fk_attempt_call_disposition_uid_disposition"),
        ),
        sa.ForeignKeyConstraint(["campaign_uid"], ["campaign.uid"], name=op.f("fk_attempt_campaign_uid_campaign")),
        sa.ForeignKeyConstraint(
            ["record_disposition_uid"],
            ["disposition.uid"],
            name=op.f("fk_attempt_record_disposition_uid_disposition"),
        ),
        sa.ForeignKeyConstraint(["record_uid"], ["record.uid"], name=op.f("fk_attempt_record_uid_record")),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_attempt")),
        sa.UniqueConstraint("interaction_id", name=op.f("uq_attempt_interaction_id")),
    )
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_attempt_campaign_uid_started_at_uid"),
            ["campaign_uid", "started_at", "uid"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_attempt_record_uid_campaign_uid"), ["record_uid", "campaign_uid"], unique=False
        )

    op.create_table(
        "record_phone",
        sa.Column("record_uid", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("number", sa.String(20), nullable=False),
        sa.ForeignKeyConstraint(
            ["record_uid"], ["record.uid"], name=op.f("fk_record_phone_record_uid_record"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("record_uid", "position", name=op.f("pk_record_phone")),
    )
    with op.batch_alter_table("record_phone", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_record_phone_number"), ["number"], unique=False)

    op.create_table(
        "record_result",
        sa.Column("campaign_uid", sa.Integer(), nullable=False),
        sa.Column("record_uid", sa.Integer(), nullable=False),
        sa.Column("disposition_uid", sa.Integer(), nullable=True),
        sa.Column("last_attempt_uid", sa.Integer(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("completed", sa.Boolean(), nullable=False),
        sa.Column("out_of_quota", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_record_result_attempts")),
        sa.ForeignKeyConstraint(
            ["campaign_uid"], ["campaign.uid"], name=op.f("fk_record_result_campaign_uid_campaign")
        ),
        sa.ForeignKeyConstraint(
            ["disposition_uid"],
            ["disposition.uid"],
            name=op.f("fk_record_result_disposition_uid_disposition"),
        ),
        sa.ForeignKeyConstraint(
            ["last_attempt_uid"], ["attempt.uid"], name=op.f("fk_record_result_last_attempt_uid_attempt")
        ),
        sa.ForeignKeyConstraint(["record_uid"], ["record.uid"], name=op.f("fk_record_result_record_uid_record")),
        sa.PrimaryKeyConstraint("campaign_uid", "record_uid", name=op.f("pk_record_result")),
    )
    with op.batch_alter_table("record_result", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_record_result_campaign_uid_updated_at_record_uid"),
            ["campaign_uid", "updated_at", "record_uid"],
            unique=False,
        )
        batch_op.create_index(batch_op.f("ix_record_result_record_uid"), ["record_uid"], unique=False)


def downgrade() -> None:
    """Drop the tables, those that refer to others first."""
    for table in TABLES:
        op.drop_table(table)
