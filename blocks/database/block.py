"""A database that task types read from and load into: SQLite or PostgreSQL."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from prefect.blocks.core import Block
from pydantic import Field, SecretStr
from sqlalchemy.exc import DBAPIError, NoSuchTableError, OperationalError, SQLAlchemyError

from headway.blocks.database.denied_tables import is_denied, open_tables
from headway.models.ledger.database import read_url, shown_url, sqlite_module
from headway.models.operations.database import operations_engine
from headway.models.values.zone import zone as known_zone
from headway.text import cause

BATCH_ROWS = 2000
_CURSOR = re.compile(r'DECLARE "\w+" CURSOR FOR\s+')
"""What psycopg puts before a query that is fetched bit by bit: in PostgreSQL's message it only confuses."""
_NOT_READING = re.compile(
    _CURSOR.pattern + r"(INSERT|UPDATE|DELETE|MERGE|TRUNCATE|CREATE|ALTER|DROP|GRANT|COPY|CALL|DO|SET)\b", re.IGNORECASE
)
_NOT_LET_IN = re.compile(
    r"invalid .*value|authentication failed|certificate verify failed|(database|role) .* does not exist|no pg_hba"
)
"""PostgreSQL answers so, or its library, until a person acts; both call it operational, as they do a lost line."""
READING_PRAGMAS = {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list"}
REFUSED_FUNCTIONS = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"}


class DatabaseError(Exception):
    """A database could not be used as asked; the message is a sentence for an operator.

    `permanent` says that trying again changes nothing until a person acts.
    """

    expected = True
    """No defect is behind it: log and reset page show the message, without a traceback."""

    def __init__(self, message: str, permanent: bool = True) -> None:
        super().__init__(message, permanent)
        self.message = message
        self.permanent = permanent

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class ResultStream:
    """A query's rows as they come: column names, and lists of rows (at most BATCH_ROWS in each)."""

    columns: list[str]
    batches: Iterator[Sequence[Sequence[Any]]]


class Database(Block):
    """Where a task type's rows are: SQLite or PostgreSQL, by URL.

    Give it a database user who may do no more than needed. Exports read through `reading()`, which the
    database itself keeps from writing, whatever the query says.

    Example:
        Stream the rows of a query:
        ```python
        from headway.blocks.database.block import Database

        database = Database.load("BLOCK_NAME")
        with database.stream("SELECT number, plate FROM citation") as stream:
            for batch in stream.batches:
                print(stream.columns, len(batch))
        ```
    """

    _block_type_name = "Headway Database"
    _block_type_slug = "headway-database"
    _documentation_url = "https://docs.prefect.io/v3/concepts/blocks"  # type: ignore[assignment]
    _description = "A database that Headway's task types read from or load into."

    url: SecretStr = Field(
        description="SQLAlchemy URL, for example sqlite:////srv/headway/operations.db or "
        "postgresql+psycopg://user:password@host/name."
    )
    read_only: bool = Field(default=False, description="Refuse every write through this block, imports too.")

    denied_tables: list[str] = Field(
        default=[],
        description="Tables that nobody may read through this block, which then is for reading only. On PostgreSQL the "
        "url's login must have no right to them: where it has, SQL that somebody wrote is refused altogether.",
    )

    def engine(self) -> sa.Engine:
        """An engine with one connection a use; it writes unless the block is for reading only."""
        return self._reading_engine() if self.read_only or self.denied_tables else self._open(self._checked_url())

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection in one transaction that the database keeps from writing anything."""
        engine = self._reading_engine()
        try:
            with _explained(self._shown_url()), engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()

    @contextmanager
    def stream(self, query: str | sa.Select[Any] | sa.TextClause) -> Iterator[ResultStream]:
        """The rows of one reading query, fetched as they are consumed; memory does not grow with them.

        A text goes to the database as it is (no placeholders); `sqlalchemy.text(...)` is one whose `:name` stand for
        the values bound to it. On SQLite either may call headway_local(instant, zone). Raises DatabaseError.
        """
        with self.reading() as connection:
            if not isinstance(query, sa.Select):
                self._refuse_open_doors(connection)
            result = _started(connection.execution_options(yield_per=BATCH_ROWS), query)
            if not result.returns_rows:
                raise DatabaseError("The query returns no rows: it must be a SELECT.")
            # The size is given again: without it a text's result would be fetched whole.
            yield ResultStream(list(result.keys()), result.partitions(BATCH_ROWS))

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`. Raises DatabaseError where it is neither."""
        return self._checked_url().get_backend_name()

    def table_like(self, name: str) -> str:
        """The table of that name, or the one that people mean by it: `Calling lists` is `calling_list`."""
        with self.reading() as connection:
            known = set(sa.inspect(connection).get_table_names())
        plain = "_".join(name.lower().split())
        return next((one for one in (name, plain, plain.removesuffix("s")) if one in known), name)

    def table(self, name: str) -> sa.Table:
        """The table's columns and their types, as the database tells them (`schema.table` or `table`)."""
        if is_denied(name, self._denied()):
            raise DatabaseError(f"Table '{name}' cannot be read through this block: it is among its denied_tables.")
        schema, _, plain = name.rpartition(".")
        with self.reading() as connection:
            try:
                if self.denied_tables and plain not in sa.inspect(connection).get_table_names(schema or None):
                    self._refuse_open_doors(connection)  # a view, or what the server itself keeps, may show any table
                return sa.Table(plain, sa.MetaData(schema=schema or None), autoload_with=connection, resolve_fks=False)
            except NoSuchTableError:
                known = ", ".join(sorted(sa.inspect(connection).get_table_names())[:20])
                raise DatabaseError(f"There is no table '{name}'. Tables there: {known}.") from None

    def count(self, query: str | sa.Select[Any], *, within_seconds: int = 10) -> int | None:
        """How many rows the query has, or None where that cannot be told within the time."""
        try:
            with self.reading() as connection:
                _limit_time(connection, within_seconds)
                if isinstance(query, str):
                    self._refuse_open_doors(connection)
                    counting = f"SELECT count(*) FROM ({query.strip().rstrip(';')}\n) AS counted"
                    # By a cursor of the server, which takes one SELECT only: in a plain call the text could close the
                    # bracket, end the transaction that keeps it from writing, and begin one of its own.
                    connection = connection.execution_options(no_parameters=True, stream_results=True)
                    return int(connection.exec_driver_sql(counting).scalar_one())
                counted = sa.select(sa.func.count()).select_from(query.order_by(None).subquery())
                return int(connection.execute(counted).scalar_one())
        except (DatabaseError, SQLAlchemyError):
            return None

    def _denied(self) -> frozenset[str]:
        return frozenset(name.lower() for name in self.denied_tables)

    def _refuse_open_doors(self, connection: sa.Connection) -> None:
        """SQL that a person wrote reaches whatever the login may read; SQLite's authorizer looks at each table."""
        if not self.denied_tables or connection.dialect.name == "sqlite":
            return
        if found := open_tables(connection, self._denied()):
            raise DatabaseError(
                f"The query was refused: the login of the database block could read {', '.join(found)}, which is among "
                "its denied_tables. Give the block's url a login that may not "
                "(docs/reference/settings.md, the block `ledger`)."
            )

    def _reading_engine(self) -> sa.Engine:
        url = self._checked_url()
        if url.get_backend_name() == "sqlite":
            engine = sa.create_engine(
                url,
                module=sqlite_module(),
                poolclass=sa.NullPool,
                connect_args={"timeout": 60, "isolation_level": None},
            )
            denied = self._denied()
            sa.event.listen(engine, "connect", lambda connection, _record: _forbid_writing(connection, denied))
            # One snapshot for all that is read: without BEGIN each SELECT would see another state.
            sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
            return engine
        options = "-c default_transaction_read_only=on -c timezone=UTC"
        engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args={"options": options})
        return engine.execution_options(postgresql_readonly=True)

    def _open(self, url: sa.URL) -> sa.Engine:
        return operations_engine(url.render_as_string(hide_password=False))

    def _checked_url(self) -> sa.URL:
        """The URL, if it is of a kind that can be kept from writing. Raises DatabaseError."""
        try:
            url = read_url(self.url.get_secret_value())
        except ValueError as error:
            raise DatabaseError(f"The database block's url is wrong: {error}. Correct the block.") from None
        if url.get_backend_name() not in ("sqlite", "postgresql"):
            raise DatabaseError(f"Databases of the kind '{url.get_backend_name()}' are not supported.")
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
            raise DatabaseError(
                f"The database file {url.database!r} is not there. Correct the block's url, or make the file."
            )
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        return url

    def _shown_url(self) -> str:
        return shown_url(self.url.get_secret_value())


