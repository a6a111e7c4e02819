"""All benchmarks, one after the other, and one table of what they reached: `python -m benchmarks [NAME ...]`.

Each is a process of its own. With `--write` the table goes to docs/measured/benchmarks.md; rows of benchmarks
that were not run stay.
"""

import argparse
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.table import rows_of, with_rows, with_table

FOLDER = Path(__file__).parent
DOCUMENT = FOLDER.parent / "docs" / "measured" / "benchmarks.md"
NAMES = ("start_latency", "throughput", "turn", "forecast", "sftp_put", "list_import", "ledger", "dashboard")
BEGIN, END = "<!-- python -m benchmarks --write -->\n", "<!-- as measured -->"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="NAME", help=f"of: {', '.join(NAMES)}")
    parser.add_argument("--write", action="store_true", help=f"keep the table in {DOCUMENT.name}")
    options = parser.parse_args()
    new = {}
    for name in options.names or NAMES:
        told = (import_module(f"benchmarks.{name}").__doc__ or "").splitlines()[0]
        print(f"== {name}: {told} (load before: {os.getloadavg()[0]:.1f})", flush=True)
        new[name] = rows_of(name, _run(name))
    print(f"\n{with_rows('', new, NAMES)}")
    if options.write:
        DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8"), new), encoding="utf-8")
    return 1 if any("| **no** |" in row for rows in new.values() for row in rows) else 0


def written(document: str, new: dict[str, list[str]]) -> str:
    """The document with these rows in its table."""
    return with_table(document, BEGIN, END, lambda table: with_rows(table, new, NAMES))


def _run(name: str) -> str:
    """Its output, shown as it comes."""
    command = [sys.executable, "-m", f"benchmarks.{name}"]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=FOLDER.parent) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    return "".join(lines)


if __name__ == "__main__":
    sys.exit(main())
