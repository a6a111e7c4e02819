"""Whether delivered files were picked up, which failures were told, and chores that one worker does at a time."""

import sqlalchemy as sa
import sqlmodel
from alembic import op

import headway.models.columns

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_LYING = sa.text("pickup = 'lying'")


def upgrade() -> None:
    op.create_table(
        "chore",
        sa.Column("name", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("next_at", headway.models.columns.UtcDateTime(timezone=True), nullable=False),
        sa.Column("worker_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_chore")),
    )
    op.add_column(
        "run", sa.Column("failure_alerted_at", headway.models.columns.UtcDateTime(timezone=True), nullable=True)
    )
    # What failed before there was such an alert is old news.
    op.execute("UPDATE run SET failure_alerted_at = ended_at WHERE status = 'failed'")
    kinds = sa.Enum("lying", "consumed", "replaced", "left", name="PickUp", native_enum=False, length=32)
    op.add_column("run_file", sa.Column("pickup", kinds, nullable=True))
    op.add_column("run_file", sa.Column("pickup_at", headway.models.columns.UtcDateTime(timezone=True), nullable=True))
    op.add_column("run_file", sa.Column("overdue_at", headway.models.columns.UtcDateTime(timezone=True), nullable=True))
    op.create_index("ix_run_file_lying", "run_file", ["id"], sqlite_where=_LYING, postgresql_where=_LYING)


def downgrade() -> None:
    op.drop_index("ix_run_file_lying", "run_file", sqlite_where=_LYING, postgresql_where=_LYING)
    for column in ("overdue_at", "pickup_at", "pickup"):
        op.drop_column("run_file", column)
    op.drop_column("run", "failure_alerted_at")
    op.drop_table("chore")
