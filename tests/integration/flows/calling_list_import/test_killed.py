"""calling_list_import: killed at any point, and what the next attempt makes of it."""

import pytest

from headway.blocks.database.block import Database
from headway.flows.calling_list_import.flow import calling_list_import
from tests.integration.flows.calling_list_import.calling_lists import (
    FILE,
    LIST,
    _with,
    archive,
    load,
    loads,
    names,
    people,
    put,
)
from tests.integration.flows.calling_list_import.test_sources import _several
from tests.support.flow_world import run, small_world
from tests.support.kill_points import Killer, started_as
from tests.support.sftp_faults import FaultServer

pytest_plugins = ["tests.support.flow_world", "tests.support.kill_points", "tests.support.mail_server"]


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
