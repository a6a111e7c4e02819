"""A form drawn from a flow's parameter schema: no registry of forms to keep.

Each property becomes the widget that fits it; what none fits is written as JSON. A property with the keyword
`schema_by`: {"schema_by": {"report": {NAME: {schema}}}} has the schema of the value that its sibling `report` has.
A property that is a Prefect block (`block_type_slug`) or names one (`block`) is chosen from the blocks there are: a
secret is never typed into a task.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from headway import wording as words
from headway.dashboard.define.parameter_widgets import JSON_HELP, Field, Shown, draw, text_of
from headway.errors import SchedulerError
from headway.scheduler.planning.definitions.parameters import problems_in
from headway.text import cause

Schema = Mapping[str, Any]
Blocks = Callable[[str], list[tuple[str, str]]]
"""The (ID, name) of each block of a type."""
_SOMETHING_ELSE = object()
"""What a field began with that was touched for certain: nothing that a widget can hold."""
_REQUIRED = re.compile(r"'(.+)' is a required property")


class Form:
    """The widgets of one schema. `values` after drawing; errors go beside the field that they are about."""

    def __init__(self, schema: Schema, stored: Mapping[str, Any], key: str, blocks: Blocks) -> None:
        self.schema, self.key, self.blocks = schema, key, blocks
        self.definitions = {**(schema.get("definitions") or {}), **(schema.get("$defs") or {})}
        self.unreadable: list[str] = []
        self._places: dict[str, Any] = {}
        self.values, _ = self._object(schema, stored, "", key)

    def problems(self) -> list[str]:
        """What keeps these values from being saved; each is shown beside its field, too."""
        found = [*self.unreadable, *problems_in(self.values, self.schema)]
        by_place: dict[str, list[str]] = {}
        for problem in found:
            place, message = self._place_of(problem)
            if place is not None:
                by_place.setdefault(place, []).append(message)
        for place, messages in by_place.items():
            self._places[place].error(words.plain("\n".join(messages)))
        return found

    def _place_of(self, problem: str) -> tuple[str | None, str]:
        """The field that a problem `parameters.csv.separator: ...` is about, the nearest that is on screen."""
        path, _, message = problem.removeprefix("parameters").partition(": ")
        missing = _REQUIRED.match(message)
        if missing:
            path, message = f"{path}.{missing[1]}", "fill this in"
        while path and path not in self._places:
            path = path[: max(path.rfind("."), path.rfind("["))] if {".", "["} & set(path[1:]) else ""
        return (path or None), message

    def _object(self, schema: Schema, stored: Mapping[str, Any], path: str, key: str) -> tuple[dict[str, Any], bool]:
        """A model's values. What was not touched stays as it was stored, to the letter; what was not there stays away.

        A required property that was not stored gets what its widget shows. Second: whether anything was touched.
        """
        found: dict[str, Any] = {}
        touched = False
        required = set(schema.get("required") or ())
        fields = (schema.get("properties") or {}).items()
        for name, raw in sorted(fields, key=lambda one: one[1].get("position", 0)):
            known = self._known(raw, {**self._defaults(schema), **stored, **found})
            began_with = stored.get(name, known.get("default"))
            shown = self._value(name, known, began_with, f"{path}.{name}", f"{key}_{name}")
            touched = touched or shown.touched
            if shown.touched:
                found[name] = shown.value
            elif name in stored:
                found[name] = stored[name]
            elif name in required and shown.value is not None:
                found[name] = shown.value
        return found, touched

    def _defaults(self, schema: Schema) -> dict[str, Any]:
        return {name: field.get("default") for name, field in (schema.get("properties") or {}).items()}

    def _known(self, field: Schema, siblings: Mapping[str, Any]) -> dict[str, Any]:
        """The field with what it refers to; of `X or nothing` the X, marked as one that may be empty."""
        known = dict(field)
        choices = known.pop("anyOf", None) or known.pop("oneOf", None) or known.pop("allOf", None) or []
        real = [choice for choice in choices if choice.get("type") != "null"]
        if len(real) == 1:
            known = {**real[0], **known, "nullable": len(choices) > 1}
        elif real:
            known["variants"] = [self._known(choice, siblings) for choice in real]
            known["nullable"] = len(choices) > len(real)
        reference = known.pop("$ref", None)
        if reference:
            known = {**self.definitions.get(str(reference).rsplit("/", 1)[-1], {}), **known}
        for sibling, by_value in (known.pop("schema_by", None) or {}).items():
            chosen = by_value.get(str(siblings.get(sibling)), {})
            self.definitions |= {**(chosen.get("definitions") or {}), **(chosen.get("$defs") or {})}
            rest = {name: value for name, value in chosen.items() if name not in ("title", "default")}
            known = {**known, **rest, "expanded": True}
        return known

    def _value(self, name: str, known: dict[str, Any], value: Any, path: str, key: str) -> Shown:
        if known.get("variants"):
            known, key, same = self._variant(name, known, value, key)
            if not same:
                return replace(self._value(name, known, None, path, key), began=_SOMETHING_ELSE)
        items = self._known(known.get("items") or {}, {}) if known.get("type") == "array" else {}
        field = Field(label=_label(name, known), about=_about(known), known=known, items=items, key=key)
        if known.get("type") == "object" and known.get("properties") and not known.get("block_type_slug"):
            return self._nested(field, value, path)
        shown = self._block(field, value) if _block_type(known) else draw(field, value)
        self._places[path] = st.empty()
        if shown.unreadable:
            self.unreadable.append(f"parameters{path}: {shown.unreadable}")
        return shown

    def _nested(self, field: Field, value: Any, path: str) -> Shown:
        """A model in a model. One that may be left out is off until the operator switches it on."""
        stored = value if isinstance(value, dict) else {}
        with st.expander(field.label, expanded=bool(field.known.get("expanded"))):
            if field.about:
                st.caption(words.plain(field.about))
            was_on = on = isinstance(value, dict) or not field.nullable
            if field.nullable:
                on = st.toggle(f"Set: {field.label}", was_on, key=f"{field.key}_on")
            found, touched = self._object(field.known, stored, path, field.key) if on else ({}, False)
            self._places[path] = st.empty()
        made = {**stored, **found} if on else None
        return Shown(made, began=_SOMETHING_ELSE if touched or on != was_on else made)

    def _variant(self, name: str, known: dict[str, Any], value: Any, key: str) -> tuple[dict[str, Any], str, bool]:
        """Of several shapes the one that is picked, at first the stored value's; whether it still is that one."""
        variants = known["variants"]
        titles = [str(one.get("title") or one.get("type") or number) for number, one in enumerate(variants, 1)]
        fits = (
            n for n, one in enumerate(variants) if value is not None and not _mismatch(value, one, self.definitions)
        )
        first = next(fits, 0)
        picked = st.selectbox(
            f"{_label(name, known)}: kind", range(len(titles)), first, key=f"{key}_kind",
            format_func=lambda number: titles[number],
        )  # fmt: skip
        rest = {name: value for name, value in known.items() if name != "variants"}
        return {**variants[picked], **rest}, f"{key}_{picked}", picked == first

    def _block(self, field: Field, value: Any) -> Shown:
        """A block by its name, or by its ID where the flow takes the block itself."""
        try:
            names = self.blocks(_block_type(field.known))
        except SchedulerError as error:
            return _block_by_hand(field, value, error)
        as_reference = bool(field.known.get("block_type_slug"))
        values: list[Any] = [{"$ref": {"block_document_id": one}} if as_reference else name for one, name in names]
        labels = [name for _, name in names]
        if value is not None and value not in values:
            values.append(value)
            labels.append(text_of(value))
        index = values.index(value) if value in values else None
        chosen = st.selectbox(
            field.label, range(len(values)), index, key=field.key, help=field.help,
            format_func=lambda number: labels[number],
            placeholder="No such block yet: make it in Prefect" if not values else "Choose a block",
        )  # fmt: skip
        return Shown(None if chosen is None else values[chosen], began=value)


def _block_by_hand(field: Field, value: Any, error: Exception) -> Shown:
    """Prefect cannot be asked which blocks there are: a name is typed, a block that was chosen stays."""
    st.warning(words.plain(f"{field.label}: the blocks cannot be listed now ({cause(error)}). What was chosen stays."))
    if field.known.get("block_type_slug"):
        return Shown(value, began=value)
    text = st.text_input(f"{field.label}: name of the block", value or "", key=f"{field.key}_typed", help=field.help)
    return Shown(text or None, began=value or None)


def _block_type(known: Schema) -> str:
    return str(known.get("block_type_slug") or known.get("block") or "")


def _mismatch(value: Any, schema: Schema, definitions: Schema) -> bool:
    return bool(problems_in({"it": value}, {"properties": {"it": schema}, "definitions": definitions}))


def _label(name: str, known: Schema) -> str:
    """What the flow's author calls it; Prefect gives a parameter its own name for a title."""
    title = str(known.get("title") or name)
    return title if title != name else name.replace("_", " ").capitalize()


def _about(known: Schema) -> str:
    about = " ".join(str(known.get("description") or "").split())
    return about if known.get("type") != "object" or known.get("properties") else f"{about} {JSON_HELP}".strip()
