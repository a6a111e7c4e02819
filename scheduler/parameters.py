"""A task's parameters held against its type's schema, at save time rather than at 3 a.m."""

from collections.abc import Iterator, Mapping
from typing import Any

from scheduler import tokens


def problems_in(parameters: Mapping[str, Any], schema: Mapping[str, Any] | None) -> list[str]:
    """What is wrong with the parameters, each with its field and reason. Empty without a schema."""
    if not schema:
        return []
    properties = schema.get("properties") or {}
    problems = [
        f"parameters.{name}: there is no such parameter; there are: {', '.join(properties) or 'none'}"
        for name in parameters
        if name not in properties
    ]
    problems += _schema_problems(parameters, schema)

    def check(path: str, text: str) -> str:
        if unknown := tokens.unknown_tokens(text):
            problems.append(
                f"parameters.{path}: unknown token {unknown[0]!r} in {text!r}; use {', '.join(tokens.NAMES)}"
            )
        return text

    tokens.with_texts(parameters, schema, check)
    return problems


def _schema_problems(parameters: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    from jsonschema import Draft202012Validator  # a fifth of a second that most commands do not need

    for error in sorted(Draft202012Validator(schema).iter_errors(dict(parameters)), key=lambda e: str(e.path)):
        while error.context:  # of a union's complaints the one that got furthest says most
            error = max(error.context, key=lambda one: len(one.absolute_path))
        place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path)
        yield f"parameters{place}: {error.message}"
