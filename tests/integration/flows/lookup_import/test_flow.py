"""lookup_import against real SFTP servers, real databases and a real Prefect."""

import csv
import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun

from headway.blocks.database.block import Database
from headway.blocks.drop_folder import DropFolder
from headway.flows.lookup_import import flow as module
from headway.flows.lookup_import.flow import lookup_import
from headway.flows.shared import file_loads, incoming
from headway.models.operations.tables import FileLoad, LookupEntry, LookupTable
from tests.support.flow_world import Ran, run, small_world
from tests.support.sftp_faults import FaultServer

pytest_plugins = ["tests.support.flow_world"]

CODES = "code,text,fine\nEXPM,Meter ran out,40.00\nTOWA,Tow away,150.00\n"


@pytest.fixture
def server(importer: FaultServer, own_world: Database, no_pauses: None) -> FaultServer:
    """The importer, with a small sample world as block `operations`; `violation_codes` has six entries."""
    own_world.save("operations", overwrite=True)
    return importer


@pytest.fixture
def server_on_both(importer: FaultServer, own_world_on_both: Database, no_pauses: None) -> FaultServer:
    """The same, once with SQLite and once with PostgreSQL."""
    own_world_on_both.save("operations", overwrite=True)
    return importer


def put(server: FaultServer, name: str, text: str | bytes) -> Path:
    path = server.folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def names(server: FaultServer) -> list[str]:
    return sorted(str(path.relative_to(server.folder)) for path in server.folder.rglob("*") if path.is_file())


def entries(database: Database, lookup: str = "violation_codes") -> dict[str, dict[str, str]]:
    with database.reading() as connection:
        rows = connection.execute(
            sa.select(LookupEntry.key, LookupEntry.fields)
            .join(LookupTable, LookupTable.uid == LookupEntry.lookup_uid)
            .where(LookupTable.name == lookup)
        )
        return {row.key: row.fields for row in rows}


def loads(database: Database) -> list[tuple[str, int, int]]:
    with database.reading() as connection:
        rows = connection.execute(sa.select(FileLoad.file_name, FileLoad.processed, FileLoad.errors))
        return [tuple(row) for row in rows]


def import_codes(**parameters: object) -> Ran:
    return run(lookup_import, **({"lookup": "violation_codes", "file_name": "codes.csv"} | parameters))


def test_good_rows_load_and_the_source_is_archived(server, own_world):
    path = put(server, "codes.csv", CODES)
    size = path.stat().st_size
    ran = import_codes()
    result = ran.done()
    assert (result.processed, result.errors, result.bytes, result.files) == (2, 0, size, [])
    assert ran.message == "2 rows into violation_codes from codes.csv"
    found = entries(own_world)
    assert len(found) == 7  # six, one of them changed, and one more
    assert found["EXPM"] == {"code": "EXPM", "text": "Meter ran out", "fine": "40.00"}
    assert names(server) == ["archive/codes.csv"]
    assert loads(own_world) == [("codes.csv", 2, 0)]


def test_bad_rows_go_to_the_error_file_and_are_logged_and_counted(server_on_both, own_world_on_both):
    put(server_on_both, "codes.csv", CODES + ',no key,1\nDBLP,"oops,5\nTOWA,again,1\nFIRE,=cmd(),\n')
    ran = import_codes(required_columns=["text"])
    result = ran.done()
    assert (result.processed, result.errors) == (3, 3)
    rows = list(csv.reader(io.StringIO((server_on_both.folder / "codes_error.csv").read_text(), newline="")))
    assert [row[0] for row in rows] == ["line", "4", "5", "6"]
    assert rows[1] == ["4", "column 'code' is empty", ",no key,1"]
    assert rows[2][2] == 'DBLP,"oops,5'
    assert rows[3][1] == "the key 'TOWA' is already on line 3"
    assert [line.split(":")[0] for line in ran.lines(logging.ERROR)] == [f"codes.csv line {n}" for n in (4, 5, 6)]
    assert [file["name"] for file in result.files] == ["codes_error.csv"] == [r["name"] for r in ran.receipts]
    assert ran.message.endswith("; 3 bad rows in codes_error.csv")
    assert entries(own_world_on_both)["FIRE"]["text"] == "=cmd()"  # data is data


def test_an_error_file_of_earlier_bad_rows_goes_away(server):
    put(server, "codes_error.csv", "line,reason,row\n")
    put(server, "codes.csv", CODES)
    import_codes().done()
    assert names(server) == ["archive/codes.csv"]


