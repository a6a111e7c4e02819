"""A form drawn from a flow's parameter schema: no registry of forms to keep."""

import json
from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard import words

Schema = Mapping[str, Any]


def form(schema: Schema, stored: Mapping[str, Any], key: str) -> tuple[dict[str, Any], list[str]]:
    """The parameters as the widgets have them, and what cannot be read in which field.

    A parameter that stands at its default is left out unless it was stored.
    """
    definitions = {**(schema.get("definitions") or {}), **(schema.get("$defs") or {})}
    found: dict[str, Any] = {}
    problems: list[str] = []
    required = set(schema.get("required") or ())
    for name, field in (schema.get("properties") or {}).items():
        known = _resolved(field, definitions)
        default = known.get("default")
        value = _widget(name, known, stored.get(name, default), definitions, f"{key}_{name}", problems)
        if value != default or name in stored or name in required:
            found[name] = value
    return found, problems


def _resolved(field: Schema, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The field with what it refers to; of `X or nothing` the X."""
    known = dict(field)
    for choice in known.pop("anyOf", None) or known.pop("allOf", None) or []:
        if choice.get("type") != "null":
            known = {**choice, **known}
            break
    reference = known.pop("$ref", None)
    if reference:
        known = {**definitions.get(str(reference).rsplit("/", 1)[-1], {}), **known}
    return known


def _widget(name: str, field: Schema, value: Any, definitions: Mapping[str, Any], key: str, problems: list[str]) -> Any:
    label, about = (
        words.plain(str(field.get("title") or name)),
        words.plain(str(field.get("description") or "")) or None,
    )
    kind = field.get("type")
    if "enum" in field:
        choices = list(field["enum"])
        return st.selectbox(label, choices, choices.index(value) if value in choices else 0, key=key, help=about)
    if kind == "boolean":
        return st.checkbox(label, bool(value), key=key, help=about)
    if kind == "integer":
        return _number(label, value, field, key, about)
    if kind == "object" and field.get("properties"):
        return _nested(label, field, value, definitions, key, problems, about)
    if kind == "array" and _resolved(field.get("items") or {}, definitions).get("type") == "string":
        text = st.text_area(f"{label} (one a line)", "\n".join(value or []), key=key, help=about, height=80)
        return [line.strip() for line in text.splitlines() if line.strip()]
    if kind == "string":
        text = st.text_input(label, "" if value is None else str(value), key=key, help=about)
        return None if not text and value is None and field.get("default") is None else text
    return _json(name, label, value, key, problems, about)


def _number(label: str, value: Any, field: Schema, key: str, about: str | None) -> int | None:
    least, most = field.get("minimum"), field.get("maximum")
    number = st.number_input(label, least, most, value, step=1, key=key, help=about)
    return None if number is None else int(number)


def _nested(
    label: str,
    field: Schema,
    value: Any,
    definitions: Mapping[str, Any],
    key: str,
    problems: list[str],
    about: str | None,
) -> Any:
    with st.expander(label):
        if about:
            st.caption(about)
        found, inner = form({**field, "definitions": definitions}, value or {}, key)
    problems += inner
    return {**(value or {}), **found}


def _json(name: str, label: str, value: Any, key: str, problems: list[str], about: str | None) -> Any:
    """What no widget fits is written as JSON."""
    text = st.text_area(f"{label} (JSON)", json.dumps(value, ensure_ascii=False), key=key, help=about, height=80)
    try:
        return json.loads(text)
    except ValueError:
        problems.append(f"{name}: this is not JSON; write text in double quotes, lists in [ ], pairs in {{ }}")
        return value
