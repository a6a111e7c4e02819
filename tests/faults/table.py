"""One line of the fault table, and the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """What was done, on what, what came of it; `holds` False is a promise that was broken."""

    fault: str
    where: str
    measured: str
    holds: bool


def as_markdown(lines: Sequence[Line]) -> str:
    rows = [f"| {one.fault} | {one.where} | {one.measured} | {'held' if one.holds else 'BROKEN'} |" for one in lines]
    return "\n".join(["| fault | where | measured | promise |", "| --- | --- | --- | --- |", *rows])
