"""The generated parts of docs/reference: the command line, and each task type's table of parameters.

`python -m tests.support.reference_pages` writes them anew; a test says when they are out of date.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer.main

from benchmarks.table import with_table
from headway.cli.app import app
from headway.scheduler.installation.setup import with_schema
from headway.scheduler.planning.definitions.task_types import OWN_PREFECT_YAML, types_in
from tests.support.project import PROJECT

REFERENCE = PROJECT / "docs" / "reference"
COMMANDS = REFERENCE / "cli.md"
BEGIN, END = "<!-- python -m tests.support.reference_pages -->\n", "<!-- generated -->"
_LONGEST_DEFAULT = 60
_MOST_CHOICES = 12


def written(document: str, table: str) -> str:
    """The page with its generated part as it is now."""
    return with_table(document, BEGIN, END, lambda _old: table)


def pages() -> list[Path]:
    """The pages with a generated part."""
    return [COMMANDS, *(REFERENCE / "task-types" / f"{name}.md" for name in types_in(OWN_PREFECT_YAML))]


def generated(page: Path) -> str:
    """The page's generated part."""
    return commands() if page == COMMANDS else parameters_of(page.stem)


# The command line


def commands() -> str:
    """Every command with its arguments and options, in the order of `headway --help`."""
    return "\n\n".join("\n".join(_command(name, command)) for name, command in _commands(_group()))


def _group() -> Any:
    return typer.main.get_command(app)


def _commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before}{name} ")
        elif not command.hidden:
            yield f"{before}{name}", command


def _command(name: str, command: Any) -> Iterator[str]:
    yield f"### headway {name}"
    yield _text(command.help)
    rows = [_parameter(one) for one in command.params if not getattr(one, "hidden", False)]
    if rows:
        yield ""
        yield "| argument or option | default | meaning |"
        yield "| --- | --- | --- |"
        yield from rows


def _parameter(one: Any) -> str:
    if one.param_type_name == "argument":
        name = (one.metavar or one.name).upper().strip("[]")
        shown = f"`{name}`" if one.required else f"`[{name}]`"
    else:
        shown = ", ".join(f"`{opt}`" for opt in (*one.opts, *one.secondary_opts))
    return f"| {shown} | {_default(one)} | {_cell(getattr(one, 'help', None) or '')} |"


def _default(one: Any) -> str:
    if one.required:
        return "needed"
    if one.default in (None, False, "", [], ()) or callable(one.default):
        return ""
    return f"`{_cell(str(one.default))}`"


# Task types


def parameters_of(name: str) -> str:
    """The table of a shipped type's parameters, from its flow's schema."""
    task_type = with_schema(types_in(OWN_PREFECT_YAML)[name])
    schema = task_type.parameter_schema or {}
    properties: Mapping[str, Any] = schema.get("properties", {})
    ordered = sorted(properties.items(), key=lambda item: item[1].get("position", 0))
    needed = set(schema.get("required", ()))
    rows = [_row(name, one, name in needed) for name, one in ordered]
    return "\n".join(["| parameter | default | takes | meaning |", "| --- | --- | --- | --- |", *rows])


def _row(name: str, one: Mapping[str, Any], needed: bool) -> str:
    default = "needed" if needed else _value(one.get("default"))
    return f"| `{name}` | {default} | {_takes(one)} | {_cell(one.get('description') or '')} |"


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if value in ("", [], {}):
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return "as described" if isinstance(value, dict) or len(text) > _LONGEST_DEFAULT else f"`{_cell(text)}`"


def _takes(one: Mapping[str, Any]) -> str:
    """What kind of value: its choices, a type, a section of fields, or several of these."""
    if choices := one.get("enum"):
        shown = ", ".join(f"`{choice}`" for choice in choices)
        return shown if len(choices) <= _MOST_CHOICES else f"one of {len(choices)} choices"
    if "const" in one:
        return f"`{one['const']}`"
    for several in ("anyOf", "oneOf"):
        if several in one:
            kinds = [_takes(kind) for kind in one[several] if kind.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if "$ref" in one or "allOf" in one:
        return "section"
    if one.get("type") == "array":
        return f"list of {_takes(one.get('items') or {})}"
    return {"string": "text", "object": "mapping"}.get(one.get("type", ""), one.get("type", "any"))


def _text(text: str | None) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


if __name__ == "__main__":
    for page in pages():
        page.write_text(written(page.read_text(encoding="utf-8"), generated(page)), encoding="utf-8")
