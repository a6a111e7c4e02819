"""Use cases hold privilege, decision and audit; what they ask of the database stands in store/."""

import ast
from pathlib import Path

import pytest

from tests.support.project import PROJECT

ROOMS = ("people", "settings", "windows")
FILES = [path for room in ROOMS for path in sorted((PROJECT / "scheduler" / "usecases" / room).glob("*.py"))]
TYPES_ONLY = {"Engine", "Session"}
SQL = {"add", "add_all", "delete", "exec", "execute", "flush", "get", "merge", "scalar", "scalars"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_use_case_holds_no_sql(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("sqlalchemy", "sqlmodel")
        for alias in node.names
    }
    asked = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "session"
    }
    assert imported <= TYPES_ONLY and not asked & SQL
