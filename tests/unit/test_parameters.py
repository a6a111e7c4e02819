"""Parameters held against their type's schema: every problem with its field and reason."""

from typing import Any

import pytest

from scheduler.parameters import problems_in

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["table"],
    "$defs": {"Column": {"type": "object", "properties": {"width": {"type": "integer", "minimum": 1}}}},
    "properties": {
        "table": {"type": "string"},
        "rows": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]},
        "format": {"enum": ["csv", "xlsx"]},
        "columns": {"type": "array", "items": {"$ref": "#/$defs/Column"}},
        "file_name": {"type": "string", "tokens": True},
    },
}


@pytest.mark.parametrize(
    "parameters",
    [
        {"table": "t"},
        {"table": "t", "rows": None, "format": "csv", "columns": [{"width": 3}], "file_name": "{task}_{date:%Y}.csv"},
    ],
)
def test_what_fits_has_no_problems(parameters: dict[str, Any]) -> None:
    assert problems_in(parameters, SCHEMA) == []


@pytest.mark.parametrize(
    ("parameters", "field", "reason"),
    [
        ({}, "parameters:", "'table' is a required property"),
        ({"table": 5}, "parameters.table:", "5 is not of type 'string'"),
        ({"table": "t", "rows": -1}, "parameters.rows:", "-1 is less than the minimum of 0"),
        ({"table": "t", "format": "pdf"}, "parameters.format:", "'pdf' is not one of ['csv', 'xlsx']"),
        ({"table": "t", "columns": [{"width": 1}, {"width": 0}]}, "parameters.columns[1].width:", "minimum of 1"),
        ({"table": "t", "colour": "red"}, "parameters.colour:", "no such parameter; there are: table, rows"),
        ({"table": "t", "file_name": "{oops}.csv"}, "parameters.file_name:", "unknown token 'oops'"),
    ],
)
def test_a_problem_names_its_field_and_reason(parameters: dict[str, Any], field: str, reason: str) -> None:
    (problem,) = problems_in(parameters, SCHEMA)
    assert problem.startswith(field) and reason in problem


def test_every_problem_is_told_at_once() -> None:
    problems = problems_in({"table": 5, "format": "pdf", "colour": "red"}, SCHEMA)
    assert len(problems) == 3


@pytest.mark.parametrize("schema", [None, {}])
def test_without_a_schema_there_is_nothing_to_hold_them_against(schema: dict[str, Any] | None) -> None:
    assert problems_in({"anything": 1}, schema) == []
