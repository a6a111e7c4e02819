"""Good records of a calling list import, by the block: columns of Python's texts, or of Arrow's arrays of texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from operator import lt
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class GoodRows:
    """Records that are ready to be loaded: lines (ascending), keys, and what `staged_columns` names.

    In arrays no value holds a quotation mark, a backslash or a control character, but for those of JSON and keys.
    """

    lines: Sequence[int]
    keys: Any
    columns: list[Any]

    @property
    def in_arrays(self) -> bool:
        return isinstance(self.keys, pa.Array)

    def texts(self) -> list[Sequence[str]]:
        """Keys and columns as Python's texts."""
        return [texts_of(column) for column in (self.keys, *self.columns)]


class TakesGoodRows(Protocol):
    def add(self, good: GoodRows) -> None: ...


class KeyOrder:
    """Tells whether each key is greater than all before it: then none is there twice, and none need be sorted."""

    def __init__(self) -> None:
        self._last: str | None = None

    def goes_on(self, keys: Any) -> bool:
        """Whether it does so with these keys, at least one."""
        first = str(keys[0])
        if self._last is not None and first <= self._last:
            return False
        self._last = str(keys[-1])
        if isinstance(keys, pa.Array):  # compared as UTF-8, which gives the same order
            return bool(pc.all(pc.greater(keys[1:], keys[:-1])).as_py())
        return all(map(lt, keys, islice(keys, 1, None)))


def texts_of(column: Any) -> Sequence[str]:
    texts: Sequence[str] = column.to_pylist() if isinstance(column, pa.Array) else column
    return texts
