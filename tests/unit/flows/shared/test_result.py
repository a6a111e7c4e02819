"""What flows hand back and how they tell of their progress; the scratch file of imports; names."""

import fcntl
import logging
import tempfile
from pathlib import Path

import pytest
from prefect.logging.loggers import PrefectLogAdapter

from headway.flows.shared import result
from headway.flows.shared.files import WORK_PREFIX, _sweep_abandoned, resolved_file_name, work_folder
from headway.flows.shared.result import LOGGED_ROWS, BadRows, InputRefused, RunResult, completed, report_progress
from headway.flows.shared.staging import Staging


@pytest.fixture
def clock(monkeypatch):
    """Seconds that the test moves by hand."""
    now = [1000.0]
    monkeypatch.setattr(result, "_throttle", result._Throttle(lambda: now[0]))
    return now


def progress(caplog) -> list[tuple[float, int | None]]:
    return [(r.progress, getattr(r, "processed", None)) for r in caplog.records if hasattr(r, "progress")]


def test_progress_is_logged_at_most_once_a_second(caplog, clock):
    logger = logging.getLogger("flow")
    with caplog.at_level(logging.INFO):
        for percent in range(10):
            report_progress(logger, percent, processed=percent * 10)
            clock[0] += 0.25
    assert progress(caplog) == [(0, 0), (4, 40), (8, 80)]


def test_the_last_progress_is_always_logged_and_stays_within_bounds(caplog, clock):
    logger = logging.getLogger("flow")
    with caplog.at_level(logging.INFO):
        report_progress(logger, -3)
        report_progress(logger, 250, processed=1)
    assert progress(caplog) == [(0, None), (100, 1)]


def test_another_run_in_the_same_process_is_not_held_back(caplog, clock):
    with caplog.at_level(logging.INFO):
        for run in ("one", "two"):
            adapter = PrefectLogAdapter(logging.getLogger("flow"), {"flow_run_id": run})
            report_progress(adapter, 5)
    assert len(progress(caplog)) == 2


def test_bad_rows_are_logged_up_to_a_limit_and_all_counted(caplog):
    bad = BadRows(logging.getLogger("flow"), "codes.csv")
    for line in range(LOGGED_ROWS + 12):
        bad.add(line, "column 'code' is empty")
    bad.finish("codes_error.csv")
    assert bad.count == LOGGED_ROWS + 12
    assert len(caplog.records) == LOGGED_ROWS + 1
    assert caplog.messages[0] == "codes.csv line 0: column 'code' is empty"
    assert caplog.messages[-1] == "12 more bad rows; all 112 are in codes_error.csv"


def test_a_flow_that_is_done_shows_its_summary():
    state = completed(RunResult(processed=3, summary="3 rows"))
    assert state.is_completed()
    assert state.message == "3 rows"
    assert state.data == RunResult(processed=3, summary="3 rows")


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("export_{dat}.csv", r"\{dat\}"),
        ("export_{date}.csv", r"\{date\}"),  # the scheduler resolves it, or nobody does
        ("export_{.csv", r"\{"),
        ("export_}.csv", r"\}"),
    ],
)
def test_a_token_left_in_a_name_is_refused(name, token):
    with pytest.raises(InputRefused, match=f"Unknown token {token} "):
        resolved_file_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b.csv", "..\\b.csv", "a\nb.csv", "a\0.csv", "x" * 300])
def test_what_is_no_plain_file_name_is_refused(name):
    with pytest.raises(InputRefused, match="file_name"):
        resolved_file_name(name)


def test_a_work_folder_goes_away_and_takes_abandoned_ones_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    abandoned = tmp_path / f"{WORK_PREFIX}dead"
    abandoned.mkdir()
    (abandoned / ".lock").touch()
    with work_folder() as busy:
        (busy / "data").write_text("x")
        assert not abandoned.exists()
        with work_folder():  # a second run's sweep leaves a busy folder alone
            assert (busy / "data").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_that_comes_before_the_lock_costs_only_another_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    lock, sweeps = fcntl.flock, []

    def late(file, operation):
        if operation == fcntl.LOCK_EX and not sweeps:
            sweeps.append(Path(file.name).parent)
            _sweep_abandoned(tmp_path)
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with work_folder() as folder:
        (folder / "data").write_text("x")
        assert folder != sweeps[0]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def staging(tmp_path: Path):
    with Staging(tmp_path / "staging.db") as staging:
        yield staging


def test_a_repeated_key_is_bad_wherever_it_repeats(staging):
    for line, key in [(2, "A"), (3, "B"), (2500, "A")]:
        staging.add(line, key, {"code": key}, f"{key}\n")
    assert (staging.good, staging.bad) == (2, 1)
    assert list(staging.bad_rows()) == [(2500, "the key 'A' is already on line 2", b"A\n")]


def test_rows_are_settled_batch_by_batch(staging):
    for line in range(1, 2501):
        staging.add(line, f"K{line}", {"n": str(line)}, f"raw {line}\n")
    sizes = []

    def judge(batch):
        sizes.append(len(batch))
        return {row.line: "" if row.line % 2 else "no" for row in batch if row.line % 100 < 2}

    staging.settle(judge)
    assert sizes == [1000, 1000, 500]
    assert (staging.good, staging.bad) == (2475, 25)
    assert sum(len(batch) for batch in staging.batches()) == 2450  # the table has the other 25 already


def test_the_error_file_has_line_reason_and_row_and_no_formula(staging, tmp_path):
    staging.reject(7, "column 'code' is empty", ",x\r\n")
    staging.reject(3, "two, reasons", "=cmd()\udcff\n")
    staging.write_error_file(tmp_path / "e.csv")
    assert (tmp_path / "e.csv").read_bytes() == (
        b'line,reason,row\r\n3,"two, reasons",\'=cmd()\xff\r\n7,column \'code\' is empty,",x"\r\n'
    )
