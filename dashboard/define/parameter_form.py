"""A form drawn from a flow's parameter schema: no registry of forms to keep.

Each property becomes the widget that fits it; what none fits is written as JSON. A property with the keyword
`schema_by`: {"schema_by": {"report": {NAME: {schema}}}} has the schema of the value that its sibling `report` has.
A property that is a Prefect block (`block_type_slug`) or names one (`block`) is chosen from the blocks there are: a
secret is never typed into a task.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from headway import wording as words
from headway.dashboard.define.parameter_widgets import JSON_HELP, Field, Shown, draw, text_of
from headway.scheduler.planning.parameters import problems_in

Schema = Mapping[str, Any]
Blocks = Callable[[str], list[tuple[str, str]]]
"""The (ID, name) of each block of a type."""
_REQUIRED = re.compile(r"'(.+)' is a required property")


class Form:
    """The widgets of one schema. `values` after drawing; errors go beside the field that they are about."""

    def __init__(self, schema: Schema, stored: Mapping[str, Any], key: str, blocks: Blocks) -> None:
        self.schema, self.key, self.blocks = schema, key, blocks
        self.definitions = {**(schema.get("definitions") or {}), **(schema.get("$defs") or {})}
        self.unreadable: list[str] = []
        self._places: dict[str, Any] = {}
        self.values = self._object(schema, stored, "", key)

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

    def _object(self, schema: Schema, stored: Mapping[str, Any], path: str, key: str) -> dict[str, Any]:
        """A model's values. A property that stands at its default is left out unless it was stored or is required."""
        found: dict[str, Any] = {}
        required = set(schema.get("required") or ())
        fields = (schema.get("properties") or {}).items()
        for name, raw in sorted(fields, key=lambda one: one[1].get("position", 0)):
            known = self._known(raw, {**self._defaults(schema), **stored, **found})
            default = known.get("default")
            value = self._value(name, known, stored.get(name, default), f"{path}.{name}", f"{key}_{name}")
            stands = value is None and default is None and name not in stored  # an empty field nobody has touched
            if not stands and (value != default or name in stored or name in required):
                found[name] = value
        return found

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

    def _value(self, name: str, known: dict[str, Any], value: Any, path: str, key: str) -> Any:
        if known.get("variants"):
            known, key = self._variant(name, known, value, key)
        items = self._known(known.get("items") or {}, {}) if known.get("type") == "array" else {}
        field = Field(label=_label(name, known), about=_about(known), known=known, items=items, key=key)
        if known.get("type") == "object" and known.get("properties") and not known.get("block_type_slug"):
            return self._nested(field, value, path)
        shown = self._block(field, value) if _block_type(known) else draw(field, value)
        self._places[path] = st.empty()
        if shown.unreadable:
            self.unreadable.append(f"parameters{path}: {shown.unreadable}")
        return shown.value

    def _nested(self, field: Field, value: Any, path: str) -> Any:
        stored = value if isinstance(value, dict) else {}
        with st.expander(field.label, expanded=bool(field.known.get("expanded"))):
            if field.about:
                st.caption(words.plain(field.about))
            found = self._object(field.known, stored, path, field.key)
            self._places[path] = st.empty()
        if value is None and field.known.get("nullable") and not found:
            return None
        return {**stored, **found}

    def _variant(self, name: str, known: dict[str, Any], value: Any, key: str) -> tuple[dict[str, Any], str]:
        """Of several shapes the one that somebody picks; first the one that the stored value has."""
        variants = known["variants"]
        titles = [str(one.get("title") or one.get("type") or number) for number, one in enumerate(variants, 1)]
        fits = (
            n for n, one in enumerate(variants) if value is not None and not _mismatch(value, one, self.definitions)
        )
        picked = st.selectbox(
            f"{_label(name, known)}: kind", range(len(titles)), next(fits, 0), key=f"{key}_kind",
            format_func=lambda number: titles[number],
        )  # fmt: skip
        rest = {name: value for name, value in known.items() if name != "variants"}
        return {**variants[picked], **rest}, f"{key}_{picked}"

    def _block(self, field: Field, value: Any) -> Shown:
        """A block by its name, or by its ID where the flow takes the block itself."""
        names = self.blocks(_block_type(field.known))
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
        return Shown(None if chosen is None else values[chosen])


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
