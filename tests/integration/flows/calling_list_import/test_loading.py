"""calling_list_import: what is loaded, on real SFTP servers, databases and Prefect."""

import pytest

from headway.flows.calling_list_import import columnar_reader
from tests.integration.flows.calling_list_import.calling_lists import (
    FILE,
    HEAD,
    LIST,
    archive,
    changed,
    load,
    loads,
    names,
    people,
    put,
    rows,
)

pytest_plugins = ["tests.support.flow_world", "tests.support.kill_points", "tests.support.mail_server"]


# --- what is loaded -------------------------------------------------------------------------------------


def test_records_are_updated_and_added_by_key(server_on_both, own_world_on_both):
    before = people(own_world_on_both)
    size = put(server_on_both, FILE).stat().st_size
    ran = load()
    result = ran.done()
    assert (result.processed, result.errors, result.bytes, result.files) == (2, 0, size, [])
    assert ran.message == f"2 records into '{LIST}' from people.csv"
    found = people(own_world_on_both)
    assert found == before | {
        "C000003": {
            "account": "C000003",
            "state": "NJ",
            "postal_code": "07102",
            "fields": {
                "account": "C000003",
                "first_name": "Ada",
                "last_name": "Ito",
                "balance": "12.50",
                "phone": "(212) 555-0101",
                "phone_2": "",
            },
            "phones": {1: "+12125550101"},
        },
        "C000900": {
            "account": "C000900",
            "state": "NY",
            "postal_code": "12203",
            "fields": {
                "account": "C000900",
                "first_name": 'Ben "B"',
                "last_name": "Chen",
                "balance": "7.00",
                "phone": "212.555.0102",
                "phone_2": "+44 20 7946 0018",
            },
            "phones": {1: "+12125550102", 2: "+442079460018"},
        },
    }
    assert names(server_on_both) == ["archive/people.csv"]
    assert loads(own_world_on_both) == [("calling_list_import", LIST, "people.csv", size, 2, 0, 0, "")]


def test_an_update_leaves_alone_what_the_file_does_not_give(server_on_both, own_world_on_both):
    before = people(own_world_on_both)["C000003"]
    put(server_on_both, "account,balance\nC000003,1.00\n")
    load().done()
    after = people(own_world_on_both)["C000003"]
    assert after == before | {"fields": before["fields"] | {"balance": "1.00"}}


def test_records_keep_their_results_when_they_are_updated(server_on_both, own_world_on_both):
    before = rows(own_world_on_both, "SELECT record_uid, attempts FROM record_result ORDER BY record_uid, campaign_uid")
    put(server_on_both, FILE)
    load().done()
    query = "SELECT record_uid, attempts FROM record_result ORDER BY record_uid, campaign_uid"
    assert rows(own_world_on_both, query) == before


def test_replace_archives_the_results_of_the_old_records_first(server_on_both, own_world_on_both):
    old = people(own_world_on_both)
    tried = rows(
        own_world_on_both,
        "SELECT record.key, count(*) AS attempts, max(note) AS note FROM attempt JOIN record ON "
        "record.uid = attempt.record_uid WHERE list_uid = 1 GROUP BY record.key ORDER BY record.key",
    )
    others = rows(own_world_on_both, "SELECT count(*) AS n FROM attempt JOIN record ON record.uid = record_uid "
                  "WHERE list_uid <> 1")  # fmt: skip
    put(server_on_both, FILE)
    ran = load(policy="replace")
    assert ran.done().processed == 2
    assert set(people(own_world_on_both)) == {"C000003", "C000900"}
    kept = archive(own_world_on_both)
    assert [(row[2], len(row[5])) for row in kept] == [(one["key"], one["attempts"]) for one in tried]
    list_name, campaign, key, fields, result, attempts = kept[0]
    assert (list_name, campaign, fields) == (LIST, "Overdue citations", old[key]["fields"])
    assert result["attempts"] == len(attempts)
    assert set(result) == {"disposition", "disposition_code", "attempts", "completed", "out_of_quota", "updated_at"}
    assert attempts[0]["started_at"].startswith("2026-11-1")
    assert attempts[0]["started_at"].endswith("Z")
    assert isinstance(attempts[0]["is_call_attempt"], bool)
    assert isinstance(attempts[0]["form"], dict)
    assert rows(own_world_on_both, "SELECT count(*) AS n FROM attempt") == others  # other lists keep theirs
    assert any(f"Replaced 10 records of '{LIST}'; {len(kept)} results" in line for line in ran.lines())


