"""campaign_results_export against real SFTP servers, real databases and a real Prefect."""

import csv
import io
import logging
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncssh
import pytest
import sqlalchemy as sa
from prefect.client.schemas.objects import FlowRun
from sqlmodel import col

from headway.blocks.database.block import Database
from headway.flows.campaign_results_export import flow as module
from headway.flows.campaign_results_export import watermarks
from headway.flows.campaign_results_export.flow import campaign_results_export
from headway.models.operations.database import operations_engine
from headway.models.operations.sample_data import WORLD_NOW
from headway.models.operations.tables import (
    Attempt,
    CallingList,
    Campaign,
    CampaignExclusion,
    CampaignList,
    ExclusionKind,
    Record,
    RecordResult,
)
from tests.support.campaign_world import changing, exclude, insert, rows, update
from tests.support.flow_world import Ran, run, small_world
from tests.support.kill_points import Killer, started_as
from tests.support.sftp_faults import FaultServer

pytest_plugins = ["tests.support.flow_world", "tests.support.kill_points"]

CAMPAIGN = "Overdue citations"
FIXED = (
    "This Phone number,Is Call Attempt,Completed,Record Disposition,Record Disposition Code,Out of Quota,"
    "Call Disposition,Call Disposition Code,Call Note,Agent,ANI,Answered Duration,Global Interaction Identifier"
)
OWN = "account,first_name,last_name,balance,promise_date,language"


class Keys:
    """Makes the runs of one test its own, though all tests talk to one Prefect server."""

    prefix = ""


@pytest.fixture(autouse=True)
def own_keys() -> None:
    Keys.prefix = uuid4().hex


def as_run(key: str, task: str = "task:7") -> FlowRun:
    """The flow run of an attempt; `key` is the scheduler's `run id:attempt`."""
    return started_as(campaign_results_export, f"{Keys.prefix} {key}", task)


@pytest.fixture
def server(importer: FaultServer, own_world: Database, no_pauses: None, monkeypatch) -> FaultServer:
    """The importer, and a contact centre as block `operations` without exclusions."""
    return _with(own_world, importer, monkeypatch)


@pytest.fixture
def server_on_both(importer: FaultServer, own_world_on_both: Database, no_pauses: None, monkeypatch) -> FaultServer:
    """The same, once with SQLite and once with PostgreSQL."""
    return _with(own_world_on_both, importer, monkeypatch)


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


def test_simple_has_a_row_a_record_that_was_tried(server_on_both, own_world_on_both):
    ran = export()
    result = ran.done()
    data = files(server_on_both)["results.csv"]
    assert data.decode().splitlines()[0] == f"{OWN},{FIXED},Total attempts (per rec)"
    known, found = results(own_world_on_both), table(server_on_both)
    records = {one["uid"]: one for one in rows(own_world_on_both, "record")}
    assert [one["account"] for one in found] == [records[one["record_uid"]]["account"] for one in known]
    assert [int(one["Total attempts (per rec)"]) for one in found] == [one["attempts"] for one in known]
    assert (result.processed, result.errors, result.bytes) == (len(known), 0, len(data))
    assert ran.message == f"{len(known)} rows in results.csv, {len(data):,} bytes delivered"
    assert any(line.startswith(f"Wrote {len(known)} rows") for line in ran.lines())
    assert ran.receipts == result.files


