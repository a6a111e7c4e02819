"""The table of docs/measured/faults.md: rows of what ran replace theirs, others stay."""

from datetime import UTC, datetime

import pytest

from tests.faults.__main__ import PARTS, SFTP_FOLDER, SFTP_TESTS
from tests.faults.table import BEGIN, DOCUMENT, END, HEAD, Line, Unexplained, as_markdown, rows_of, written
from tests.support.project import PROJECT

GOOD = Line("Clock jumps", "SQLite", "15 jumps", True)
BAD = Line("Disk full", "SQLite", "half a row: a|b\nand more", False)


def test_a_row_says_its_part_its_day_and_its_machine() -> None:
    (row,) = rows_of("clock", [GOOD])
    assert row.startswith("| `clock` | Clock jumps | SQLite | 15 jumps | held | ")
    assert f"{datetime.now(UTC):%Y-%m-%d}, " in row and " cores, " in row and "Python 3." in row


def test_an_errors_text_stays_in_its_cell() -> None:
    (row,) = rows_of("database", [BAD])
    assert "| half a row: a\\|b and more | **BROKEN** |" in row


def test_rows_of_parts_that_did_not_run_stay_with_their_date() -> None:
    old = "| `clock` | one night | SQLite | fine | held | 2020-01-01, 1 core |"
    gone = ["| `database` | Disk full | SQLite | fine | held | 2020-01-01, 1 core |"] * 3
    table = "\n".join([HEAD, old, *gone])
    document = f"before\n\n{BEGIN}\n{table}\n\n{END}\nafter\n"
    new = rows_of("database", [GOOD, BAD], "half a row was written; mended in the writer")
    assert written(document, {"database": new}, PARTS) == document.replace("\n".join(gone), "\n".join(new))


def test_rows_have_the_order_of_the_parts_whatever_ran_first() -> None:
    new = {"workers": rows_of("workers", [GOOD]), "clock": rows_of("clock", [GOOD])}
    lines = as_markdown(new, PARTS).splitlines()
    assert [line.split("`")[1] for line in lines[2:]] == ["clock", "workers"]


def test_a_document_without_the_marks_is_left_alone() -> None:
    with pytest.raises(ValueError, match="--write"):
        written("nothing here", {"clock": []}, PARTS)


def test_the_document_is_what_the_command_would_write() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert written(document, {}, PARTS) == document


def test_a_broken_row_says_its_note() -> None:
    (row,) = rows_of("database", [BAD], "the error named no cause | mended since")
    assert "| **BROKEN**: the error named no cause \\| mended since |" in row


@pytest.mark.parametrize("note", ["", " \n"])
def test_a_broken_row_without_a_note_is_not_written(note: str) -> None:
    document = f"before\n\n{BEGIN}\n{HEAD}\n\n{END}\nafter\n"
    with pytest.raises(Unexplained, match="--note"):
        written(document, {"database": rows_of("database", [GOOD, BAD], note)}, PARTS)


def test_a_broken_row_without_a_note_that_stands_already_is_refused_too() -> None:
    document = f"{BEGIN}\n{HEAD}\n| `clock` | one night | SQLite | twice | **BROKEN** | 2020-01-01, 1 core |\n\n{END}"
    with pytest.raises(Unexplained, match="one night"):
        written(document, {}, PARTS)


@pytest.mark.parametrize("name", SFTP_TESTS)
def test_the_files_of_the_sftp_part_exist(name: str) -> None:
    assert (PROJECT / SFTP_FOLDER / f"{name}.py").is_file()
