"""The database block: streams, and that the databases themselves keep queries from writing."""

import pytest
import sqlalchemy as sa
from prefect.testing.standard_test_suites import BlockStandardTestSuite

from headway.blocks.database.block import BATCH_ROWS, Database, DatabaseError
from headway.models.ledger.database import shown_url

pytest_plugins = ["tests.support.flow_world"]


class TestBlockShape(BlockStandardTestSuite):
    """Prefect's own checks of a block's form."""

    @pytest.fixture
    def block(self):
        return Database

    test_has_a_valid_image = None  # it would ask the network for the logo


EVERYWHERE = [
    "DELETE FROM lot",
    "UPDATE lot SET capacity = 0",
    "INSERT INTO lot (code, name, zone, capacity) VALUES ('Z', 'z', 'z', 1)",
    "DELETE FROM lot RETURNING uid",  # gives rows, like a SELECT
    "CREATE TABLE mine (a int)",
    "DROP TABLE lot",
    "SELECT 1; DELETE FROM lot",
    "COMMIT",
    "ROLLBACK; DELETE FROM lot",
]
SQLITE = [
    "PRAGMA query_only = OFF",
    "PRAGMA writable_schema = ON",
    "ATTACH DATABASE ':memory:' AS other",
    "ATTACH DATABASE '{path}.copy' AS other",
    "VACUUM INTO '{path}.copy'",
    "CREATE TEMP TABLE mine AS SELECT * FROM lot",
    "SELECT load_extension('mine')",
    "REINDEX",
    "WITH gone AS (SELECT 1) DELETE FROM lot",
]
POSTGRESQL = [
    "SET TRANSACTION READ WRITE",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "WITH gone AS (DELETE FROM lot RETURNING uid) SELECT * FROM gone",
    "SELECT nextval('lot_uid_seq')",
    "COPY lot TO PROGRAM 'cat'",
    "SELECT * FROM lot FOR UPDATE",
    "SELECT lo_create(4711)",
    "EXPLAIN ANALYZE DELETE FROM lot",
    "DO 'BEGIN DELETE FROM lot; END'",
]


def lots(database: Database) -> list[tuple[str, int]]:
    with database.stream("SELECT code, capacity FROM lot ORDER BY code") as stream:
        return [tuple(row) for batch in stream.batches for row in batch]


@pytest.mark.parametrize("query", [*EVERYWHERE, *SQLITE, *POSTGRESQL])
def test_the_database_refuses_a_query_that_does_more_than_read(world, query, tmp_path):
    before = lots(world)
    copy = tmp_path / "operations.db"
    with pytest.raises(DatabaseError) as refused, world.stream(query.format(path=copy)) as stream:
        list(stream.batches)
    assert refused.value.permanent
    assert lots(world) == before
    assert list(tmp_path.iterdir()) == []


def test_lifting_the_read_only_mode_for_a_session_lasts_no_longer_than_its_query(world):
    """PostgreSQL lets anybody change the default for later transactions; there are none on that connection."""
    query = "SELECT set_config('default_transaction_read_only', 'off', false)"
    if world.url.get_secret_value().startswith("sqlite"):
        query = "SELECT 1"
    with world.stream(query) as stream:
        list(stream.batches)
    with pytest.raises(DatabaseError), world.stream("DELETE FROM lot RETURNING uid") as stream:
        list(stream.batches)


def test_a_read_only_block_gives_an_engine_that_cannot_write(world):
    engine = Database(url=world.url, read_only=True).engine()
    with pytest.raises(sa.exc.DBAPIError), engine.begin() as connection:
        connection.exec_driver_sql("UPDATE lot SET capacity = 0")
    engine.dispose()


def test_an_ordinary_block_gives_an_engine_that_can(own_world_on_both):
    engine = own_world_on_both.engine()
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE lot SET capacity = 7")
    engine.dispose()
    assert {capacity for _, capacity in lots(own_world_on_both)} == {7}


