"""Fixtures of these tests."""

import pytest

from headway.blocks.database.block import Database
from tests.integration.flows.calling_list_import.calling_lists import _with
from tests.support.sftp_faults import FaultServer


@pytest.fixture
def server(importer: FaultServer, own_world: Database, no_pauses: None, monkeypatch) -> FaultServer:
    """The importer, with a small sample world as block `operations`."""
    return _with(own_world, importer, monkeypatch)


@pytest.fixture
def server_on_both(importer: FaultServer, own_world_on_both: Database, no_pauses: None, monkeypatch) -> FaultServer:
    """The same, once with SQLite and once with PostgreSQL."""
    return _with(own_world_on_both, importer, monkeypatch)
