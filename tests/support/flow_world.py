"""What flows need to run for real: Prefect, an importer, databases, their blocks. A pytest plugin."""

import functools
import logging
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow, get_client
from prefect.blocks.core import Block
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import run_flow
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
    temporary_settings,
)

from headway.blocks.database.block import Database
from headway.flows.data_export.flow import write_rows
from headway.flows.lookup_import import flow
from headway.flows.shared import delivery, incoming
from headway.flows.shared.result import RunResult
from headway.models.operations import sample_data
from headway.models.operations.database import operations_engine, upgrade_operations
from headway.scheduler.execution.run_process import without_heartbeats
from tests.support.databases import PostgresForTests, url_of
from tests.support.prefect_server import ServerForTests
from tests.support.sftp_faults import FaultServer

_SERVER = (PREFECT_API_URL, PREFECT_API_AUTH_STRING, PREFECT_HOME, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE)
SMALL = {"citations": 10, "customers": 5, "records": 20}


@pytest.fixture(scope="session")
def flow_prefect(prefect_server: ServerForTests) -> Iterator[None]:
    """The tests' Prefect server is the one that flows run in this process talk to, as the scheduler's processes do."""
    known = prefect_server.environment
    with temporary_settings({setting: known[setting.name] for setting in _SERVER}), without_heartbeats(), _once_only():
        yield


@contextmanager
def _once_only() -> Iterator[None]:
    """What Prefect's client does anew in every call: certificates are read once, a block class is looked at once."""
    registered: set[type[Block]] = set()
    register = Block.register_type_and_schema.__func__  # type: ignore[attr-defined]

    def once(cls: type[Block], *args: Any, **options: Any) -> None:
        if cls not in registered:
            register(cls, *args, **options)
            registered.add(cls)

    has_secrets, known = Block._field_has_secrets, dict[tuple[type[Block], str], bool]()

    def looked_up(self: Block, field_name: str) -> bool:
        key = (type(self), field_name)
        return known[key] if key in known else known.setdefault(key, has_secrets(self, field_name))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Block, "_field_has_secrets", looked_up)
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        patch.setattr(Block, "register_type_and_schema", classmethod(once))
        yield


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a new database with nothing in it, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'operations.db'}"
        return
    server: PostgresForTests = request.getfixturevalue("postgres_server")
    engine = server.empty()
    yield url_of(engine)
    server.drop(engine)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Database:
    """The sample world with 300 citations, on both databases. For reading only: it is shared."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('world') / 'operations.db'}"
    else:
        url = url_of(request.getfixturevalue("postgres_server").empty())
    return operations_world(url, citations=300)


@pytest.fixture
def own_world(tmp_path: Path) -> Database:
    """A small sample world that the test may change, on SQLite."""
    return small_world(f"sqlite:///{tmp_path / 'operations.db'}")


@pytest.fixture(params=["sqlite", "postgresql"])
def own_world_on_both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """The same on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        yield small_world(f"sqlite:///{tmp_path / 'operations.db'}")
        return
    server: PostgresForTests = request.getfixturevalue("postgres_server")
    engine = server.copy_of("small world", lambda empty: operations_world(url_of(empty), **SMALL))
    yield Database(url=url_of(engine))
    server.drop(engine)


@pytest.fixture
def importer(flow_prefect: None, fault_server: FaultServer) -> FaultServer:
    """An empty importer folder, and the block of its server under the name that tasks use by default."""
    fault_server.block(attempts=1).save("importer", overwrite=True)
    return fault_server


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow at once."""
    tasks = [delivery.deliver, write_rows, flow.load_rows, incoming.find_files, incoming.fetch]
    for task in [*tasks, incoming.put_error_file, incoming.put_away]:
        monkeypatch.setattr(task, "retry_delay_seconds", 0)


def operations_world(url: str, **size: int) -> Database:
    """The block of a migrated operations database with the sample world in it."""
    upgrade_operations(url)
    engine = operations_engine(url)
    sample_data.build(engine, **size)
    engine.dispose()
    return Database(url=url)


def small_world(url: str) -> Database:
    """A sample world of a few rows, in a new SQLite file."""
    Path(url.removeprefix("sqlite:///")).write_bytes(_small_world_file())
    return Database(url=url)


@functools.cache
def _small_world_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "operations.db"
        operations_world(f"sqlite:///{file}", **SMALL)
        assert [one.name for one in file.parent.iterdir()] == [file.name], "not all of it is in the file yet"
        return file.read_bytes()


def labelled(flow: Any, labels: dict[str, str]) -> FlowRun:
    """A flow run with what the scheduler hands over."""
    with get_client(sync_client=True) as client:
        made = client.create_flow_run(flow)
        client.update_flow_run_labels(made.id, labels)
        return client.read_flow_run(made.id)


@dataclass
class Ran:
    """One run of a flow as the scheduler would see it: its end, its result, and its log records."""

    ended: str
    message: str
    result: RunResult | None
    records: list[logging.LogRecord]

    def done(self) -> RunResult:
        """The result of a run that has to have completed."""
        assert self.ended == "COMPLETED", self.message
        assert self.result is not None
        return self.result

    def lines(self, level: int = logging.INFO) -> list[str]:
        return [record.getMessage() for record in self.records if record.levelno == level]

    @property
    def receipts(self) -> list[dict[str, Any]]:
        return [vars(record)["receipt"] for record in self.records if hasattr(record, "receipt")]

    @property
    def progress(self) -> list[float]:
        return [vars(record)["progress"] for record in self.records if hasattr(record, "progress")]


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
