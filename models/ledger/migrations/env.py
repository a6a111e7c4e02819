"""Alembic's way to the scheduler's tables; the connection comes from headway.models.ledger.database.migrate."""

from alembic import context

from headway.models.ledger import tables

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=tables.metadata,
    render_as_batch=True,
    compare_type=True,
    transaction_per_migration=False,
)
context.run_migrations()
