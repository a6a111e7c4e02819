"""A report's parameters: their JSON schema, for checks when a task is saved, and the values that go into the SQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from headway.flows.report_execution.definitions import Parameter, Report, ReportRefused
from headway.flows.report_execution.time_frames import PATTERN, WANTED, DayClock, Period, period_of
from headway.models.columns import UtcDateTime

DATE_PATTERN = r"^\d{4}-\d{2}-\d{2}$"

Kind = tuple[sa.types.TypeEngine[Any], str]
"""What SQLAlchemy makes of a value, and the type that PostgreSQL gets."""
TEXT: Kind = (sa.Text(), "text")
INTEGER: Kind = (sa.BigInteger(), "bigint")
NUMBER: Kind = (sa.Double(), "double precision")
BOOLEAN: Kind = (sa.Boolean(), "boolean")
DATE: Kind = (sa.Date(), "date")
INSTANT: Kind = (UtcDateTime(), "timestamptz")
TYPES = {"text": TEXT, "choice": TEXT, "integer": INTEGER, "number": NUMBER, "date": DATE, "boolean": BOOLEAN}
FRAME_TYPES = {"from": INSTANT, "to": INSTANT, "first_day": DATE, "last_day": DATE}
GIVEN_TYPES = {"due": INSTANT, "today": DATE, "timezone": TEXT, "day_start_minutes": INTEGER}
"""What every report may use without declaring it: the due instant, its day, the task's zone, when days begin."""


@dataclass(frozen=True)
class Bound:
    """A value on its way into a query."""

    value: Any
    type: sa.types.TypeEngine[Any]
    postgresql: str


def schema_of(report: Report) -> dict[str, Any]:
    """JSON schema of the report's parameters."""
    parameters = report.about.parameters
    return {
        "type": "object",
        "title": report.title,
        "description": report.about.description,
        "additionalProperties": False,
        "properties": {name: _schema(name, one) for name, one in parameters.items()},
        "required": [name for name, one in parameters.items() if one.required],
    }


def _schema(name: str, parameter: Parameter) -> dict[str, Any]:
    schema = {"title": parameter.title or name.replace("_", " ").capitalize(), **_kind(parameter)}
    if parameter.description:
        schema["description"] = parameter.description
    if parameter.required:
        return schema
    if parameter.default is None:  # nothing may be given, too
        return {"anyOf": [schema, {"type": "null"}], "title": schema["title"], "default": None}
    return {**schema, "default": parameter.default}


def _kind(parameter: Parameter) -> dict[str, Any]:
    if parameter.type in ("integer", "number"):
        bounds = {"minimum": parameter.minimum, "maximum": parameter.maximum}
        return {"type": parameter.type, **{key: value for key, value in bounds.items() if value is not None}}
    kinds: dict[str, dict[str, Any]] = {
        "text": {"type": "string"},
        "boolean": {"type": "boolean"},
        "choice": {"type": "string", "enum": parameter.choices},
        "date": {"type": "string", "pattern": DATE_PATTERN, "format": "date", "wanted": "a date such as 2026-11-30"},
        "time frame": {"type": "string", "pattern": PATTERN, "wanted": WANTED},
    }
    return kinds[parameter.type]


def values_of(report: Report, given: Mapping[str, Any], due: datetime, clock: DayClock) -> dict[str, Bound]:
    """Every value that the report's SQL may use, by name.

    A time frame `period` is `period_from` and `period_to` (instants), `period_first_day` and `period_last_day`
    (dates). Raises ReportRefused with the parameter and the reason.
    """
    unknown = [name for name in given if name not in report.about.parameters]
    if unknown:
        known = ", ".join(report.about.parameters) or "none"
        raise ReportRefused(f"values.{unknown[0]}: report '{report.name}' has no such parameter; it has: {known}")
    start = clock.day_start.hour * 60 + clock.day_start.minute
    given_anyway = {"due": due, "today": clock.day_of(due), "timezone": clock.zone.key, "day_start_minutes": start}
    values = _bound(GIVEN_TYPES, given_anyway)
    for name, parameter in report.about.parameters.items():
        if parameter.required and name not in given:
            raise ReportRefused(f"values.{name} is missing: report '{report.name}' needs it")
        value = given.get(name, parameter.default)
        try:
            if value is None and (parameter.required or parameter.default is not None):
                _refuse(value, f"a value of type {parameter.type}; leave it out, or give one")
            values |= _values(name, parameter, value, due, clock)
        except (ValueError, TypeError) as error:
            raise ReportRefused(f"values.{name}: {error}") from None
    return values


def check_defaults(report: Report) -> None:
    """Raises ReportRefused where a default does not fit its own parameter."""
    due, clock = datetime(2026, 1, 1, tzinfo=UTC), DayClock(ZoneInfo("UTC"))
    for name, parameter in report.about.parameters.items():
        if parameter.default is not None:
            try:
                _values(name, parameter, parameter.default, due, clock)
            except (ValueError, TypeError) as error:
                raise ReportRefused(f"parameters.{name}.default: {error}") from None


def names_of(report: Report) -> set[str]:
    """The names that `values_of` gives."""
    frames = {name for name, one in report.about.parameters.items() if one.type == "time frame"}
    return {*GIVEN_TYPES, *(set(report.about.parameters) - frames), *(f"{a}_{b}" for a in frames for b in FRAME_TYPES)}


def _values(name: str, parameter: Parameter, value: Any, due: datetime, clock: DayClock) -> dict[str, Bound]:
    if parameter.type == "time frame":
        period = None if value is None else period_of(_checked(value, str, WANTED), due, clock)
        types = {f"{name}_{part}": kind for part, kind in FRAME_TYPES.items()}
        return _bound(types, {f"{name}_{part}": one for part, one in _parts(period).items()})
    if value is not None:
        value = _converted(parameter, value)
    return _bound({name: TYPES[parameter.type]}, {name: value})


def _parts(period: Period | None) -> dict[str, Any]:
    if period is None:
        return dict.fromkeys(FRAME_TYPES)
    return {
        "from": period.start,
        "to": period.end,
        "first_day": period.first_day,
        "last_day": period.last_day,
    }


def _converted(parameter: Parameter, value: Any) -> Any:
    match parameter.type:
        case "integer":
            return _within(parameter, _checked(value, int, "a whole number"))
        case "number":
            return _within(parameter, float(_checked(value, (int, float), "a number")))
        case "boolean":
            return value if isinstance(value, bool) else _refuse(value, "true or false")
        case "date":
            try:
                return date.fromisoformat(value)
            except (TypeError, ValueError):
                return _refuse(value, "a date such as 2026-11-30")
        case "choice":
            return value if value in parameter.choices else _refuse(value, f"one of {', '.join(parameter.choices)}")
    return _checked(value, str, "a text")


def _checked(value: Any, kind: type | tuple[type, ...], wanted: str) -> Any:
    return value if isinstance(value, kind) and not isinstance(value, bool) else _refuse(value, wanted)


def _within(parameter: Parameter, value: float) -> float:
    if parameter.minimum is not None and value < parameter.minimum:
        _refuse(value, f"at least {parameter.minimum:g}")
    if parameter.maximum is not None and value > parameter.maximum:
        _refuse(value, f"at most {parameter.maximum:g}")
    return value


def _refuse(value: Any, wanted: str) -> Any:
    raise ValueError(f"{value!r} is not {wanted}")


def _bound(types: Mapping[str, tuple[Any, str]], values: Mapping[str, Any]) -> dict[str, Bound]:
    return {name: Bound(value, *types[name]) for name, value in values.items()}
