"""Tokens in file names: resolved once, when a run is claimed, so that a retry writes the same name."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from headway.models.values.zone import zone

_TOKEN = re.compile(r"\{([^{}]*)\}")
_UNSAFE = re.compile(r"[^\w.-]+")
_WIDTH = re.compile(r"0?[1-9]\d?")
Schema = Mapping[str, Any]
NAMES = ("date", "time", "task", "object", "sequence")


def unknown_tokens(text: str) -> list[str]:
    """Unknown tokens in the text, and stray braces; they are refused when the task is saved."""
    unknown = [token for token in _TOKEN.findall(text) if not _is_known(token)]
    if re.search(r"[{}]", _TOKEN.sub("", text)):
        unknown.append("a lone brace")
    return unknown


def _is_known(token: str) -> bool:
    name, colon, form = token.partition(":")
    if name == "sequence":
        return not colon or _WIDTH.fullmatch(form) is not None
    return name in NAMES and (not colon or name in ("date", "time"))


def resolve(text: str, *, task: str, object_name: str, due_at: datetime, timezone: str, sequence: int) -> str:
    """The text with its tokens replaced: `{date}` 20261123, `{time}` 0115, `{task}`, `{object}`, `{sequence}` 1, 2 ...

    `{date:%d.%m.%Y}` and `{time:%H%M%S}` take a strftime format, `{sequence:04}` a width. Date and time are the run's
    due in the task's zone. Raises ValueError for an unknown token.
    """
    local = due_at.astimezone(zone(timezone))

    def value(match: re.Match[str]) -> str:
        name, _, form = match[1].partition(":")
        if name == "date":
            return local.strftime(form or "%Y%m%d")
        if name == "time":
            return local.strftime(form or "%H%M")
        if name == "task":
            return _UNSAFE.sub("_", task)
        if name == "object":
            return object_name
        if name == "sequence":
            return format(sequence, form or "d")
        raise ValueError(f"unknown token {{{name}}}: use {', '.join(NAMES)}")

    if unknown := unknown_tokens(text):
        raise ValueError(f"unknown token {unknown[0]!r} in {text!r}: use {', '.join(NAMES)}")
    return _TOKEN.sub(value, text)


def with_texts(
    parameters: Mapping[str, Any], schema: Mapping[str, Any] | None, change: Callable[[str, str], str]
) -> dict[str, Any]:
    """The parameters, with each text whose schema says `"tokens": true` replaced by `change(its path, text)`.

    That includes texts inside nested models, and defaults; a default that does not change is not added.
    """
    return _with_texts(parameters, schema or {}, (schema or {}).get("definitions") or {}, "", change)


def _with_texts(
    values: Mapping[str, Any], schema: Schema, definitions: Schema, at: str, change: Callable[[str, str], str]
) -> dict[str, Any]:
    changed = dict(values)
    for name, field in (schema.get("properties") or {}).items():
        if not isinstance(field, Mapping):
            continue
        before = after = values.get(name, field.get("default"))
        if field.get("tokens") and isinstance(before, str):
            after = change(at + name, before)
        elif isinstance(before, Mapping):
            for part in _parts(field, definitions):
                after = _with_texts(after, part, definitions, f"{at}{name}.", change)
        if after != before:
            changed[name] = after
    return changed


def _parts(field: Schema, definitions: Schema) -> Iterator[Schema]:
    """The schemas of the objects that a field may hold: its own, the one it refers to, those of a union."""
    for one in (field, *(field.get("anyOf") or ()), *(field.get("allOf") or ())):
        if "$ref" in one:
            one = definitions.get(str(one["$ref"]).rpartition("/")[2]) or {}
        if one.get("properties"):
            yield one
