"""Tables that no query may read through a database block: how each database is made to keep them closed."""

from collections.abc import Collection

import sqlalchemy as sa

# By any of its columns, by owning it, or by what a SET ROLE would allow: a query can change its role by itself.
_OPEN = sa.text(
    """
    SELECT c.relname
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relname = ANY(:names) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND (
        EXISTS (
          SELECT FROM pg_catalog.pg_roles AS r
          WHERE pg_catalog.pg_has_role(session_user, r.oid, 'MEMBER')
            AND pg_catalog.has_any_column_privilege(r.oid, c.oid, 'SELECT')
        )
      )
    ORDER BY 1
    """
)


def open_tables(connection: sa.Connection, denied: Collection[str]) -> list[str]:
    """Those of the denied tables that the PostgreSQL login could read all the same, in whatever role."""
    return list(connection.execute(_OPEN, {"names": sorted(denied)}).scalars())


def is_denied(table: str | None, denied: Collection[str]) -> bool:
    """Whether the table, with or without its schema, is one of those."""
    return (table or "").rpartition(".")[2].strip('"').lower() in denied
