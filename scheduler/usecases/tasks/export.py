"""Everything that is stored as the YAML that `headway apply` reads."""

from datetime import datetime, time, timedelta
from enum import Enum
from typing import Any

import yaml
from sqlmodel import Session

from headway.models.values.actor import Actor, Privilege
from headway.privileges import require
from headway.scheduler.planning.definitions.document import (
    Definitions,
    ScheduleSection,
    SettingsSection,
    TaskSection,
    WindowSection,
)
from headway.scheduler.store.tasks import load_definitions


class _Quoted(str):
    """Text that has to stand in quotes: YAML would make a number of an unquoted 12:30."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Quoted, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style='"')
)
_LINE_BREAKS_TO_YAML = frozenset("\x85\u2028\u2029\ufeff\r")


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Text as YAML likes it best, but with escapes where a reader would take a letter for a line break."""
    style = '"' if _LINE_BREAKS_TO_YAML.intersection(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def as_yaml(definitions: Definitions) -> str:
    """The definitions as YAML; applied, it changes nothing."""
    content = {
        "settings": _plain(definitions.settings or SettingsSection()),
        "windows": [
            _without_defaults(window, WindowSection, "name days start end") for window in definitions.windows or []
        ],
        "tasks": [_task(task) for task in definitions.tasks or []],
    }
    found = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    if all(one.isprintable() or one == "\n" for one in found):
        return str(found)
    # Marks of writing direction and their like, which YAML would let through to the terminal.
    return str(yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=False, width=120))


def _task(task: TaskSection) -> dict[str, Any]:
    facts = _without_defaults(task, TaskSection, "name type object schedule")
    if task.schedule is not None:
        facts["schedule"] = _without_defaults(task.schedule, ScheduleSection, "")
    return facts


def _without_defaults(section: Any, kind: Any, always: str) -> dict[str, Any]:
    """The section's values that differ from its defaults, with those that always stand."""
    kept = {}
    for name, info in kind.model_fields.items():
        value = getattr(section, name)
        if name in always.split() or value != info.get_default(call_default_factory=True):
            kept[name] = _value(value)
    return kept


def _plain(section: SettingsSection) -> dict[str, Any]:
    return {name: _value(getattr(section, name)) for name in SettingsSection.model_fields}


def _value(value: Any) -> Any:
    if isinstance(value, timedelta):
        return _Quoted(length(value))
    if isinstance(value, time):
        return _Quoted(value.isoformat("minutes" if not value.second and not value.microsecond else "auto"))
    if isinstance(value, datetime):
        return _Quoted(value.isoformat())
    return value.value if isinstance(value, Enum) else value


def length(value: timedelta) -> str:
    """`HH:MM:SS`; ISO 8601 where there are parts of a second or a whole day."""
    if value.microseconds or value >= timedelta(days=1):
        fraction = f".{value.microseconds:06d}" if value.microseconds else ""
        return f"P{value.days}DT{value.seconds}{fraction}S"
    seconds = value.seconds
    return f"{seconds // 3600:02d}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"


def export_definitions(session: Session, actor: Actor) -> Definitions:
    """Everything that is stored: settings, windows and tasks."""
    require(actor, Privilege.VIEW)
    return load_definitions(session)
