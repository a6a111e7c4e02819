"""One line of the fault table, and the table: printed, and kept in docs/faults.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.table import stamp, with_rows, with_table
from tests.support.project import PROJECT

DOCUMENT = PROJECT / "docs" / "faults.md"
BEGIN, END = "<!-- python -m tests.faults --write -->\n", "<!-- as measured -->"
HEAD = """\
| part | fault | where | measured | promise | when, and on what |
| --- | --- | --- | --- | --- | --- |"""


@dataclass(frozen=True)
class Line:
    """What was done, on what, what came of it; `holds` False is a promise that was broken."""

    fault: str
    where: str
    measured: str
    holds: bool


def rows_of(part: str, lines: Sequence[Line]) -> list[str]:
    """The table's rows for what the part of that name has found, today and on this machine."""
    return [
        f"| `{part}` | {_cell(one.fault)} | {_cell(one.where)} | {_cell(one.measured)} "
        f"| {'held' if one.holds else '**BROKEN**'} | {stamp()} |"
        for one in lines
    ]


def as_markdown(new: dict[str, list[str]], parts: Iterable[str]) -> str:
    """The table of the parts that ran."""
    return with_rows("", new, parts, HEAD)


def written(document: str, new: dict[str, list[str]], parts: Iterable[str]) -> str:
    """The document with these rows in its table; those of other parts stay, with their date."""
    return with_table(document, BEGIN, END, lambda table: with_rows(table, new, parts, HEAD))


def _cell(text: str) -> str:
    """An error's text may have what ends a cell or a row."""
    return " ".join(text.replace("|", "\\|").split())
