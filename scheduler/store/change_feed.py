"""Noticing cheaply that any process has changed something."""

from typing import Any

from sqlalchemy import Engine, text

_NEWEST = "SELECT (SELECT MAX(id) FROM run_event), (SELECT MAX(id) FROM audit)"


class ChangeFeed:
    """A connection of its own that is asked many times a second. One thread's; `close` it."""

    def __init__(self, engine: Engine) -> None:
        self._sqlite = engine.dialect.name == "sqlite"
        self._connection = engine.connect()
        if not self._sqlite:
            self._connection = self._connection.execution_options(isolation_level="AUTOCOMMIT")
        self._seen: Any = None
        self._version: int | None = None

    def changed(self) -> bool:
        """Whether a run's event or an audit row has come since the last call; True at the first."""
        if not self._sqlite:
            newest = tuple(self._connection.execute(text(_NEWEST)).one())
        else:
            # One integer of the open file, no lock and no transaction: it changes with any other connection's commit.
            driver = self._connection.connection.driver_connection
            assert driver is not None
            version = driver.execute("PRAGMA data_version").fetchone()[0]
            if version == self._version:
                return False
            self._version = version
            newest = driver.execute(_NEWEST).fetchone()
        changed = bool(newest != self._seen)
        self._seen = newest
        return changed

    def close(self) -> None:
        self._connection.close()
