"""exclusion_import against real SFTP servers, real databases and a real Prefect."""

import csv
import io
import logging
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlmodel import col

from headway.blocks.database.block import Database
from headway.blocks.drop_folder import DropFolder
from headway.flows.campaign_results_export.flow import campaign_results_export
from headway.flows.campaign_trigger.flow import campaign_trigger
from headway.flows.exclusion_import import flow as module
from headway.flows.exclusion_import.flow import exclusion_import
from headway.models.operations.tables import CampaignList, ExclusionEntry, RecordResult
from tests.support.campaign_world import changing, rows
from tests.support.flow_world import Ran, run, small_world
from tests.support.kill_points import Killer, started_as
from tests.support.sftp_faults import FaultServer

pytest_plugins = ["tests.support.flow_world", "tests.support.kill_points"]

LIST = "Accounts in dispute"
FILE = "account,comment\nC000007,Asked by letter\nC000008,\nC000005,again\nC000007,twice\n"


@pytest.fixture
def server(importer: FaultServer, own_world: Database, no_pauses: None, monkeypatch) -> FaultServer:
    """The importer, with a small sample world as block `operations`; the list holds the account C000005."""
    return _with(own_world, importer, monkeypatch)


@pytest.fixture
def server_on_both(importer: FaultServer, own_world_on_both: Database, no_pauses: None, monkeypatch) -> FaultServer:
    """The same, once with SQLite and once with PostgreSQL."""
    return _with(own_world_on_both, importer, monkeypatch)


def _with(world: Database, importer: FaultServer, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    monkeypatch.setattr(module.load_rows, "retry_delay_seconds", 0)
    with changing(world) as connection:
        connection.execute(sa.delete(ExclusionEntry).where(col(ExclusionEntry.value) != "C000005"))
        connection.execute(sa.update(ExclusionEntry).values(comment="In dispute"))
    world.save("operations", overwrite=True)
    return importer


def put(server: FaultServer, text: str | bytes, name: str = "disputes.csv") -> Path:
    path = server.folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def names(server: FaultServer) -> list[str]:
    return sorted(str(path.relative_to(server.folder)) for path in server.folder.rglob("*") if path.is_file())


def entries(world: Database, name: str = LIST) -> dict[str, str]:
    (uid,) = [one["uid"] for one in rows(world, "exclusion_list") if one["name"] == name]
    found = [one for one in rows(world, "exclusion_entry") if one["exclusion_list_uid"] == uid]
    return {one["value"]: one["comment"] for one in found}


def loads(world: Database) -> list[tuple[object, ...]]:
    keys = ("task_type", "target", "file_name", "processed", "errors", "duplicates")
    return [tuple(one[key] for key in keys) for one in rows(world, "file_load")]


def load(**parameters: object) -> Ran:
    return run(exclusion_import, **({"exclusion_list": LIST, "file_name": "disputes.csv"} | parameters))


def test_accounts_are_added_and_duplicates_ignored(server_on_both, own_world_on_both):
    size = put(server_on_both, FILE).stat().st_size
    ran = load()
    result = ran.done()
    assert (result.processed, result.errors, result.bytes, result.files) == (4, 0, size, [])
    assert ran.message == ("4 accounts into 'Accounts in dispute' (2 new, 2 duplicates ignored) from disputes.csv")
    assert entries(own_world_on_both) == {"C000005": "In dispute", "C000007": "Asked by letter", "C000008": ""}
    assert names(server_on_both) == ["archive/disputes.csv"]
    assert loads(own_world_on_both) == [("exclusion_import", LIST, "disputes.csv", 4, 0, 2)]
    assert ran.lines(logging.ERROR) == ran.lines(logging.WARNING) == []
    assert "disputes.csv: 4 good rows (1 repeat an account), 0 bad rows" in ran.lines()


def test_replace_leaves_the_accounts_of_the_file_only(server_on_both, own_world_on_both):
    put(server_on_both, FILE)
    assert "(3 new, 1 duplicates ignored)" in load(policy="replace").message
    assert entries(own_world_on_both) == {"C000007": "Asked by letter", "C000008": "", "C000005": "again"}


def test_bad_rows_go_to_the_error_file_and_are_logged_and_counted(server_on_both, own_world_on_both):
    put(server_on_both, f'account,comment\nC000007,\n ,no account\n"C1,oops\nC2,a,b\n{"9" * 61},long\n')
    ran = load()
    assert (ran.done().processed, ran.done().errors) == (1, 4)
    text = (server_on_both.folder / "disputes_error.csv").read_text()
    found = list(csv.reader(io.StringIO(text, newline="")))
    assert [row[:2] for row in found[1:]] == [
        ["3", "column 'account' is empty"],
        ["4", "a quote is missing (the file ends within a quoted value)"],
        ["5", "3 values where 2 are expected"],
        ["6", "the account is longer than 60 characters"],
    ]
    assert len(ran.lines(logging.ERROR)) == 4
    assert [one["name"] for one in ran.done().files] == ["disputes_error.csv"]
    assert ran.message.endswith("from disputes.csv; 4 bad rows in disputes_error.csv")
    assert set(entries(own_world_on_both)) == {"C000005", "C000007"}


@pytest.mark.parametrize("text", ["account,comment\n", "", "account\n \n,\n", "account,comment\n,no account\n"])
def test_an_empty_file_does_not_clear_the_list(server_on_both, own_world_on_both, text):
    put(server_on_both, text)
    ran = load(policy="replace")
    assert ran.ended == "FAILED"
    assert "holds no good row, and policy replace would clear 'Accounts in dispute' (1 accounts)" in ran.message
    assert entries(own_world_on_both) == {"C000005": "In dispute"}
    assert loads(own_world_on_both) == []
    assert "disputes.csv" in names(server_on_both)


def test_an_empty_file_clears_the_list_where_that_is_meant(server, own_world):
    put(server, "account\n")
    assert load(policy="replace", allow_empty=True).done().processed == 0
    assert entries(own_world) == {}


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        ({}, "comment,account,more\nwhy,C1,x\n"),
        ({"header": False, "columns": ["x", "comment", "account"], "separator": "tab"}, "x\twhy\t C1 \n"),
        (
            {
                "kind": "fixed_width",
                "positions": [{"name": "account", "start": 1, "width": 6}, {"name": "comment", "start": 7, "width": 5}],
            },
            "C1    why\n",
        ),
    ],
)
def test_columns_are_found_by_header_by_order_and_by_position(server, own_world, layout, text):
    put(server, text)
    load(file=layout, policy="replace").done()
    assert entries(own_world) == {"C1": "why"}


