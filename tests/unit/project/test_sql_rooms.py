"""All SQL of the scheduler stands in scheduler/store: no other room writes a statement or asks a session."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.project import PROJECT

WRITTEN = {"select", "update", "insert", "delete", "text", "func", "case", "literal", "and_", "or_", "col", "tuple_"}
ASKED = {"exec", "execute", "get", "get_one", "scalar", "scalars", "exec_driver_sql"}
ELSEWHERE = {
    "scheduler/installation/setup.py": "asks which schema a database has, before it is the ledger",
    "scheduler/installation/restore.py": "checkpoints a database file that was copied back",
    "scheduler/prefect_side/ledger_block.py": "asks PostgreSQL what its reading role may do",
    "scheduler/prefect_side/operations_block.py": "asks whether the operations database answers",
}
"""SQL that is no statement about the ledger's rows, and why it is where it is."""
FILES = sorted(
    path.relative_to(PROJECT).as_posix()
    for room in ("scheduler", "dashboard", "cli")
    for path in (PROJECT / room).rglob("*.py")
    if not path.is_relative_to(PROJECT / "scheduler" / "store")
)


def sql_in(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in ("sqlmodel", "sqlalchemy"):
            yield from (f"imports {one.name}" for one in node.names if one.name in WRITTEN)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ASKED:
            if isinstance(node.func.value, ast.Name) and node.func.value.id in ("session", "connection"):
                yield f"calls {node.func.value.id}.{node.func.attr} in line {node.lineno}"


@pytest.mark.parametrize("file", [file for file in FILES if file not in ELSEWHERE])
def test_no_other_room_has_sql(file: str) -> None:
    assert list(sql_in(PROJECT / file)) == []


def test_the_exceptions_are_still_needed() -> None:
    assert {file for file in ELSEWHERE if not list(sql_in(PROJECT / file))} == set()
