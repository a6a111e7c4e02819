"""campaign_results_export: the files, on real SFTP servers, databases and Prefect."""

import pytest
import sqlalchemy as sa
from sqlmodel import col

from headway.blocks.database.block import Database
from headway.models.operations.sample_data import WORLD_NOW
from headway.models.operations.tables import (
    Attempt,
    CallingList,
    CampaignList,
    ExclusionKind,
    Record,
    RecordResult,
)
from tests.integration.flows.campaign_results_export.campaign_results import (
    FIXED,
    OWN,
    _with,
    attempts,
    export,
    files,
    results,
    table,
)
from tests.support.campaign_world import changing, exclude, insert, rows, update
from tests.support.flow_world import small_world

pytest_plugins = ["tests.support.flow_world", "tests.support.kill_points"]


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