def test_columns_may_have_other_names(server, own_world):
    put(server, "Konto;Grund\nC1;Widerspruch\nC2;Größe\n".encode("cp1252"))
    layout = {"separator": "semicolon", "encoding": "cp1252"}
    load(account_column="Konto", comment_column="Grund", policy="replace", file=layout).done()
    assert entries(own_world) == {"C1": "Widerspruch", "C2": "Größe"}


def test_a_comment_is_optional(server, own_world):
    put(server, "account\nC1\n")
    load(policy="replace").done()
    assert entries(own_world) == {"C1": ""}


def test_a_list_that_no_campaign_uses_is_made_and_warned_of(server_on_both, own_world_on_both):
    put(server_on_both, FILE)
    ran = load(exclusion_list="Bankruptcies", create_list=True)
    assert ran.message == (
        "4 accounts into 'Bankruptcies' (3 new, 1 duplicates ignored), which no campaign uses from disputes.csv"
    )
    assert ran.lines(logging.WARNING) == [
        "No campaign uses 'Bankruptcies', so it excludes nothing. Associate a campaign with it."
    ]
    assert len(entries(own_world_on_both, "Bankruptcies")) == 3
    assert [one["kind"] for one in rows(own_world_on_both, "exclusion_list")][-1] == "record"


def test_a_drop_folder_is_a_source_too(server, own_world, tmp_path):
    (tmp_path / "disputes.csv").write_text(FILE)
    DropFolder(root=str(tmp_path)).save("drop-folder", overwrite=True)
    load(source="drop_folder").done()
    assert set(entries(own_world)) == {"C000005", "C000007", "C000008"}
    assert (tmp_path / "archive" / "disputes.csv").exists()


def test_imported_accounts_are_neither_dialled_nor_exported(server_on_both, own_world_on_both):
    """Through all three types: import, start, export, in every list of the campaign, and of this campaign only."""
    world = own_world_on_both
    with changing(world) as connection:
        connection.execute(sa.update(CampaignList).where(col(CampaignList.list_uid) == 2).values(campaign_uid=1))
        connection.execute(sa.update(RecordResult).values(campaign_uid=1, completed=False))
    tried = [one for one in rows(world, "record_result", "record_uid") if one["record_uid"] != 5]
    excluded, kept = {tried[0]["record_uid"], tried[-1]["record_uid"]}, {one["record_uid"] for one in tried[1:-1]}
    assert min(excluded) <= 10 < max(excluded)  # of two lists
    put(server_on_both, "account\n" + "".join(f"C{uid:06d}\n" for uid in excluded))
    load().done()

    started = run(campaign_trigger, campaign="Overdue citations", step="start")
    assert "started: 17 of 20 records can be dialled" in started.message  # without these two and C000005
    export = run(campaign_results_export, campaign="Overdue citations", file_name="results.csv")
    assert export.done().processed == len(kept)
    text = (server_on_both.folder / "results.csv").read_text()
    found = {row["account"] for row in csv.DictReader(io.StringIO(text, newline=""))}
    assert found == {f"C{uid:06d}" for uid in kept}


