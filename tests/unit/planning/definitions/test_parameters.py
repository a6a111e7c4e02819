"""Parameters checked against their type's schema: every problem with its field and reason."""

from typing import Any

import pytest

from headway.scheduler.planning.definitions.parameters import problems_in

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


def test_every_problem_is_named_at_once() -> None:
    problems = problems_in({"table": 5, "format": "pdf", "colour": "red"}, SCHEMA)
    assert len(problems) == 3


@pytest.mark.parametrize("schema", [None, {}])
def test_without_a_schema_there_is_nothing_to_hold_them_against(schema: dict[str, Any] | None) -> None:
    assert problems_in({"anything": 1}, schema) == []


BY_REPORT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "report": {"type": "string", "enum": ["slow", "all"], "default": "slow"},
        "values": {
            "type": "object",
            "default": {},
            "schema_by": {
                "report": {
                    "slow": {
                        "type": "object",
                        "required": ["least"],
                        "additionalProperties": False,
                        "properties": {
                            "least": {"type": "integer"},
                            "day": {
                                "anyOf": [
                                    {"type": "string", "pattern": "^today$", "wanted": "a day: today"},
                                    {"type": "null"},
                                ]
                            },
                        },
                    },
                    "all": {"type": "object"},
                }
            },
        },
    },
}


@pytest.mark.parametrize(
    ("parameters", "problems"),
    [
        ({"values": {"least": 3}}, []),  # the report's default says which schema
        ({"report": "slow", "values": {"least": 3, "day": None}}, []),
        ({"report": "all", "values": {"whatever": 1}}, []),
        ({}, ["parameters.values: 'least' is a required property"]),
        ({"values": {"least": "x"}}, ["parameters.values.least: 'x' is not of type 'integer'"]),
        ({"values": {"least": 3, "day": "noon"}}, ["parameters.values.day: 'noon' is not a day: today"]),
        ({"report": "all", "values": 5}, ["parameters.values: 5 is not of type 'object'"]),
        ({"report": "none", "values": {}}, ["parameters.report: 'none' is not one of ['slow', 'all']"]),
        ({"report": ["slow"]}, None),  # no choice at all: its own problem, named once
    ],
)
def test_a_schema_that_depends_on_another_parameter(parameters: dict[str, Any], problems: list[str] | None) -> None:
    found = problems_in(parameters, BY_REPORT)
    assert found == problems if problems is not None else all(one.startswith("parameters.report:") for one in found)


def test_what_such_a_schema_forbids_is_named() -> None:
    (problem,) = problems_in({"values": {"least": 3, "leest": 4}}, BY_REPORT)
    assert problem.startswith("parameters.values:") and "leest" in problem
