"""Records of a calling list out of a file's rows, by the block: checked, phone numbers in E.164, fields as JSON.

A million rows leave no time for a Python object each. So a block is turned into columns, each step takes a
whole column, and only rows with a problem are looked at one by one.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat
from json.encoder import encode_basestring
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from headway.flows.calling_list_import.arrow_texts import indexes, text, texts_array
from headway.flows.calling_list_import.columnar_reader import Block, Column, Columns
from headway.flows.calling_list_import.layout import Layout
from headway.flows.calling_list_import.phones import PhoneNumbers
from headway.flows.calling_list_import.records import GoodRows, TakesGoodRows
from headway.flows.calling_list_import.staging import ListStaging
from headway.flows.shared.file_readers import Row
from headway.flows.shared.staging import KEY_SEPARATOR, MAX_KEY_CHARACTERS

InvalidPhones = Literal["reject", "warn"]
Warn = Callable[[int, str], None]
"""Told of a number that is left out: line, and why."""

STATE_CHARACTERS = 2
POSTAL_CHARACTERS = 10
"""What the columns of `record` hold."""
_ESCAPED = bytes(range(32)) + b'"\\'


class ListRows:
    """Sorts the rows of one file into good and bad ones."""

    def __init__(
        self, layout: Layout, numbers: PhoneNumbers, invalid_phones: InvalidPhones, trim: bool, warn: Warn
    ) -> None:
        self._layout = layout
        self._numbers = numbers
        self._invalid_phones = invalid_phones
        self._trim = trim
        self._warn = warn
        self._texts = _texts_between([name for name, _ in layout.fields])

    def take(self, block: Block | list[Row], staging: ListStaging, good_ones: TakesGoodRows | None = None) -> None:
        """Put each row of the block into `staging`, as a good or as a bad one; good ones elsewhere if that is given."""
        sink = good_ones or staging
        if isinstance(block, Block):
            lines = range(block.first, block.first + block.count)
            self._take(lines, block.columns, staging, sink, clean=block.clean, trim=self._trim and not block.trimmed)
            return
        for row in block:
            if row.problem:
                staging.reject(row.line, row.problem, row.raw)
        good = [row for row in block if not row.problem]
        if good:
            columns: Columns = list(zip(*(row.values for row in good), strict=True))
            self._take([row.line for row in good], columns, staging, sink, clean=False, trim=False)

    def _take(
        self,
        lines: Sequence[int],
        all_columns: Columns,
        staging: ListStaging,
        sink: TakesGoodRows,
        *,
        clean: bool,
        trim: bool,
    ) -> None:
        columns = {place: all_columns[place] for place in self._layout.places}
        if trim:
            columns = {place: _trimmed(column) for place, column in columns.items()}
        numbers = [self._e164(columns[place]) for place in self._layout.phones]
        keys = self._keys(columns)
        bad = self._problems(columns, keys)
        numbers = self._judged(lines, columns, numbers, bad)
        if bad:
            for index in sorted(bad):
                staging.reject(lines[index], bad[index], None)
            kept = [index for index in range(len(lines)) if index not in bad]
            lines = [lines[index] for index in kept]
            columns = {place: _picked(column, kept) for place, column in columns.items()}
            keys, *numbers = (_picked(column, kept) for column in (keys, *numbers))
        if lines:
            single = [columns[place] for _, place in _single(self._layout)]
            phones = [_json_of(numbers)] if numbers else []
            sink.add(GoodRows(lines, keys, [*single, self._json(columns, clean), *phones]))

    def _e164(self, column: Any) -> Any:
        return self._numbers.in_array(column) if isinstance(column, pa.Array) else self._numbers.e164(column)

    def _keys(self, columns: dict[int, Any]) -> Any:
        parts = [columns[place] for place in self._layout.key]
        if len(parts) == 1:
            return parts[0]
        if isinstance(parts[0], pa.Array):
            return pc.binary_join_element_wise(*parts, text(KEY_SEPARATOR))
        return list(map(KEY_SEPARATOR.join, zip(*parts, strict=True)))

    def _problems(self, columns: dict[int, Any], keys: Any) -> dict[int, str]:
        """Why rows cannot be loaded, by index."""
        bad: dict[int, str] = {}
        names = self._layout.columns
        for place in dict.fromkeys([*self._layout.key, *self._layout.required]):
            for index in _empty(columns[place] if self._trim else _trimmed(columns[place])):
                bad.setdefault(index, f"column '{names[place]}' is empty")
        for index in _longer(keys, MAX_KEY_CHARACTERS):
            bad.setdefault(index, f"the key is longer than {MAX_KEY_CHARACTERS} characters")
        limits = {self._layout.state: STATE_CHARACTERS, self._layout.postal_code: POSTAL_CHARACTERS}
        for limited, longest in limits.items():
            if limited is not None:
                for index in _longer(columns[limited], longest):
                    bad.setdefault(index, f"column '{names[limited]}' is longer than {longest} characters")
        return bad

    def _judged(
        self, lines: Sequence[int], columns: dict[int, Any], numbers: list[Any], bad: dict[int, str]
    ) -> list[Any]:
        """The numbers; one that is not valid makes its row bad, or is left out with a warning."""
        judged = []
        for place, column in zip(self._layout.phones, numbers, strict=True):
            if isinstance(column, pa.Array):
                if not column.null_count:
                    judged.append(column)
                    continue
                found = column.to_pylist()
            elif None in column:
                found = column
            else:
                judged.append(column)
                continue
            self._judge(lines, place, columns[place], found, bad)
            judged.append(texts_array(found) if isinstance(column, pa.Array) else found)
        return judged

    def _judge(
        self, lines: Sequence[int], place: int, written: Any, found: list[str | None], bad: dict[int, str]
    ) -> None:
        for index, number in enumerate(found):
            if number is not None:
                continue
            name, shown = self._layout.columns[place], str(written[index])[:60]
            problem = f"column '{name}': '{shown}' is no valid phone number (region {self._numbers.region})"
            if self._invalid_phones == "reject":
                bad.setdefault(index, problem)
            elif index not in bad:
                self._warn(lines[index], problem)
                found[index] = ""

    def _json(self, columns: dict[int, Any], clean: bool) -> Any:
        """The fields of each record as a JSON object."""
        arrays = [columns[place] for _, place in self._layout.fields]
        if arrays and isinstance(arrays[0], pa.Array):
            between = chain.from_iterable(zip(map(text, self._texts), arrays, strict=False))
            return pc.binary_join_element_wise(*between, text(self._texts[-1]), text(""))
        texts = iter(self._texts)
        parts: list[Iterable[str]] = [repeat(next(texts))]
        for _, place in self._layout.fields:
            column = columns[place]
            parts += [column if clean or _is_clean(column) else _escaped(column), repeat(next(texts))]
        return list(map("".join, zip(*parts, strict=False)))  # the texts between repeat for ever


def _json_of(numbers: list[Any]) -> Any:
    """The numbers of each record as a JSON array; an empty text stands for one that is missing before others."""
    if not isinstance(numbers[0], pa.Array):
        return [_json_array(row) for row in zip(*numbers, strict=True)]
    between = chain.from_iterable(zip(numbers, repeat(text('","')), strict=False))
    joined = pc.binary_join_element_wise(text('["'), *list(between)[:-1], text('"]'), text(""))
    if len(numbers) > 1:
        joined = pc.replace_substring_regex(joined, r'(,"")+\]$', "]")
    none = pc.equal(joined, text('[""]'))
    return pc.if_else(none, text("[]"), joined) if pc.any(none).as_py() else joined


def _json_array(numbers: Sequence[str]) -> str:
    count = next((place for place in range(len(numbers), 0, -1) if numbers[place - 1]), 0)
    return '["' + '","'.join(numbers[:count]) + '"]' if count else "[]"


def _single(layout: Layout) -> list[tuple[str, int]]:
    """Name and place of what a record has besides its key; an account that is the key is not kept twice."""
    account = None if layout.account is None or [layout.account] == layout.key else layout.account
    found = [("account", account), ("state", layout.state), ("postal_code", layout.postal_code)]
    return [(name, place) for name, place in found if place is not None]


def staged_columns(layout: Layout) -> list[str]:
    """Names of the columns that `ListRows` stages behind line and key."""
    return [*(name for name, _ in _single(layout)), "fields", *(["phones"] if layout.phones else [])]


def _texts_between(names: Sequence[str]) -> list[str]:
    """What stands before, between and behind the values of a JSON object with these names."""
    if not names:
        return ["{}"]
    starts = [f'{encode_basestring(name)}:"' for name in names]
    return ["{" + starts[0], *(f'",{start}' for start in starts[1:]), '"}']


def _trimmed(column: Any) -> Any:
    return pc.utf8_trim_whitespace(column) if isinstance(column, pa.Array) else list(map(str.strip, column))


def _picked(column: Any, places: list[int]) -> Any:
    return column.take(indexes(places)) if isinstance(column, pa.Array) else [column[place] for place in places]


def _empty(column: Any) -> list[int]:
    """Indexes of empty values."""
    if isinstance(column, pa.Array):
        found: list[int] = pc.indices_nonzero(pc.equal(column, text(""))).to_pylist()
        return found
    return [] if all(column) else [index for index, value in enumerate(column) if not value]


def _longer(column: Any, longest: int) -> list[int]:
    if isinstance(column, pa.Array):
        lengths = pc.utf8_length(column)
        if pc.max(lengths).as_py() <= longest:
            return []
        return [index for index, length in enumerate(lengths.to_pylist()) if length > longest]
    if max(map(len, column)) <= longest:
        return []
    return [index for index, value in enumerate(column) if len(value) > longest]


def _is_clean(column: Column) -> bool:
    encoded = "".join(column).encode()
    return len(encoded.translate(None, _ESCAPED)) == len(encoded)


def _escaped(column: Column) -> list[str]:
    """Values as they stand within the quotation marks of JSON."""
    return [encode_basestring(value)[1:-1] for value in column]
