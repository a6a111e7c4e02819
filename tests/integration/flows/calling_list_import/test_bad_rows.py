"""calling_list_import: bad rows, their file, their count and their limit."""

import logging

import pytest

from tests.integration.flows.calling_list_import.calling_lists import (
    FILE,
    HEAD,
    LIST,
    archive,
    error_rows,
    load,
    loads,
    names,
    people,
    put,
)

pytest_plugins = ["tests.support.flow_world", "tests.support.kill_points", "tests.support.mail_server"]


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
