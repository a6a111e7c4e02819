"""campaign_results_export: what is new since the last export."""

from datetime import timedelta
from typing import Any

import asyncssh
import pytest
import sqlalchemy as sa
from sqlmodel import col

from headway.blocks.database.block import Database
from headway.flows.campaign_results_export import watermarks
from headway.models.operations.database import operations_engine
from headway.models.operations.sample_data import WORLD_NOW
from headway.models.operations.tables import (
    Attempt,
    Campaign,
    RecordResult,
)
from tests.integration.flows.campaign_results_export.campaign_results import attempts, export, results, table
from tests.support.campaign_world import changing, rows, update
from tests.support.sftp_faults import FaultServer

pytest_plugins = ["tests.support.flow_world", "tests.support.kill_points"]


# --- what is new --------------------------------------------------------------------------------------


def try_again(world: Database, record_uid: int, at: Any, name: str, **changes: Any) -> None:
    """One more attempt at a record, and its result."""
    with changing(world) as connection:
        one_more(connection, record_uid, at, name, **changes)


def one_more(connection: sa.Connection, record_uid: int, at: Any, name: str, **changes: Any) -> None:
    attempt = {
        "campaign_uid": 1,
        "record_uid": record_uid,
        "started_at": at,
        "phone": "+1",
        "is_call_attempt": True,
        "note": "",
        "agent": "",
        "ani": "",
        "answered_seconds": 1,
        "form": {},
        "interaction_id": name,
        "completed": False,
        "out_of_quota": False,
        "call_disposition_uid": 4,
        **changes,
    }
    connection.execute(sa.insert(Attempt), attempt)
    theirs = (col(RecordResult.campaign_uid) == 1, col(RecordResult.record_uid) == record_uid)
    connection.execute(sa.delete(RecordResult).where(*theirs))
    uid = sa.select(sa.func.max(col(Attempt.uid))).where(col(Attempt.record_uid) == record_uid).scalar_subquery()
    result = {"campaign_uid": 1, "record_uid": record_uid, "attempts": 9, "completed": False, "out_of_quota": False}
    connection.execute(sa.insert(RecordResult).values(**result, last_attempt_uid=uid, updated_at=at))


def ids(server: FaultServer, name: str) -> list[str]:
    return [one["Global Interaction Identifier"] for one in table(server, name)]


MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("detail", ["simple", "detailed"])
def test_new_is_what_came_since_the_last_export(server_on_both, own_world_on_both, detail):
    asked = {"records": "new", "detail": detail}
    all_of_it = export(detail=detail, file_name="all.csv").done().processed
    assert export("1:1", file_name="1.csv", **asked).done().processed == all_of_it
    assert export("2:1", file_name="2.csv", **asked).done().processed == 0
    try_again(own_world_on_both, 3, WORLD_NOW, "a")
    try_again(own_world_on_both, 4, WORLD_NOW, "b")  # the same instant
    assert export("3:1", file_name="3.csv", **asked).done().processed == 2
    assert ids(server_on_both, "3.csv") == ["a", "b"]
    (mark,) = rows(own_world_on_both, "watermark")
    assert (mark["consumer"], mark["stream"]) == ("task:7", f"campaign 1 {detail}")
    assert mark["reached_at"] == WORLD_NOW
    assert rows(own_world_on_both, "file_export_part") == []


def test_each_task_campaign_and_detail_has_a_watermark_of_its_own(server, own_world):
    first = export("1:1", file_name="1.csv", records="new").done().processed
    assert first
    assert export("2:1", "task:8", file_name="2.csv", records="new").done().processed == first
    assert export("3:1", file_name="3.csv", records="new", detail="detailed").done().processed >= first
    assert export("4:1", file_name="4.csv", records="new", campaign="Permit renewals").done().processed
    assert export("5:1", file_name="5.csv", records="new").done().processed == 0
    update(own_world, Campaign, col(Campaign.uid) == 1, name="Renamed")
    assert export("6:1", file_name="6.csv", records="new", campaign="Renamed").done().processed == 0
    assert len(rows(own_world, "watermark")) == 4


def test_all_does_not_move_the_watermark(server, own_world):
    first = export("1:1").done().processed
    assert rows(own_world, "watermark") == []
    assert export("2:1", records="new").done().processed == first


@pytest.mark.parametrize("detail", ["simple", "detailed"])
def test_a_row_that_is_committed_late_with_an_older_instant_is_not_lost(server_on_both, own_world_on_both, detail):
    """Its transaction began first; another one committed, and was exported, before it did."""
    world, asked = own_world_on_both, {"records": "new", "detail": detail}
    export("1:1", file_name="1.csv", **asked).done()
    if world.url.get_secret_value().startswith("sqlite"):  # one writer at a time: only the order of instants is left
        try_again(world, 4, WORLD_NOW, "later")
        assert export("2:1", file_name="2.csv", **asked).done().processed == 1
        try_again(world, 3, WORLD_NOW - 5 * MINUTE, "late")
    else:
        engine = operations_engine(world.url.get_secret_value())
        with engine.begin() as slow:
            one_more(slow, 3, WORLD_NOW - 5 * MINUTE, "late")
            try_again(world, 4, WORLD_NOW, "later")
            assert export("2:1", file_name="2.csv", **asked).done().processed == 1
        engine.dispose()
    assert ids(server_on_both, "2.csv") == ["later"]
    assert export("3:1", file_name="3.csv", **asked).done().processed == 1
    assert ids(server_on_both, "3.csv") == ["late"]
    assert export("4:1", file_name="4.csv", **asked).done().processed == 0