@pytest.mark.parametrize(
    ("policy", "processed", "errors", "keys", "fine"),
    [
        ("update", 2, 0, 7, "40.00"),
        ("replace", 2, 0, 2, "40.00"),
        ("add", 1, 1, 7, "35.00"),  # EXPM is there with another fine: the table keeps its own
    ],
)
def test_policies(server_on_both, own_world_on_both, policy, processed, errors, keys, fine):
    put(server_on_both, "codes.csv", CODES)
    result = import_codes(policy=policy).done()
    assert (result.processed, result.errors) == (processed, errors)
    found = entries(own_world_on_both)
    assert (len(found), found["EXPM"]["fine"]) == (keys, fine)


def test_add_takes_a_row_that_is_there_already_for_good(server_on_both, own_world_on_both):
    """So loading the same file twice is harmless under each policy."""
    put(server_on_both, "codes.csv", CODES)
    import_codes(policy="replace", after="leave").done()
    assert import_codes(policy="add").done().processed == 2
    assert len(entries(own_world_on_both)) == 2


@pytest.mark.parametrize("text", ["code,text\n", "", "code,text\n,no key\n"])
def test_an_empty_file_does_not_clear_the_table(server, own_world, text):
    put(server, "codes.csv", text)
    ran = import_codes(policy="replace")
    assert ran.ended == "FAILED"
    assert "holds no good row, and policy replace would clear 'violation_codes' (6 entries)" in ran.message
    assert len(entries(own_world)) == 6
    assert "codes.csv" in names(server)


def test_an_empty_file_clears_the_table_where_that_is_meant(server, own_world):
    put(server, "codes.csv", "code,text\n")
    import_codes(policy="replace", allow_empty=True).done()
    assert entries(own_world) == {}


def test_several_files_are_loaded_oldest_first(server, own_world):
    for age, (name, fine) in enumerate([("codes_b.csv", "1"), ("codes_a.csv", "2"), ("codes_a_error.csv", "9")]):
        path = put(server, name, f"code,fine\nEXPM,{fine}\nK{age},0\n")
        os.utime(path, (1_700_000_000 + age, 1_700_000_000 + age))
    result = import_codes(file_name="codes_*.csv").done()
    assert result.processed == 4
    assert result.summary == "4 rows into violation_codes from codes_b.csv, codes_a.csv"
    assert entries(own_world)["EXPM"]["fine"] == "2"
    assert names(server) == ["archive/codes_a.csv", "archive/codes_b.csv"]


def test_replace_takes_one_file_only(server, own_world):
    for name in ("codes_1.csv", "codes_2.csv"):
        put(server, name, CODES)
    ran = import_codes(file_name="codes_*.csv", policy="replace")
    assert ran.ended == "FAILED"
    assert "2 files fit 'codes_*.csv'" in ran.message
    assert len(entries(own_world)) == 6


def test_a_missing_file_fails_the_run(server):
    ran = import_codes()
    assert ran.ended == "FAILED"
    assert "Expected file did not arrive: no file 'codes.csv' in /acme/import." in ran.message


def test_a_missing_file_may_be_left_for_the_next_run(server):
    result = import_codes(on_missing="skip").done()
    assert (result.processed, result.summary) == (0, "0 rows into violation_codes from no file")


