"""All benchmarks, one after the other, and one table of what they reached: `python -m benchmarks [NAME ...]`.

Each is a process of its own. The table goes to docs/benchmarks.md with `--write`.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

FOLDER = Path(__file__).parent
TABLE = FOLDER.parent / "docs" / "benchmarks.md"
NAMES = ("start_latency", "throughput", "turn", "forecast", "sftp_put", "list_import", "ledger", "dashboard")
_VERDICT = re.compile(r"^(reached|MISSED)\s+(.+)$")
_TARGET = re.compile(r"target.*?\b(not met|met|missed)\b", re.IGNORECASE)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="NAME", help=f"of: {', '.join(NAMES)}")
    parser.add_argument("--write", action="store_true", help=f"keep the table in docs/{TABLE.name}")
    options = parser.parse_args()
    rows, held = [], True
    for name in options.names or NAMES:
        print(f"== {name}: {_first_line(name)}", flush=True)
        load = os.getloadavg()[0]
        output = _run(name)
        found = verdicts(output) or [("it did not come to an end", False)]
        held = held and all(good for _, good in found)
        rows += [f"| `{name}` | {text} | {'yes' if good else '**no**'} | {load:.1f} |" for text, good in found]
    table = "\n".join(
        [_heading(), "", "| benchmark | figure | reached | load before |", "| --- | --- | --- | --- |", *rows]
    )
    print(f"\n{table}")
    if options.write:
        TABLE.write_text(
            f"# Benchmarks\n\n`python -m benchmarks --write` makes this table.\n\n{table}\n", encoding="utf-8"
        )
    return 0 if held else 1


def verdicts(output: str) -> list[tuple[str, bool]]:
    """What a benchmark says of its targets: the sentence, and whether it was reached."""
    found = []
    for line in output.splitlines():
        if match := _VERDICT.match(line):
            found.append((match[2].strip(), match[1] == "reached"))
        elif match := _TARGET.search(line):
            found.append((line.strip(), match[1].lower() == "met"))
    return found


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


def _first_line(name: str) -> str:
    return (import_module(f"benchmarks.{name}").__doc__ or "").splitlines()[0]


def _heading() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine = f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}"
    return f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {machine}."


if __name__ == "__main__":
    sys.exit(main())
