"""What all benchmarks together say of themselves."""

import re

import pytest

from benchmarks.__main__ import DOCUMENT, NAMES, written
from benchmarks.table import Row, rows_of, show
from tests.support.project import PROJECT

GOOD = Row("a turn", "41 ms", "2 ms, small", "18.2 times", "100 ms at most", True)
BAD = Row("an import", "4.00 s", "0.80 s, `COPY`", "5.00 times", "2 times at most", False)


def test_every_benchmark_takes_part() -> None:
    files = {path.stem for path in (PROJECT / "benchmarks").glob("*.py")}
    assert files - {"__init__", "__main__", "no_op", "table"} == set(NAMES)


def test_what_a_benchmark_shows_is_found_in_its_output(capsys: pytest.CaptureFixture[str]) -> None:
    print("Load at the beginning: 0.1")
    assert show([GOOD, BAD]) == 1
    good, bad = rows_of("turn", capsys.readouterr().out)
    assert good.startswith("| `turn` | a turn | 41 ms | 2 ms, small | 18.2 times | 100 ms at most | yes | 20")
    assert "| 5.00 times | 2 times at most | **no** |" in bad


def test_a_benchmark_that_came_to_no_end_says_so() -> None:
    (row,) = rows_of("turn", "Traceback ...")
    assert "did not come to an end" in row and "**no**" in row


def test_rows_of_benchmarks_that_were_not_run_stay(capsys: pytest.CaptureFixture[str]) -> None:
    show([GOOD])
    output = capsys.readouterr().out
    document = DOCUMENT.read_text(encoding="utf-8")
    once = written(document, {"turn": rows_of("turn", output), "ledger": rows_of("ledger", output)})
    again = written(once, {"turn": rows_of("turn", output.replace("41 ms", "43 ms"))})
    assert "\nMeasured on" not in again  # one machine for all rows would be stamped over those that did not run
    assert again == once.replace("| `turn` | a turn | 41 ms", "| `turn` | a turn | 43 ms")
    assert again.partition("<!--")[0] == document.partition("<!--")[0]
    assert again.rpartition("-->")[2] == document.rpartition("-->")[2]


def test_a_row_says_its_day_and_its_machine(capsys: pytest.CaptureFixture[str]) -> None:
    show([GOOD])
    (row,) = rows_of("turn", capsys.readouterr().out)
    assert re.search(r"\| \d{4}-\d\d-\d\d, \d+ cores, \d+ GiB, \S+ \S+, Python 3\S+ \|$", row)
