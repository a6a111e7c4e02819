"""A task's parameters checked against its type's schema, when the task is saved.

Two keywords of a field's schema are Headway's own. `schema_by: {OTHER: {VALUE: SCHEMA}}`: the field has to fit the
schema for the value of the parameter OTHER, as a report's parameters depend on the report. `wanted` says in words
what a pattern asks for. The format `text-encoding` is any text encoding that Python knows.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from headway.scheduler.planning.definitions import file_names


def problems_in(parameters: Mapping[str, Any], schema: Mapping[str, Any] | None) -> list[str]:
    """What is wrong with the parameters, a sentence for each problem. Empty without a schema."""
    if not schema:
        return []
    properties = schema.get("properties") or {}
    problems = [
        f"parameters.{name}: there is no such parameter; there are: {', '.join(properties) or 'none'}"
        for name in parameters
        if name not in properties
    ]
    problems += _schema_problems(parameters, schema)
    problems += _problems_by_choice(parameters, properties)

    def check(path: str, text: str) -> str:
        if unknown := file_names.unknown_tokens(text):
            problems.append(
                f"parameters.{path}: unknown token {unknown[0]!r} in {text!r}; use {', '.join(file_names.NAMES)}"
            )
        return text

    file_names.with_texts(parameters, schema, check)
    return problems


def _problems_by_choice(parameters: Mapping[str, Any], properties: Mapping[str, Any]) -> Iterator[str]:
    """Problems of fields whose schema depends on another parameter. That parameter's own value is checked elsewhere."""
    for name, field in properties.items():
        value = parameters.get(name, field.get("default"))
        for other, schemas in (field.get("schema_by") or {}).items():
            choice = parameters.get(other, (properties.get(other) or {}).get("default"))
            if isinstance(choice, str) and choice in schemas and isinstance(value, Mapping):
                yield from _schema_problems(value, schemas[choice], f".{name}")


def _is_text_encoding(value: object) -> bool:
    try:
        return not isinstance(value, str) or bool("x".encode(value))
    except (LookupError, UnicodeError):  # `hex` and others are codecs, but not of text
        return False


def _schema_problems(values: Mapping[str, Any], schema: Mapping[str, Any], at: str = "") -> Iterator[str]:
    from jsonschema import Draft202012Validator, FormatChecker  # a fifth of a second that most commands do not need

    formats = FormatChecker(formats=())
    formats.checks("text-encoding")(_is_text_encoding)
    validator = Draft202012Validator(schema, format_checker=formats)
    for error in sorted(validator.iter_errors(dict(values)), key=lambda e: str(e.path)):
        while error.context:  # of a union's errors, the deepest one says most
            error = max(error.context, key=lambda one: len(one.absolute_path))
        place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path)
        wanted = error.schema.get("wanted") if isinstance(error.schema, Mapping) else None
        yield f"parameters{at}{place}: {f'{error.instance!r} is not {wanted}' if wanted else error.message}"
