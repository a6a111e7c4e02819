"""Reading files that others wrote: good rows, bad rows, and never more than one row lost to a mistake."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headway.flows.shared import file_readers
from headway.flows.shared.file_readers import MAX_RECORD_CHARACTERS, FileFormat, Position, Row, open_rows, open_text
from headway.flows.shared.result import InputRefused


def read(text: str, **format: object) -> tuple[list[list[str]], list[tuple[int, str]]]:
    """Values of the good rows; line and reason of the bad ones."""
    rows = list(open_rows(io.StringIO(text, newline=""), FileFormat(**format)).rows)
    return [row.values for row in rows if not row.problem], [(row.line, row.problem) for row in rows if row.problem]


@pytest.mark.parametrize(
    ("text", "format", "expected"),
    [
        ("code,text\r\nA,x\r\nB,y\r\n", {}, [["A", "x"], ["B", "y"]]),
        ("code;text\nA;x", {"separator": "semicolon"}, [["A", "x"]]),  # no line end at the end
        ("A\tx\n", {"separator": "tab", "header": False, "columns": ["code", "text"]}, [["A", "x"]]),
        ('c,t\nA,"x, ""y"""\n', {}, [["A", 'x, "y"']]),
        ('c,t\nA,"two\nlines"\nB,y\n', {}, [["A", "two\nlines"], ["B", "y"]]),  # a line break in quotes
        ("c,t\n\n A , x \n   \n", {}, [["A", "x"]]),  # blank lines, spaces
        ("c,t\n A , x \n", {"trim": False}, [[" A ", " x "]]),
        ('c,t\nA,5" pipe\n', {}, [["A", '5" pipe']]),  # a quote within an unquoted value is just a character
        ("c,t\n", {}, []),
        ("", {}, []),
    ],
)
def test_good_files(text, format, expected):
    assert read(text, **format) == (expected, [])


def test_one_missing_quote_spoils_one_row_only():
    good, bad = read('code,text\nA,x\nB,"oops\nC,z\nD,"fine"\nE,w\n')
    assert good == [["A", "x"], ["C", "z"], ["D", "fine"], ["E", "w"]]
    assert [line for line, _ in bad] == [3]
    assert "a quote is missing" in bad[0][1]


def test_one_missing_quote_among_many_plain_lines_spoils_one_row_only():
    lines = ["code,text", 'A,"oops', *(f"K{i},v" for i in range(500))]
    good, bad = read("\n".join(lines) + "\n")
    assert len(good) == 500
    assert bad == [(2, "a quote is missing (no end of a quoted value within 20 lines)")]


def test_a_missing_quote_at_the_end_of_the_file_is_a_bad_row():
    assert read('c,t\nA,x\nB,"y\n') == ([["A", "x"]], [(3, "the file ends within a quoted value")])


def test_wrong_number_of_values_is_a_bad_row():
    good, bad = read("c,t\nA\nB,y\nC,z,1\n")
    assert good == [["B", "y"]]
    assert bad == [(2, "1 values where 2 are expected"), (4, "3 values where 2 are expected")]


def test_a_line_without_end_is_cut_and_bad_and_the_next_one_is_read():
    long_line = "A," + "x" * (3 * MAX_RECORD_CHARACTERS)
    good, bad = read(f"c,t\n{long_line}\nB,y\n")
    assert good == [["B", "y"]]
    assert bad == [(2, "the line is longer than 65,536 characters")]


def test_a_line_exactly_at_the_limit_does_not_take_the_next_one_with_it():
    filler = "x" * (MAX_RECORD_CHARACTERS - 2)
    good, bad = read(f"c,t\nA,{filler}\nB,y\n")  # the line end is one character too many
    assert (good, [line for line, _ in bad]) == ([["B", "y"]], [2])


