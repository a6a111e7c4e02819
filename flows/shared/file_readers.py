"""Reading records from CSV and fixed-width files that others wrote, one bad row at a time.

What makes a whole file unreadable (no such column, not this encoding) is InputRefused. What is wrong with
one row is that row's problem: it is yielded with a reason, and reading goes on at the next line. Memory
does not grow with the file, whatever is in it: lines and records have a greatest size.

Rows come one at a time; `headway.flows.calling_list_import.columnar_reader` gives the same rows by the thousand.
"""

import csv
import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TextIO

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from headway.flows.shared.files import Encoding, QuoteMark, Separator
from headway.flows.shared.result import InputRefused

MAX_RECORD_CHARACTERS = 65_536
MAX_RECORD_LINES = 20
"""A quoted value may hold line breaks, but a record of more lines than this has a quote missing."""
SHOWN_CHARACTERS = 2_000


def _named_once(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("names a column twice")
    return names


ColumnNames = Annotated[list[str], AfterValidator(_named_once)]


class Position(BaseModel):
    """Where one column stands in a line of a fixed-width file."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, description="The column's name.")
    start: int = Field(ge=1, description="Position of its first character; the line's first is 1.")
    width: int = Field(ge=1, description="Width in characters.")


class FileFormat(BaseModel):
    """How an incoming file is laid out."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["csv", "fixed_width"] = Field(default="csv", description="csv or fixed_width.")
    separator: Separator = Field(default=",", description="CSV: comma, tab, semicolon, pipe or another character.")
    quote: QuoteMark = Field(default='"', description="CSV: the quote character.")
    header: bool = Field(default=True, description="CSV: whether the first line holds the column names.")
    columns: ColumnNames = Field(
        default_factory=list, description="CSV without a header: the column names in file order."
    )
    positions: list[Position] = Field(
        default_factory=list, description="Fixed width: each column with its place in the line."
    )
    encoding: Encoding = Field(default="utf-8", description="Text encoding, such as utf-8 or cp1252.")
    trim: bool = Field(default=True, description="Whether spaces around values are dropped.")

    @model_validator(mode="after")
    def _complete(self) -> "FileFormat":
        if self.kind == "fixed_width":
            if not self.positions:
                raise ValueError("positions: a fixed-width file needs each column's name, start and width")
            _named_once([position.name for position in self.positions])
        elif not self.header and not self.columns:
            raise ValueError("columns: a file without a header needs the column names here")
        return self


@dataclass(frozen=True)
class Row:
    """One record: its first line's number (from 1), its values, or a problem. `raw` is the text as it came."""

    line: int
    raw: str
    values: list[str] = field(default_factory=list)
    problem: str = ""


@dataclass(frozen=True)
class OpenFile:
    """A file's columns, and its rows as they are read."""

    columns: list[str]
    rows: Iterator[Row]


def open_text(path: Path, encoding: str) -> TextIO:
    """The file as text, every line end kept. Bytes that are not of the encoding become lone surrogates.

    So one wrong byte spoils its own row, not the file. A byte order mark of UTF-8 is dropped.
    """
    encoding = "utf-8-sig" if encoding == "utf-8" else encoding
    return path.open("r", encoding=encoding, errors="surrogateescape", newline="", buffering=1 << 16)


def open_rows(text: TextIO, format: FileFormat) -> OpenFile:
    """Read the header, and leave the rows to be consumed. An empty file has no columns and no rows."""
    columns, rows = begin(Lines(text), format)
    return OpenFile(columns, rows)


def begin(lines: "Lines", format: FileFormat) -> tuple[list[str], Iterator[Row]]:
    """The file's columns, and its rows out of what `lines` gives."""
    if format.kind == "fixed_width":
        columns = [position.name for position in format.positions]
        return columns, _trimmed(_fixed_rows(lines, format.positions), format.trim)
    dialect = _Dialect(format.separator, format.quote)
    columns = _header(lines, dialect) if format.header else format.columns
    return columns, _trimmed(_csv_rows(lines, dialect, len(columns)), format.trim)


class Lines:
    """Physical lines with their numbers; some can be put back. A line that is too long is cut, and says so."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._back: deque[str] = deque()
        self.number = 0
        """Number of the line that `next` gave last, from 1."""

    def next(self) -> str | None:
        """The next line with its line end, None at the end of the file."""
        line = self._back.popleft() if self._back else self._read()
        if not line:
            return None
        self.number += 1
        return line

    def put_back(self, lines: list[str]) -> None:
        self._back.extendleft(reversed(lines))
        self.number -= len(lines)

    @property
    def pending(self) -> bool:
        """Whether lines are waiting that need not be read from the file."""
        return bool(self._back)

    def put_forward(self, chunk: str) -> None:
        """Let `next` give the lines of a chunk that was taken out."""
        self._back.extend(io.StringIO(chunk, newline=""))

    def chunk(self, characters: int) -> str:
        """About so many characters, whole lines but for one that is too long; empty at the end of the file.

        The caller counts them. To be called only while no line is pending.
        """
        try:
            chunk = self._text.read(characters)
        except UnicodeError as error:
            raise self._unreadable(error) from None
        if chunk and not chunk.endswith("\n"):
            chunk += self._read()
        return chunk

    def _read(self) -> str:
        try:
            line = self._text.readline(MAX_RECORD_CHARACTERS + 1)
            if too_long(line) and not line.endswith(("\n", "\r")):
                while (rest := self._text.readline(MAX_RECORD_CHARACTERS)) and not rest.endswith(("\n", "\r")):
                    pass
        except UnicodeError as error:
            raise self._unreadable(error) from None
        return line

    def _unreadable(self, error: UnicodeError) -> InputRefused:
        return InputRefused(f"The file cannot be read as {self._text.encoding}: {error}. Correct the encoding.")


def too_long(line: str) -> bool:
    """Whether `Lines` had to cut the line."""
    return len(line) > MAX_RECORD_CHARACTERS


@dataclass(frozen=True)
class _Dialect:
    separator: str
    quote: str

    def parse(self, lines: list[str]) -> tuple[list[str] | None, str]:
        """The values of one record, or None and why; the reason is empty while a quote is open."""
        try:
            rows = list(csv.reader(lines, delimiter=self.separator, quotechar=self.quote, strict=True))
        except csv.Error as error:
            return None, "" if "unexpected end of data" in str(error) else str(error)
        return (rows[0], "") if len(rows) == 1 else (None, "it is more than one record")


def _header(lines: Lines, dialect: _Dialect) -> list[str]:
    line = lines.next()
    while line is not None and not line.strip():
        line = lines.next()
    if line is None:
        return []
    names, reason = dialect.parse([line])
    if names is None or too_long(line) or not _is_clean(line):
        raise InputRefused(f"Line {lines.number}, the header, cannot be read: {reason or 'a quote is missing'}.")
    names = [name.strip() for name in names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputRefused(f"The header names these columns more than once: {', '.join(twice)}.")
    return names


def _csv_rows(lines: Lines, dialect: _Dialect, width: int) -> Iterator[Row]:
    while (line := lines.next()) is not None:
        number = lines.number
        if not line.strip():
            continue
        if problem := _line_problem(line, lines):
            yield Row(number, _shown(line), problem=problem)
            continue
        taken = [line]
        values, reason = dialect.parse(taken)
        if values is None and not reason:
            values, reason = _read_on(lines, dialect, taken)
        if values is not None and (found := len(values)) != width:
            values, reason = None, f"{found} values where {width} are expected"
        if values is None:
            # Only the first line is bad: one missing quote must not swallow the lines behind it.
            lines.put_back(taken[1:])
            if len(taken) > 1:
                reason = f"a quote is missing ({reason})"
            yield Row(number, _shown(line), problem=reason)
        else:
            yield Row(number, "".join(taken), values)


def _read_on(lines: Lines, dialect: _Dialect, taken: list[str]) -> tuple[list[str] | None, str]:
    """Take more lines while a quote is open; they are appended to `taken`, also where it ends badly."""
    while len(taken) < MAX_RECORD_LINES:
        line = lines.next()
        if line is None:
            return None, "the file ends within a quoted value"
        taken.append(line)
        if sum(map(len, taken)) > MAX_RECORD_CHARACTERS or not _is_clean(line):
            return None, "no end of a quoted value found"
        if dialect.quote not in line:
            continue
        values, reason = dialect.parse(taken)
        if values is not None or reason:
            return values, reason
    return None, f"no end of a quoted value within {MAX_RECORD_LINES} lines"


def _fixed_rows(lines: Lines, positions: list[Position]) -> Iterator[Row]:
    needed = max(position.start for position in positions)
    end = max(position.start + position.width for position in positions) - 1
    while (line := lines.next()) is not None:
        text = line.rstrip("\r\n")
        if not text.strip():
            continue
        problem = _line_problem(line, lines)
        if not problem and len(text) < needed:
            problem = f"the line has {len(text)} characters; the last column starts at {needed}"
        if not problem and text[end:].strip():
            problem = f"the line has {len(text)} characters; the last column ends at {end}"
        if problem:
            yield Row(lines.number, _shown(line), problem=problem)
            continue
        values = [text[p.start - 1 : p.start - 1 + p.width] for p in positions]
        yield Row(lines.number, line, values)


def _line_problem(line: str, lines: Lines) -> str:
    if too_long(line):
        return f"the line is longer than {MAX_RECORD_CHARACTERS:,} characters"
    if not _is_clean(line):
        return "it holds bytes that are not of the file's encoding, or a NUL character"
    return ""


def _is_clean(line: str) -> bool:
    """Neither NUL (PostgreSQL cannot keep it) nor lone surrogates (bytes that could not be decoded)."""
    if line.isascii():
        return "\0" not in line
    return "\0" not in line and not any("\ud800" <= char <= "\udfff" for char in line)


def _trimmed(rows: Iterator[Row], trim: bool) -> Iterator[Row]:
    if not trim:
        return rows
    return (row if row.problem else Row(row.line, row.raw, [value.strip() for value in row.values]) for row in rows)


def _shown(line: str) -> str:
    return line if len(line) <= SHOWN_CHARACTERS else line[:SHOWN_CHARACTERS] + " ..."
