"""Who may import whom, and what a quick command does not import at all."""

import ast
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project import PROJECT

FILE = r"""
settings: {customer_importer_file_path: '\\flexftp\acme\import'}
tasks:
  - {name: Citations export, type: data_export, schedule: {cron: "15 1 * * *"}, expected_duration: "00:20:00"}
  - {name: Load, type: lookup_import, schedule: {after: Citations export, spacing: "01:00:00"}}
"""
RUN = """
import json, sys
sys.argv = ["headway", *json.loads(sys.argv[1])]
from headway.cli import main
try:
    main()
finally:
    names = {name.partition(".")[0] for name in sys.modules} | {name for name in sys.modules if name.count(".") == 1}
    print(json.dumps(sorted(names)), file=sys.stderr)
"""
NEVER = {"prefect", "streamlit", "sqlalchemy", "sqlmodel", "alembic", "paramiko", "polars", "pandas"}
NEVER |= {"headway.flows", "headway.blocks"}
QUICK = [
    ["plan", "FILE", "--from", "2026-11-23", "--to", "2026-11-30", "--json"],
    ["plan", "FILE", "--from", "2026-11-23", "--to", "2026-11-30"],
    ["--help"],
]


def _contracts() -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([str(tool), "--no-cache"], cwd=PROJECT, capture_output=True, text=True, check=False)


def test_the_import_contracts_hold() -> None:
    answer = _contracts()
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "0 broken" in answer.stdout
    for contract in (
        "When knows nothing of how",
        "How knows nothing of when",
        "Nothing imports the entry points",
        "pure",
    ):
        assert contract in answer.stdout


@pytest.mark.parametrize("path", sorted((PROJECT / "models" / "values").glob("*.py")), ids=lambda path: path.stem)
def test_values_need_the_standard_library_only(path: Path) -> None:
    tree = ast.parse(path.read_text())
    named = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    named += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    others = {name for name in named if not name.startswith(("headway.models.values.", "headway.text"))}
    assert {name.partition(".")[0] for name in others} <= sys.stdlib_module_names


@pytest.mark.parametrize("folder", ["models/ledger", "models/operations", "flows"])
def test_annotations_stay_what_they_are_where_pydantic_reads_them(folder: str) -> None:
    for path in (PROJECT / folder).rglob("*.py"):
        assert "from __future__ import annotations" not in path.read_text(), path


@pytest.mark.parametrize("arguments", QUICK, ids=lambda arguments: " ".join(arguments[:1] + arguments[-1:]))
def test_a_quick_command_imports_no_server_no_screen_and_no_database(arguments: list[str], tmp_path: Path) -> None:
    file = tmp_path / "tasks.yaml"
    file.write_text(FILE)
    words = [str(file) if word == "FILE" else word for word in arguments]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(words)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "HEADWAY_HOME": str(tmp_path / "home")},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert answer.returncode == 0, answer.stderr
    imported = set(json.loads(answer.stderr.splitlines()[-1]))
    assert imported & NEVER == set()
    assert not (tmp_path / "home").exists()  # no database was made either
    if "--json" in words:
        assert [run["task"] for run in json.loads(answer.stdout)["runs"][:2]] == ["Citations export", "Load"]
    # Well under a second of one core is usual; three times that is a heavy import that nobody meant.
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 2.5
