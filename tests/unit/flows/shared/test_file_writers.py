"""Files that exports deliver, byte by byte."""

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from pydantic import ValidationError

from headway.flows.shared.file_writers import (
    CsvOptions,
    FixedColumn,
    FixedWidthOptions,
    XlsxOptions,
    as_text,
    write_csv,
    write_fixed_width,
    write_xlsx,
)
from headway.flows.shared.result import InputRefused


def csv_bytes(tmp_path: Path, rows: list[tuple], columns: list[str] | None = None, **options: object) -> bytes:
    columns = columns or [f"c{i}" for i in range(1, len(rows[0]) + 1)]
    write_csv(tmp_path / "f", columns, [rows], CsvOptions(**options), lambda done: None)
    return (tmp_path / "f").read_bytes()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, b'c1,c2\r\na,1\r\n"b,""x""",\r\n'),  # RFC 4180 by default
        ({"line_end": "lf"}, b'c1,c2\na,1\n"b,""x""",\n'),
        ({"header": False}, b'a,1\r\n"b,""x""",\r\n'),
        ({"separator": "tab"}, b'c1\tc2\r\na\t1\r\n"b,""x"""\t\r\n'),  # by name
        ({"separator": ";", "quote": "'"}, b'c1;c2\r\na;1\r\nb,"x";\r\n'),
        ({"quoting": "all"}, b'"c1","c2"\r\n"a","1"\r\n"b,""x""",""\r\n'),
        ({"quoting": "nonnumeric"}, b'"c1","c2"\r\n"a",1\r\n"b,""x""",""\r\n'),
        ({"separator": "|", "quoting": "none"}, b'c1|c2\r\na|1\r\nb,"x"|\r\n'),
        ({"null_text": "\\N"}, b'c1,c2\r\na,1\r\n"b,""x""",\\N\r\n'),
    ],
)
def test_csv_is_written_as_its_options_say(tmp_path, options, expected):
    assert csv_bytes(tmp_path, [("a", 1), ('b,"x"', None)], **options) == expected


@pytest.mark.parametrize("line_end", ["crlf", "lf"])
@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\r\nb", " lead", "", "=1+1", "é\u2028"])
def test_any_text_comes_back_from_csv_as_it_was(tmp_path, value, line_end):
    written = csv_bytes(tmp_path, [(value, "next"), ("x", value)], header=False, line_end=line_end)
    rows = list(csv.reader(io.StringIO(written.decode(), newline="")))
    assert rows == [[value, "next"], ["x", value]]


def test_text_that_looks_like_a_formula_is_not_touched(tmp_path):
    assert csv_bytes(tmp_path, [("=cmd()", "+1", "-1", "@a")], header=False) == b"=cmd(),+1,-1,@a\r\n"


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("cp1252", "é\r\n".encode("cp1252")),
        ("utf-8-sig", b"\xef\xbb\xbf\xc3\xa9\r\n"),  # one byte order mark, at the start
        ("utf-16", "é\r\n".encode("utf-16")),
    ],
)
def test_csv_in_other_encodings(tmp_path, encoding, expected):
    assert csv_bytes(tmp_path, [("é",)], header=False, encoding=encoding) == expected


def test_a_byte_order_mark_is_written_once_for_many_batches(tmp_path):
    batches = [[("a",)], [("b",)]]
    write_csv(tmp_path / "f", ["c"], batches, CsvOptions(encoding="utf-8-sig", line_end="lf"), lambda done: None)
    assert (tmp_path / "f").read_bytes() == b"\xef\xbb\xbfc\na\nb\n"


def test_a_character_that_the_encoding_lacks_names_its_row(tmp_path):
    with pytest.raises(InputRefused, match=r"Row 2 holds the character 'ł', which cp1252 does not have"):
        csv_bytes(tmp_path, [("a",), ("Wałęsa",)], encoding="cp1252")


def test_a_value_that_needs_quotes_with_quoting_none_names_row_and_column(tmp_path):
    with pytest.raises(InputRefused, match="Row 2, column 'note': the value 'a,b' needs quotes"):
        csv_bytes(tmp_path, [("1", "x"), ("2", "a,b")], ["id", "note"], quoting="none")


