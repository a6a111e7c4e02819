"""Writing rows to CSV, fixed-width and XLSX files, as a stream: memory does not grow with the rows.

Delivered files are byte-exact: what the database holds is what the file says. Nothing is quoted for the
sake of spreadsheets, no text becomes a formula, a link or a number.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import xlsxwriter  # type: ignore[import-untyped,unused-ignore]
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from headway.flows.shared.files import LINE_ENDS, Encoding, LineEnd, QuoteMark, Separator
from headway.flows.shared.result import InputRefused

Rows = Sequence[Sequence[Any]]
OnRows = Callable[[int], None]
"""Called with the number of rows written so far, after each batch."""

QUOTING = {
    "minimal": csv.QUOTE_MINIMAL,
    "all": csv.QUOTE_ALL,
    "nonnumeric": csv.QUOTE_NONNUMERIC,
    "none": csv.QUOTE_NONE,
}
AS_IT_IS = frozenset({str, int, float})
XLSX_MAX_ROWS = 1_048_576
XLSX_MAX_TEXT = 32_767
XLSX_EXACT_INTEGER = 10**15  # Excel keeps 15 digits; longer numbers are written as text


class CsvOptions(BaseModel):
    """How a CSV file is written."""

    model_config = ConfigDict(extra="forbid")

    separator: Separator = Field(default=",", description="comma, tab, semicolon, pipe, or any other single character.")
    quote: QuoteMark = Field(default='"', description="The quote character; within a value it is doubled.")
    quoting: Literal["minimal", "all", "nonnumeric", "none"] = Field(
        default="minimal",
        description="Which values are quoted. With none, a value that would need quotes is an error.",
    )
    line_end: LineEnd = Field(default="crlf", description="crlf (Windows, RFC 4180) or lf (Unix).")
    header: bool = Field(default=True, description="Whether the first line holds the column names.")
    encoding: Encoding = Field(
        default="utf-8",
        description="Text encoding, such as utf-8, utf-8-sig (with a byte order mark) or cp1252.",
    )
    null_text: str = Field(default="", description="What is written where the database has no value.")

    @model_validator(mode="after")
    def _distinct(self) -> "CsvOptions":
        if self.separator == self.quote:
            raise ValueError("separator and quote must differ")
        return self


class FixedColumn(BaseModel):
    """One column of a fixed-width file."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="The column's name in the query or table.")
    width: int = Field(ge=1, le=10_000, description="Width in characters.")
    align: Literal["left", "right"] = Field(default="left", description="On which side the value stands.")
    pad: str = Field(default=" ", min_length=1, max_length=1, description="What fills the rest, one character.")


class FixedWidthOptions(BaseModel):
    """How a fixed-width file is written."""

    model_config = ConfigDict(extra="forbid")

    columns: list[FixedColumn] = Field(
        default_factory=list,
        description="The columns in file order, each with its width. Needed for this format.",
    )
    line_end: LineEnd = Field(default="crlf", description="crlf (Windows) or lf (Unix).")
    header: bool = Field(default=False, description="Whether the first line holds the column names, padded.")
    encoding: Encoding = Field(default="utf-8", description="Text encoding, such as utf-8 or cp1252.")
    null_text: str = Field(default="", description="What is written where the database has no value.")


class XlsxOptions(BaseModel):
    """How an Excel workbook is written."""

    model_config = ConfigDict(extra="forbid")

    sheet: str = Field(default="Export", min_length=1, max_length=31, description="The worksheet's name.")
    header: bool = Field(default=True, description="Whether the first row holds the column names.")

    @field_validator("sheet")
    @classmethod
    def _allowed(cls, value: str) -> str:
        if any(char in value for char in "[]:*?/\\") or value.startswith("'") or value.endswith("'"):
            raise ValueError("must not hold any of [ ] : * ? / \\ nor begin or end with an apostrophe")
        return value


