"""Arrow's arrays of texts, made without `pyarrow.array` and `pyarrow.scalar`.

Those two look for values of pandas, and so import pandas: a second and 70 MB for nothing. The same goes for a plain
text or number among the arguments of `pyarrow.compute`; `text` makes one that it takes as it is.
"""

import struct
from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc


def texts_array(values: Iterable[str | None]) -> pa.StringArray:
    """The texts as an array; None becomes null."""
    builder = pa.lib.StringBuilder()
    builder.append_values(values)
    return builder.finish()


@lru_cache(maxsize=1000)
def text(value: str) -> pa.StringScalar:
    """A text as an argument of `pyarrow.compute`."""
    return texts_array([value])[0]


def indexes(places: Sequence[int]) -> pa.Int64Array:
    """Places as an array, to take values by."""
    return pa.Array.from_buffers(pa.int64(), len(places), [None, pa.py_buffer(array("q", places))])


def joined(texts: pa.StringArray, separator: str) -> pa.Buffer:
    """All texts as one, in UTF-8; no more than 2 GB."""
    offsets = pa.Array.from_buffers(pa.int32(), 2, [None, pa.py_buffer(struct.pack("=ii", 0, len(texts)))])
    return pc.binary_join(pa.ListArray.from_arrays(offsets, texts), text(separator))[0].as_buffer()


def split(whole: bytes, separator: str) -> pa.StringArray:
    """The texts between the separators; `whole` is UTF-8."""
    one = pa.StringArray.from_buffers(1, pa.py_buffer(struct.pack("=ii", 0, len(whole))), pa.py_buffer(whole))
    return pc.split_pattern(one, separator).values
