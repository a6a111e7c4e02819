"""The rows that a benchmark adds to the one table of them all: printed as Markdown, found again by `benchmarks`."""

import os
import platform
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

HEAD = """\
| benchmark | what | figure | peer | ratio | target | reached | measured |
| --- | --- | --- | --- | --- | --- | --- | --- |"""
_SHOWN = re.compile(r"^\| (.+) \| (yes|\*\*no\*\*) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """One measured thing. peer, ratio and target are empty where there is none."""

    what: str
    figure: str
    peer: str
    ratio: str
    target: str
    reached: bool


def show(rows: Sequence[Row]) -> int:
    """Print them; the exit code: 0 where every target was reached."""
    print()
    for row in rows:
        cells = (row.what, row.figure, row.peer, row.ratio, row.target, "yes" if row.reached else "**no**")
        print(f"| {' | '.join(cells)} |", flush=True)
    return 0 if all(row.reached for row in rows) else 1


def rows_of(name: str, output: str) -> list[str]:
    """The table's rows for what the benchmark of that name has printed."""
    found = [f"| `{name}` | {match[1]} | {match[2]} | {stamp()} |" for match in _SHOWN.finditer(output)]
    return found or [f"| `{name}` | it did not come to an end |  |  |  |  | **no** | {stamp()} |"]


def stamp() -> str:
    """For one row: today, and on what machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine = f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}"
    return f"{datetime.now(UTC):%Y-%m-%d}, {machine}, Python {platform.python_version()}"


def with_rows(table: str, new: dict[str, list[str]], names: Iterable[str], head: str = HEAD) -> str:
    """The table with these rows instead of the old ones of the same names; the others stay as they are."""
    rows = {name: new.get(name) or re.findall(rf"^\| `{name}` .+$", table, re.MULTILINE) for name in names}
    return "\n".join([head, *(row for found in rows.values() for row in found)])


def with_table(document: str, begin: str, end: str, change: Callable[[str], str]) -> str:
    """The document with the table between the two marks changed."""
    before, began, rest = document.partition(begin)
    table, ended, after = rest.partition(end)
    if not (began and ended):
        raise ValueError(f"the document has no {(end if began else begin).strip()}")
    return f"{before}{begin}\n{change(table)}\n\n{end}{after}"
