"""calling_list_import against real SFTP servers, real databases and a real Prefect."""

import csv
import io
import logging
import os
import threading
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from headway.blocks.database.block import Database
from headway.blocks.drop_folder import DropFolder
from headway.flows.calling_list_import import columnar_reader, streaming_load
from headway.flows.calling_list_import import flow as module
from headway.flows.calling_list_import.flow import calling_list_import
from headway.flows.calling_list_import.streaming_load import NotStraight
from headway.flows.shared import incoming
from headway.models.operations.database import operations_engine
from tests.support.flow_world import Ran, run, small_world
from tests.support.kill_points import Killer, started_as
from tests.support.mail_server import MailServer
from tests.support.sftp_faults import FaultServer

pytest_plugins = ["tests.support.flow_world", "tests.support.kill_points", "tests.support.mail_server"]

LIST = "Overdue November"  # the sample world's: ten records, key and required field account
HEAD = "account,first_name,last_name,balance,phone,phone_2,state,postal_code\n"
FILE = (
    HEAD + "C000003,Ada,Ito,12.50,(212) 555-0101,,NJ,07102\n"
    'C000900,"Ben ""B""",Chen,7.00,212.555.0102,+44 20 7946 0018,NY,12203\n'
)


@pytest.fixture
def server(importer: FaultServer, own_world: Database, no_pauses: None, monkeypatch) -> FaultServer:
    """The importer, with a small sample world as block `operations`."""
    return _with(own_world, importer, monkeypatch)


@pytest.fixture
def server_on_both(importer: FaultServer, own_world_on_both: Database, no_pauses: None, monkeypatch) -> FaultServer:
    """The same, once with SQLite and once with PostgreSQL."""
    return _with(own_world_on_both, importer, monkeypatch)


