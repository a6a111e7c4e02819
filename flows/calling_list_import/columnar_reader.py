"""A file's rows by the thousand, as columns: the same rows as `flows/shared/file_readers.py` gives.

A stretch of the file in which each line is a good record is taken apart as a whole; any other is read row by row.
Where no value needs a quotation mark, which is most of most files, a column is an Arrow array: its values lie side by
side in memory, and no Python object is made for each.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import pyarrow as pa
from pyarrow import csv as arrow_csv

from headway.flows.shared.file_readers import MAX_RECORD_CHARACTERS, FileFormat, Lines, Position, Row, begin

BLOCK_CHARACTERS = 1 << 20
BLOCK_ROWS = 5_000
_NOT_CLEAN = bytes(code for code in range(32) if code != 10) + b'\x7f"\\'

Column = Sequence[str]
Columns = list[Any]
"""Of Python's sequences of str, or of Arrow's arrays; all are of the one kind or of the other."""


@dataclass(frozen=True)
class Block:
    """Good records of one line each, from the line `first` on: a sequence of values for each column of the file.

    The values are neither trimmed nor checked. `clean` says that none holds a quotation mark, a backslash or a
    control character; where the columns are Arrow's arrays it always is so.
    """

    first: int
    columns: Columns
    clean: bool
    trimmed: bool = False
    """Whether it is known that no value has a space at an end."""

    @property
    def count(self) -> int:
        return len(self.columns[0])


@dataclass(frozen=True)
class OpenBlocks:
    """A file's columns, and its rows as they are read: whole blocks, and lists of rows to be looked at singly."""

    columns: list[str]
    blocks: Iterator[Block | list[Row]]


def open_blocks(text: TextIO, format: FileFormat) -> OpenBlocks:
    """Read the header, and leave the blocks to be consumed."""
    lines = Lines(text)
    columns, rows = begin(lines, format)
    return OpenBlocks(columns, _blocks(lines, rows, format, len(columns)))


def _blocks(lines: Lines, rows: Iterator[Row], format: FileFormat, width: int) -> Iterator[Block | list[Row]]:
    while chunk := lines.chunk(BLOCK_CHARACTERS):
        block = _as_a_whole(chunk, lines.number + 1, format, width)
        if block is not None:
            lines.number += block.count
            yield block
        else:
            lines.put_forward(chunk)
            yield from _singly(lines, rows)


def _singly(lines: Lines, rows: Iterator[Row]) -> Iterator[list[Row]]:
    """The rows of the lines that were put forward, and the rest of a record that goes on behind them."""
    found: list[Row] = []
    while lines.pending and (row := next(rows, None)) is not None:
        found.append(row)
        if len(found) >= BLOCK_ROWS:
            yield found
            found = []
    if found:
        yield found


def _as_a_whole(chunk: str, first: int, format: FileFormat, width: int) -> Block | None:
    """The chunk as a block, or None where not each of its lines is a good record by itself."""
    body = (chunk.replace("\r\n", "\n") if "\r" in chunk else chunk).removesuffix("\n")
    encoded = _encoded(body)
    if encoded is None or _may_hold_a_long_line(body):
        return None
    clean = len(encoded.translate(None, _NOT_CLEAN)) == len(encoded)
    trimmed = False
    if format.kind == "fixed_width":
        columns = _split_fixed(body.split("\n"), format.positions)
    elif clean and format.quote not in body and width > 1 and not format.separator.isspace():
        columns = _split_by_arrow(encoded, body.count("\n") + 1, format.separator, width)
        trimmed = _has_no_outer_spaces(encoded, format.separator)
    else:
        columns = _split_csv(body, format.separator, format.quote, width)
    return None if columns is None else Block(first, columns, clean, trimmed)


def _has_no_outer_spaces(encoded: bytes, separator: str) -> bool:
    """Whether no value begins or ends with one; False where that would need a closer look. No control characters."""
    if not encoded.isascii() or not separator.isascii() or separator.isspace():
        return False
    between = separator.encode()
    ends = (b" " + between, between + b" ", b" \n", b"\n ")
    return not encoded.startswith(b" ") and not encoded.endswith(b" ") and not any(end in encoded for end in ends)


def _encoded(body: str) -> bytes | None:
    """The body in UTF-8, or None where it is to be read singly."""
    if "\0" in body or "\r" in body:
        return None
    try:
        return body.encode()
    except UnicodeEncodeError:  # bytes that could not be decoded
        return None


def _may_hold_a_long_line(body: str) -> bool:
    """False where each half of the greatest length has a line end in it."""
    step = MAX_RECORD_CHARACTERS // 2
    return any("\n" not in body[start : start + step] for start in range(0, len(body) - step, step))


def _split_by_arrow(encoded: bytes, lines: int, separator: str, width: int) -> Columns | None:
    if not separator.isascii() or b"\n\n" in b"\n%b\n" % encoded:  # Arrow makes a row of a blank line
        return None
    names = [str(place) for place in range(width)]
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(encoded),
            arrow_csv.ReadOptions(use_threads=False, column_names=names, block_size=len(encoded) + 1),
            arrow_csv.ParseOptions(delimiter=separator, quote_char=False, ignore_empty_lines=False),
            arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),  # an empty text is no null
        )
    except pa.ArrowInvalid:  # a line of too many or too few values
        return None
    return [column.combine_chunks() for column in table.columns] if table.num_rows == lines else None


def _split_csv(body: str, separator: str, quote: str, width: int) -> Columns | None:
    lines = body.split("\n")
    if not all(map(str.strip, lines)):  # blank lines are no records
        return None
    try:
        rows = list(csv.reader(lines, delimiter=separator, quotechar=quote, strict=True))
    except csv.Error:
        return None
    # As many records as lines: no record has more than one line.
    whole = len(rows) == len(lines) and {*map(len, rows)} == {width}
    return list(zip(*rows, strict=True)) if whole else None


def _split_fixed(lines: list[str], positions: list[Position]) -> Columns | None:
    needed = max(position.start for position in positions)
    end = max(position.start + position.width for position in positions) - 1
    lengths = [*map(len, lines)]
    if min(lengths) < needed or max(lengths) > end or not all(map(str.strip, lines)):
        return None
    places = [slice(position.start - 1, position.start - 1 + position.width) for position in positions]
    return [[line[place] for line in lines] for place in places]
