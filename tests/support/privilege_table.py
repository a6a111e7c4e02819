"""docs/reference/privileges.md: every use case, what it takes, and by which entrances people get there.

Generated from what the tests of the three entrances are driven by, and from which command and which page imports
which use case. `python -m tests.support.privilege_table` writes it anew.
"""

import ast
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import typer.main

from headway.cli.app import app
from headway.models.values.actor import Privilege
from headway.scheduler import usecases
from tests.acceptance.dashboard.test_privileges import PLACES
from tests.integration.usecases.test_privileges import ACTS, APART, GRANTS
from tests.security.test_entrances import COMMANDS
from tests.support.project import PROJECT

DOCUMENT = PROJECT / "docs" / "reference" / "privileges.md"
WORDS = {
    Privilege.VIEW: "View",
    Privilege.MANAGE: "Task management",
    Privilege.PURGE: "System Purge",
    Privilege.USERS: "User management",
}
_SHARED = {"ui", "words", "data", "configuration", "guard"}
"""What every page stands on: it is no page's own."""
_OTHER_ADDRESS = {"tasks": "/", "task_log": "/log", "settings": "/configuration"}
_HEAD = """# Who may do what, by which entrance

Every use case checks its privilege itself, whatever the entrance. The table says for each single privilege whether it
is enough (`yes`) or the use case refuses (`no`, exit code 3 on the command line). A user with several privileges may do
what any of them allows. The operator of the machine, who calls `headway` without `--as`, may do everything.

This page is written by `python -m tests.support.privilege_table`, from the tables that the tests of all entrances go
through row by row; a test says so when it is out of date.
"""


def enough_for() -> dict[str, frozenset[Privilege]]:
    """By use case: which single privileges are enough."""
    return {**{name.partition(",")[0]: GRANTS[act.privilege] for name, act in ACTS.items()}, **APART}


def use_cases() -> set[str]:
    """Every function in scheduler/usecases that takes an actor."""
    found = set()
    for module_info in pkgutil.walk_packages(usecases.__path__, f"{usecases.__name__}."):
        module = import_module(module_info.name)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                if "actor" in inspect.signature(function).parameters:
                    found.add(name)
    return found


@cache
def of_commands() -> dict[str, frozenset[str]]:
    """By command: the use cases that its function imports, and those that the functions it calls do."""
    return {name: frozenset(_reached(function)) for name, function in _functions(typer.main.get_command(app))}


def _functions(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _functions(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", inspect.unwrap(command.callback)


def _reached(function: Any) -> set[str]:
    tree = ast.parse(Path(inspect.getfile(function)).read_text(encoding="utf-8"))
    bodies = {one.name: one for one in tree.body if isinstance(one, ast.FunctionDef)}
    todo, seen, found = [function.__name__], set[str](), set[str]()
    while todo:
        name = todo.pop()
        if name in seen or name not in bodies:
            continue
        seen.add(name)
        found |= _imported(bodies[name], "headway.scheduler.usecases")
        names = [one for one in ast.walk(bodies[name]) if isinstance(one, ast.Name)]
        its_own = {one.id for one in names if isinstance(one.ctx, ast.Store)}
        its_own |= {one.arg for one in ast.walk(bodies[name]) if isinstance(one, ast.arg)}
        todo += [one.id for one in names if one.id not in its_own]
    return found & use_cases()


@cache
def of_pages() -> dict[str, frozenset[str]]:
    """By address: the use cases that the page imports, and those that its own helpers do."""
    found = {}
    for file in sorted((PROJECT / "dashboard" / "app_pages").glob("*.py")):
        found[_OTHER_ADDRESS.get(file.stem, f"/{file.stem}")] = frozenset(_of_module(file, set()) & use_cases())
    for name, address in (("app", "every page"), ("downloads", "/download")):
        found[address] = frozenset(_of_module(PROJECT / "dashboard" / f"{name}.py", set()) & use_cases())
    return found


def _of_module(file: Path, seen: set[Path]) -> set[str]:
    if file in seen:
        return set()
    seen.add(file)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = _imported(tree, "headway.scheduler.usecases")
    for path in _helpers(tree):
        if path.exists() and path.stem not in {*_SHARED, "downloads"}:
            found |= _of_module(path, seen)
    return found


def _helpers(tree: ast.AST) -> Iterator[Path]:
    """The dashboard's own modules that are imported, or whose names are."""
    for one in ast.walk(tree):
        if isinstance(one, ast.ImportFrom) and (one.module or "").startswith("headway.dashboard"):
            folder = PROJECT.joinpath(*(one.module or "").split(".")[1:])
            yield from (folder.with_suffix(".py"), *(folder / f"{alias.name}.py" for alias in one.names))


def _imported(tree: ast.AST, package: str) -> set[str]:
    """The names that are imported from there."""
    froms = [one for one in ast.walk(tree) if isinstance(one, ast.ImportFrom)]
    return {alias.name for one in froms if (one.module or "").startswith(package) for alias in one.names}


def table() -> str:
    """The whole document."""
    enough = enough_for()
    ways = {name: _ways(name) for name in use_cases()}
    order = sorted(use_cases(), key=lambda name: (len(enough[name]) == 1, sorted(map(str, enough[name])), name))
    rows = [[f"`{name}`", *_cells(enough[name]), *ways[name]] for name in order]
    for name, commands in COMMANDS.items():
        if not of_commands()[name]:
            rows += [["", *_cells(one.enough, one.even_without), f"`{' '.join(one.args)}`", ""] for one in commands]
    for place in PLACES:
        rows.append(["", *_cells(place.seen_by), "", f"the page `{place.path.partition('?')[0]}`"])
    head = ["use case", "nothing", *WORDS.values(), "command with `--as`", "dashboard"]
    lines = [head, ["---"] * len(head), *rows]
    return f"{_HEAD}\n" + "".join(f"| {' | '.join(cells)} |\n".replace("  ", " ") for cells in lines)


def _cells(enough: frozenset[Privilege], even_without: bool = False) -> list[str]:
    return ["yes" if even_without else "no"] + ["yes" if one in enough or even_without else "no" for one in WORDS]


def _ways(name: str) -> list[str]:
    return [_listed(of_commands(), name), _listed(of_pages(), name)]


def _listed(ways: dict[str, frozenset[str]], name: str) -> str:
    found: Iterable[str] = (way for way, reached in ways.items() if name in reached)
    return ", ".join(way if way == "every page" else f"`{way}`" for way in found)


if __name__ == "__main__":
    DOCUMENT.write_text(table(), encoding="utf-8")
