"""A definitions file, validated: settings, windows and tasks by name."""

import unicodedata
from collections import Counter
from collections.abc import Hashable
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from headway.errors import InvalidInput
from headway.models.duration import LONGEST as LONGEST
from headway.models.duration import Length, PositiveLength, quoted
from headway.models.values.importer_path import parse_unc
from headway.models.values.instant import DEFAULT_TIMEZONE
from headway.models.values.mail_address import read_mail_address
from headway.models.values.task import CatchUp, OnErrors, OnFailure
from headway.models.values.window import Window, WindowPolicy
from headway.models.values.zone import zone

YEARS = range(1970, 2201)
"""The years of an instant in a file or option. Outside them, zones and added durations can leave datetime's range."""
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _known_zone(value: str) -> str:
    zone(value)
    return value


def _importer_path(value: str) -> str:
    return str(parse_unc(value))


def _plain_name(value: str) -> str:
    if not value.strip() or value != value.strip():
        raise ValueError("a name cannot be empty, nor begin or end with a space")
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in value):
        raise ValueError("a name cannot contain control characters such as line breaks")
    return value


def _storable(value: str) -> str:
    if "\x00" in value or any(unicodedata.category(letter) == "Cs" for letter in value):
        raise ValueError("it contains a character that no database can keep, such as NUL; remove it")
    return value


def _wall(value: datetime) -> datetime:
    if value.tzinfo is not None:
        raise ValueError("it is a local time of the task's zone: leave out the offset")
    if value.year not in YEARS:
        raise ValueError(f"a year from {YEARS[0]} to {YEARS[-1]} is expected")
    return value


def _no_number(value: Any) -> Any:
    if isinstance(value, (bool, int, float)):
        raise ValueError(f"{value!r} is not a date; write it like 2026-11-25")
    return value


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a whole number is expected, not yes or no")
    return value


def _plain_data(value: Any) -> Any:
    """Parameters are kept as JSON: its values and YAML's dates pass, a deep or circular value is refused."""
    _look_into(value, 0)
    return value


def _look_into(value: Any, depth: int) -> None:
    if depth > 50:
        raise ValueError("the parameters are nested too deeply, or refer to themselves; write them out")
    if isinstance(value, bytes):
        raise ValueError("binary data cannot be a parameter; write it as text")
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, (list, set)) else ():
        _look_into(one, depth + 1)


WallTime = Annotated[time, BeforeValidator(quoted)]
Zone = Annotated[str, AfterValidator(_known_zone)]
PlainText = Annotated[str, AfterValidator(_storable)]
Name = Annotated[str, Field(max_length=200), AfterValidator(_plain_name)]
ImporterPath = Annotated[str, AfterValidator(_importer_path)]