def test_the_raw_row_is_kept_for_the_error_file():
    rows = list(open_rows(io.StringIO("c,t\nA\n"), FileFormat()).rows)
    assert rows == [Row(2, "A\n", problem="1 values where 2 are expected")]


def test_bytes_that_are_not_of_the_encoding_spoil_their_row_only(tmp_path):
    path = tmp_path / "f.csv"
    path.write_bytes("c,t\nA,é\n".encode() + b"B,\xff\nC,z\n")
    with open_text(path, "utf-8") as text:
        rows = list(open_rows(text, FileFormat()).rows)
    assert [row.values for row in rows] == [["A", "é"], [], ["C", "z"]]
    assert "not of the file's encoding" in rows[1].problem


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16"])
def test_other_encodings(tmp_path, encoding):
    path = tmp_path / "f.csv"
    path.write_bytes("c,t\nA,é\n".encode(encoding))
    with open_text(path, "utf-8" if encoding == "utf-8-sig" else encoding) as text:
        opened = open_rows(text, FileFormat())
        assert (opened.columns, next(opened.rows).values) == (["c", "t"], ["A", "é"])


def test_a_file_that_is_not_of_its_encoding_at_all_is_refused(tmp_path):
    path = tmp_path / "f.csv"
    path.write_bytes(b"odd number of bytes in utf-16.")
    with open_text(path, "utf-16") as text, pytest.raises(InputRefused, match="cannot be read as utf-16"):
        list(open_rows(text, FileFormat()).rows)


@pytest.mark.parametrize("text", ["c,t,c\nA,x,y\n", 'c,"t\nA,x\n'])
def test_a_header_that_cannot_be_used_is_refused(text):
    with pytest.raises(InputRefused, match="header"):
        read(text)


FIXED = {
    "kind": "fixed_width",
    "positions": [Position(name="code", start=1, width=4), Position(name="text", start=6, width=5)],
}


def test_fixed_width_rows():
    good, bad = read("EXPM Meter\nFIRE Lane\nX\nNPRM PermitXX\n", **FIXED)
    assert good == [["EXPM", "Meter"], ["FIRE", "Lane"]]  # trailing spaces may be missing
    assert [line for line, _ in bad] == [3, 4]


@pytest.mark.parametrize(
    "format",
    [
        {"kind": "fixed_width"},  # no positions
        {"header": False},  # no names
        {"columns": ["a", "a"], "header": False},
        {"seperator": ";"},  # unknown key
        {"kind": "fixed_width", "positions": [Position(name="a", start=1, width=1)] * 2},
    ],
)
def test_formats_that_make_no_sense_are_refused(format):
    with pytest.raises(ValidationError):
        FileFormat(**format)


@given(st.lists(st.tuples(st.text("ab,\"\n\r ;'", max_size=8), st.text('ab,"\n\r', max_size=8)), max_size=8))
def test_whatever_our_csv_writer_writes_is_read_back(rows):
    import csv

    out = io.StringIO(newline="")
    csv.writer(out).writerows([("c", "t"), *rows])
    good, bad = read(out.getvalue(), trim=False)
    assert bad == []
    assert good == [list(row) for row in rows]


@given(st.text('ab,"\n\r', max_size=60))
def test_any_text_is_read_to_its_end_and_each_line_is_accounted_for(text):
    """Whatever comes, every non-blank line is part of exactly one row."""
    rows = list(open_rows(io.StringIO("c,t\n" + text, newline=""), FileFormat()).rows)
    physical = io.StringIO(text, newline="").readlines()
    covered = {row.line + i for row in rows for i in range(len(io.StringIO(row.raw, newline="").readlines()))}
    wanted = {number for number, line in enumerate(physical, 2) if line.strip()}
    assert wanted <= covered
    assert len(rows) == len({row.line for row in rows})


def test_the_limits_are_those_of_the_documentation():
    assert (file_readers.MAX_RECORD_LINES, MAX_RECORD_CHARACTERS) == (20, 65_536)
