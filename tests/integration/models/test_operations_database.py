"""The operations database: its migrations, its constraints, and the sample world."""

import subprocess
import sys
from datetime import datetime

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from headway.models.ledger.database import sqlite_module
from headway.models.operations import sample_data, tables
from headway.models.operations.database import (
    VERSION_TABLE,
    downgrade_operations,
    operations_engine,
    upgrade_operations,
)
from headway.models.operations.tables import ExclusionEntry, LookupEntry, metadata

pytest_plugins = ["tests.support.flow_world"]


def test_a_migrated_database_has_nothing_left_to_migrate(empty_database_url):
    upgrade_operations(empty_database_url)
    upgrade_operations(empty_database_url)  # harmless twice
    engine = operations_engine(empty_database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_processes_that_migrate_at_the_same_time_do_it_once(empty_database_url):
    command = [sys.executable, "-m", "headway.models.operations.database", empty_database_url]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [(process.communicate()[1], process.returncode) for process in processes] == [("", 0)] * 3
    assert "lookup_entry" in rows_of_all_tables(empty_database_url)


def test_tables_of_the_scheduler_are_not_among_these():
    assert not {"task", "run", "run_event", "lock"} & set(metadata.tables)
    assert all(model.metadata is metadata for model in (tables.Campaign, tables.Watermark))


def test_every_constraint_and_index_has_a_name_that_postgresql_can_keep():
    for table in metadata.tables.values():
        for item in [*table.constraints, *table.indexes]:
            name = str(sa.schema.conv(item.name)) if item.name else ""
            assert len(name) <= 63, name


def test_a_sqlite_file_is_in_wal_only_with_a_sqlite_that_has_the_fix(tmp_path):
    url = f"sqlite:///{tmp_path / 'deep' / 'operations.db'}"  # the folder is made
    upgrade_operations(url)
    with operations_engine(url).connect() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    assert (mode == "wal") == (sqlite_module().sqlite_version_info >= (3, 51, 3))


def rows_of_all_tables(url: str) -> dict[str, list[tuple]]:
    engine = operations_engine(url)
    with engine.connect() as connection:
        rows = {
            table.name: [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))]
            for table in metadata.sorted_tables
        }
    engine.dispose()
    return rows


def test_the_sample_world_is_the_same_each_time_and_on_both_databases(empty_database_url, tmp_path):
    other = f"sqlite:///{tmp_path / 'other.db'}"
    for url in (empty_database_url, other):
        upgrade_operations(url)
        engine = operations_engine(url)
        assert sample_data.build(engine, citations=50, customers=20, records=30) is True
        assert sample_data.build(engine, citations=50, customers=20, records=30) is False  # harmless twice
        engine.dispose()
    assert rows_of_all_tables(empty_database_url) == rows_of_all_tables(other)


def test_another_seed_gives_another_world(tmp_path):
    worlds = []
    for seed in (1, 2):
        url = f"sqlite:///{tmp_path / str(seed)}.db"
        upgrade_operations(url)
        engine = operations_engine(url)
        sample_data.build(engine, seed=seed, citations=20, customers=5, records=10)
        engine.dispose()
        worlds.append(rows_of_all_tables(url)["citation"])
    assert worlds[0] != worlds[1]


def test_rows_can_be_added_to_the_sample_world(own_world_on_both):
    """PostgreSQL's counters go on behind the sample's numbers."""
    engine = own_world_on_both.engine()
    with engine.begin() as connection:
        lot = {"code": "Z", "name": "New lot", "zone": "", "capacity": 1}
        uid = connection.execute(sa.insert(tables.Lot).values(**lot).returning(tables.Lot.uid)).scalar_one()
    engine.dispose()
    assert uid == 6


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (LookupEntry, {"lookup_uid": 1, "key": "EXPM", "fields": {}, "updated_at": sample_data.WORLD_NOW}),
        (LookupEntry, {"lookup_uid": 99, "key": "NEW", "fields": {}, "updated_at": sample_data.WORLD_NOW}),
        (ExclusionEntry, {"exclusion_list_uid": 3, "value": "917", "comment": "", "added_at": sample_data.WORLD_NOW}),
        (tables.Lot, {"code": "Y", "name": "", "zone": "", "capacity": -1}),
        (tables.Lot, {"code": "A", "name": "", "zone": "", "capacity": 1}),
    ],
)
def test_the_database_itself_refuses_what_must_not_be(own_world_on_both, table, values):
    engine = own_world_on_both.engine()
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.insert(table).values(**values))
    engine.dispose()


def test_a_state_that_does_not_exist_is_refused(own_world_on_both):
    engine = own_world_on_both.engine()
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.exec_driver_sql("UPDATE campaign SET state = 'paused'")
    engine.dispose()


def test_an_instant_without_a_zone_is_refused(own_world_on_both):
    engine = own_world_on_both.engine()
    with pytest.raises(sa.exc.StatementError, match="naive datetime"), engine.begin() as connection:
        connection.execute(sa.update(tables.Campaign).values(started_at=datetime(2026, 11, 1)))
    engine.dispose()


def test_numbers_move_into_their_record_and_back(empty_database_url):
    upgrade_operations(empty_database_url, "0003")
    engine = operations_engine(empty_database_url)
    numbers = [(1, 1, "+12125550101"), (2, 2, "+12125550102"), (2, 4, "+12125550104")]
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO calling_list (uid, name, description, columns, key_columns, required_columns) "
            "VALUES (7, 'People', '', '[]', '[]', '[]')"
        )
        for uid in (1, 2, 3):
            connection.exec_driver_sql(
                "INSERT INTO record (uid, list_uid, key, account, state, postal_code, fields, created_at, updated_at) "
                f"VALUES ({uid}, 7, 'K{uid}', '', '', '', '{{\"n\": {uid}}}', '2026-11-01 00:00:00.000000', "
                "'2026-11-01 00:00:00.000000')"
            )
        for uid, position, number in numbers:
            connection.exec_driver_sql(f"INSERT INTO record_phone VALUES ({uid}, {position}, '{number}')")
    upgrade_operations(empty_database_url)
    table = tables.Record.__table__
    with engine.connect() as connection:
        found = connection.execute(sa.select(table.c.phones, table.c.fields).order_by(table.c.uid)).all()
    assert [phones for phones, _ in found] == [["+12125550101"], ["", "+12125550102", "", "+12125550104"], []]
    assert [fields for _, fields in found] == [{"n": 1}, {"n": 2}, {"n": 3}]
    downgrade_operations(empty_database_url, "0003")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT * FROM record_phone ORDER BY 1, 2").fetchall() == numbers
    engine.dispose()
    upgrade_operations(empty_database_url)


def test_a_calling_list_with_records_cannot_be_deleted(empty_database_url):
    upgrade_operations(empty_database_url)
    engine = operations_engine(empty_database_url)
    sample_data.build(engine, citations=1, customers=1, records=2)
    delete = "DELETE FROM calling_list WHERE uid = 2"
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM campaign_list")
    with pytest.raises(sa.exc.IntegrityError, match="still has records"), engine.begin() as connection:
        connection.exec_driver_sql(delete)
    with engine.begin() as connection:
        for table in ("record_result", "attempt", "record"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
        connection.exec_driver_sql(delete)
    engine.dispose()
