"""calling_list_import: what is refused, and changes nothing."""

import pytest

from headway.flows.calling_list_import import flow as module
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
)

pytest_plugins = ["tests.support.flow_world", "tests.support.kill_points", "tests.support.mail_server"]


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