def _started(connection: sa.Connection, query: str | sa.Select[Any] | sa.TextClause) -> sa.CursorResult[Any]:
    if isinstance(query, sa.TextClause):
        return connection.execute(query)  # its percent signs were doubled: the driver has to look at them
    connection = connection.execution_options(no_parameters=True)
    return connection.exec_driver_sql(query) if isinstance(query, str) else connection.execute(query)


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn a driver's error into a sentence. Lost connections may be tried again, the rest may not."""
    try:
        yield
    except sqlite_module().Warning as error:  # neither a DBAPIError nor any SQLAlchemy error
        raise DatabaseError(f"The query was refused: {cause(error)}") from error
    except DBAPIError as error:
        reason = " ".join(str(error.orig).split())
        writes = _NOT_READING.search(reason) is not None
        reason = _CURSOR.sub("", reason)
        if reason.startswith("access to ") or "permission denied" in reason:
            raise DatabaseError(f"The query was refused: {reason}") from error
        if writes or any(sign in reason for sign in ("not authorized", "prohibited", "read-only", "readonly database")):
            raise DatabaseError(
                f"The query was refused, because it does more than read, or reads what it may not: {reason}"
            ) from error
        raise DatabaseError(f"Database {url}: {reason}", permanent=not _may_pass(error, url)) from error


