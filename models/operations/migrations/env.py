"""Alembic's entry for the operations database; `headway.models.operations.database.upgrade_operations` drives it."""

from typing import Any, Literal

import sqlalchemy as sa
from alembic import context
from sqlmodel import AutoString

from headway.models.columns import UtcDateTime
from headway.models.operations.database import MIGRATION_LOCK, VERSION_TABLE, operations_engine
from headway.models.operations.tables import metadata


def ours(name: str | None, kind: str, _parents: object) -> bool:
    """Other tables may live in the same PostgreSQL database; autogenerate must not wish to drop them."""
    return kind != "table" or name in metadata.tables


def plain_type(kind: str, item: Any, _context: object) -> str | Literal[False]:
    """Migrations name SQLAlchemy's own types only: a released one must not change with our classes."""
    if kind != "type":
        return False
    if isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if isinstance(item, sa.JSON):
        return 'sa.JSON().with_variant(postgresql.JSONB(), "postgresql")'
    if isinstance(item, AutoString):
        length = item.impl_instance.length  # type: ignore[attr-defined]
        return f"sa.String({length})" if length else "sa.String()"
    return False


def migrate(connection: sa.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        include_name=ours,
        render_as_batch=True,
        transactional_ddl=True,  # true of SQLite too, since operations_engine begins transactions itself
        render_item=plain_type,
        compare_type=True,
    )
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:  # `alembic -x url=sqlite:///operations.db revision --autogenerate`
    with operations_engine(context.get_x_argument(as_dictionary=True)["url"]).connect() as own:
        migrate(own)
