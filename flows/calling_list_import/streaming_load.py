"""Loading an empty calling list while its file is still read: a thread puts in what the reading has found good.

Reading and the database's work take about the same time, and a machine has more than one core. All is one
transaction, which ends only when the whole file is read, its bad rows are beside the source and the reject limit is
kept; whatever comes in between, up to `kill -9`, undoes it as if nothing had been tried. It is a way for the usual
case: the list is empty (or replaced), and the file's keys ascend, so that none is there twice. Anything else raises
NotStraight, and the import goes by way of its scratch file (`headway.flows.calling_list_import.load`).
"""

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pyarrow.compute as pc
import sqlalchemy as sa

from headway.blocks.database.block import Database
from headway.flows.calling_list_import.arrow_texts import joined, text
from headway.flows.calling_list_import.layout import ListShape
from headway.flows.calling_list_import.load import (
    EMPTY,
    Loaded,
    clear_list,
    copy_text,
    given_columns,
    highest_uid,
    is_empty,
    locked_list,
    set_up,
    stored,
)
from headway.flows.calling_list_import.records import GoodRows, KeyOrder
from headway.flows.shared.file_loads import Load, keep_load

WAITING_BLOCKS = 2  # between the reading and the database
IDLE_SECONDS = 15.0
"""For so long in all may SQLite's one writer wait for the reading, or for bad rows to be sent, while others wait for
it (headway.models.operations.database.BUSY_SECONDS is their patience)."""
_PUT_SECONDS = 0.5


class NotStraight(Exception):
    """The file cannot be loaded while it is read; nothing was changed."""


class _Abandoned(Exception):
    """The import needs the transaction no more."""


class StraightLoad:
    """Use it with `with`: leaving it before `finish` undoes everything. `columns` are those of `staged_columns`.

    The database is touched by the thread only. Entering raises NotStraight where the list is not empty.
    """

    def __init__(
        self, target: Database, shape: ListShape, columns: Sequence[str], *, account_is_key: bool, replace: bool
    ) -> None:
        self.good = 0
        self._target = target
        self._shape = shape
        self._columns = [*columns]
        self._account_is_key = account_is_key
        self._replace = replace
        self._order = KeyOrder()
        self._waiting: queue.Queue[GoodRows | Load | None] = queue.Queue(WAITING_BLOCKS)
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._work, name="straight load", daemon=True)
        self._error: BaseException | None = None
        self._note: Load = {}
        self._done = Loaded()

    def __enter__(self) -> "StraightLoad":
        self._thread.start()
        self._begun.wait()
        if self._error is not None:
            self._thread.join()
            raise NotStraight(str(self._error)) from self._error
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(queue.Empty):  # what is waiting still need not be loaded
            while True:
                self._waiting.get_nowait()
        with suppress(NotStraight):  # it has ended already
            self._put(None)
        self._thread.join()

    def add(self, good: GoodRows) -> None:
        """Hand good records over. Raises NotStraight where a key does not ascend, or the database gave up."""
        if not self._order.goes_on(good.keys):
            raise NotStraight("its keys are in no order")
        if self._target.dialect == "sqlite":  # its thread has more to do than the reading
            keys, *columns = good.texts()
            good = GoodRows(good.lines, keys, columns)
        self._put(good)
        self.good += len(good.lines)

    def finish(self, load: Load) -> Loaded:
        """Commit with this note of the load; what became of old records. Raises NotStraight: nothing was changed."""
        self._put(load)
        self._thread.join()
        if self._error is not None:
            raise NotStraight(str(self._error)) from self._error
        return self._done

    def _put(self, item: GoodRows | Load | None) -> None:
        while self._thread.is_alive():
            try:
                self._waiting.put(item, timeout=_PUT_SECONDS)
                return
            except queue.Full:
                pass  # the database has much to do, or has given up
        raise NotStraight(str(self._error)) from self._error

    # --- in the thread ----------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            engine = self._target.engine()
            try:
                with engine.connect() as connection:
                    set_up(connection)
                    with connection.begin():
                        self._done = self._load(connection)
            finally:
                engine.dispose()
        except _Abandoned:
            pass
        except BaseException as error:  # whatever it is: the import learns of it and takes the other way
            self._error = error
        finally:
            self._begun.set()

    def _load(self, connection: sa.Connection) -> Loaded:
        now = datetime.now(UTC)
        list_uid = locked_list(connection, self._shape, now)
        first_uid = highest_uid(connection)  # before records go: a number is not given twice
        if not self._replace and not is_empty(connection, list_uid):
            raise NotStraight(f"'{self._shape.name}' has records already")
        self._begun.set()
        done = clear_list(connection, list_uid, self._shape.name, now) if self._replace else Loaded()
        if connection.dialect.name == "postgresql":
            self._copy(connection, list_uid)
        else:
            self._insert(connection, list_uid, first_uid, now)
        keep_load(connection, self._note)
        return done

    def _blocks(self, idle_seconds: float | None) -> Iterator[GoodRows]:
        """What is handed over, up to the note of the load."""
        waited = 0.0
        while True:
            since = time.monotonic()
            try:
                item = self._waiting.get(timeout=None if idle_seconds is None else max(idle_seconds - waited, 0))
            except queue.Empty:
                raise NotStraight("others wait for the database") from None
            waited += time.monotonic() - since
            if item is None:
                raise _Abandoned
            if isinstance(item, GoodRows):
                yield item
            else:
                self._note = item
                return

    def _copy(self, connection: sa.Connection, list_uid: int) -> None:
        given = EMPTY | given_columns(self._columns, account_is_key=self._account_is_key)
        driver: Any = connection.connection.driver_connection
        driver.execute("SET LOCAL client_encoding = 'UTF8'")  # Arrow's
        # Numbers come from the sequence; both instants are the database's own defaults.
        with driver.cursor().copy(f"COPY record ({', '.join(['key', *given, 'list_uid'])}) FROM STDIN") as copy:
            for good in self._blocks(None):
                copy.write(_as_copy_reads_it(good, self._columns, given, list_uid))

    def _insert(self, connection: sa.Connection, list_uid: int, first_uid: int, now: datetime) -> None:
        places = {"key": "?2"} | {name: f"?{place}" for place, name in enumerate(self._columns, 3)}
        given = EMPTY | given_columns(self._columns, account_is_key=self._account_is_key)
        values = [places.get(value, value) for value in given.values()]
        driver: Any = connection.connection.driver_connection
        statement = (
            f"INSERT INTO record (uid, list_uid, key, {', '.join(given)}, created_at, updated_at) "
            f"VALUES (?1, {list_uid}, ?2, {', '.join(values)}, '{stored(now)}', '{stored(now)}')"
        )
        for good in self._blocks(IDLE_SECONDS):
            driver.executemany(statement, zip(map(first_uid.__add__, good.lines), *good.texts(), strict=True))


def _as_copy_reads_it(good: GoodRows, names: Sequence[str], given: dict[str, str], list_uid: int) -> Any:
    """The rows as text; of arrays Arrow joins the values, and its memory goes to the database as it is."""
    columns = {"key": good.keys} | dict(zip(names, good.columns, strict=True))
    if not good.in_arrays:
        count = len(good.lines)
        values = [good.keys, *(columns.get(value, [""] * count) for value in given.values())]
        return copy_text(*values, [str(list_uid)] * count)
    parts = [good.keys, *(columns.get(value, text("")) for value in given.values())]
    return memoryview(joined(pc.binary_join_element_wise(*parts, text(f"{list_uid}\n"), text("\t")), ""))
