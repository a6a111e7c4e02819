"""The law of the form: opening any task of any type and leaving it alone changes nothing.

Streamlit's widgets give back what they begin with where no browser is, which is what a form shows that nobody touches.
"""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from headway.dashboard.define.parameter_form import Form
from headway.scheduler.installation.setup import with_schema
from headway.scheduler.planning.definitions.document import load_file
from headway.scheduler.planning.definitions.parameters import problems_in
from headway.scheduler.planning.definitions.task_types import OWN_PREFECT_YAML, types_in
from tests.support.project import PROJECT

SHIPPED = {name: with_schema(one) for name, one in types_in(OWN_PREFECT_YAML).items()}
EXAMPLES = [
    pytest.param(task.type, dict(task.parameters), id=f"{file.stem}: {task.name}")
    for file in [*sorted((PROJECT / "examples").glob("*.yaml")), PROJECT / "cli" / "demo" / "demo.yaml"]
    for task in load_file(file).tasks or []
    if task.type in SHIPPED
]


def form(schema: dict[str, Any], stored: dict[str, Any]) -> Form:
    return Form(schema, stored, "k", lambda _kind: [("1", "a block")])


def schema_of(name: str) -> dict[str, Any]:
    schema = SHIPPED[name].parameter_schema
    assert schema, f"{name} has no schema here"
    return dict(schema)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_fresh_form_of_a_shipped_type_asks_only_for_what_is_required(name: str) -> None:
    """What is missing are required fields without a value: nothing else of an untouched form is refused."""
    fresh = form(schema_of(name), {})
    assert set(fresh.values) <= set(schema_of(name).get("required") or ())
    assert [problem for problem in fresh.problems() if "required" not in problem] == []


@pytest.mark.parametrize(("name", "stored"), EXAMPLES)
def test_an_untouched_task_of_a_shipped_type_keeps_its_parameters(name: str, stored: dict[str, Any]) -> None:
    kept = deepcopy(stored)
    untouched = form(schema_of(name), stored)
    assert untouched.values == kept
    assert list(untouched.values) == [key for key in schema_order(name) if key in kept]
    assert untouched.problems() == problems_in(kept, schema_of(name)) == []


def schema_order(name: str) -> list[str]:
    properties = schema_of(name)["properties"]
    return sorted(properties, key=lambda key: properties[key].get("position", 0))


@pytest.mark.parametrize("name", SHIPPED)
def test_an_optional_part_that_was_switched_off_by_hand_stays_as_it_was(name: str) -> None:
    """`alert_mail: null` in a file is no `alert_mail: {to: []}`."""
    schema = schema_of(name)
    optional = [key for key, one in schema["properties"].items() if {"type": "null"} in (one.get("anyOf") or [])]
    stored = dict.fromkeys(optional)
    assert form(schema, stored).values == stored


LEAVES: dict[str, Any] = {
    "text": ({"type": "string"}, st.text("ab \n", max_size=4)),
    "day": ({"type": "string", "format": "date"}, st.dates().map(str)),
    "whole": ({"type": "integer"}, st.integers(-5, 5)),
    "number": ({"type": "number"}, st.integers(-5, 5) | st.floats(-5, 5)),
    "switch": ({"type": "boolean"}, st.booleans()),
    "choice": ({"enum": ["a", "b"]}, st.sampled_from(["a", "b"])),
    "choices": ({"type": "array", "items": {"enum": ["a", "b"]}}, st.lists(st.sampled_from("ab"), unique=True)),
    "lines": ({"type": "array", "items": {"type": "string"}}, st.lists(st.text("ab ", max_size=3), max_size=3)),
    "numbers": ({"type": "array", "items": {"type": "integer"}}, st.lists(st.integers(0, 9), max_size=3)),
    "rows": (
        {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}},
        st.lists(st.fixed_dictionaries({"n": st.integers(0, 9)}), max_size=2),
    ),
    "free": ({"type": "object"}, st.dictionaries(st.sampled_from("xyz"), st.integers(0, 3), max_size=2)),
}


