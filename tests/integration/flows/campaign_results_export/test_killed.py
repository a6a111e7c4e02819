"""campaign_results_export: killed at any point, and what the next run makes of it."""

import logging
from typing import Any

import pytest

from headway.blocks.database.block import Database
from headway.flows.campaign_results_export.flow import campaign_results_export
from headway.models.operations.sample_data import WORLD_NOW
from headway.models.operations.tables import (
    ExclusionKind,
)
from tests.integration.flows.campaign_results_export.campaign_results import (
    CAMPAIGN,
    _with,
    as_run,
    attempts,
    export,
    files,
    table,
)
from tests.integration.flows.campaign_results_export.test_new_results import ids, try_again
from tests.support.campaign_world import exclude, rows
from tests.support.flow_world import small_world
from tests.support.kill_points import Killer
from tests.support.sftp_faults import FaultServer

pytest_plugins = ["tests.support.flow_world", "tests.support.kill_points"]


# --- killed -------------------------------------------------------------------------------------------

BEFORE_IT_IS_KEPT = [
    "headway.flows.campaign_results_export.flow:write_csv after",
    "headway.flows.campaign_results_export.flow:Outbox.keep before",
    "headway.flows.campaign_results_export.outbox:keep_taken before",
    "headway.flows.campaign_results_export.outbox:keep_taken after",
]
ONCE_IT_IS_KEPT = [
    "headway.flows.campaign_results_export.flow:Outbox.keep after",
    "headway.flows.campaign_results_export.flow:deliver before",
    "headway.blocks.sftp.delivery:PartUpload.complete after",
    "headway.blocks.sftp.delivery:Delivery._rename before",
    "headway.blocks.sftp.delivery:Delivery._rename after",
    "headway.flows.shared.delivery:announce_receipt before",
    "headway.flows.campaign_results_export.flow:deliver after",
    "headway.flows.campaign_results_export.flow:deliver 2nd before",
    "headway.flows.campaign_results_export.outbox:move before",
    "headway.flows.campaign_results_export.outbox:move after",
    "headway.flows.campaign_results_export.flow:Outbox.deliver after",
    "headway.flows.campaign_results_export.flow:completed before",
]
ASKED = {"campaign": CAMPAIGN, "records": "new", "detail": "detailed", "ready_file": True}


@pytest.fixture(scope="module")
def undisturbed() -> list[Any]:
    """Filled by the first kill test: how it ends where nobody is killed, which is the same for all of them."""
    return []


def as_if_nothing_had_happened(known: list[Any], server: FaultServer, tmp_path, monkeypatch) -> Any:
    """The files of two runs, with a new attempt between them, in a world where nobody is killed; and the marks."""
    if known:
        return known[0]
    server.reset()
    other = small_world(f"sqlite:///{tmp_path / 'undisturbed.db'}")
    _with(other, server, monkeypatch)
    export("u1:1", file_name="1.csv", **ASKED).done()
    try_again(other, 3, WORLD_NOW, "since")
    export("u2:1", file_name="2.csv", **ASKED).done()
    known.append((files(server), marks(other)))
    return known[0]


def marks(world: Database) -> list[Any]:
    watermark = [(one["stream"], one["reached_at"], one["reached_uid"]) for one in rows(world, "watermark")]
    done = [(one["file_name"], one["processed"], one["sha256"]) for one in rows(world, "file_export")]
    pending = [one for one in rows(world, "file_export") if one["delivered_at"] is None]
    return [watermark, done, pending, rows(world, "file_export_part"), len(rows(world, "exported_row"))]


@pytest.mark.parametrize("point", BEFORE_IT_IS_KEPT + ONCE_IT_IS_KEPT)
def test_after_a_kill_the_retry_ends_as_if_nothing_had_happened(
    server, own_world, killer: Killer, undisturbed, tmp_path, monkeypatch, point
):
    """Even though more came in between, once the file was made."""
    killer.kill(campaign_results_export, as_run("1:1"), point, file_name="1.csv", **ASKED)
    if point in ONCE_IT_IS_KEPT:
        try_again(own_world, 3, WORLD_NOW, "since")
    again = export("1:2", file_name="1.csv", **ASKED).done()
    if point in BEFORE_IT_IS_KEPT:
        try_again(own_world, 3, WORLD_NOW, "since")
    assert again.processed == len(table(server, "1.csv"))
    assert [one["name"] for one in again.files] == ["1.csv", "1.csv.done"]
    export("2:1", file_name="2.csv", **ASKED).done()
    after_kill = files(server), marks(own_world)
    assert after_kill == as_if_nothing_had_happened(undisturbed, server, tmp_path, monkeypatch)


@pytest.mark.parametrize("point", ONCE_IT_IS_KEPT)
def test_after_a_kill_without_a_retry_the_next_run_neither_loses_nor_doubles_a_row(
    server, own_world, killer: Killer, undisturbed, tmp_path, monkeypatch, point
):
    killer.kill(campaign_results_export, as_run("1:1"), point, file_name="1.csv", **ASKED)
    try_again(own_world, 3, WORLD_NOW, "since")
    export("2:1", file_name="2.csv", **ASKED).done()
    assert ids(server, "2.csv") == ["since"]
    after_kill = files(server), marks(own_world)
    assert after_kill == as_if_nothing_had_happened(undisturbed, server, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "point",
    [
        "headway.flows.campaign_results_export.outbox:keep_taken after",
        "headway.flows.shared.delivery:announce_receipt before",
    ],
)
def test_a_kill_on_either_database(server_on_both, own_world_on_both, killer: Killer, tmp_path, point):
    killer.kill(campaign_results_export, as_run("1:1"), point, file_name="1.csv", **ASKED)
    assert rows(own_world_on_both, "watermark") == []
    export("1:2", file_name="1.csv", **ASKED).done()
    export("2:1", file_name="2.csv", **ASKED).done()
    found = ids(server_on_both, "1.csv") + ids(server_on_both, "2.csv")
    assert found == [one["interaction_id"] for one in attempts(own_world_on_both)]


def test_a_file_that_the_importer_took_before_the_kill_was_noticed_is_repeated_byte_for_byte(
    server, own_world, killer: Killer, tmp_path
):
    killer.kill(
        campaign_results_export,
        as_run("1:1"),
        "headway.flows.shared.delivery:announce_receipt before",
        file_name="1.csv",
        **ASKED,
    )
    taken = files(server)["1.csv"]
    (server.folder / "1.csv").unlink()
    try_again(own_world, 3, WORLD_NOW, "since")
    exclude(own_world, ExclusionKind.RECORD, *{one["account"] for one in rows(own_world, "record")})
    ran = export("1:2", file_name="1.csv", **ASKED)
    assert ran.done().errors == 0
    assert files(server)["1.csv"] == taken
    assert ran.lines(logging.ERROR) == []
