"""What the tests of campaign_results_export share."""

import csv
import io
from typing import Any

import pytest
import sqlalchemy as sa
from prefect.client.schemas.objects import FlowRun

from headway.blocks.database.block import Database
from headway.flows.campaign_results_export import flow as module
from headway.flows.campaign_results_export.flow import campaign_results_export
from headway.models.operations.tables import (
    CampaignExclusion,
)
from tests.support.campaign_world import changing, rows
from tests.support.flow_world import Ran, run
from tests.support.kill_points import started_as
from tests.support.sftp_faults import FaultServer

CAMPAIGN = "Overdue citations"
FIXED = (
    "This Phone number,Is Call Attempt,Completed,Record Disposition,Record Disposition Code,Out of Quota,"
    "Call Disposition,Call Disposition Code,Call Note,Agent,ANI,Answered Duration,Global Interaction Identifier"
)
OWN = "account,first_name,last_name,balance,promise_date,language"


class Keys:
    """Makes the runs of one test its own, though all tests talk to one Prefect server."""

    prefix = ""


def as_run(key: str, task: str = "task:7") -> FlowRun:
    """The flow run of an attempt; `key` is the scheduler's `run id:attempt`."""
    return started_as(campaign_results_export, f"{Keys.prefix} {key}", task)


def _with(world: Database, importer: FaultServer, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    monkeypatch.setattr(module.write_results, "retry_delay_seconds", 0)
    with changing(world) as connection:
        connection.execute(sa.delete(CampaignExclusion))
    world.save("operations", overwrite=True)
    return importer


def export(key: str | None = None, task: str = "task:7", **parameters: object) -> Ran:
    """A run of the task, under a key or without one."""
    asked = {"campaign": CAMPAIGN, "file_name": "results.csv"} | parameters
    return run(campaign_results_export, flow_run=as_run(key, task) if key else None, **asked)


def table(server: FaultServer, name: str = "results.csv") -> list[dict[str, str]]:
    text = (server.folder / name).read_bytes().decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def files(server: FaultServer) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(server.folder.iterdir())}


def results(world: Database) -> list[dict[str, Any]]:
    return [one for one in rows(world, "record_result", "updated_at", "record_uid") if one["campaign_uid"] == 1]


def attempts(world: Database) -> list[dict[str, Any]]:
    return [one for one in rows(world, "attempt", "started_at", "uid") if one["campaign_uid"] == 1]