def _may_pass(error: DBAPIError, url: str) -> bool:
    """Whether trying again may help: a lost connection, a lock. (SQLite calls a bad query operational too.)"""
    if url.startswith("sqlite"):
        return any(sign in str(error.orig) for sign in ("locked", "busy"))
    lost = error.connection_invalidated or isinstance(error, OperationalError)
    return lost and _NOT_LET_IN.search(str(error.orig)) is None


def _forbid_writing(connection: Any, denied: frozenset[str]) -> None:
    """Two locks: `query_only` refuses writes, the authorizer whatever could undo or avoid that, and denied tables."""
    driver = sqlite_module()
    reading = {driver.SQLITE_SELECT, driver.SQLITE_READ, driver.SQLITE_TRANSACTION, driver.SQLITE_RECURSIVE}

    def authorize(action: int, first: str | None, second: str | None, *_: object) -> int:
        if action == driver.SQLITE_READ and is_denied(first, denied):
            return int(driver.SQLITE_DENY)
        allowed = (
            action in reading
            or (action == driver.SQLITE_FUNCTION and (second or "").lower() not in REFUSED_FUNCTIONS)
            or (action == driver.SQLITE_PRAGMA and (first or "").lower() in READING_PRAGMAS)
        )
        return int(driver.SQLITE_OK if allowed else driver.SQLITE_DENY)

    connection.create_function("headway_local", 2, _local_time, deterministic=True)
    connection.execute("PRAGMA query_only = ON")
    connection.set_authorizer(authorize)


def _local_time(instant: str | None, zone: str | None) -> str | None:
    """An instant as headway.models.columns.UtcDateTime keeps it in SQLite, as wall time there: 2026-11-20 16:00:00."""
    if instant is None or zone is None:
        return None
    moment = datetime.fromisoformat(instant)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(known_zone(zone)).strftime("%Y-%m-%d %H:%M:%S")


def _limit_time(connection: sa.Connection, seconds: int) -> None:
    """Make the database give up on what runs longer, on this connection only."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{int(seconds)}s'")
        return
    ends_at = time.monotonic() + seconds
    driver_connection = connection.connection.driver_connection
    assert driver_connection is not None
    driver_connection.set_progress_handler(lambda: time.monotonic() > ends_at, 100_000)
