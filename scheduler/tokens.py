"""File name tokens: resolved once, when a run is claimed, so that a retry writes the same name."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from scheduler.localtime import zone

_TOKEN = re.compile(r"\{([^{}]*)\}")
_UNSAFE = re.compile(r"[^\w.-]+")
_WIDTH = re.compile(r"0?[1-9]\d?")
NAMES = ("date", "time", "task", "object", "sequence")


def unknown_tokens(text: str) -> list[str]:
    """The tokens in the text that are none, and stray braces, for an error at save time."""
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

    `{date:%d.%m.%Y}` and `{time:%H%M%S}` take a strftime format, `{sequence:04}` a width. Instants are the run's
    due in the task's zone. An unknown token raises ValueError.
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


def token_fields(schema: Mapping[str, Any] | None) -> list[str]:
    """The parameters whose schema says `"tokens": true`."""
    properties = (schema or {}).get("properties") or {}
    return [name for name, field in properties.items() if isinstance(field, dict) and field.get("tokens")]