@pytest.mark.parametrize(
    ("parameters", "text", "message"),
    [
        ({"exclusion_list": "Disputes"}, FILE, "no exclusion list 'Disputes' (of the kind record there are: 'Accounts"),
        ({"exclusion_list": "Do not call"}, FILE, "'Do not call' is of the kind internal, which holds no accounts"),
        ({"account_column": "acct"}, FILE, "'disputes.csv' has no column acct; it has account, comment"),
        ({"comment_column": "why"}, FILE, "Correct the file, its separator, or comment_column"),
        ({"file_name": "other.csv"}, FILE, "Expected file did not arrive: no file 'other.csv'"),
        ({"file_name": "disputes_{dat}.csv"}, FILE, "Unknown token {dat}"),
        ({}, "account,account\nC1,C2\n", "names these columns more than once: account"),
        ({"file": {"encoding": "utf-16"}}, "x" + FILE, "cannot be read as utf-16"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(server, own_world, parameters, text, message):
    put(server, text)
    before = rows(own_world, "exclusion_list"), rows(own_world, "exclusion_entry")
    ran = load(**parameters)
    assert ran.ended == "FAILED"
    assert message in ran.message
    assert (rows(own_world, "exclusion_list"), rows(own_world, "exclusion_entry")) == before
    assert (names(server), loads(own_world)) == (["disputes.csv"], [])


def test_replace_takes_one_file_only(server, own_world):
    for name in ("d_1.csv", "d_2.csv"):
        put(server, FILE, name)
    assert "2 files fit 'd_*.csv'" in load(file_name="d_*.csv", policy="replace").message
    assert len(entries(own_world)) == 1
    assert (
        load(file_name="d_*.csv")
        .done()
        .summary.startswith("8 accounts into 'Accounts in dispute' (2 new, 6 duplicates ignored) from d_")
    )


# --- killed -------------------------------------------------------------------------------------------

SOURCE = FILE + ",no account\n"
POINTS = [
    "headway.flows.shared.file_loads:fetch after",
    "headway.flows.shared.file_loads:put_error_file before",
    "headway.flows.shared.file_loads:put_error_file after",
    "headway.flows.exclusion_import.flow:_clear after",
    "headway.flows.exclusion_import.flow:_insert before",
    "headway.flows.exclusion_import.flow:_insert after",
    "headway.flows.exclusion_import.flow:keep_load after",
    "headway.flows.exclusion_import.flow:load_rows after",
    "headway.flows.shared.file_loads:put_away before",
    "headway.flows.shared.file_loads:put_away after",
    "headway.flows.exclusion_import.flow:warn_if_unused before",
]


def state(server: FaultServer, world: Database) -> tuple[object, ...]:
    error_file = server.folder / "disputes_error.csv"
    return names(server), error_file.exists() and error_file.read_text(), entries(world), loads(world)


@pytest.mark.parametrize("point", POINTS)
def test_after_a_kill_the_next_attempt_ends_as_if_nothing_had_happened(
    server, own_world, killer: Killer, tmp_path, monkeypatch, point
):
    put(server, SOURCE)
    asked = {"exclusion_list": LIST, "file_name": "disputes.csv", "policy": "replace"}
    killer.kill(exclusion_import, started_as(exclusion_import, f"{tmp_path.name}:1"), point, **asked)
    again = run(exclusion_import, flow_run=started_as(exclusion_import, f"{tmp_path.name}:2"), **asked).done()
    after_kill = state(server, own_world)

    server.reset()
    other = _world_beside(tmp_path, monkeypatch, server)
    put(server, SOURCE)
    undisturbed = load(policy="replace").done()
    assert after_kill == state(server, other)
    assert again.model_dump(exclude={"files"}) == undisturbed.model_dump(exclude={"files"})


def _world_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: FaultServer) -> Database:
    other = small_world(f"sqlite:///{tmp_path / 'undisturbed.db'}")
    _with(other, server, monkeypatch)
    return other


@pytest.mark.parametrize(
    "point",
    ["headway.flows.exclusion_import.flow:_insert before", "headway.flows.exclusion_import.flow:keep_load after"],
)
def test_a_load_that_is_killed_leaves_nothing_half_done(server_on_both, own_world_on_both, killer, tmp_path, point):
    put(server_on_both, FILE)
    asked = {"exclusion_list": LIST, "file_name": "disputes.csv", "policy": "replace"}
    killer.kill(exclusion_import, started_as(exclusion_import, f"{tmp_path.name} both:1"), point, **asked)
    assert (entries(own_world_on_both), loads(own_world_on_both)) == ({"C000005": "In dispute"}, [])
    assert load(policy="replace").done().processed == 4  # another run: nothing is locked any more
    assert len(entries(own_world_on_both)) == 3
