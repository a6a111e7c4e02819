"""What every output of a report has in common: it gets the heading, then row after row, then the totals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from headway.flows.report_execution.cells import Totals


@dataclass(frozen=True)
class Heading:
    """What stands above the table: title, description, and facts such as ("Period", "2026-11-01 00:00 to ...")."""

    title: str
    description: str
    facts: Sequence[tuple[str, str]]


class Output(Protocol):
    """A file in the making. `add` takes values as `Shown.read` gives them; `finish` writes the rest."""

    cut: int
    """How many rows were left out, because the format holds no more."""

    def add(self, values: list[Any]) -> None: ...

    def finish(self, totals: Totals) -> None: ...


def note_of_cut(shown: int, rows: int) -> str:
    """What stands where rows were left out."""
    return (
        f"Only the first {shown:,} of {rows:,} rows are shown; totals are of all rows. "
        "Choose CSV or XLSX for all of them, or raise row_limit."
    )
