"""What a database's value is in a report: read by its column's format, and written as people read it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from headway.flows.report_execution.definitions import DEFAULT_WIDTHS, Column, Report, ReportRefused
from headway.flows.shared.file_writers import as_text

MAX_TEXT = 32_000  # an Excel cell holds 32,767 characters
TRUE_WORDS = {True: "yes", False: "no"}


@dataclass(frozen=True)
class Shown:
    """A column of the result and how it is shown."""

    name: str
    heading: str
    column: Column
    zone: ZoneInfo

    @property
    def width(self) -> int:
        """In characters; what the front matter leaves out follows from format and heading."""
        words = max((len(word) for word in self.heading.split()), default=0)
        return self.column.width or max(DEFAULT_WIDTHS[self.column.format], words + 1)

    @property
    def right(self) -> bool:
        """Whether it stands at the right side: numbers do."""
        return self.column.numeric

    def read(self, value: Any, row: int) -> Any:
        """The value in the type of the column's format: int, float, Decimal, bool, date, aware datetime, str or None.

        Raises ReportRefused with row, column and value where it cannot be one.
        """
        if value is None:
            return None
        try:
            return _READERS[self.column.format](value)
        except (ValueError, TypeError, InvalidOperation, OverflowError):
            raise ReportRefused(
                f"Row {row}, column '{self.name}': {value!r} cannot be shown as {self.column.format}. "
                "Correct the column's format in the front matter, or the SELECT."
            ) from None

    def text(self, value: Any, *, plain: bool = False) -> str:
        """What people read. plain: as a spreadsheet understands it, without separators of thousands and zones."""
        if value is None:
            return ""
        return _as_read(value, self.column, self.zone, plain)


def shown_columns(report: Report, names: list[str], zone: ZoneInfo) -> list[Shown]:
    """The result's columns in its order. Raises ReportRefused where the front matter names one it has not."""
    missing = [name for name in report.about.columns if name not in names]
    if missing:
        raise ReportRefused(
            f"Report '{report.name}': its front matter describes the column '{missing[0]}', which the SELECT does "
            f"not give. It gives: {', '.join(names)}."
        )
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ReportRefused(f"Report '{report.name}': the SELECT gives '{repeated[0]}' twice. Name them apart with AS.")
    known = report.about.columns
    return [
        Shown(name, column.heading or _heading(name), column, zone)
        for name in names
        for column in [known.get(name, Column())]
    ]


def _heading(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _integer(value: Any) -> int:
    number = Decimal(str(value))
    if number != number.to_integral_value():
        raise ValueError
    return int(number)


def _number(value: Any) -> float | int | Decimal:
    if isinstance(value, bool):
        raise TypeError
    number = value if isinstance(value, (int, float, Decimal)) else Decimal(str(value))
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError
    return number


def _date(value: Any) -> date:
    if isinstance(value, datetime):
        raise TypeError  # of which zone? {{ local_day(...) }} says it
    return value if isinstance(value, date) else date.fromisoformat(value)


def _instant(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    # SQLite keeps instants as UTC without saying so (headway.models.columns.UtcDateTime).
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _yes_no(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError
    return bool(value)


def _text(value: Any) -> str:
    text = as_text(value)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _as_it_is(value: Any) -> Any:
    """For columns that the front matter does not describe: numbers and dates stay what the database says they are."""
    if isinstance(value, (bool, int, float, Decimal, datetime, date)):
        return _instant(value) if isinstance(value, datetime) else value
    return _text(value)


_READERS: dict[str, Callable[[Any], Any]] = {
    "auto": _as_it_is,
    "text": _text,
    "integer": _integer,
    "number": _number,
    "money": _integer,
    "percent": _number,
    "date": _date,
    "instant": _instant,
    "duration": _number,
    "yes_no": _yes_no,
}


def _as_read(value: Any, column: Column, zone: ZoneInfo, plain: bool) -> str:
    comma = "" if plain else ","
    match column.format:
        case "integer":
            return f"{value:{comma}d}"
        case "number":
            return f"{value:{comma}.{column.places}f}"
        case "money":
            return f"{Decimal(value) / 100:{comma}.2f}"
        case "percent":
            return f"{value * 100:{comma}.{column.places}f}%"
        case "duration":
            return length(value)
        case "yes_no":
            return TRUE_WORDS[value]
    return _by_type(value, zone, plain)


def _by_type(value: Any, zone: ZoneInfo, plain: bool) -> str:
    if isinstance(value, bool):
        return TRUE_WORDS[value]
    if isinstance(value, datetime):
        return value.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S" if plain else "%Y-%m-%d %H:%M:%S %Z")
    if isinstance(value, (date, time)):
        return value.isoformat()
    return as_text(value)


def length(seconds: float | Decimal) -> str:
    """Seconds as hours, minutes and seconds: 0:01:05."""
    whole = round(abs(float(seconds)))
    sign = "-" if seconds < 0 and whole else ""
    return f"{sign}{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


@dataclass
class Totals:
    """Adds up what the columns ask for, row by row."""

    columns: list[Shown]
    rows: int = 0
    counts: list[int] = field(default_factory=list)
    sums: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts = [0] * len(self.columns)
        self.sums = [0] * len(self.columns)
        self._added = [i for i, one in enumerate(self.columns) if one.column.total is not None]

    @property
    def wanted(self) -> bool:
        return bool(self._added)

    def add(self, values: list[Any]) -> None:
        self.rows += 1
        for index in self._added:
            value = values[index]
            if value is not None:
                self.counts[index] += 1
                if self.columns[index].column.numeric:
                    # Decimal and float do not mix; a report's sums need no more digits than a float has.
                    self.sums[index] += float(value) if isinstance(value, Decimal) else value

    def values(self) -> list[Any]:
        """A value for each column, in its format's type; None where it has no total. A count is an int."""
        return [self._value(index) if index in self._added else None for index in range(len(self.columns))]

    def texts(self, *, plain: bool = False) -> list[str]:
        """The total row as people read it; its first empty cell says that it is one."""
        texts = [
            f"{value:d}" if one.column.total == "count" else one.text(value, plain=plain)
            for one, value in zip(self.columns, self.values(), strict=True)
        ]
        return [TOTAL if index == self.label_at else text for index, text in enumerate(texts)]

    @property
    def label_at(self) -> int | None:
        """In which column the word Total stands: the first that has no total itself."""
        return next((index for index in range(len(self.columns)) if index not in self._added), None)

    def _value(self, index: int) -> Any:
        column = self.columns[index].column
        if column.total == "count":
            return self.counts[index]
        if column.total == "sum":
            return self.sums[index]
        if not self.counts[index]:
            return None
        average = self.sums[index] / self.counts[index]
        return round(average) if column.format in ("integer", "money") else average


TOTAL = "Total"