def _with(world: Database, importer: FaultServer, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    monkeypatch.setattr(module.load_rows, "retry_delay_seconds", 0)
    world.save("operations", overwrite=True)
    return importer


def put(server: FaultServer, text: str | bytes, name: str = "people.csv") -> Path:
    path = server.folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def names(server: FaultServer) -> list[str]:
    return sorted(str(path.relative_to(server.folder)) for path in server.folder.rglob("*") if path.is_file())


def rows(world: Database, query: str) -> list[dict[str, Any]]:
    with world.reading() as connection:
        return [dict(row) for row in connection.execute(sa.text(query)).mappings()]


def changed(world: Database, statement: str) -> None:
    engine = operations_engine(world.url.get_secret_value())
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def people(world: Database, name: str = LIST) -> dict[str, dict[str, Any]]:
    """The list's records by key, each with its phone numbers by position."""
    with world.reading() as connection:
        tables = sa.MetaData()
        tables.reflect(connection, only=["record", "calling_list"])
        record, calling_list = (tables.tables[one] for one in ("record", "calling_list"))
        theirs = sa.select(record).join(calling_list, calling_list.c.uid == record.c.list_uid)
        found = [dict(row) for row in connection.execute(theirs.where(calling_list.c.name == name)).mappings()]
        for row in found:
            row["phones"] = {position: number for position, number in enumerate(row["phones"], 1) if number}
    kept = ("account", "state", "postal_code", "fields", "phones")
    return {row["key"]: {name: row[name] for name in kept} for row in found}


def loads(world: Database) -> list[tuple[object, ...]]:
    found = rows(world, "SELECT * FROM file_load ORDER BY uid")
    keys = ("task_type", "target", "file_name", "bytes", "processed", "errors", "duplicates", "error_file")
    return [tuple(one[key] for key in keys) for one in found]


def archive(world: Database) -> list[tuple[object, ...]]:
    with world.reading() as connection:
        table = sa.Table("result_archive", sa.MetaData(), autoload_with=connection)
        found = connection.execute(sa.select(table).order_by(table.c.uid)).mappings()
        keys = ("list_name", "campaign_name", "record_key", "fields", "result", "attempts")
        return [tuple(one[key] for key in keys) for one in found]


def load(**parameters: object) -> Ran:
    return run(calling_list_import, **({"calling_list": LIST, "file_name": "people.csv"} | parameters))


def error_rows(server: FaultServer, name: str = "people_error.csv") -> list[list[str]]:
    text = (server.folder / name).read_text(encoding="utf-8", errors="surrogateescape")
    return list(csv.reader(io.StringIO(text, newline="")))


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


# --- loaded while it is read ------------------------------------------------------------------------------


def in_order(rows: int) -> list[str]:
    """Lines whose keys ascend, with none, one or both numbers."""
    numbers = [("(212) 555-0101", ""), ("", "212.555.0102"), ("", ""), ("2125550103", "+44 20 7946 0018")]
    return [f"K{i:05d},Name {i},Ito,{i}.00,{','.join(numbers[i % 4])},NY,1220{i % 10}" for i in range(rows)]


def by_way_of_the_scratch_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(file: object) -> None:
        raise NotStraight("as the test wishes")

    monkeypatch.setattr(module, "load_straight", closed)


def as_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_staged", lambda file: pytest.fail("it went by way of the scratch file"))


@pytest.mark.parametrize("quoted", [False, True])
def test_both_ways_into_an_empty_list_give_the_same(server_on_both, own_world_on_both, monkeypatch, quoted):
    """Small blocks, so that there are many; without a quotation mark they are Arrow's, with some they are not."""
    monkeypatch.setattr(columnar_reader, "BLOCK_CHARACTERS", 3_000)
    lines = in_order(1_000)
    if quoted:
        lines = [line.replace("Ito", '"Ito\tJr\\ ""x"""') for line in lines]
    lines[700] = "K00700,No,Phone,1,12,,NY,12203"
    found = []
    for way in (as_it_is_read, by_way_of_the_scratch_file):
        with monkeypatch.context() as patched:
            way(patched)
            put(server_on_both, HEAD + "\n".join(lines) + "\n")
            result = load(policy="replace").done()
        assert (result.processed, result.errors) == (999, 1)
        found.append(people(own_world_on_both))
    assert found[0] == found[1]
    assert set(found[0]) == {line[:6] for line in lines} - {"K00700"}
    assert [found[0][f"K0000{i}"]["phones"] for i in range(4)] == [
        {1: "+12125550101"},
        {2: "+12125550102"},
        {},
        {1: "+12125550103", 2: "+442079460018"},
    ]
    assert found[0]["K00009"]["fields"] == {
        "account": "K00009",
        "first_name": "Name 9",
        "last_name": 'Ito\tJr\\ "x"' if quoted else "Ito",
        "balance": "9.00",
        "phone": "",
        "phone_2": "212.555.0102",
    }
    assert [one[4:6] for one in loads(own_world_on_both)] == [(999, 1)] * 2


@pytest.mark.parametrize("policy", ["add", "update"])
def test_a_new_list_is_loaded_while_its_file_is_read(server_on_both, own_world_on_both, monkeypatch, policy):
    as_it_is_read(monkeypatch)
    put(server_on_both, HEAD + "\n".join(in_order(10)) + "\n")
    load(policy=policy, calling_list="New", create_list=True, key_columns=["account"]).done()
    assert len(people(own_world_on_both, "New")) == 10


def test_keys_that_ascend_no_more_at_the_end_undo_what_was_loaded(server_on_both, own_world_on_both, monkeypatch):
    monkeypatch.setattr(columnar_reader, "BLOCK_CHARACTERS", 3_000)
    lines = [*in_order(500), "K00007,Again,Ito,1,,,NY,12203", "K00001x,Late,Ito,1,12,,NY,12203"]
    put(server_on_both, HEAD + "\n".join(lines) + "\n")
    ran = load(policy="replace", invalid_phones="warn")
    assert (ran.done().processed, ran.done().errors) == (501, 1)
    found = people(own_world_on_both)
    assert len(found) == 501
    assert found["K00007"]["fields"]["first_name"] == "Name 7"
    assert len(ran.lines(logging.ERROR)) == 1
    assert len([line for line in ran.lines(logging.WARNING) if "is no valid phone number" in line]) == 1
    assert len([row for row in archive(own_world_on_both) if row[0] == LIST]) == len(archive(own_world_on_both)) > 0


def test_others_need_not_wait_long_for_the_database(server, own_world, monkeypatch):
    """SQLite has one writer: the load gives the database free where the reading or the sending takes its time."""
    monkeypatch.setattr(streaming_load, "IDLE_SECONDS", 0.05)
    original, ways = module.deliver_bad_rows, []

    def slow(*args):
        receipt = original(*args)
        if not ways:
            for thread in threading.enumerate():
                if thread.name == "straight load":
                    thread.join(60)  # it gives up meanwhile
            changed(own_world, "UPDATE campaign SET description = 'somebody else wrote'")
        ways.append(receipt)
        return receipt

    monkeypatch.setattr(module, "deliver_bad_rows", slow)
    put(server, FILE + ",No,Key,1,,,NY,12203\n")
    ran = load(policy="replace")
    assert (ran.done().processed, ran.done().errors) == (2, 1)
    assert set(people(own_world)) == {"C000003", "C000900"}
    assert len(ran.lines(logging.ERROR)) == 1
    assert [file["name"] for file in ran.done().files] == ["people_error.csv"]
    assert len(ways) == 1


# --- bad rows -------------------------------------------------------------------------------------------


def test_bad_rows_go_to_the_error_file_and_are_logged_and_counted(server_on_both, own_world_on_both):
    bad = (
        "C000903,Eve,Ito,1,12,,NY,12203\n,No,Key,1,,,NY,12203\nC000904,\"Oops,Ito,1,,,NY,12203\n"
        "C000905,Far,Too,1,,,New York,12203\nC000900,Again,Chen,1,,,NY,12203\n=1+1,x\n"
    )  # fmt: skip
    put(server_on_both, FILE + bad)
    ran = load()
    result = ran.done()
    assert (result.processed, result.errors) == (2, 6)
    found = error_rows(server_on_both)
    assert [row[:2] for row in found] == [
        ["line", "reason"],
        ["4", "column 'phone': '12' is no valid phone number (region US)"],
        ["5", "column 'account' is empty"],
        ["6", "a quote is missing (the file ends within a quoted value)"],
        ["7", "column 'state' is longer than 2 characters"],
        ["8", "the key 'C000900' is already on line 3"],
        ["9", "2 values where 8 are expected"],
    ]
    assert found[1][2] == "C000903,Eve,Ito,1,12,,NY,12203"
    assert found[5][2] == "C000900,Again,Chen,1,,,NY,12203"
    assert found[6][2] == "'=1+1,x"
    assert [line.split(":")[0] for line in ran.lines(logging.ERROR)] == [f"people.csv line {n}" for n in range(4, 10)]
    assert [file["name"] for file in result.files] == ["people_error.csv"] == [one["name"] for one in ran.receipts]
    assert people(own_world_on_both)["C000900"]["fields"]["first_name"] == 'Ben "B"'  # the first of its key


def test_the_count_of_errors_and_the_log_agree_however_many_there_are(server):
    put(server, HEAD + ",,,,,,,\n" * 250)
    ran = load()
    assert ran.done().errors == 250
    lines = ran.lines(logging.ERROR)
    assert len(lines) == 101
    assert lines[-1] == "150 more bad rows; all 250 are in people_error.csv"


def test_a_number_that_is_not_valid_may_be_left_out_with_a_warning(server, own_world):
    put(server, HEAD + "C000903,Eve,Ito,1,12,212-555-0101,NY,12203\n")
    ran = load(invalid_phones="warn")
    assert (ran.done().processed, ran.done().errors) == (1, 0)
    found = people(own_world)["C000903"]
    assert (found["phones"], found["fields"]["phone"]) == ({2: "+12125550101"}, "12")
    assert ran.lines(logging.WARNING) == [
        "people.csv line 2: column 'phone': '12' is no valid phone number (region US): left out"
    ]


@pytest.mark.parametrize(("duplicates", "errors"), [("reject", 2), ("skip", 0)])
def test_rows_with_the_same_key_are_counted_and_the_first_one_holds(server, own_world, duplicates, errors):
    put(server, HEAD + "".join(f"C000903,Nr {n},,,,,,\n" for n in range(3)))
    ran = load(duplicates=duplicates)
    result = ran.done()
    assert (result.processed, result.errors) == (1, errors)
    assert result.summary.startswith(f"1 records into '{LIST}' (2 more repeated the key of an earlier row) from")
    assert people(own_world)["C000903"]["fields"]["first_name"] == "Nr 0"
    assert loads(own_world)[0][6] == 2


@pytest.mark.parametrize(
    ("limit", "loaded"), [("2", True), ("1", False), ("50%", True), ("49.9%", False), ("0", False)]
)
def test_more_bad_rows_than_the_limit_allows_and_nothing_is_loaded(server_on_both, own_world_on_both, limit, loaded):
    put(server_on_both, FILE + ",,,,,,,\n,,,,,,,\n")
    before = people(own_world_on_both)
    ran = load(reject_limit=limit, policy="replace")
    assert len(error_rows(server_on_both)) == 3
    assert len(ran.lines(logging.ERROR)) >= 2
    if loaded:
        assert ran.done().errors == 2
        return
    assert ran.ended == "FAILED"
    assert f"2 of 4 rows are bad, and reject_limit allows {limit}: nothing was loaded" in ran.message
    assert (people(own_world_on_both), archive(own_world_on_both), loads(own_world_on_both)) == (before, [], [])
    assert names(server_on_both) == ["people.csv", "people_error.csv"]


def test_one_missing_quote_costs_one_row_of_a_large_file(server, own_world):
    lines = [f"N{n:06d},Name,Ito,1,,,NY,12203" for n in range(20_000)]
    lines[9_000] = 'N009000,"Name,Ito,1,,,NY,12203'
    put(server, HEAD + "\n".join(lines) + "\n")
    result = load(policy="replace").done()
    assert (result.processed, result.errors) == (19_999, 1)
    assert error_rows(server)[1][0] == "9002"


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [HEAD, "", HEAD + ",,,,,,,\n"])
def test_an_empty_file_does_not_clear_the_list(server, own_world, text):
    put(server, text)
    ran = load(policy="replace")
    assert ran.ended == "FAILED"
    assert f"holds no good row, and policy replace would clear '{LIST}' (10 records)" in ran.message
    assert len(people(own_world)) == 10
    assert archive(own_world) == []