def test_each_field_is_where_it_belongs(server_on_both, own_world_on_both):
    export().done()
    export(detail="detailed", file_name="detailed.csv").done()
    last = {one["record_uid"]: one for one in attempts(own_world_on_both)}
    of_record = {one["uid"]: one for one in rows(own_world_on_both, "record")}
    dispositions = {one["uid"]: one for one in rows(own_world_on_both, "disposition")}
    expected = []
    for one in attempts(own_world_on_both):
        outcome = dispositions[one["record_disposition_uid"]]
        call = dispositions.get(one["call_disposition_uid"], {"name": "", "code": ""})
        expected.append(
            {
                **of_record[one["record_uid"]]["fields"],
                "promise_date": "",
                "language": one["form"].get("language", ""),
                "This Phone number": one["phone"],
                "Is Call Attempt": str(one["is_call_attempt"]).lower(),
                "Completed": str(one["completed"]).lower(),
                "Record Disposition": outcome["name"],
                "Record Disposition Code": outcome["code"],
                "Out of Quota": "false",
                "Call Disposition": call["name"],
                "Call Disposition Code": call["code"],
                "Call Note": one["note"],
                "Agent": one["agent"],
                "ANI": one["ani"],
                "Answered Duration": str(one["answered_seconds"]),
                "Global Interaction Identifier": one["interaction_id"],
            }
        )
    assert table(server_on_both, "detailed.csv") == expected
    of_last = {one["interaction_id"] for one in last.values()}
    simple = [{k: v for k, v in one.items() if k != "Total attempts (per rec)"} for one in table(server_on_both)]
    by_id = {one["Global Interaction Identifier"]: one for one in expected}
    assert simple == [by_id[one["Global Interaction Identifier"]] for one in simple]
    assert {one["Global Interaction Identifier"] for one in simple} == of_last


def test_detailed_holds_attempts_without_a_call_too_but_none_in_progress(server_on_both, own_world_on_both):
    known = attempts(own_world_on_both)
    quiet, talking = known[0], known[1]
    update(own_world_on_both, Attempt, col(Attempt.uid) == quiet["uid"], is_call_attempt=False,
           call_disposition_uid=None)  # fmt: skip
    update(own_world_on_both, Attempt, col(Attempt.uid) == talking["uid"], is_call_attempt=True,
           call_disposition_uid=None)  # fmt: skip
    assert export(detail="detailed").done().processed == len(known) - 1
    found = {one["Global Interaction Identifier"]: one for one in table(server_on_both)}
    assert found[quiet["interaction_id"]]["Is Call Attempt"] == "false"
    assert talking["interaction_id"] not in found


def test_sqlite_and_postgresql_give_the_same_bytes(server_on_both, own_world_on_both, importer, tmp_path, monkeypatch):
    export(detail="detailed").done()
    first = files(server_on_both)["results.csv"]
    other = small_world(f"sqlite:///{tmp_path / 'other.db'}")
    _with(other, importer, monkeypatch)
    export(detail="detailed").done()
    assert files(server_on_both)["results.csv"] == first


def test_lists_with_other_columns_share_a_file(server_on_both, own_world_on_both):
    """List 3 comes first by its priority; list 2 was taken from the campaign, but has results."""
    world = own_world_on_both
    update(world, CallingList, col(CallingList.uid) == 3, columns=["plate", "account"])
    update(world, CallingList, col(CallingList.uid) == 2, columns=["account", "expiry"])
    insert(world, CampaignList, {"campaign_uid": 1, "list_uid": 3, "enabled": False, "priority": -1})
    base = {"key": "x", "account": "A", "state": "", "postal_code": "", "created_at": WORLD_NOW}
    base["updated_at"] = WORLD_NOW
    insert(world, Record, {**base, "uid": 901, "list_uid": 3, "fields": {"plate": "AAK1", "account": "A"}})
    insert(world, Record, {**base, "uid": 902, "list_uid": 2, "fields": {"expiry": "soon", "account": "B"}})
    tried = {"campaign_uid": 1, "attempts": 0, "completed": False, "out_of_quota": False}
    insert(world, RecordResult, *({**tried, "record_uid": uid, "updated_at": WORLD_NOW} for uid in (901, 902)))
    export().done()
    found = table(server_on_both)
    assert list(found[0])[:6] == ["plate", "account", "first_name", "last_name", "balance", "expiry"]
    assert [(one["plate"], one["account"], one["expiry"]) for one in found[-2:]] == [
        ("AAK1", "A", ""),
        ("", "B", "soon"),
    ]
    assert found[-1]["Is Call Attempt"] == found[-1]["Global Interaction Identifier"] == ""


