"""The widget for one parameter, by what its schema says it is."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, time
from typing import Any

import pandas as pd
import streamlit as st

from headway import wording as words

JSON_HELP = "Written as JSON: text in double quotes, lists in [ ], pairs in { }."
_LONG_TEXTS = ("query", "body", "text", "template", "sql")
_EMPTY = "(none)"


@dataclass(kw_only=True, frozen=True)
class Field:
    """One parameter: how it is called, its schema, that of its items where it is a list, its widget's key."""

    label: str
    about: str
    known: Mapping[str, Any]
    items: Mapping[str, Any]
    key: str

    @property
    def help(self) -> str | None:
        return words.plain(self.about) or None

    @property
    def nullable(self) -> bool:
        return bool(self.known.get("nullable"))


@dataclass(frozen=True)
class Shown:
    """What a widget holds."""

    value: Any
    unreadable: str = ""
    """Why that is no value of the field."""
    began: Any = None
    """What it holds untouched; not always what is stored: a list's widget has [] for None."""

    @property
    def touched(self) -> bool:
        return bool(self.unreadable) or _other(self.value, self.began)


def _other(value: Any, began: Any) -> bool:
    """As JSON tells values apart, but for 1 and 1.0: a number's widget has one where the other is stored."""
    return bool(value != began) or (isinstance(value, bool) != isinstance(began, bool))


def draw(field: Field, value: Any) -> Shown:
    """The widget, and what it holds. `value` is what it begins with."""
    return _widget_of(field.known, field.items)(field, value)


def _widget_of(known: Mapping[str, Any], items: Mapping[str, Any]) -> Callable[[Field, Any], Shown]:
    kind = known.get("type")
    if "const" in known or "enum" in known:
        return _choice
    if kind == "string":
        by_format = {"date": _date, "time": _time, "password": _secret}
        return by_format.get(str(known.get("format")), _text)
    simple = {"boolean": _switch, "integer": _number, "number": _number}
    if kind in simple:
        return simple[str(kind)]
    if kind == "array":
        return _list_widget(items)
    return _json


def _list_widget(items: Mapping[str, Any]) -> Callable[[Field, Any], Shown]:
    if "enum" in items:
        return _choices
    if items.get("type") in ("string", "integer", "number"):
        return _lines
    properties = (items.get("properties") or {}).values()
    flat = all("enum" in one or one.get("type") in ("string", "integer", "number", "boolean") for one in properties)
    return _rows if properties and flat else _json


def _choice(field: Field, value: Any) -> Shown:
    choices = list(field.known.get("enum") or [field.known["const"]])
    if field.nullable and None not in choices:
        choices.insert(0, None)
    index = choices.index(value) if value in choices else 0
    chosen = st.selectbox(
        words.plain(field.label), choices, index, key=field.key, help=field.help,
        format_func=lambda one: _EMPTY if one is None else str(one),
    )  # fmt: skip
    return Shown(chosen, began=choices[index])


def _choices(field: Field, value: Any) -> Shown:
    options = list(field.items["enum"])
    chosen = [one for one in value or [] if one in options]
    picked = st.multiselect(words.plain(field.label), options, chosen, key=field.key, help=field.help)
    return Shown(picked, began=chosen)


def _switch(field: Field, value: Any) -> Shown:
    if field.nullable:
        options = [None, True, False]
        names = {None: _EMPTY, True: "yes", False: "no"}
        label = words.plain(field.label)
        picked = st.selectbox(
            label, options, options.index(value), key=field.key, help=field.help, format_func=lambda one: names[one]
        )
        return Shown(picked, began=value)
    ticked = st.checkbox(words.plain(field.label), bool(value), key=field.key, help=field.help)
    return Shown(ticked, began=bool(value))


def _number(field: Field, value: Any) -> Shown:
    """Bounds are the schema's to judge, so that a number outside of them is refused and not corrected."""
    whole = field.known.get("type") == "integer"
    given = None if value is None else (int(value) if whole else float(value))
    number = st.number_input(
        words.plain(field.label), None, None, given, step=1 if whole else None, key=field.key, help=field.help
    )
    return Shown(None if number is None else (int(number) if whole else float(number)), began=given)


