"""What loading a million records needs: no index that nobody reads, and phone numbers in one tree.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the two indexes, store SQLite's phone numbers by their key, and find a result by its last attempt.

    A record's numbers come and go with it, by the same statements; that PostgreSQL looks the record up for each of
    a million numbers doubles the time of a load.
    """
    op.drop_index(op.f("ix_record_account"), table_name="record")
    op.drop_index(op.f("ix_record_phone_number"), table_name="record_phone")
    if op.get_bind().dialect.name == "sqlite":
        _copy_phones(sqlite_with_rowid=False)
    else:
        op.drop_constraint(op.f("fk_record_phone_record_uid_record"), "record_phone", type_="foreignkey")
    # Deleting an attempt looks for results that refer to it; without the index each looks through all of them.
    op.create_index(op.f("ix_record_result_last_attempt_uid"), "record_result", ["last_attempt_uid"])


def downgrade() -> None:
    """Go back to the indexes."""
    op.drop_index(op.f("ix_record_result_last_attempt_uid"), table_name="record_result")
    if op.get_bind().dialect.name == "sqlite":
        _copy_phones(_refers_to_record(), sqlite_with_rowid=True)
    else:
        op.create_foreign_key(
            op.f("fk_record_phone_record_uid_record"),
            "record_phone",
            "record",
            ["record_uid"],
            ["uid"],
            ondelete="CASCADE",
        )
    op.create_index(op.f("ix_record_phone_number"), "record_phone", ["number"])
    op.create_index(op.f("ix_record_account"), "record", ["account"])


def _refers_to_record() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["record_uid"], ["record.uid"], name=op.f("fk_record_phone_record_uid_record"), ondelete="CASCADE"
    )


def _copy_phones(*constraints: sa.Constraint, sqlite_with_rowid: bool) -> None:
    """SQLite cannot change how a table is stored: make another, copy, and let it take the name."""
    op.create_table(
        "record_phone_new",
        sa.Column("record_uid", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("number", sa.String(20), nullable=False),
        *constraints,
        sa.PrimaryKeyConstraint("record_uid", "position", name=op.f("pk_record_phone")),
        sqlite_with_rowid=sqlite_with_rowid,
    )
    op.execute("INSERT INTO record_phone_new SELECT record_uid, position, number FROM record_phone")
    op.drop_table("record_phone")
    op.rename_table("record_phone_new", "record_phone")
