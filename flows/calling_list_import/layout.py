"""What the columns of a file mean for a calling list: its fields, its key, accounts, phone numbers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from headway.flows.shared.result import InputRefused

_PHONE_COLUMN = re.compile(r"(?:phone|telephone|tel)(?:[ _-]?number)?[ _-]?\d*", re.IGNORECASE)


class Mapping(BaseModel):
    """Which column of the file holds what. What is left empty is found by the columns' names."""

    model_config = ConfigDict(extra="forbid")

    fields: dict[str, str] = Field(
        default={},
        description="File column: the list's field it fills. Empty: the columns that are named like the list's fields.",
    )
    account: str = Field(default="", description="File column with the account; empty: the one named account, if any.")
    phones: list[str] = Field(
        default=[],
        description="File columns with phone numbers, in the order in which they are tried; "
        "empty: those named phone, phone_1, phone_2 and so on.",
    )
    state: str = Field(default="", description="File column with the state; empty: the one named state, if any.")
    postal_code: str = Field(
        default="", description="File column with the postal code; empty: the one named postal_code, if any."
    )


@dataclass(kw_only=True, frozen=True)
class ListShape:
    """A calling list as it is, or as it is to be made (`uid` is None)."""

    uid: int | None
    name: str
    columns: list[str]
    key_columns: list[str]
    required_columns: list[str]


@dataclass(kw_only=True, frozen=True)
class Layout:
    """Places (from 0) of a file's columns. `fields`: (name in the record, place). None: the file has no such column."""

    columns: list[str]
    fields: list[tuple[str, int]]
    key: list[int]
    required: list[int] = field(default_factory=list)
    phones: list[int] = field(default_factory=list)
    account: int | None = None
    state: int | None = None
    postal_code: int | None = None

    @property
    def places(self) -> list[int]:
        """Each place that is needed, once."""
        single = [place for place in (self.account, self.state, self.postal_code) if place is not None]
        return sorted({*(place for _, place in self.fields), *self.key, *self.required, *self.phones, *single})

    @property
    def list_columns(self) -> list[str]:
        return [name for name, _ in self.fields]


def layout_of(columns: Sequence[str], mapping: Mapping, shape: ListShape, required: Sequence[str]) -> Layout:
    """Hold the mapping against the file's columns and the list. Raises InputRefused with what does not fit."""
    places = {name: place for place, name in enumerate(columns)}
    phones = mapping.phones or [name for name in columns if _PHONE_COLUMN.fullmatch(name)]
    named: dict[str, Any] = {"account": mapping.account, "state": mapping.state, "postal_code": mapping.postal_code}
    for column in [*mapping.fields, *phones, *filter(None, named.values())]:
        if column not in places:
            raise InputRefused(
                f"The file has no column '{column}', which mapping names; it has {', '.join(columns)}. "
                "Correct the file, its separator, or mapping."
            )
    fields = _fields(columns, mapping, shape)
    single = {what: places.get(column or what) for what, column in named.items()}
    key = [_place(fields, name, "key", columns, places) for name in shape.key_columns]
    needed = [_place(fields, name, "required", columns, places) for name in [*shape.required_columns, *required]]
    # How the file writes a number is kept with the record: the number itself is stored as E.164 only.
    raw = {column: column for column in phones if column not in fields}
    kept = [(name, places[column]) for column, name in {**fields, **raw}.items()]
    return Layout(
        columns=[*columns],
        fields=kept,
        key=key,
        required=[*dict.fromkeys(needed)],
        phones=[places[column] for column in phones],
        **single,
    )


def _fields(columns: Sequence[str], mapping: Mapping, shape: ListShape) -> dict[str, str]:
    """File column: field of the list."""
    if not mapping.fields:
        if not shape.columns:  # a new list takes all of them
            return {name: name for name in columns}
        return {name: name for name in columns if name in shape.columns}
    twice = sorted({name for name in mapping.fields.values() if [*mapping.fields.values()].count(name) > 1})
    if twice:
        raise InputRefused(f"mapping.fields fills these fields more than once: {', '.join(twice)}.")
    unknown = [name for name in mapping.fields.values() if shape.columns and name not in shape.columns]
    if unknown:
        raise InputRefused(
            f"The list '{shape.name}' has no field {', '.join(unknown)}; it has {', '.join(shape.columns)}. "
            "Correct mapping.fields."
        )
    return dict(mapping.fields)


def _place(fields: dict[str, str], name: str, what: str, columns: Sequence[str], places: dict[str, int]) -> int:
    for column, filled in fields.items():
        if filled == name:
            return places[column]
    if name in places and what == "required":  # a column that the list keeps elsewhere, a phone number for instance
        return places[name]
    raise InputRefused(
        f"The list's {what} field '{name}' is in no column of the file, which has {', '.join(columns)}. "
        "Correct the file, its separator, or map a column to that field."
    )
