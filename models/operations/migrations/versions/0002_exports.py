"""Exports that survive a crash: files that are under way, and which rows they took; duplicates of an import.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

DATA = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Add the tables and the column."""
    # Not in a batch: that would copy the table, and each database can add a column with a default as it is.
    op.add_column("file_load", sa.Column("duplicates", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "file_export",
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("consumer", sa.String(100), nullable=False),
        sa.Column("stream", sa.String(100), nullable=False),
        sa.Column("run_key", sa.String(100), nullable=True),
        sa.Column("file_name", sa.String(255), nullable=False),
        sa.Column("ready_name", sa.String(255), nullable=False),
        sa.Column("processed", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("reached_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reached_uid", sa.Integer(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("receipts", DATA, nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_file_export")),
    )
    pending = sa.text("delivered_at IS NULL")
    op.create_index(
        op.f("uq_file_export_pending"),
        "file_export",
        ["consumer", "stream"],
        unique=True,
        sqlite_where=pending,
        postgresql_where=pending,
    )
    op.create_index(op.f("ix_file_export_run_key"), "file_export", ["run_key"], unique=False)
    op.create_table(
        "file_export_part",
        sa.Column("export_uid", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["export_uid"],
            ["file_export.uid"],
            name=op.f("fk_file_export_part_export_uid_file_export"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("export_uid", "number", name=op.f("pk_file_export_part")),
    )
    op.create_table(
        "exported_row",
        sa.Column("row_uid", sa.Integer(), nullable=False),
        sa.Column("export_uid", sa.Integer(), nullable=False),
        sa.Column("row_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["export_uid"],
            ["file_export.uid"],
            name=op.f("fk_exported_row_export_uid_file_export"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("row_uid", "export_uid", name=op.f("pk_exported_row")),
    )
    op.create_index(op.f("ix_exported_row_export_uid"), "exported_row", ["export_uid"], unique=False)


def downgrade() -> None:
    """Take them away again."""
    for table in ("exported_row", "file_export_part", "file_export"):
        op.drop_table(table)
    op.drop_column("file_load", "duplicates")