def as_text(value: Any) -> str:
    """A database value as text, the same for SQLite and PostgreSQL. Instants are UTC, without an offset."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        naive = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return naive.isoformat(sep=" ")
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return str(value)


def write_csv(path: Path, columns: list[str], batches: Iterable[Rows], options: CsvOptions, on_rows: OnRows) -> int:
    """Write the rows; returns how many. What cannot be written is InputRefused, with row and column."""
    lines: list[str] = []
    writer = csv.writer(
        _Lines(lines),
        delimiter=options.separator,
        quotechar=None if options.quoting == "none" else options.quote,
        quoting=QUOTING[options.quoting],  # type: ignore[arg-type]
        # Always CRLF here and replaced below: csv quotes a value for the line end it was told of only,
        # and a value that holds the other one must be quoted too.
        lineterminator="\r\n",
    )
    null = options.null_text
    with _Encoded(path, options.encoding, LINE_ENDS[options.line_end], columns) as out:
        if options.header:
            writer.writerow(columns)
            out.write_header(lines)
        done = 0
        for batch in batches:
            for row in batch:
                # A call for each value would double the time that millions of rows take.
                values = [value if value.__class__ in AS_IT_IS else _plain(value, null) for value in row]
                try:
                    writer.writerow(values)
                except csv.Error as error:
                    number = done + len(lines) + 1
                    raise _unquotable(number, columns, values, options, error) from None
            done = out.write_rows(lines, done)
            on_rows(done)
    return done


def _plain(value: Any, null: str) -> Any:
    """What csv shall write for a value that is not AS_IT_IS."""
    if value is None:
        return null
    return _Number(as_text(value)) if isinstance(value, Decimal) else as_text(value)


class _Number(str):
    """Text that csv's `nonnumeric` leaves unquoted, as it does with numbers."""

    def __float__(self) -> float:
        return 0.0