MailAddress = Annotated[str, AfterValidator(read_mail_address)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SettingsSection(_Section):
    """`settings:`. A key that is left out has its default here; when the file is applied, it keeps its stored value."""

    timezone: Zone = DEFAULT_TIMEZONE
    customer_importer_file_path: ImporterPath | None = None
    min_spacing: Length = timedelta(minutes=30)
    recommended_spacing: Length = timedelta(minutes=60)
    long_running: PositiveLength = timedelta(hours=18)
    max_running: Annotated[int, BeforeValidator(_no_truth)] = Field(default=4, ge=1, le=1000)
    alert_recipients: list[MailAddress] = []
    retention_days: Annotated[int | None, BeforeValidator(_no_truth)] = Field(default=None, ge=1, le=100_000)
    alert_on_failure: bool = True
    pickup_after: PositiveLength | None = timedelta(hours=4)


class WindowSection(_Section):
    """One maintenance window."""

    name: Name
    days: list[str]
    start: WallTime
    end: WallTime
    timezone: Zone | None = None
    released: list[Annotated[date, BeforeValidator(_no_number)]] = []

    @field_validator("days")
    @classmethod
    def _weekdays(cls, days: list[str]) -> list[str]:
        unknown = [day for day in days if day not in DAYS]
        if unknown or not days:
            raise ValueError(f"{unknown or days!r}: name at least one of {', '.join(DAYS)}")
        return sorted(set(days), key=DAYS.index)

    @field_validator("start", "end")
    @classmethod
    def _local(cls, value: time) -> time:
        if value.tzinfo is not None:
            raise ValueError("it is a local time of the window's zone: leave out the offset")
        return value

    def window(self, default_timezone: str) -> Window:
        return Window(
            name=self.name,
            days=frozenset(DAYS.index(day) for day in self.days),
            start=self.start,
            end=self.end,
            timezone=self.timezone or default_timezone,
            released=frozenset(self.released),
        )


class ScheduleSection(_Section):
    """When a task comes due: exactly one of cron, once, after."""

    cron: str | None = None
    once: Annotated[datetime, BeforeValidator(quoted), AfterValidator(_wall)] | None = None
    after: Name | None = None
    spacing: Length | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "ScheduleSection":
        kinds = [kind for kind in ("cron", "once", "after") if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError("give exactly one of cron, once and after (or leave the schedule out)")
        if self.spacing is not None and self.after is None:
            raise ValueError("spacing goes with after: it is the time between the starts of two steps")
        return self


class TaskSection(_Section):
    """One task."""

    name: Name
    type: Annotated[str, Field(min_length=1)]
    object: PlainText = ""
    description: PlainText = ""
    schedule: ScheduleSection | None = None
    timezone: str | None = None
    enabled: bool = True
    historical: bool = False
    window: WindowPolicy = WindowPolicy.AVOID
    on_failure: OnFailure = OnFailure.HOLD
    on_errors: OnErrors = OnErrors.CONTINUE
    catch_up: CatchUp = CatchUp.LATEST
    expected_duration: PositiveLength | None = None
    retries: Annotated[int, BeforeValidator(_no_truth)] = Field(default=0, ge=0, le=100)
    retry_delay: Length = timedelta(minutes=5)
    parameters: Annotated[dict[str, Any], BeforeValidator(_plain_data)] = {}


class Definitions(_Section):
    """A whole file. None: the file does not name the section."""

    settings: SettingsSection | None = None
    windows: list[WindowSection] | None = None
    tasks: list[TaskSection] | None = None

    @model_validator(mode="after")
    def _window_names(self) -> "Definitions":
        names = Counter(window.name for window in self.windows or ())
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise ValueError(f"two windows are named {twice[0]!r}: a window's name is unique")
        return self

    def windows_or_default(self, default_timezone: str) -> tuple[Window, ...]:
        """The file's windows; without the section, those of a new installation."""
        if self.windows is None:
            from headway.models.values.window import DEFAULT_WINDOWS

            return DEFAULT_WINDOWS
        return tuple(section.window(default_timezone) for section in self.windows)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML in which a repeated key is an error; PyYAML would take the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        own = [key_node for key_node, _ in node.value]  # before the keys that `<<` adds, which these may override
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        if len({key_node.value for key_node in own if isinstance(key_node.value, str)}) != len(own):
            seen = set()
            for key_node in own:
                key = self.construct_object(key_node, deep=True)
                if key in seen:
                    line = key_node.start_mark.line + 1
                    raise yaml.YAMLError(f"line {line}: the key {key!r} stands twice; remove one of them")
                seen.add(key)
        return mapping


def load_file(path: Path) -> Definitions:
    """The definitions in a YAML file. Raises InvalidInput with every problem: its place, value and remedy."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidInput(f"{path}: there is no such file; name a YAML file") from None
    except IsADirectoryError:
        raise InvalidInput(f"{path}: a folder cannot be read; name a YAML file in it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: cannot be read as UTF-8 text ({error})") from None
    return load_text(text, str(path))


def load_text(text: str, source: str) -> Definitions:
    """As `load_file`, from text. source: how messages name it."""
    try:
        content = yaml.load(text, _Loader)  # a SafeLoader underneath # nosec B506
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{source}: not valid YAML: {_one_line(error)}") from None
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise InvalidInput(f"{source}: a mapping with settings, windows and tasks is expected at the top")
    for section in ("windows", "tasks"):
        if section in content and content[section] is None:
            content[section] = []
    if "settings" in content and content["settings"] is None:
        content["settings"] = {}
    try:
        return Definitions.model_validate(content)
    except ValidationError as error:
        raise InvalidInput([f"{source}: {problem}" for problem in explain(error, content)]) from None


def explain(error: ValidationError, content: Any = None) -> list[str]:
    """A sentence for each validation error: the field's place, what is wrong, the value."""
    return [_sentence(one, content) for one in error.errors(include_url=False)]


def _sentence(one: Any, content: Any) -> str:
    place = _place(one["loc"], content)
    if one["type"] == "extra_forbidden":
        return f"{place}: unknown key; check its spelling"
    if one["type"] == "missing":
        return f"{place}: missing; it is required"
    message = _REMEDIES.get(one["type"]) or one["msg"].removeprefix("Value error, ")
    value = one["input"]
    if isinstance(value, (dict, list)) or (one["type"] == "value_error" and str(value) in message):
        return f"{place}: {message}"
    return f"{place}: {message} (it is {value!r})"


_REMEDIES = {
    "time_delta_type": 'not a duration; write hours, minutes and seconds, for example "00:30:00"',
    "time_delta_parsing": 'not a duration; write hours, minutes and seconds, for example "00:30:00"',
    "time_type": 'not a time of day; write it like "05:00"',
    "time_parsing": 'not a time of day; write it like "05:00"',
    "datetime_type": 'not a date and time; write it like "2026-11-22T08:15"',
    "datetime_parsing": 'not a date and time; write it like "2026-11-22T08:15"',
    "datetime_from_date_parsing": 'not a date and time; write it like "2026-11-22T08:15"',
    "date_type": "not a date; write it like 2026-11-25",
    "date_from_datetime_parsing": "not a date; write it like 2026-11-25",
    "date_from_datetime_inexact": "not a date; write it like 2026-11-25",
    "list_type": "a list is expected: each entry begins with a dash and a space",
    "model_type": "a mapping is expected, such as `name: value`",
    "dict_type": "a mapping is expected, such as `name: value`",
    "string_type": "text is expected; put it in quotes",
}
"""What to write instead, where Pydantic says only what is wrong."""


def _place(loc: tuple[int | str, ...], content: Any) -> str:
    parts = ""
    for part in loc:
        inner = None
        if isinstance(content, dict):
            inner = content.get(part)
        elif isinstance(content, list) and isinstance(part, int) and part < len(content):
            inner = content[part]
        if isinstance(part, int):
            name = inner.get("name") if isinstance(inner, dict) else None
            parts += f"[{part + 1}]" + (f" '{name}'" if isinstance(name, str) else "")
        else:
            parts += f".{part}" if parts else part
        content = inner
    return parts or "file"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
    if "cannot start any token" in text:
        text += ": indent with spaces, not tabs, and quote text that begins with a special character"
    return text
