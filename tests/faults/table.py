"""One line of the fault table, and the table: printed, and kept in docs/measured/faults.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.table import stamp, with_rows, with_table
from tests.support.project import PROJECT

DOCUMENT = PROJECT / "docs" / "measured" / "faults.md"
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


class Unexplained(ValueError):
    """A broken row has no note: the document says what happened, and what mended it or that it stands."""


def rows_of(part: str, lines: Sequence[Line], note: str = "") -> list[str]:
    """The table's rows for what the part of that name has found, today and on this machine.

    note: the explanation that each broken row carries.
    """
    return [
        f"| `{part}` | {_cell(one.fault)} | {_cell(one.where)} | {_cell(one.measured)} "
        f"| {'held' if one.holds else _broken(note)} | {stamp()} |"
        for one in lines
    ]


def unexplained(table: str) -> list[str]:
    """The broken rows of a table that carry no note."""
    return [row for row in table.splitlines() if re.search(r"\| \*\*BROKEN\*\*:?\s*\|", row)]


def as_markdown(new: dict[str, list[str]], parts: Iterable[str]) -> str:
    """The table of the parts that ran."""
    return with_rows("", new, parts, HEAD)


def written(document: str, new: dict[str, list[str]], parts: Iterable[str]) -> str:
    """The document with these rows in its table; those of other parts stay, with their date.

    Raises Unexplained where a broken row has no note.
    """
    document = with_table(document, BEGIN, END, lambda table: with_rows(table, new, parts, HEAD))
    if bare := unexplained(document):
        raise Unexplained("These rows are broken and have no note; give one with --note:\n" + "\n".join(bare))
    return document


def _broken(note: str) -> str:
    return f"**BROKEN**: {_cell(note)}" if note.strip() else "**BROKEN**"


def _cell(text: str) -> str:
    """An error's text may have what ends a cell or a row."""
    return " ".join(text.replace("|", "\\|").split())