def test_a_number_of_a_replaced_record_is_not_given_again(server, own_world):
    changed(own_world, "DELETE FROM record_result WHERE record_uid IN (SELECT uid FROM record WHERE list_uid = 2)")
    changed(own_world, "DELETE FROM attempt WHERE record_uid IN (SELECT uid FROM record WHERE list_uid = 2)")
    changed(own_world, "DELETE FROM record WHERE list_uid = 2")
    highest = rows(own_world, "SELECT max(uid) AS uid FROM record")[0]["uid"]
    put(server, FILE)
    load(policy="replace").done()
    assert rows(own_world, "SELECT min(uid) AS uid FROM record")[0]["uid"] > highest


@pytest.mark.parametrize(
    ("policy", "processed", "errors", "count"), [("update", 2, 0, 11), ("add", 1, 1, 11), ("replace", 2, 0, 2)]
)
def test_policies(server_on_both, own_world_on_both, policy, processed, errors, count):
    put(server_on_both, FILE)
    result = load(policy=policy).done()
    assert (result.processed, result.errors) == (processed, errors)
    assert len(people(own_world_on_both)) == count


def test_add_takes_a_record_that_is_there_already_for_good(server_on_both, own_world_on_both):
    put(server_on_both, FILE)
    load(policy="replace", after="leave").done()
    before = people(own_world_on_both)
    assert load(policy="add").done().processed == 2
    assert people(own_world_on_both) == before


def test_a_new_list_is_made_on_demand(server_on_both, own_world_on_both):
    put(server_on_both, "state,lot,colour,phone\nNY,A,red,2125550101\nNY,B,blue,\n")
    load(calling_list="Lots", create_list=True, key_columns=["state", "lot"]).done()
    found = people(own_world_on_both, "Lots")
    assert set(found) == {"NY\x1fA", "NY\x1fB"}
    assert found["NY\x1fA"]["phones"] == {1: "+12125550101"}
    assert found["NY\x1fA"]["state"] == "NY"
    shape = rows(own_world_on_both, "SELECT key_columns, columns FROM calling_list WHERE name = 'Lots'")[0]
    assert [str(value).replace("'", '"') for value in shape.values()] == [
        '["state", "lot"]',
        '["state", "lot", "colour", "phone"]',
    ]
    put(server_on_both, "state,lot,colour\nNY,B,green\n")
    load(calling_list="Lots").done()  # key and fields are the list's own by now
    assert people(own_world_on_both, "Lots")["NY\x1fB"]["fields"]["colour"] == "green"


def test_columns_are_mapped_whatever_they_are_called(server_on_both, own_world_on_both):
    put(
        server_on_both,
        "Kunde;Vorname;Mobil;Büro;Land;PLZ\n77;Jörg;0151 23456789;030 123456;BE;10115\n".encode("cp1252"),
    )
    mapping = {
        "fields": {"Kunde": "account", "Vorname": "first_name"},
        "account": "Kunde",
        "phones": ["Büro", "Mobil"],
        "state": "Land",
        "postal_code": "PLZ",
    }
    load(mapping=mapping, region="DE", file={"separator": "semicolon", "encoding": "cp1252"}).done()
    assert people(own_world_on_both)["77"] == {
        "account": "77",
        "state": "BE",
        "postal_code": "10115",
        "fields": {"account": "77", "first_name": "Jörg", "Büro": "030 123456", "Mobil": "0151 23456789"},
        "phones": {1: "+4930123456", 2: "+4915123456789"},
    }


def test_fixed_width_without_a_header(server, own_world):
    put(server, "C000901 Ada  2125550101\r\nX\r\n")
    places = [("account", 1, 8), ("first_name", 9, 5), ("phone", 14, 10)]
    positions = [{"name": name, "start": start, "width": width} for name, start, width in places]
    result = load(file={"kind": "fixed_width", "positions": positions}).done()
    assert (result.processed, result.errors) == (1, 1)
    assert people(own_world)["C000901"]["phones"] == {1: "+12125550101"}


def test_rows_in_any_order_and_many_blocks_are_all_there(server_on_both, own_world_on_both, monkeypatch):
    """Each row of the file is compared with the database; small blocks, so that there are many."""
    monkeypatch.setattr(columnar_reader, "BLOCK_CHARACTERS", 3_000)
    lines = [f"K{i * 7919 % 2003:05d},Name {i},1,(212) 555-{i:04d},,NY,1220{i % 10}" for i in range(2000)]
    lines[500] = 'K09001,"Two\nlines",1,,,NY,12203'
    put(server_on_both, HEAD.replace("last_name,", "") + "\n".join(lines) + "\n")
    assert load(policy="replace").done().processed == 2000
    found = people(own_world_on_both)
    for number, line in enumerate(lines):
        key, name, _, phone, *_, postal_code = line.split(",")
        if number != 500:
            assert found[key]["fields"]["first_name"] == name
            assert found[key]["phones"] == {1: "+1212555" + phone[-4:]}
            assert found[key]["postal_code"] == postal_code
    assert found["K09001"]["fields"]["first_name"] == "Two\nlines"
    assert len(found) == 2000
