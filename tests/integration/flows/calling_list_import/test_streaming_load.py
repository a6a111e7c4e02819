"""calling_list_import: a list that is loaded while its file is still read."""

import logging
import threading

import pytest

from headway.flows.calling_list_import import columnar_reader, streaming_load
from headway.flows.calling_list_import import flow as module
from headway.flows.calling_list_import.streaming_load import NotStraight
from tests.integration.flows.calling_list_import.calling_lists import (
    FILE,
    HEAD,
    LIST,
    archive,
    changed,
    load,
    loads,
    people,
    put,
)

pytest_plugins = ["tests.support.flow_world", "tests.support.kill_points", "tests.support.mail_server"]


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
