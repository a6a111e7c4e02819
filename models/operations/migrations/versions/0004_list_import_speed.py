"""What loading a million records in seconds needs: a record is one row, and nothing is looked up for it.

Phone numbers come into their record, `list_uid` is no foreign key any more (a trigger keeps a list that has records
from being deleted), and PostgreSQL keeps `fields` as JSON, because nothing looks for what is within.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

LIST_KEY = "fk_record_list_uid_calling_list"
KEPT = "uid, list_uid, key, account, state, postal_code, fields, created_at, updated_at"
SQLITE_PHONES = """CASE WHEN EXISTS (SELECT 1 FROM record_phone WHERE record_uid = record.uid) THEN (
  WITH RECURSIVE place (n) AS (
    SELECT 1 UNION ALL
    SELECT n + 1 FROM place WHERE n < (SELECT max(position) FROM record_phone WHERE record_uid = record.uid))
  SELECT json_group_array(number) FROM (
    SELECT coalesce(record_phone.number, '') AS number FROM place
    LEFT JOIN record_phone ON record_uid = record.uid AND position = n ORDER BY n)
) ELSE '[]' END"""
POSTGRESQL_PHONES = """(
  SELECT json_agg(coalesce(number, '') ORDER BY n)
  FROM generate_series(1, (SELECT max(position) FROM record_phone WHERE record_uid = record.uid)) AS n
  LEFT JOIN record_phone ON record_uid = record.uid AND position = n)"""


def upgrade() -> None:
    """Move the numbers, and keep lists that have records."""
    if op.get_bind().dialect.name == "sqlite":
        _copy_records(_record(phones=True), "phones", SQLITE_PHONES)
        op.execute(
            "CREATE TRIGGER calling_list_in_use BEFORE DELETE ON calling_list "
            "WHEN EXISTS (SELECT 1 FROM record WHERE list_uid = OLD.uid) "
            "BEGIN SELECT RAISE(ABORT, 'the calling list still has records'); END"
        )
    else:
        op.add_column("record", sa.Column("phones", sa.JSON(), nullable=False, server_default=sa.text("'[]'")))
        op.execute(
            f"UPDATE record SET phones = {POSTGRESQL_PHONES} WHERE uid IN (SELECT DISTINCT record_uid FROM record_phone)"
        )
        op.drop_constraint(op.f(LIST_KEY), "record", type_="foreignkey")
        # One rewriting of the table. A load leaves out both instants, which would have to be read a million times.
        # Keys are compared by their bytes, as SQLite does it: no rule of a language has to be asked for each.
        op.execute(
            "ALTER TABLE record ALTER COLUMN fields TYPE json USING CAST(fields AS json), "
            'ALTER COLUMN key TYPE varchar(400) COLLATE "C", '
            "ALTER COLUMN created_at SET DEFAULT CURRENT_TIMESTAMP, ALTER COLUMN updated_at SET DEFAULT CURRENT_TIMESTAMP"
        )
        op.execute(
            "CREATE OR REPLACE FUNCTION calling_list_in_use() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF EXISTS (SELECT 1 FROM record WHERE list_uid = OLD.uid) THEN "
            "RAISE foreign_key_violation USING MESSAGE = 'the calling list still has records'; END IF; "
            "RETURN OLD; END $$"
        )
        op.execute(
            "CREATE TRIGGER calling_list_in_use BEFORE DELETE ON calling_list "
            "FOR EACH ROW EXECUTE FUNCTION calling_list_in_use()"
        )
    op.drop_table("record_phone")


def downgrade() -> None:
    """Give the numbers a table of their own again."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    op.create_table(
        "record_phone",
        sa.Column("record_uid", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("number", sa.String(20), nullable=False),
        sa.PrimaryKeyConstraint("record_uid", "position", name=op.f("pk_record_phone")),
        sqlite_with_rowid=False,
    )
    each = "json_each(record.phones) AS one" if sqlite else (
        "LATERAL json_array_elements_text(record.phones) WITH ORDINALITY AS one (value, position)"
    )  # fmt: skip
    position = "one.key + 1" if sqlite else "one.position"
    op.execute(
        "INSERT INTO record_phone (record_uid, position, number) "
        f"SELECT record.uid, {position}, one.value FROM record CROSS JOIN {each} WHERE one.value <> ''"
    )
    if sqlite:
        op.execute("DROP TRIGGER calling_list_in_use")
        _copy_records(_record(phones=False))
        return
    op.execute("DROP TRIGGER calling_list_in_use ON calling_list")
    op.execute("DROP FUNCTION calling_list_in_use()")
    op.execute(
        "ALTER TABLE record ALTER COLUMN fields TYPE jsonb USING CAST(fields AS jsonb), "
        'ALTER COLUMN key TYPE varchar(400) COLLATE "default", '
        "ALTER COLUMN created_at DROP DEFAULT, ALTER COLUMN updated_at DROP DEFAULT, DROP COLUMN phones"
    )
    op.create_foreign_key(op.f(LIST_KEY), "record", "calling_list", ["list_uid"], ["uid"])


def _record(*, phones: bool) -> list[sa.schema.SchemaItem]:
    """Columns and constraints of SQLite's `record`, with numbers or with the foreign key."""
    columns: list[sa.schema.SchemaItem] = [
        sa.Column("uid", sa.Integer(), nullable=False),
        sa.Column("list_uid", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(400), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("state", sa.String(2), nullable=False),
        sa.Column("postal_code", sa.String(10), nullable=False),
        sa.Column("fields", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_record")),
        sa.UniqueConstraint("list_uid", "key", name=op.f("uq_record_list_uid_key")),
    ]
    if phones:
        return [*columns, sa.Column("phones", sa.JSON(), nullable=False, server_default=sa.text("'[]'"))]
    return [*columns, sa.ForeignKeyConstraint(["list_uid"], ["calling_list.uid"], name=op.f(LIST_KEY))]


def _copy_records(items: list[sa.schema.SchemaItem], *further: str) -> None:
    """SQLite cannot drop a foreign key: make another table, copy, and let it take the name.

    further: one more column, and what fills it. Foreign keys are not enforced while migrations run; so it is looked
    here whether all of them hold.
    """
    names, values = (", ".join([KEPT, one]) for one in further) if further else (KEPT, KEPT)
    op.create_table("record_new", *items)
    op.execute(f"INSERT INTO record_new ({names}) SELECT {values} FROM record ORDER BY uid")
    op.drop_table("record")
    op.rename_table("record_new", "record")
    if broken := op.get_bind().exec_driver_sql("PRAGMA foreign_key_check").fetchall():
        raise RuntimeError(f"rows refer to others that are not there (table, row, ...): {broken[:5]}")