def test_rows_are_counted_over_all_batches(tmp_path):
    seen = []
    batches = [[(1,), (2,)], [(3,)]]
    assert write_csv(tmp_path / "f", ["c"], batches, CsvOptions(), seen.append) == 3
    assert seen == [2, 3]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 11, 1, 1, 30, tzinfo=ZoneInfo("America/New_York")), "2026-11-01 05:30:00"),  # in UTC
        (datetime(2026, 11, 1, 1, 30, 0, 250), "2026-11-01 01:30:00.000250"),  # nothing is lost
        (date(2026, 11, 1), "2026-11-01"),
        (Decimal("1E+3"), "1000"),  # never an exponent
        (Decimal("45.00"), "45.00"),
        (True, "true"),
        (b"\x01\xff", "01ff"),
        ({"b": "é", "a": 1}, '{"a": 1, "b": "é"}'),
    ],
)
def test_database_values_as_text(value, text):
    assert as_text(value) == text


@pytest.mark.parametrize(
    "options",
    [
        {"separator": ",,"},
        {"separator": "\n"},
        {"quote": ",", "separator": ","},
        {"encoding": "hex"},  # no text encoding
        {"encoding": "utf-99"},
        {"line_end": "cr"},
        {"delimiter": ";"},  # unknown key
    ],
)
def test_csv_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValidationError):
        CsvOptions(**options)


FIXED = FixedWidthOptions(
    columns=[
        FixedColumn(name="code", width=4),
        FixedColumn(name="fine", width=6, align="right", pad="0"),
    ],
    line_end="lf",
)


def fixed(tmp_path: Path, rows: list[tuple], options: FixedWidthOptions = FIXED) -> str:
    write_fixed_width(tmp_path / "f", ["fine", "code", "note"], [rows], options, lambda done: None)
    return (tmp_path / "f").read_text()


def test_fixed_width_places_columns_by_name(tmp_path):
    assert fixed(tmp_path, [(3500, "EXPM", "x"), (None, "A", "")]) == "EXPM003500\nA   000000\n"


def test_a_value_too_wide_names_row_and_column(tmp_path):
    with pytest.raises(InputRefused, match=r"Row 2, column 'code': 'EXPIRED' is 7 characters wide, the column 4"):
        fixed(tmp_path, [(1, "A", ""), (2, "EXPIRED", "")])


def test_a_line_break_in_a_fixed_width_value_is_refused(tmp_path):
    with pytest.raises(InputRefused, match=r"Row 1, column 'code'.*line break"):
        fixed(tmp_path, [(1, "A\nB", "")])


@pytest.mark.parametrize(
    ("columns", "message"),
    [([], "columns is empty"), ([FixedColumn(name="colour", width=3)], "names colour, which the data has not")],
)
def test_fixed_width_columns_must_fit_the_data(tmp_path, columns, message):
    with pytest.raises(InputRefused, match=message):
        fixed(tmp_path, [(1, "A", "")], FixedWidthOptions(columns=columns))


def test_xlsx_keeps_types_and_makes_no_formula_or_link(tmp_path):
    row = ("=1+1", "https://example.com", "0012", 12, 1.5, datetime(2026, 11, 1, 5, 30, tzinfo=UTC), None, True)
    columns = [f"c{i}" for i in range(len(row))]
    write_xlsx(tmp_path / "f.xlsx", columns, [[row, (10**16, *row[1:])]], XlsxOptions(), lambda done: None)
    sheet = openpyxl.load_workbook(tmp_path / "f.xlsx")["Export"]
    assert [cell.value for cell in sheet[1]] == columns
    cells = sheet[2]
    assert [cell.value for cell in cells] == [*row[:5], datetime(2026, 11, 1, 5, 30), None, True]
    assert cells[0].data_type == "s" and cells[1].hyperlink is None
    assert sheet[3][0].value == "10000000000000000"  # longer than Excel can keep as a number


def test_more_rows_than_a_sheet_holds_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("headway.flows.shared.file_writers.XLSX_MAX_ROWS", 3)
    with pytest.raises(InputRefused, match="A worksheet holds 3 rows"):
        write_xlsx(tmp_path / "f.xlsx", ["c"], [[(1,), (2,), (3,)]], XlsxOptions(), lambda done: None)


def test_text_longer_than_a_cell_names_row_and_column(tmp_path):
    with pytest.raises(InputRefused, match="column 'note': 40,000 characters"):
        write_xlsx(tmp_path / "f.xlsx", ["note"], [[("x" * 40_000,)]], XlsxOptions(), lambda done: None)
