"""A duration as text: `HH:MM:SS`, or ISO 8601 such as `PT30M`."""

from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, TypeAdapter

LONGEST = timedelta(days=366)


def quoted(value: Any) -> Any:
    """The value as it is. ValueError for a number: YAML makes one of an unquoted time."""
    if isinstance(value, (bool, int, float)):
        raise ValueError(
            f'{value!r} is a number: quote times and durations, for example "00:30:00" '
            "(YAML turns an unquoted 12:30 into 750)"
        )
    return value


def _not_negative(value: timedelta) -> timedelta:
    if value < timedelta(0):
        raise ValueError("a duration cannot be negative")
    if value > LONGEST:
        raise ValueError(f"a duration cannot be longer than {LONGEST.days} days")
    return value


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError('the duration must be longer than nothing, for example "00:20:00"')
    return _not_negative(value)


Length = Annotated[timedelta, BeforeValidator(quoted), AfterValidator(_not_negative)]
PositiveLength = Annotated[timedelta, BeforeValidator(quoted), AfterValidator(_positive)]
_READER: TypeAdapter[timedelta] = TypeAdapter(Length)


def read_duration(text: str) -> timedelta:
    """The duration that the text states. Raises ValueError where it states none."""
    return _READER.validate_python(text)
