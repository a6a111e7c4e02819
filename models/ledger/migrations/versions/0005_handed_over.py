"""The work pool that a run was handed to, whatever becomes of its type meanwhile."""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    name = sqlmodel.sql.sqltypes.AutoString()
    op.add_column("run", sa.Column("work_pool", name, nullable=False, server_default=""))
    op.execute(
        "UPDATE run SET work_pool = (SELECT work_pool FROM task_type WHERE task_type.name = run.type) "
        "WHERE ended_at IS NULL AND type IN (SELECT name FROM task_type WHERE work_pool <> 'headway')"
    )


def downgrade() -> None:
    op.drop_column("run", "work_pool")
