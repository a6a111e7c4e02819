"""The work pool that a task type's runs are handed to."""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    name = sqlmodel.sql.sqltypes.AutoString()
    op.add_column("task_type", sa.Column("work_pool", name, nullable=False, server_default="headway"))


def downgrade() -> None:
    op.drop_column("task_type", "work_pool")
