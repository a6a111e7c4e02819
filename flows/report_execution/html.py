"""A report as one HTML page, for a browser or for a mail's body; everything in it is escaped.

A report may bring a Jinja template of its own, NAME.html.j2. Templates run in a sandbox: they see the
report and nothing of the machine.
"""

from pathlib import Path
from typing import Any

from jinja2 import DictLoader, StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from headway.flows.report_execution.cells import Shown, Totals
from headway.flows.report_execution.definitions import Report, ReportRefused
from headway.flows.report_execution.output import Heading, note_of_cut

DEFAULT_TEMPLATE = "report_table.html.j2"
_SHIPPED = Path(__file__).with_name(DEFAULT_TEMPLATE)


class HtmlOutput:
    """Keeps the rows up to the limit, and renders them at the end."""

    def __init__(self, path: Path, heading: Heading, columns: list[Shown], report: Report, limit: int) -> None:
        self.cut = 0
        self._path = path
        self._heading = heading
        self._columns = columns
        self._report = report
        self._limit = limit
        self._rows: list[dict[str, str]] = []
        self._values: list[dict[str, Any]] = []

    def add(self, values: list[Any]) -> None:
        if len(self._rows) >= self._limit:
            self.cut += 1
            return
        named = list(zip(self._columns, values, strict=True))
        self._rows.append({one.name: one.text(value) for one, value in named})
        if self._report.template is not None:
            self._values.append({one.name: value for one, value in named})

    def finish(self, totals: Totals) -> None:
        names = [one.name for one in self._columns]
        page = rendered(
            self._report,
            title=self._heading.title,
            description=self._heading.description,
            facts=list(self._heading.facts),
            columns=[{"name": one.name, "heading": one.heading, "right": one.right} for one in self._columns],
            rows=self._rows,
            values=self._values,
            totals=dict(zip(names, totals.texts(), strict=True)) if totals.wanted and totals.rows else {},
            row_count=totals.rows,
            note=note_of_cut(len(self._rows), totals.rows) if self.cut else "",
        )
        self._path.write_text(page, encoding="utf-8", errors="replace")


def rendered(report: Report, **context: Any) -> str:
    """The page. Raises ReportRefused with the template's line and reason."""
    name = f"{report.name}.html.j2" if report.template is not None else DEFAULT_TEMPLATE
    try:
        environment = _environment(report.template)
        template = environment.get_template(name if report.template is None else "report")
        return template.render(context)
    except TemplateSyntaxError as error:
        raise ReportRefused(f"The template {name}, line {error.lineno}: {error.message}") from None
    except TemplateError as error:
        raise ReportRefused(f"The template {name}: {error.message}") from None
    except Exception as error:  # whatever an expression of the template may raise
        raise ReportRefused(f"The template {name}: {type(error).__name__}: {error}") from None


def check_template(text: str) -> None:
    """Raises ReportRefused where the template is no Jinja."""
    try:
        _environment(text).get_template("report")
    except TemplateSyntaxError as error:
        raise ReportRefused(f"its template, line {error.lineno}: {error.message}") from None


def _environment(own: str | None) -> ImmutableSandboxedEnvironment:
    templates = {DEFAULT_TEMPLATE: _SHIPPED.read_text(encoding="utf-8")}
    if own is not None:
        templates["report"] = own
    return ImmutableSandboxedEnvironment(
        loader=DictLoader(templates), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