def test_a_call_in_progress_is_exported_once_it_has_ended(server, own_world):
    asked = {"records": "new", "detail": "detailed"}
    try_again(own_world, 3, WORLD_NOW - MINUTE, "talking", call_disposition_uid=None)
    try_again(own_world, 4, WORLD_NOW, "ended")
    export("1:1", file_name="1.csv", **asked).done()
    assert ids(server, "1.csv")[-1] == "ended"
    assert "talking" not in ids(server, "1.csv")
    update(own_world, Attempt, col(Attempt.interaction_id) == "talking", call_disposition_uid=4)
    assert export("2:1", file_name="2.csv", **asked).done().processed == 1
    assert ids(server, "2.csv") == ["talking"]


def test_a_row_from_the_future_does_not_take_the_watermark_with_it(server, own_world):
    asked = {"records": "new", "detail": "detailed"}
    try_again(own_world, 3, WORLD_NOW + timedelta(days=9000), "wrong clock")
    export("1:1", file_name="1.csv", **asked).done()
    try_again(own_world, 4, rows(own_world, "watermark")[0]["reached_at"], "right clock")
    assert export("2:1", file_name="2.csv", **asked).done().processed == 1
    assert ids(server, "2.csv") == ["right clock"]


def test_only_what_is_near_the_watermark_is_remembered(server, own_world):
    export("1:1", file_name="1.csv", records="new", detail="detailed").done()
    newest = attempts(own_world)[-1]["started_at"]
    near = [one for one in attempts(own_world) if one["started_at"] > newest - watermarks.LOOK_BACK]
    assert {one["row_uid"] for one in rows(own_world, "exported_row")} == {one["uid"] for one in near}
    try_again(own_world, 3, newest + timedelta(days=30), "a month later")
    export("2:1", file_name="2.csv", records="new", detail="detailed").done()
    assert len(rows(own_world, "exported_row")) == 1


def test_a_failed_delivery_is_made_up_for_by_the_next_run(server, own_world):
    """Nothing is lost, and what came since is in the next run's own file."""
    server.block(password="wrong", attempts=1).save("importer", overwrite=True)
    ran = export("1:1", file_name="1.csv", records="new")
    assert ran.ended == "FAILED"
    assert rows(own_world, "watermark") == []
    server.block(attempts=1).save("importer", overwrite=True)
    try_again(own_world, 3, WORLD_NOW, "since")
    ran = export("2:1", file_name="2.csv", records="new")
    expected = len(results(own_world))
    assert len(table(server, "1.csv")) + len(table(server, "2.csv")) == ran.done().processed
    assert ids(server, "2.csv") == ["since"]
    accounts = [one["account"] for name in ("1.csv", "2.csv") for one in table(server, name)]
    assert len(set(accounts)) == expected
    assert [one["name"] for one in ran.done().files] == ["1.csv", "2.csv"]
    assert any("1.csv" in line and "was begun before" in line for line in ran.lines())


def test_the_unfinished_file_is_the_run_s_own_and_the_kept_file_s(server, own_world):
    """Two runs of one name never write into one file; who repeats a delivery goes on with what it left."""

    def opened():
        paths = [path for done, path in server.behaviour.operations if done == "open_write"]
        server.behaviour.operations.clear()
        return paths

    for key in ("1:1", "1:2", "2:1"):
        export(key, file_name="same.csv").done()
    first, again, other = opened()
    assert first == again != other

    server.inject("rename", effect="refuse", error=asyncssh.SFTPPermissionDenied("not you"))
    assert export("3:1", file_name="kept.csv", records="new").ended == "FAILED"
    assert len(opened()) == 1 and not (server.folder / "kept.csv").exists()
    export("4:1", file_name="next.csv", records="new", on_empty="skip").done()
    assert (server.folder / "kept.csv").exists() and not any("kept.csv" in path for path in opened())


def test_a_file_of_one_name_for_all_runs_is_not_replaced_by_the_run_that_ends_another(server, own_world):
    server.block(password="wrong", attempts=1).save("importer", overwrite=True)
    assert export("1:1", records="new").ended == "FAILED"
    server.block(attempts=1).save("importer", overwrite=True)
    try_again(own_world, 3, WORLD_NOW, "since")
    before = export("2:1", records="new").done()
    assert "since" not in ids(server, "results.csv")
    assert before.processed == len(table(server))
    assert export("3:1", records="new").done().processed == 1
    assert ids(server, "results.csv") == ["since"]