def _text(field: Field, value: Any) -> Shown:
    shown = "" if value is None else str(value)
    label, name = words.plain(field.label), field.key.rsplit("_", 1)[-1]
    long = name in _LONG_TEXTS or "\n" in shown or field.known.get("format") == "multiline"
    if long and "maxLength" not in field.known:
        text = st.text_area(label, shown, key=field.key, help=field.help, height=100)
    else:
        text = st.text_input(label, shown, key=field.key, help=field.help)
    return Shown(None if not text and value is None else text, began=None if value is None else shown)


def _date(field: Field, value: Any) -> Shown:
    try:
        given = date.fromisoformat(str(value)) if value else None
    except ValueError:
        return _text(field, value)
    day = st.date_input(words.plain(field.label), given, key=field.key, help=field.help, format="YYYY-MM-DD")
    return Shown(day.isoformat() if isinstance(day, date) else None, began=given.isoformat() if given else None)


def _time(field: Field, value: Any) -> Shown:
    try:
        given = time.fromisoformat(str(value)) if value else None
    except ValueError:
        return _text(field, value)
    chosen = st.time_input(words.plain(field.label), given, key=field.key, help=field.help)
    return Shown(chosen.isoformat() if chosen is not None else None, began=given.isoformat() if given else None)


def _secret(field: Field, value: Any) -> Shown:
    """A secret does not belong into a task, where everybody with View reads it."""
    st.text_input(words.plain(field.label), "", key=field.key, help=field.help, disabled=True)
    st.caption("A secret is not kept in a task: let the flow take the name of a Prefect block instead.")
    return Shown(value, began=value)


def _lines(field: Field, value: Any) -> Shown:
    label = f"{words.plain(field.label)} (one a line)"
    shown = "\n".join(str(one) for one in value or [])
    text = st.text_area(label, shown, key=field.key, help=field.help, height=80)
    if text == shown:
        return Shown(value, began=value)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kind = field.items.get("type")
    if kind == "string":
        return Shown(lines, began=value)
    try:
        return Shown([int(line) if kind == "integer" else float(line) for line in lines], began=value)
    except ValueError:
        return Shown(value, "a number on each line is wanted")


def _rows(field: Field, value: Any) -> Shown:
    """A list of models, a row each."""
    properties = field.items["properties"]
    st.markdown(words.plain(field.label), help=field.help)
    columns = list(properties)
    frame = pd.DataFrame([[row.get(name) for name in columns] for row in value or []], columns=columns, dtype="object")
    required = set(field.items.get("required") or ())
    config = {name: _column(one, name in required) for name, one in properties.items()}
    edited = st.data_editor(frame, key=field.key, num_rows="dynamic", column_config=config, hide_index=True)
    return Shown(_models(edited, properties), began=_models(frame, properties))


def _models(frame: pd.DataFrame, properties: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The table's rows as models: an empty cell is no value, an empty row is none."""
    rows = [
        {name: cell for name, cell in row.items() if not (cell is None or cell != cell or cell == "")}
        for row in frame.to_dict("records")
    ]
    return [{str(name): _as(properties[str(name)], cell) for name, cell in row.items()} for row in rows if row]


def _column(known: Mapping[str, Any], required: bool) -> Any:
    about = words.plain(str(known.get("description") or "")) or None
    if "enum" in known:
        return st.column_config.SelectboxColumn(help=about, options=list(known["enum"]), required=required)
    kinds = {
        "integer": st.column_config.NumberColumn(help=about, step=1, required=required),
        "number": st.column_config.NumberColumn(help=about, required=required),
        "boolean": st.column_config.CheckboxColumn(help=about),
    }
    return kinds.get(str(known.get("type")), st.column_config.TextColumn(help=about, required=required))


def _as(known: Mapping[str, Any], cell: Any) -> Any:
    """The cell as JSON knows it; a table's numbers come as floats or as numpy's."""
    kinds: dict[str, Callable[[Any], Any]] = {"integer": int, "number": float, "boolean": bool, "string": str}
    make = kinds.get(str(known.get("type")))
    return make(cell) if make else cell


def _json(field: Field, value: Any) -> Shown:
    """What no widget fits is written as JSON."""
    label = f"{words.plain(field.label)} (JSON)"
    text = st.text_area(label, text_of(value), key=field.key, help=field.help, height=100)
    if text == text_of(value):
        return Shown(value, began=value)
    try:
        return Shown(json.loads(text) if text.strip() else None, began=value)
    except ValueError as error:
        return Shown(value, f"this is not JSON ({error}); write text in double quotes, lists in [ ], pairs in {{ }}")


def text_of(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)
