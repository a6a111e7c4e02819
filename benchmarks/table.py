"""The rows that a benchmark adds to the one table of them all: printed as Markdown, found again by `benchmarks`."""

import re
from collections.abc import Sequence
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
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    found = [f"| `{name}` | {match[1]} | {match[2]} | {today} |" for match in _SHOWN.finditer(output)]
    return found or [f"| `{name}` | it did not come to an end |  |  |  |  | **no** | {today} |"]


def with_rows(table: str, new: dict[str, list[str]], names: Sequence[str]) -> str:
    """The table with these rows instead of the old ones of the same benchmarks; the others stay as they are."""
    rows = {name: new.get(name) or re.findall(rf"^\| `{name}` .+$", table, re.MULTILINE) for name in names}
    return "\n".join([HEAD, *(row for name in names for row in rows[name])])