def test_rows_come_in_batches_of_a_bounded_size(world):
    query = "SELECT a.uid FROM citation a CROSS JOIN (SELECT uid FROM citation LIMIT 20) b"
    with world.stream(query) as stream:
        sizes = [len(batch) for batch in stream.batches]
    assert sizes == [BATCH_ROWS] * 3


def test_a_stream_sees_one_state_of_the_data(own_world_on_both):
    """What is written while an export reads is not half in it."""
    engine = own_world_on_both.engine()
    with own_world_on_both.reading() as reading:
        first = reading.exec_driver_sql("SELECT count(*) FROM citation").scalar_one()
        with engine.begin() as writing:
            writing.exec_driver_sql("DELETE FROM citation")
        # PostgreSQL's default level sees new commits between statements; one export is one statement.
        again = reading.exec_driver_sql("SELECT count(*) FROM citation").scalar_one()
    engine.dispose()
    assert first == 10
    assert again == (10 if engine.dialect.name == "sqlite" else 0)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("SELECT * FROM citation ORDER BY uid; ", 300),
        ("SELECT code, code FROM lot -- a comment at the end", 5),
        ("SELECT nonsense", None),
    ],
)
def test_rows_are_counted_where_that_can_be_told(world, query, count):
    assert world.count(query) == count


def test_counting_gives_up_after_a_while(world):
    endless = "SELECT count(*) FROM citation a, citation b, citation c, citation d"
    assert world.count(endless, within_seconds=1) is None


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("no url", "is not the address of a database"),
        ("mysql://host/name", "Databases of the kind 'mysql' are not supported"),
        ("sqlite:////nowhere/at/all.db", "is not there"),
        ("sqlite://", "is not there"),
    ],
)
def test_a_block_that_leads_nowhere_says_so(url, message):
    with pytest.raises(DatabaseError, match=message), Database(url=url).reading():
        pass


SECRET = "Sommer2026"
LEAKY = [
    f"postgresql://ops:{SECRET}@2026@127.0.0.1:1/db",
    f"postgresql://ops:x@{SECRET}:w0rd@127.0.0.1/db",
    f"postgresql://ops:x@y/{SECRET}@127.0.0.1/db",
    f"postgresql://ops@127.0.0.1:1/db?password={SECRET}",
    f"postgresql://ops:{SECRET}@127.0.0.1:1/db",
]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////home/ann@corp/.headway/headway.db", "sqlite:////home/ann@corp/.headway/headway.db"),
        ("postgresql://ann%40corp:p%40ss@db:5432/headway", "postgresql://db:5432/headway"),
        ("postgresql:///headway?host=/run/postgresql", "postgresql:///headway"),
    ],
)
def test_a_url_that_is_right_is_shown_without_its_login(url, shown):
    assert shown_url(url) == shown


@pytest.mark.parametrize("url", LEAKY)
def test_no_part_of_a_password_is_in_an_error(url):
    """Written as people write them: with an @ that should have been %40, or as an option."""
    with pytest.raises(DatabaseError) as refused, Database(url=url).reading() as connection:
        connection.exec_driver_sql("SELECT 1")
    for shown in (str(refused.value), shown_url(url)):
        assert SECRET not in shown and "2026" not in shown and "w0rd" not in shown


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda url: url.update_query_dict({"sslmode": "nope"}), 'invalid sslmode value: "nope"'),
        (lambda url: url.set(database="nowhere"), 'database "nowhere" does not exist'),
        (lambda url: url.set(username="nobody"), 'role "nobody" does not exist'),
    ],
)
def test_what_somebody_has_to_mend_first_is_not_tried_again(postgres, change, message):
    url = change(postgres.url).render_as_string(hide_password=False)
    with pytest.raises(DatabaseError, match=message) as refused, Database(url=url).reading():
        pass
    assert refused.value.permanent


def test_an_unreachable_server_may_be_tried_again_and_its_password_stays_secret():
    block = Database(url="postgresql://ops:Tr0ub4dor@127.0.0.1:1/name")
    with pytest.raises(DatabaseError) as refused, block.reading():
        pass
    assert not refused.value.permanent
    assert "Tr0ub4dor" not in str(refused.value)
