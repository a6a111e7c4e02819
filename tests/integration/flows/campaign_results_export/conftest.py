"""Fixtures of these tests."""

from uuid import uuid4

import pytest

from headway.blocks.database.block import Database
from tests.integration.flows.campaign_results_export.campaign_results import Keys, _with
from tests.support.sftp_faults import FaultServer


@pytest.fixture(autouse=True)
def own_keys() -> None:
    Keys.prefix = uuid4().hex


@pytest.fixture
def server(importer: FaultServer, own_world: Database, no_pauses: None, monkeypatch) -> FaultServer:
    """The importer, and a contact centre as block `operations` without exclusions."""
    return _with(own_world, importer, monkeypatch)


@pytest.fixture
def server_on_both(importer: FaultServer, own_world_on_both: Database, no_pauses: None, monkeypatch) -> FaultServer:
    """The same, once with SQLite and once with PostgreSQL."""
    return _with(own_world_on_both, importer, monkeypatch)