@pytest.mark.parametrize("detail", ["simple", "detailed"])
def test_an_excluded_record_is_left_out_whole(server_on_both, own_world_on_both, detail):
    everything = export(detail=detail).done().processed
    account = table(server_on_both)[0]["account"]
    left = [one for one in table(server_on_both) if one["account"] != account]
    exclude(own_world_on_both, ExclusionKind.RECORD, account, campaign_uid=2)
    assert export(detail=detail).done().processed == everything  # another campaign's list
    exclude(own_world_on_both, ExclusionKind.RECORD, account)
    ran = export(detail=detail)
    assert table(server_on_both) == left
    assert ran.done().processed == len(left)
    unit = "records" if detail == "simple" else "attempts"
    assert f"{everything - len(left)} {unit} are left out: their accounts are excluded" in ran.lines()


def test_other_kinds_of_exclusions_leave_results_in(server, own_world):
    everything = export().done().processed
    numbers = {number for one in rows(own_world, "record") for number in one["phones"]}
    exclude(own_world, ExclusionKind.INTERNAL, *numbers)
    exclude(own_world, ExclusionKind.STATE, "NY", "NJ", "CT")
    exclude(own_world, ExclusionKind.AREA_CODE, "212")
    exclude(own_world, ExclusionKind.POSTAL_CODE, "12203", "07102", "06901")
    assert export().done().processed == everything


def test_how_the_file_is_written_and_the_ready_file(server):
    export(csv={"separator": "semicolon", "line_end": "lf", "header": False}, ready_file=True).done()
    assert list(files(server)) == ["results.csv", "results.csv.done"]
    assert files(server)["results.csv"].split(b"\n")[0].count(b";") == 19
    assert server.behaviour.renames_to[-1].endswith("results.csv.done")


@pytest.mark.parametrize("records", ["all", "new"])
@pytest.mark.parametrize(("on_empty", "expected"), [("deliver", ["results.csv", "results.csv.done"]), ("skip", [])])
def test_no_rows(server, own_world, records, on_empty, expected):
    with changing(own_world) as connection:
        connection.execute(sa.delete(RecordResult))
    ran = export("1:1", records=records, on_empty=on_empty, ready_file=True)
    assert ran.done().processed == 0
    assert list(files(server)) == expected
    assert on_empty == "deliver" or ran.message == "No rows; nothing delivered"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"campaign": "Overdue"}, "There is no campaign 'Overdue' (there are: 'Overdue citations', 'Permit renewals')"),
        ({"file_name": "r_{dat}.csv"}, "Unknown token {dat}"),
        ({"csv": {"quoting": "none", "separator": "5"}}, "needs quotes, and quoting is none"),
        ({"csv": {"encoding": "ascii"}}, "which ascii does not have"),
        ({"database": "nowhere"}, "no database block 'nowhere'"),
    ],
)
@pytest.mark.parametrize("records", ["all", "new"])
def test_what_cannot_be_done_is_refused_and_nothing_is_half_done(server, own_world, records, parameters, message):
    update(own_world, Attempt, note="Señal tapada")
    ran = export("2:1", records=records, **parameters)
    assert ran.ended == "FAILED"
    assert message in ran.message
    assert files(server) == {}
    assert rows(own_world, "file_export") == rows(own_world, "watermark") == []


def test_without_an_importer_nothing_is_delivered(server, own_world):
    server.block(importer_path=None).save("importer", overwrite=True)
    ran = export("3:1", records="new")
    assert ran.ended == "FAILED"
    assert "mporter" in ran.message
    assert rows(own_world, "file_export") == rows(own_world, "watermark") == []


def test_what_writes_does_not_take_a_block_for_reading(server, own_world):
    Database(url=own_world.url, read_only=True).save("for-reading", overwrite=True)
    ran = export("4:1", records="new", database="for-reading")
    assert ran.ended == "FAILED"
    assert "The database block 'for-reading' is read-only" in ran.message
    assert export("5:1", records="all", database="for-reading").done().processed


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