def test_a_run_waits_for_its_file(server, own_world, monkeypatch):
    """The file comes once the run has said that it waits."""
    monkeypatch.setattr(incoming, "POLL_SECONDS", 0.01)

    class Arrives(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("Waiting up to"):
                put(server, "codes.csv", CODES)

    handler = Arrives()
    logging.getLogger("prefect.flow_runs").addHandler(handler)
    try:
        assert import_codes(on_missing="wait", wait_minutes=5).done().processed == 2
    finally:
        logging.getLogger("prefect.flow_runs").removeHandler(handler)


def test_waiting_ends(server):
    ran = import_codes(on_missing="wait", wait_minutes=0)
    assert ran.ended == "FAILED"
    assert "though waited for 0:00:00" in ran.message


@pytest.mark.parametrize(
    ("after", "left"), [("archive", ["archive/codes.csv"]), ("delete", []), ("leave", ["codes.csv"])]
)
def test_what_becomes_of_the_source(server, after, left):
    put(server, "codes.csv", CODES)
    import_codes(after=after).done()
    assert names(server) == left


def test_an_archive_loses_nothing(server):
    for _ in range(2):
        put(server, "codes.csv", CODES)
        import_codes(archive_folder="done/2026").done()
    assert len(names(server)) == 2


@pytest.mark.parametrize(
    ("parameters", "text", "message"),
    [
        ({"lookup": "violations"}, CODES, "no lookup table 'violations' (there are: vehicle_makes, violation_codes)"),
        ({"lookup": "colours", "create_table": True}, CODES, "key_columns is empty"),
        ({"key_columns": ["fine"]}, CODES, "differ from those of 'violation_codes'"),
        ({}, "kode,text\nA,x\n", "'codes.csv' has no column code; it has kode, text"),
        ({"required_columns": ["colour"]}, CODES, "has no column colour"),
        ({}, "code,code\nA,x\n", "names these columns more than once: code"),
        ({"file_name": "codes_{dat}.csv"}, CODES, "Unknown token {dat}"),
        ({"folder": "sub"}, CODES, "folder belongs to source drop_folder"),
        ({"source": "drop_folder", "drop_folder": "nowhere"}, CODES, "no drop folder block 'nowhere'"),
        ({"file": {"encoding": "utf-16"}}, "x" + CODES, "cannot be read as utf-16"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(server, own_world, parameters, text, message):
    put(server, "codes.csv", text)
    before = entries(own_world)
    ran = import_codes(**parameters)
    assert ran.ended == "FAILED"
    assert message in ran.message
    assert (names(server), entries(own_world), loads(own_world)) == (["codes.csv"], before, [])


def test_a_new_lookup_table_is_made_on_demand(server_on_both, own_world_on_both):
    put(server_on_both, "codes.csv", "state,lot,colour\nNY,A,red\nNY,B,blue\n")
    import_codes(lookup="lot_colours", create_table=True, key_columns=["state", "lot"]).done()
    assert set(entries(own_world_on_both, "lot_colours")) == {"NY\x1fA", "NY\x1fB"}
    put(server_on_both, "codes.csv", "state,lot,colour\nNY,B,green\n")
    import_codes(lookup="lot_colours").done()  # the key columns are the table's own by now
    assert entries(own_world_on_both, "lot_colours")["NY\x1fB"]["colour"] == "green"


def test_fixed_width_and_another_encoding(server, own_world):
    put(server, "codes.txt", "EXPM Señal tapada\r\nX\r\n".encode("cp1252"))
    positions = [{"name": "code", "start": 1, "width": 4}, {"name": "text", "start": 6, "width": 20}]
    layout = {"kind": "fixed_width", "positions": positions, "encoding": "cp1252"}
    result = import_codes(file_name="codes.txt", file=layout).done()
    assert (result.processed, result.errors) == (1, 1)
    assert entries(own_world)["EXPM"] == {"code": "EXPM", "text": "Señal tapada"}


def test_a_cut_connection_is_tried_again(server, own_world):
    put(server, "codes.csv", CODES)
    server.inject("read")
    assert import_codes().done().processed == 2


@pytest.fixture
def drop(tmp_path, server) -> Path:
    """A drop folder's root, with a secret beside it."""
    root = tmp_path / "drop"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "secret.csv").write_text(CODES)
    DropFolder(root=str(root)).save("drop-folder", overwrite=True)
    return root


def test_a_drop_folder_is_a_source_like_the_importer(drop, own_world):
    (drop / "sub" / "codes.csv").write_text(CODES + ",no key,1\n")
    result = import_codes(source="drop_folder", folder="sub").done()
    assert (result.processed, result.errors) == (2, 1)
    assert sorted(path.name for path in (drop / "sub").rglob("*.csv")) == ["codes.csv", "codes_error.csv"]
    assert (drop / "sub" / "archive" / "codes.csv").read_text().startswith("code,")
    assert "TOWA" in entries(own_world)


@pytest.mark.parametrize("folder", ["..", "sub/../..", "/", "link"])
def test_a_drop_folder_cannot_be_left(drop, own_world, folder):
    (drop / "link").symlink_to(drop.parent)
    ran = import_codes(source="drop_folder", folder=folder, file_name="secret.csv")
    assert ran.ended == "FAILED"
    assert "lies outside the drop folder" in ran.message
    assert len(entries(own_world)) == 6


def test_a_link_in_a_drop_folder_is_no_file(drop):
    (drop / "codes.csv").symlink_to(drop.parent / "secret.csv")
    assert "did not arrive" in import_codes(source="drop_folder").message


# --- crashes ------------------------------------------------------------------------------------------

SOURCE = CODES + "MAKE,Wrong list,0\n,no key,1\n"


class Crash(BaseException):
    """The process is gone: nothing catches this."""


def state_of_the_world(server: FaultServer, database: Database) -> tuple[object, ...]:
    error_file = server.folder / "codes_error.csv"
    text = error_file.read_text() if error_file.exists() else None
    return names(server), text, entries(database), loads(database)


STEPS = {
    "fetch": file_loads,
    "sort_rows": module,
    "put_error_file": file_loads,
    "load_rows": module,
    "put_away": file_loads,
    "Imported.result": file_loads,
}
CRASHES = [
    *[(step, when, "add") for step in STEPS for when in ("before", "after")],
    ("load_rows", "after", "update"),
    ("load_rows", "after", "replace"),
]


@pytest.mark.parametrize(("step", "when", "policy"), CRASHES)
def test_a_second_attempt_after_a_crash_ends_as_if_nothing_had_happened(
    server, own_world, tmp_path, monkeypatch, step, when, policy
):
    monkeypatch.setattr(file_loads, "run_key", lambda: "run-7")
    put(server, "codes.csv", SOURCE)
    *above, step = step.split(".")
    owner = getattr(STEPS[".".join([*above, step])], above[0]) if above else STEPS[step]
    original = getattr(owner, step)

    def crashing(*args, **kwargs):
        if when == "after":
            original(*args, **kwargs)
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, crashing)
        with pytest.raises(Crash):
            lookup_import(lookup="violation_codes", file_name="codes.csv", policy=policy)
    second = import_codes(policy=policy).done()
    after_crash = state_of_the_world(server, own_world)

    server.reset()
    other = small_world(f"sqlite:///{tmp_path / 'undisturbed.db'}")
    other.save("operations", overwrite=True)
    put(server, "codes.csv", SOURCE)
    undisturbed = import_codes(policy=policy).done()
    assert after_crash == state_of_the_world(server, other)
    assert second.model_dump(exclude={"files"}) == undisturbed.model_dump(exclude={"files"})


def test_a_new_file_of_the_same_name_is_left_for_the_next_run(server, own_world, monkeypatch):
    """The first attempt has loaded and archived its file; before the second one another file arrives."""
    monkeypatch.setattr(file_loads, "run_key", lambda: "run-7")
    put(server, "codes.csv", CODES)
    import_codes().done()
    put(server, "codes.csv", "code,fine\nEXPM,99.00\n")
    ran = import_codes()
    assert ran.done().processed == 2
    assert names(server) == ["archive/codes.csv", "codes.csv"]
    assert entries(own_world)["EXPM"]["fine"] == "40.00"
    assert "left for the next run" in " ".join(ran.lines(logging.WARNING))


def started_as(idempotency_key: str) -> FlowRun:
    """A flow run that Prefect has under this key, as the scheduler makes one."""
    with get_client(sync_client=True) as client:
        body = {"flow_id": str(client.create_flow(lookup_import)), "idempotency_key": idempotency_key}
        answer = client._client.post("/flow_runs/", json=body | {"state": {"type": "PENDING"}})
        return client.read_flow_run(answer.json()["id"])


def test_attempts_of_a_run_are_told_by_the_idempotency_key(server, own_world):
    """Two flow runs `41:1` and `41:2` are one run; `42:1` is another."""
    for key, expected in [("41:1", 1), ("41:2", 1), ("42:1", 2)]:
        put(server, "codes.csv", CODES)
        run(lookup_import, flow_run=started_as(key), lookup="violation_codes", file_name="codes.csv").done()
        assert len(loads(own_world)) == expected


KILLED = """
import os, sys
from pathlib import Path
from prefect.logging import disable_run_logger
from headway.blocks.database.block import Database
from headway.flows.lookup_import import flow as module
from headway.flows.shared.file_readers import FileFormat
from headway.flows.shared.staging import Staging

def killed(logger, percent, processed):
    if processed >= 3000:
        os._exit(9)

module.report_progress = killed
with Staging(Path(sys.argv[2])) as staging, disable_run_logger():
    for line in range(2, 6002):
        staging.add(line, f"K{line}", {"code": f"K{line}"}, "raw")
    rules = module.Rules(lookup="violation_codes", policy="replace", key_columns=[], required_columns=[],
                         format=FileFormat(), allow_empty=False, create_table=False)
    load = {"run_key": "1", "task_type": "t", "target": "violation_codes", "file_name": "f", "bytes": 1,
            "sha256": "", "processed": 6000, "errors": 0, "error_file": ""}
    module.load_rows.fn(Database(url=sys.argv[1]), rules, staging, load)
"""


def test_a_process_killed_in_the_middle_of_a_load_leaves_nothing_half_done(server_on_both, own_world_on_both, tmp_path):
    before = entries(own_world_on_both)
    command = [sys.executable, "-c", KILLED, own_world_on_both.url.get_secret_value(), str(tmp_path / "staging.db")]
    assert subprocess.run(command).returncode == 9
    assert (entries(own_world_on_both), loads(own_world_on_both)) == (before, [])
    put(server_on_both, "codes.csv", CODES)
    assert import_codes(policy="replace").done().processed == 2