def test_an_empty_file_clears_the_list_where_that_is_meant(server, own_world):
    put(server, HEAD)
    load(policy="replace", allow_empty=True).done()
    assert people(own_world) == {}
    assert archive(own_world) != []


@pytest.mark.parametrize(
    ("parameters", "text", "message"),
    [
        ({"calling_list": "Nobody"}, FILE, "There is no calling list 'Nobody' (there are: 'Overdue November', "),
        ({"calling_list": "Nobody", "create_list": True}, FILE, "key_columns is empty"),
        ({"key_columns": ["last_name"]}, FILE, "differ from those of 'Overdue November', ['account']"),
        ({}, "kto,name\n1,x\n", "The list's key field 'account' is in no column of the file, which has kto, name"),
        ({"required_columns": ["colour"]}, FILE, "The list's required field 'colour' is in no column"),
        ({"mapping": {"fields": {"account": "acct"}}}, FILE, "has no field acct; it has account, first_name"),
        ({"mapping": {"phones": ["mobile"]}}, FILE, "The file has no column 'mobile', which mapping names"),
        ({"mapping": {"fields": {"account": "account", "balance": "account"}}}, FILE, "more than once: account"),
        ({}, "account,account\nA,x\n", "names these columns more than once: account"),
        ({"file_name": "people_{dat}.csv"}, FILE, "Unknown token {dat}"),
        ({"source": "sftp"}, FILE, "sftp_server is empty"),
        ({"source": "sftp", "sftp_server": "nowhere"}, FILE, "There is no SFTP server block 'nowhere'"),
        ({"source": "drop_folder", "drop_folder": "nowhere"}, FILE, "no drop folder block 'nowhere'"),
        ({"file": {"encoding": "utf-16"}}, "x" + FILE, "cannot be read as utf-16"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(server, own_world, parameters, text, message):
    put(server, text)
    before = people(own_world)
    ran = load(**parameters)
    assert ran.ended == "FAILED"
    assert message in ran.message
    assert (names(server), people(own_world), loads(own_world)) == (["people.csv"], before, [])


@pytest.mark.parametrize("parameters", [{"region": "XX"}, {"reject_limit": "5x"}, {"policy": "merge"}])
def test_parameters_that_make_no_sense_do_not_start(server, parameters):
    put(server, FILE)
    assert load(**parameters).ended == "FAILED"
    assert names(server) == ["people.csv"]


def test_a_list_that_somebody_else_fills_meanwhile_is_left_alone(server_on_both, own_world_on_both, monkeypatch):
    put(server_on_both, FILE)
    original = module.deliver_bad_rows

    def meanwhile(*args):
        changed(
            own_world_on_both,
            "INSERT INTO record (list_uid, key, account, state, postal_code, fields, created_at, updated_at) "
            "SELECT list_uid, 'C000900', '', '', '', fields, created_at, updated_at FROM record WHERE key = 'C000001'",
        )
        return original(*args)

    monkeypatch.setattr(module, "deliver_bad_rows", meanwhile)
    ran = load(policy="add")
    assert ran.ended == "FAILED"
    assert "was changed by somebody else while the file was read; nothing was loaded" in ran.message
    assert loads(own_world_on_both) == []


# --- where files come from ----------------------------------------------------------------------------------


def test_a_folder_of_another_sftp_server(server, own_world):
    server.block(attempts=1, importer_path=None).save("partner", overwrite=True)
    (server.root / "leads").mkdir()
    (server.root / "leads" / "people.csv").write_text(FILE + ",,,,,,,\n")
    load(source="sftp", sftp_server="partner", folder="leads").done()
    assert "C000900" in people(own_world)
    found = sorted(path.name for path in (server.root / "leads").rglob("*.csv"))
    assert found == ["people.csv", "people_error.csv"]
    assert (server.root / "leads" / "archive" / "people.csv").exists()


def test_a_drop_folder(server, own_world, tmp_path):
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "people.csv").write_text(FILE)
    DropFolder(root=str(tmp_path / "drop")).save("drop-folder", overwrite=True)
    load(source="drop_folder").done()
    assert "C000900" in people(own_world)


def _several(server: FaultServer) -> None:
    for age, (name, balance) in enumerate([("people_b.csv", "1"), ("people_c.csv", "2"), ("people_a.csv", "3")]):
        path = put(server, f"account,balance\nC000003,{balance}\nN{age},0\n", name)
        os.utime(path, (1_700_000_000 + age, 1_700_000_000 + age))


def test_all_files_are_loaded_oldest_first(server, own_world):
    _several(server)
    result = load(file_name="people_*.csv").done()
    assert result.processed == 6
    assert result.summary.endswith("from people_b.csv, people_c.csv, people_a.csv")
    assert people(own_world)["C000003"]["fields"]["balance"] == "3"


def test_the_newest_file_is_loaded_and_the_older_ones_are_put_away(server, own_world):
    _several(server)
    ran = load(file_name="people_*.csv", which="newest", policy="replace")
    assert ran.done().processed == 2
    assert set(people(own_world)) == {"C000003", "N2"}
    assert names(server) == ["archive/people_a.csv", "archive/people_b.csv", "archive/people_c.csv"]
    assert "people_b.csv is older than people_a.csv: not loaded." in ran.lines(logging.WARNING)


def test_replace_takes_one_file_only(server, own_world):
    _several(server)
    ran = load(file_name="people_*.csv", policy="replace")
    assert ran.ended == "FAILED"
    assert "3 files fit 'people_*.csv'" in ran.message
    assert len(people(own_world)) == 10


@pytest.mark.parametrize(("on_missing", "ended"), [("fail", "FAILED"), ("wait", "FAILED"), ("skip", "COMPLETED")])
def test_a_missing_file(server, on_missing, ended):
    ran = load(on_missing=on_missing, wait_minutes=0)
    assert ran.ended == ended
    assert ("Expected file did not arrive: no file 'people.csv' in /acme/import" in ran.message) == (ended == "FAILED")


class _Arrives(logging.Handler):
    """Puts the file once the run has said that it is late."""

    def __init__(self, server: FaultServer) -> None:
        super().__init__(logging.ERROR)
        self.server = server

    def emit(self, record: logging.LogRecord) -> None:
        put(self.server, FILE)


def test_a_late_file_is_told_of_and_loaded_when_it_comes(server, own_world, mail_server: MailServer, monkeypatch):
    monkeypatch.setattr(incoming, "POLL_SECONDS", 0.01)
    logger, arrives = logging.getLogger("prefect.flow_runs"), _Arrives(server)
    logger.addHandler(arrives)
    try:
        mail = {"to": ["ops@example.com"], "subject": "Late"}
        ran = load(on_missing="alert", wait_minutes=5, alert_minutes=0, alert_mail=mail)
    finally:
        logger.removeHandler(arrives)
    result = ran.done()
    assert (result.processed, result.errors) == (2, 1)
    told = "Expected file did not arrive: no file 'people.csv' in /acme/import for 0:00:00; still waiting."
    assert ran.lines(logging.ERROR) == [told]
    (sent,) = mail_server.mails
    assert sent.recipients == ["ops@example.com"]
    assert told in str(message_from_bytes(sent.content).get_payload(decode=True), "utf-8")


# --- killed -------------------------------------------------------------------------------------------------

SOURCE = FILE + ",No,Key,1,,,NY,12203\nC000900,Again,Chen,1,,,NY,12203\n"
POINTS = [
    "headway.flows.shared.file_loads:fetch after",
    "headway.flows.calling_list_import.flow:sort_rows 2nd after",
    "headway.flows.calling_list_import.flow:put_error_file before",
    "headway.flows.calling_list_import.flow:put_error_file after",
    "headway.flows.calling_list_import.streaming_load:locked_list after",
    "headway.flows.calling_list_import.streaming_load:clear_list after",
    "headway.flows.calling_list_import.streaming_load:KeyOrder.goes_on after",
    "headway.flows.calling_list_import.load:locked_list after",
    "headway.flows.calling_list_import.load:archive_results 2nd after",
    "headway.flows.calling_list_import.load:remove_records after",
    "headway.flows.calling_list_import.load:_insert_all after",
    "headway.flows.calling_list_import.load:keep_load after",
    "headway.flows.calling_list_import.flow:load_rows after",
    "headway.flows.shared.file_loads:put_away before",
    "headway.flows.shared.file_loads:put_away after",
    "headway.flows.calling_list_import.flow:what_was_loaded before",
]


def state(server: FaultServer, world: Database) -> tuple[object, ...]:
    error_file = server.folder / "people_error.csv"
    text = error_file.read_text() if error_file.exists() else None
    return names(server), text, people(world), archive(world), loads(world)


@pytest.mark.parametrize("point", POINTS)
def test_after_a_kill_the_next_attempt_ends_as_if_nothing_had_happened(
    server, own_world, killer: Killer, tmp_path, monkeypatch, point
):
    put(server, SOURCE)
    asked = {"calling_list": LIST, "file_name": "people.csv", "policy": "replace"}
    killer.kill(calling_list_import, started_as(calling_list_import, f"{tmp_path.name}:1"), point, **asked)
    again = run(calling_list_import, flow_run=started_as(calling_list_import, f"{tmp_path.name}:2"), **asked).done()
    after_kill = state(server, own_world)

    server.reset()
    other = small_world(f"sqlite:///{tmp_path / 'undisturbed.db'}")
    _with(other, server, monkeypatch)
    put(server, SOURCE)
    undisturbed = load(policy="replace").done()
    assert after_kill == state(server, other)
    assert again.model_dump(exclude={"files"}) == undisturbed.model_dump(exclude={"files"})


@pytest.mark.parametrize(
    ("policy", "point"),
    [
        ("replace", "headway.flows.calling_list_import.load:archive_results after"),
        ("replace", "headway.flows.calling_list_import.load:remove_records after"),
        ("replace", "headway.flows.calling_list_import.flow:settle_bad_rows after"),
        ("replace", "headway.flows.calling_list_import.streaming_load:keep_load after"),
        ("update", "headway.flows.calling_list_import.load:_merge after"),
        ("update", "headway.flows.calling_list_import.load:keep_load after"),
    ],
)
def test_a_load_that_is_killed_leaves_nothing_half_done(
    server_on_both, own_world_on_both, killer: Killer, tmp_path, point, policy
):
    before = people(own_world_on_both)
    put(server_on_both, FILE)
    asked = {"calling_list": LIST, "file_name": "people.csv", "policy": policy}
    first = started_as(calling_list_import, f"{tmp_path.name} both:1")
    killer.kill(calling_list_import, first, point, **asked)
    assert (people(own_world_on_both), archive(own_world_on_both), loads(own_world_on_both)) == (before, [], [])
    assert load(policy="replace").done().processed == 2  # another run: nothing is locked any more
    assert set(people(own_world_on_both)) == {"C000003", "C000900"}


@pytest.mark.parametrize(
    "point",
    [
        "headway.flows.calling_list_import.streaming_load:clear_list after",
        "headway.flows.calling_list_import.flow:settle_bad_rows after",
        "headway.flows.calling_list_import.streaming_load:keep_load after",
        "headway.flows.calling_list_import.flow:load_straight after",
    ],
)
def test_after_a_kill_while_it_loads_and_reads_the_next_attempt_ends_as_if_nothing_had_happened(
    server, own_world, killer: Killer, tmp_path, point
):
    put(server, FILE + ",No,Key,1,,,NY,12203\n")
    asked = {"calling_list": LIST, "file_name": "people.csv", "policy": "replace"}
    killer.kill(calling_list_import, started_as(calling_list_import, f"{tmp_path.name} straight:1"), point, **asked)
    again = run(calling_list_import, flow_run=started_as(calling_list_import, f"{tmp_path.name} straight:2"), **asked)
    assert (again.done().processed, again.done().errors) == (2, 1)
    assert set(people(own_world)) == {"C000003", "C000900"}
    assert len(archive(own_world)) == len({(row[1], row[2]) for row in archive(own_world)}) > 0  # archived once
    assert [one[4:6] for one in loads(own_world)] == [(2, 1)]
    assert names(server) == ["archive/people.csv", "people_error.csv"]


def test_the_newest_file_stays_the_one_of_its_run(server, own_world, killer: Killer, tmp_path):
    """Killed once it has loaded the newest and put one older file away; meanwhile another file arrives."""
    _several(server)
    asked = {"calling_list": LIST, "file_name": "people_*.csv", "which": "newest"}
    key = f"{tmp_path.name} newest"
    killer.kill(
        calling_list_import,
        started_as(calling_list_import, f"{key}:1"),
        "headway.flows.shared.file_loads:put_away after",
        **asked,
    )
    put(server, "account,balance\nC000003,9\n", "people_d.csv")
    ran = run(calling_list_import, flow_run=started_as(calling_list_import, f"{key}:2"), **asked)
    assert ran.done().processed == 2
    assert people(own_world)["C000003"]["fields"]["balance"] == "3"
    assert names(server) == ["archive/people_a.csv", "archive/people_b.csv", "archive/people_c.csv", "people_d.csv"]