@st.composite
def fields(draw: st.DrawFn, depth: int = 2) -> tuple[dict[str, Any], Any]:
    """A field's schema, and a strategy of what may be stored for it."""
    kind = draw(st.sampled_from([*LEAVES, *(["model", "optional", "union"] if depth else [])]))
    if kind == "model":
        return draw(models(depth - 1))
    if kind == "optional":
        known, values = draw(fields(depth - 1))
        return {"anyOf": [known, {"type": "null"}], "default": None}, st.none() | values
    if kind == "union":
        (one, ones), (other, others) = draw(fields(0)), draw(fields(0))
        return {"anyOf": [one, other, {"type": "null"}], "default": None}, st.none() | ones | others
    known, values = LEAVES[kind]
    if draw(st.booleans()):
        known = {**known, "default": draw(values)}
    return known, values


@st.composite
def models(draw: st.DrawFn, depth: int = 2) -> tuple[dict[str, Any], Any]:
    """A model, with a property that refers to the model itself now and then."""
    parts = draw(st.dictionaries(st.sampled_from("pqrs"), fields(depth), min_size=1, max_size=3))
    required = draw(st.sets(st.sampled_from(sorted(parts))))
    schema = {"type": "object", "properties": {name: known for name, (known, _) in parts.items()}}
    optional = {name: values for name, (_, values) in parts.items() if name not in required}
    needed = {name: values for name, (_, values) in parts.items() if name in required}
    return {**schema, "required": sorted(required)}, st.fixed_dictionaries(needed, optional=optional)


@st.composite
def opened(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    schema, values = draw(models())
    if draw(st.booleans()):  # a model that holds itself
        tree = {"type": "object", "properties": {"name": {"type": "string"}}}
        tree["properties"]["child"] = {"anyOf": [{"$ref": "#/definitions/Tree"}, {"type": "null"}], "default": None}
        schema["definitions"] = {"Tree": tree}
        schema["properties"]["tree"] = {"anyOf": [{"$ref": "#/definitions/Tree"}, {"type": "null"}], "default": None}
        deep = {"name": "a", "child": {"name": "b", "child": None}}
        values = values.flatmap(lambda one: st.sampled_from([one, {**one, "tree": None}, {**one, "tree": deep}]))
    return schema, draw(values)


@settings(max_examples=150, deadline=None)
@given(opened())
def test_an_untouched_form_gives_back_what_was_stored(case: tuple[dict[str, Any], dict[str, Any]]) -> None:
    schema, stored = case
    kept = deepcopy(stored)
    given_back = form(schema, stored).values
    assert given_back == kept and repr(sorted(given_back.items())) == repr(sorted(kept.items()))


def page_of(away: bool) -> None:
    """One optional model and one block; run by AppTest, so all that it needs is imported within."""
    import streamlit as st

    from headway import errors
    from headway.dashboard.define.parameter_form import Form

    def blocks(_kind: str) -> list[tuple[str, str]]:
        if away:
            raise errors.Unreachable("Prefect does not answer: connection refused")
        return [("1", "importer"), ("2", "other")]

    mail = {"type": "object", "title": "Mail", "required": ["to"], "properties": {"to": {
        "type": "array", "title": "To", "items": {"type": "string"}, "minItems": 1}}}  # fmt: skip
    schema = {"type": "object", "properties": {
        "alert": {"anyOf": [mail, {"type": "null"}], "title": "Alert", "default": None},
        "server": {"type": "string", "title": "Server", "block": "sftp-server", "default": "importer"},
    }}  # fmt: skip
    form = Form(schema, {}, "form", blocks)
    st.session_state["values"], st.session_state["problems"] = form.values, form.problems()


def test_an_optional_model_is_there_once_it_is_switched_on_and_gone_again() -> None:
    page = AppTest.from_function(page_of, kwargs={"away": False}).run()
    assert (page.session_state["values"], page.session_state["problems"]) == ({}, [])
    page.toggle[0].set_value(True).run()
    assert page.session_state["values"] == {"alert": {}} and page.session_state["problems"]
    page.text_area[0].set_value("ops@example.com").run()
    assert page.session_state["values"] == {"alert": {"to": ["ops@example.com"]}}
    page.toggle[0].set_value(False).run()
    assert page.session_state["problems"] == []


def test_a_block_can_be_named_while_prefect_is_away() -> None:
    page = AppTest.from_function(page_of, kwargs={"away": True}).run()
    told = page.warning[0].value
    assert not page.exception and "cannot be listed now" in told and "Prefect does not answer" in told
    assert page.text_input[0].value == "importer" and page.session_state["values"] == {}
    page.text_input[0].set_value("other").run()
    assert page.session_state["values"] == {"server": "other"}