class _Lines:
    """What csv.writer writes to: collects lines without their line end."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    def write(self, line: str) -> None:
        self.lines.append(line[:-2])


class _Encoded:
    """A text file written batch by batch; names row and column where the encoding lacks a character."""

    def __init__(self, path: Path, encoding: str, line_end: str, columns: list[str]) -> None:
        self.encoding = encoding
        self.line_end = line_end
        self.columns = columns
        # newline="" keeps every byte as written; TextIOWrapper writes a byte order mark once, at the start.
        self.file = path.open("w", encoding=encoding, newline="", buffering=1 << 20)

    def __enter__(self) -> "_Encoded":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write_header(self, lines: list[str]) -> None:
        self._write(lines, 0)

    def write_rows(self, lines: list[str], done: int) -> int:
        """Write and empty the lines; returns the new count of rows."""
        count = len(lines)
        self._write(lines, done + 1)
        return done + count

    def _write(self, lines: list[str], first_row: int) -> None:
        if not lines:
            return
        try:
            self.file.write(self.line_end.join(lines) + self.line_end)
        except UnicodeEncodeError:
            raise self._unencodable(lines, first_row) from None
        lines.clear()

    def _unencodable(self, lines: list[str], first_row: int) -> InputRefused:
        for row, line in enumerate(lines, first_row):
            for char in line:
                try:
                    char.encode(self.encoding)
                except UnicodeEncodeError:
                    where = f"Row {row}" if row else "The header"
                    return InputRefused(
                        f"{where} holds the character {char!r}, which {self.encoding} does not have. "
                        f"Choose another encoding. The row: {line[:200]}"
                    )
        return InputRefused(f"The rows from {first_row} on cannot be written in {self.encoding}.")


def _unquotable(
    number: int, columns: list[str], values: list[Any], options: CsvOptions, error: csv.Error
) -> InputRefused:
    special = {options.separator, "\r", "\n"}
    for column, value in zip(columns, values, strict=True):
        if any(char in special for char in str(value)):
            return InputRefused(
                f"Row {number}, column '{column}': the value {value!r} needs quotes, and quoting is none. "
                "Choose quoting minimal, or another separator."
            )
    return InputRefused(f"Row {number} cannot be written with quoting none: {error}.")


def write_fixed_width(
    path: Path, columns: list[str], batches: Iterable[Rows], options: FixedWidthOptions, on_rows: OnRows
) -> int:
    """Write the rows; returns how many. A value too wide is InputRefused, with row and column."""
    places = _places(columns, options.columns)
    lines: list[str] = []
    done = 0
    with _Encoded(path, options.encoding, LINE_ENDS[options.line_end], columns) as out:
        if options.header:
            lines.append("".join(_fitted(column.name, column, 0) for _, column in places))
            out.write_header(lines)
        for batch in batches:
            for number, row in enumerate(batch, done + 1):
                lines.append(
                    "".join(
                        _fitted(options.null_text if row[i] is None else as_text(row[i]), column, number)
                        for i, column in places
                    )
                )
            done = out.write_rows(lines, done)
            on_rows(done)
    return done


def _places(columns: list[str], wanted: list[FixedColumn]) -> list[tuple[int, FixedColumn]]:
    """Each wanted column with its index in a row."""
    if not wanted:
        raise InputRefused("fixed_width.columns is empty: name each column and its width.")
    missing = [column.name for column in wanted if column.name not in columns]
    if missing:
        raise InputRefused(
            f"fixed_width.columns names {', '.join(missing)}, which the data has not. It has: {', '.join(columns)}."
        )
    return [(columns.index(column.name), column) for column in wanted]


def _fitted(text: str, column: FixedColumn, number: int) -> str:
    where = f"Row {number}" if number else "The header"
    if len(text) > column.width:
        raise InputRefused(
            f"{where}, column '{column.name}': {text!r} is {len(text)} characters wide, "
            f"the column {column.width}. Widen the column or shorten the value in the query."
        )
    if "\n" in text or "\r" in text:
        raise InputRefused(f"{where}, column '{column.name}': {text!r} holds a line break.")
    return text.ljust(column.width, column.pad) if column.align == "left" else text.rjust(column.width, column.pad)


def write_xlsx(path: Path, columns: list[str], batches: Iterable[Rows], options: XlsxOptions, on_rows: OnRows) -> int:
    """Write the rows to one sheet; returns how many. More rows than a sheet holds are InputRefused."""
    book = xlsxwriter.Workbook(str(path), {"constant_memory": True, "tmpdir": str(path.parent)})
    try:
        sheet = book.add_worksheet(options.sheet)
        put = _cell_writer(book, sheet)
        offset = 0
        if options.header:
            for index, name in enumerate(columns):
                sheet.write_string(0, index, name)
            offset = 1
        done = 0
        for number, row in _numbered(batches, on_rows):
            if number + offset > XLSX_MAX_ROWS:
                raise InputRefused(
                    f"A worksheet holds {XLSX_MAX_ROWS:,} rows, and there are more. "
                    "Use format csv, or narrow the query."
                )
            for index, value in enumerate(row):
                put(number - 1 + offset, index, value, columns[index])
            done = number
        return done
    finally:
        book.close()


def _numbered(batches: Iterable[Rows], on_rows: OnRows) -> Iterator[tuple[int, Sequence[Any]]]:
    number = 0
    for batch in batches:
        for row in batch:
            number += 1
            yield number, row
        on_rows(number)


def _cell_writer(book: Any, sheet: Any) -> Callable[[int, int, Any, str], None]:
    """Writes one cell by its value's own type: text stays text, even if it looks like a formula or a link."""
    formats = {
        datetime: book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
        date: book.add_format({"num_format": "yyyy-mm-dd"}),
        time: book.add_format({"num_format": "hh:mm:ss"}),
    }

    def put(row: int, index: int, value: Any, column: str) -> None:
        if value is None:
            return
        kind = type(value)
        if kind is bool:
            sheet.write_boolean(row, index, value)
        elif kind in (int, float, Decimal) and abs(value) < XLSX_EXACT_INTEGER:
            sheet.write_number(row, index, value)
        elif kind in formats and getattr(value, "year", 1900) >= 1900:  # Excel's calendar begins there
            if kind is datetime and value.tzinfo:
                value = value.astimezone(UTC).replace(tzinfo=None)
            sheet.write_datetime(row, index, value, formats[kind])
        else:
            text = as_text(value)
            if len(text) > XLSX_MAX_TEXT:
                raise InputRefused(
                    f"Row {row + 1} of the sheet, column '{column}': {len(text):,} characters; "
                    f"a cell holds {XLSX_MAX_TEXT:,}."
                )
            sheet.write_string(row, index, text)

    return put
