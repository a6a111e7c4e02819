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

from flows.file_blocks import Block, Column, Columns
from flows.file_readers import Row
from flows.list_layout import Layout
from flows.list_staging import ListStaging
from flows.phones import PhoneNumbers
from flows.staging import KEY_SEPARATOR, MAX_KEY_CHARACTERS

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
        self._looked_at = [*layout.key, *layout.required, *(place for _, place in _single(layout))]

    def take(self, block: Block | list[Row], staging: ListStaging) -> None:
        """Put each row of the block into `staging`, as a good or as a bad one."""
        if isinstance(block, Block):
            lines = range(block.first, block.first + block.count)
            self._take(lines, block.columns, staging, clean=block.clean, trim=self._trim)
            return
        for row in block:
            if row.problem:
                staging.reject(row.line, row.problem, row.raw)
        good = [row for row in block if not row.problem]
        if good:
            columns: Columns = list(zip(*(row.values for row in good), strict=True))
            self._take([row.line for row in good], columns, staging, clean=False, trim=False)

    def _take(
        self, lines: Sequence[int], all_columns: Columns, staging: ListStaging, *, clean: bool, trim: bool
    ) -> None:
        wanted = {place: all_columns[place] for place in self._layout.places}
        if trim:
            wanted = {place: _trimmed(column) for place, column in wanted.items()}
        numbers = [self._numbers.e164(wanted[place]) for place in self._layout.phones]
        columns = {place: _texts(wanted[place]) for place in self._looked_at}
        keys = self._keys(columns)
        bad = self._problems(columns, keys, trimmed=self._trim)
        self._judge_numbers(lines, wanted, numbers, bad)
        if bad:
            for index in sorted(bad):
                staging.reject(lines[index], bad[index], None)
            kept = [index for index in range(len(lines)) if index not in bad]
            lines = [lines[index] for index in kept]
            keys = [keys[index] for index in kept]
            columns = {place: [column[index] for index in kept] for place, column in columns.items()}
            wanted = {place: _picked(column, kept) for place, column in wanted.items()}
            numbers = [[column[index] for index in kept] for column in numbers]
        if lines:
            single = [columns[place] for _, place in _single(self._layout)]
            staging.add(lines, keys, [*single, self._json(wanted, clean), *numbers])

    def _keys(self, columns: dict[int, Column]) -> Column:
        parts = [columns[place] for place in self._layout.key]
        return parts[0] if len(parts) == 1 else list(map(KEY_SEPARATOR.join, zip(*parts, strict=True)))

    def _problems(self, columns: dict[int, Column], keys: Column, *, trimmed: bool) -> dict[int, str]:
        """Why rows cannot be loaded, by index. trimmed: no value has a space at an end."""
        bad: dict[int, str] = {}
        names = self._layout.columns
        for place in dict.fromkeys([*self._layout.key, *self._layout.required]):
            if not all(columns[place] if trimmed else map(str.strip, columns[place])):
                for index, value in enumerate(columns[place]):
                    if not value.strip():
                        bad.setdefault(index, f"column '{names[place]}' is empty")
        for index in _longer(keys, MAX_KEY_CHARACTERS):
            bad.setdefault(index, f"the key is longer than {MAX_KEY_CHARACTERS} characters")
        limits = {self._layout.state: STATE_CHARACTERS, self._layout.postal_code: POSTAL_CHARACTERS}
        for limited, longest in limits.items():
            if limited is not None:
                for index in _longer(columns[limited], longest):
                    bad.setdefault(index, f"column '{names[limited]}' is longer than {longest} characters")
        return bad

    def _judge_numbers(
        self, lines: Sequence[int], columns: dict[int, Any], numbers: list[list[str | None]], bad: dict[int, str]
    ) -> None:
        """A number that is not valid makes its row bad, or is left out with a warning."""
        for place, found in zip(self._layout.phones, numbers, strict=True):
            if None not in found:
                continue
            for index, number in enumerate(found):
                if number is not None:
                    continue
                name, written = self._layout.columns[place], str(columns[place][index])[:60]
                problem = f"column '{name}': '{written}' is no valid phone number (region {self._numbers.region})"
                if self._invalid_phones == "reject":
                    bad.setdefault(index, problem)
                elif index not in bad:
                    self._warn(lines[index], problem)
                    found[index] = ""

    def _json(self, columns: dict[int, Any], clean: bool) -> list[str]:
        """The fields of each record as a JSON object."""
        arrays = [columns[place] for _, place in self._layout.fields]
        if arrays and isinstance(arrays[0], pa.Array):
            between = chain.from_iterable(zip(self._texts, arrays, strict=False))
            joined: list[str] = pc.binary_join_element_wise(*between, self._texts[-1], "").to_pylist()
            return joined
        texts = iter(self._texts)
        parts: list[Iterable[str]] = [repeat(next(texts))]
        for _, place in self._layout.fields:
            column = columns[place]
            parts += [column if clean or _is_clean(column) else _escaped(column), repeat(next(texts))]
        return list(map("".join, zip(*parts, strict=False)))  # the texts between repeat for ever


def _single(layout: Layout) -> list[tuple[str, int]]:
    """Name and place of what a record has besides its key; an account that is the key is not kept twice."""
    account = None if layout.account is None or [layout.account] == layout.key else layout.account
    found = [("account", account), ("state", layout.state), ("postal_code", layout.postal_code)]
    return [(name, place) for name, place in found if place is not None]


def staged_columns(layout: Layout) -> list[str]:
    """Names of the columns that `ListRows` stages behind line and key."""
    numbers = [f"number_{position}" for position in range(1, len(layout.phones) + 1)]
    return [*(name for name, _ in _single(layout)), "fields", *numbers]


def _texts_between(names: Sequence[str]) -> list[str]:
    """What stands before, between and behind the values of a JSON object with these names."""
    if not names:
        return ["{}"]
    starts = [f'{encode_basestring(name)}:"' for name in names]
    return ["{" + starts[0], *(f'",{start}' for start in starts[1:]), '"}']


def _trimmed(column: Any) -> Any:
    return pc.utf8_trim_whitespace(column) if isinstance(column, pa.Array) else list(map(str.strip, column))


def _texts(column: Any) -> Column:
    texts: Column = column.to_pylist() if isinstance(column, pa.Array) else column
    return texts


def _picked(column: Any, indexes: list[int]) -> Any:
    return (
        column.take(pa.array(indexes, pa.int64()))
        if isinstance(column, pa.Array)
        else [column[index] for index in indexes]
    )


def _longer(column: Column, longest: int) -> list[int]:
    if max(map(len, column)) <= longest:
        return []
    return [index for index, value in enumerate(column) if len(value) > longest]


def _is_clean(column: Column) -> bool:
    encoded = "".join(column).encode()
    return len(encoded.translate(None, _ESCAPED)) == len(encoded)


def _escaped(column: Column) -> list[str]:
    """Values as they stand within the quotation marks of JSON."""
    return [encode_basestring(value)[1:-1] for value in column]
