"""How the error report looks: HTML and plain text for the mail, CSV for a spreadsheet."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from headway.flows.shared.spreadsheet_safety import inert
from headway.flows.task_error_report.groups import Group, Groups
from headway.flows.task_error_report.ledger_reader import ErrorLine, Period, Trouble
from headway.models.values.zone import zone as known_zone
from headway.wording import in_zone

TITLE = "Task Scheduler Error Report"
TEMPLATE = "page.html.j2"
SHOWN_ROWS = 100
"""So many rows of a section are in the mail; the CSV has the lines behind them all."""
SHOWN_LETTERS = 500
SHOWN_LINES = 6
CSV_LETTERS = 4_000
CSV_BYTES = 10_000_000
CSV_HEADER = ("Log date/time", "Task", "Type", "Run", "Group", "Log text", "UTC")


@dataclass(kw_only=True, frozen=True)
class ErrorReport:
    """Everything that the report says. lines: how many error lines; in_csv: how many of them the CSV has."""

    period: Period
    zone: str
    lookback_days: int
    troubles: list[Trouble]
    groups: Groups
    lines: int
    in_csv: int
    never_started: dict[str, int] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not (self.lines or self.troubles or self.groups.resolved or self.never_started)

    def summary(self) -> str:
        """One line of counts."""
        groups = self.groups
        counts = f"{len(groups.new)} new, {len(groups.recurring)} recurring, {len(groups.resolved)} resolved"
        first = f"{len(self.troubles)} to look at first; " if self.troubles else ""
        return f"{first}{counts}; {self.lines:,} error line{'' if self.lines == 1 else 's'}"

    def span(self) -> str:
        shown = shower(self.zone)
        return f"Runs that ended from {shown(self.period.since)} to {shown(self.period.until)}"

    def not_started(self) -> str:
        counts = [f"{count:,} {status}" for status, count in self.never_started.items()]
        return f"Runs that never started: {', '.join(counts)}." if counts else ""


def shower(zone: str) -> Callable[[datetime], str]:
    """Writes instants in the zone: `2026-11-22 08:15:03 EST`."""
    return lambda moment: in_zone(moment, zone, seconds=True)


def html_of(report: ErrorReport) -> str:
    """The report as one page; everything in it is escaped."""
    shown = shower(report.zone)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    days = report.lookback_days
    return environment.get_template(TEMPLATE).render(
        title=TITLE,
        period=report.span(),
        summary=report.summary(),
        never_started=report.not_started(),
        lookback="day" if days == 1 else f"{days} days",
        troubles=_section(report.troubles, lambda one: _trouble(one, shown)),
        new=_section(report.groups.new, lambda one: _row(one, shown)),
        recurring=_section(report.groups.recurring, lambda one: _row(one, shown)),
        resolved=_section(report.groups.resolved, lambda one: _row(one, shown)),
        left_out=report.groups.left_out,
        footer=_footer(report),
    )


def _section(rows: Sequence[Any], shape: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    return {
        "count": len(rows),
        "shown": [shape(one) for one in rows[:SHOWN_ROWS]],
        "more": max(0, len(rows) - SHOWN_ROWS),
    }


def _row(group: Group, shown: Callable[[datetime], str]) -> dict[str, Any]:
    return {
        "at": shown(group.last_at),
        "task": group.task,
        "type": group.type,
        "run": group.last_run_id,
        "text": brief(group.text),
        "times": group.count,
        "then": f"Completed {shown(group.resolved_at)}" if group.resolved_at else "",
    }


def _trouble(trouble: Trouble, shown: Callable[[datetime], str]) -> dict[str, Any]:
    return {
        "at": shown(trouble.since),
        "task": trouble.task,
        "type": trouble.type,
        "run": trouble.run_id,
        "what": trouble.what,
        "text": brief(trouble.text),
    }


def _footer(report: ErrorReport) -> str:
    left = report.lines - report.in_csv
    more = f" The CSV file has the first {report.in_csv:,} lines; {left:,} more are in the task log." if left else ""
    return f"Times are {report.zone}.{more} See a run's log: headway log RUN. After a failure: headway reset TASK."


def brief(text: str) -> str:
    """The first lines of it."""
    lines = text.strip().splitlines()
    short = "\n".join(lines[:SHOWN_LINES])
    return short[:SHOWN_LETTERS] + "…" if len(short) > SHOWN_LETTERS or len(lines) > SHOWN_LINES else short


def text_of_mail(report: ErrorReport) -> str:
    """The same as plain text, for mail programs that show no HTML."""
    shown = shower(report.zone)
    lines = [TITLE, report.span(), report.summary()]
    if report.never_started:
        lines.append(report.not_started())
    if report.troubles:
        lines += ["", "Look at these first"]
        lines += [
            f"  {one.task} (run {one.run_id}) {one.what}: {_one_line(one.text)}" for one in _some(report.troubles)
        ]
    sections = {"New": report.groups.new, "Recurring": report.groups.recurring, "Resolved": report.groups.resolved}
    for name, groups in sections.items():
        lines += ["", f"{name} ({len(groups)})"]
        for one in _some(groups):
            times = f" ({one.count} times)" if one.count > 1 else ""
            lines.append(f"  {shown(one.last_at)}  {one.task}, run {one.last_run_id}{times}: {_one_line(one.text)}")
    return "\n".join([*lines, "", _footer(report), ""])


def _some(rows: Sequence[Any]) -> Sequence[Any]:
    return rows[:SHOWN_ROWS]


def _one_line(text: str) -> str:
    return " ".join(brief(text).split())


class ErrorCsv:
    """The error lines as CSV for a spreadsheet, up to a number of rows and a size; use it as a context manager."""

    def __init__(self, path: Path, zone: str, most_rows: int) -> None:
        self.rows = 0
        self._most_rows = most_rows
        self._bytes = 0
        self._zone = known_zone(zone)
        self._file = path.open("wb")

    def __enter__(self) -> "ErrorCsv":
        self._file.write("\ufeff".encode())  # so that spreadsheets read it as UTF-8
        self._write(CSV_HEADER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, line: ErrorLine, kind: str) -> None:
        """One row, if there is room."""
        if self.rows >= self._most_rows or self._bytes >= CSV_BYTES:
            return
        self.rows += 1
        local = line.at.astimezone(self._zone).strftime("%Y-%m-%d %H:%M:%S")
        instant = line.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        text = line.text if len(line.text) <= CSV_LETTERS else line.text[:CSV_LETTERS] + "…"
        self._write([local, line.task, line.type, str(line.run_id), kind, text, instant])

    def _write(self, cells: Sequence[str]) -> None:
        buffer = io.StringIO(newline="")
        csv.writer(buffer).writerow([inert(one) for one in cells])
        self._bytes += self._file.write(buffer.getvalue().encode("utf-8", "replace"))
