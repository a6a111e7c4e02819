"""The Step column: the number of a chain's step and, for a type with steps of its own, the type's step."""

from collections.abc import Mapping
from typing import Any

MARK = "step"
"""The keyword of a JSON schema: a parameter with `"step": true` holds the type's own step, such as start or stop."""


def step_shown(step: int, parameters: Mapping[str, Any] | None, schema: Mapping[str, Any] | None) -> str:
    """`2`, or `2 · Stop` where the type's schema marks a parameter as its step."""
    name, field = _marked(schema)
    word = (parameters or {}).get(name, field.get("default")) if name else None
    return f"{step} · {str(word).replace('_', ' ').capitalize()}" if word else str(step)


def has_steps(schema: Mapping[str, Any] | None) -> bool:
    """Whether the type has steps of its own."""
    return bool(_marked(schema)[0])


def _marked(schema: Mapping[str, Any] | None) -> tuple[str, Mapping[str, Any]]:
    fields = (schema or {}).get("properties") or {}
    found = ((name, field) for name, field in fields.items() if isinstance(field, Mapping) and field.get(MARK) is True)
    return next(found, ("", {}))
