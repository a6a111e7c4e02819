"""A report as CSV or XLSX: all its rows, as a stream; people open these files in spreadsheets."""

import csv
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import xlsxwriter  # type: ignore[import-untyped,unused-ignore]

from headway.flows.report_execution.cells import TOTAL, Shown, Totals
from headway.flows.report_execution.definitions import ReportRefused
from headway.flows.report_execution.output import Heading
from headway.flows.shared.file_writers import XLSX_EXACT_INTEGER, XLSX_MAX_ROWS
from headway.flows.shared.spreadsheet_safety import inert

SUBTOTALS = {"sum": 9, "average": 1, "count": 3}
"""The numbers by which Excel's SUBTOTAL knows them: what is filtered out does not count."""


class CsvOutput:
    """UTF-8 with a byte order mark (Excel asks for it), comma, no totals. A text that would be a formula is quoted."""

    def __init__(self, path: Path, columns: list[Shown]) -> None:
        self.cut = 0
        self._columns = columns
        self._file = path.open("w", encoding="utf-8-sig", newline="", buffering=1 << 20)
        self._writer = csv.writer(self._file)
        self._writer.writerow(inert(one.heading) for one in columns)

    def add(self, values: list[Any]) -> None:
        texts = (one.text(value, plain=True) for one, value in zip(self._columns, values, strict=True))
        # A negative number begins with a minus and stays a number.
        self._writer.writerow(
            text if isinstance(value, (int, float, Decimal)) else inert(text)
            for text, value in zip(texts, values, strict=True)
        )

    def finish(self, totals: Totals) -> None:
        self._file.close()


class XlsxOutput:
    """One sheet with the rows, typed, filterable, its headings frozen; one that says what they are."""

    def __init__(self, path: Path, heading: Heading, columns: list[Shown]) -> None:
        self.cut = 0
        self._columns = columns
        self._row = 0
        self._book = xlsxwriter.Workbook(str(path), {"constant_memory": True, "tmpdir": str(path.parent)})
        self._book.set_properties({"title": heading.title, "comments": heading.description})
        self._sheet = self._book.add_worksheet("Report")
        self._about(heading)
        self._formats = [self._format(one) for one in columns]
        self._bold_formats = [self._format(one, bold=True) for one in columns]
        self._instant = self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        self._day = self._book.add_format({"num_format": "yyyy-mm-dd"})
        self._head()

    def _about(self, heading: Heading) -> None:
        sheet = self._book.add_worksheet("About")
        sheet.set_column(0, 0, 22)
        sheet.set_column(1, 1, 90)
        facts = [("Report", heading.title), ("Description", heading.description), *heading.facts]
        for row, (name, text) in enumerate(facts):
            sheet.write_string(row, 0, name, self._book.add_format({"bold": True}))
            sheet.write_string(row, 1, text, self._book.add_format({"text_wrap": True}))

    def _head(self) -> None:
        for index, one in enumerate(self._columns):
            self._sheet.set_column(index, index, min(one.width + 2, 80))
            side = "right" if one.right else "left"
            bold = self._book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "align": side})
            self._sheet.write_string(0, index, one.heading, bold)
        self._sheet.freeze_panes(1, 0)
        self._sheet.repeat_rows(0)
        self._sheet.fit_to_pages(1, 0)

    def _format(self, one: Shown, *, bold: bool = False) -> Any:
        column = one.column
        behind = "." + "0" * column.places if column.places else ""
        pattern = {
            "integer": "#,##0",
            "number": f"#,##0{behind}",
            "money": "#,##0.00",
            "percent": f"0{behind}%",
            "date": "yyyy-mm-dd",
            "instant": "yyyy-mm-dd hh:mm:ss",
            "duration": "[h]:mm:ss",
        }.get(column.format, "General")
        return self._book.add_format({"num_format": pattern, **({"bold": True, "top": 1} if bold else {})})

    def add(self, values: list[Any]) -> None:
        self._row += 1
        if self._row + 1 >= XLSX_MAX_ROWS:  # headings and totals have one each
            raise ReportRefused(
                f"A worksheet holds {XLSX_MAX_ROWS:,} rows, and there are more. Choose CSV, or narrow the report."
            )
        for index, value in enumerate(values):
            self._put(self._row, index, value, self._formats[index])

    def _put(self, row: int, index: int, value: Any, form: Any) -> None:
        one = self._columns[index]
        number = _excel_number(value, one)
        if value is None:
            return
        if number is not None:
            self._sheet.write_number(row, index, number, form)
        elif isinstance(value, datetime):
            local = value.astimezone(one.zone).replace(tzinfo=None)
            self._sheet.write_datetime(row, index, local, self._instant)
        elif isinstance(value, date) and value.year >= 1900:  # Excel's calendar begins there
            self._sheet.write_datetime(row, index, value, self._day)
        else:
            self._sheet.write_string(row, index, one.text(value))

    def finish(self, totals: Totals) -> None:
        if self._row:
            self._sheet.autofilter(0, 0, self._row, len(self._columns) - 1)
        if totals.wanted and self._row:
            for index, value in enumerate(totals.values()):
                self._total(index, value, totals)
        self._book.close()

    def _total(self, index: int, value: Any, totals: Totals) -> None:
        one, row = self._columns[index], self._row + 1
        bold = self._bold_formats[index]
        if index == totals.label_at:
            self._sheet.write_string(row, index, TOTAL, bold)
        elif one.column.total is not None:
            first, last = (xlsxwriter.utility.xl_rowcol_to_cell(at, index) for at in (1, self._row))
            formula = f"=SUBTOTAL({SUBTOTALS[one.column.total]},{first}:{last})"
            shown = value if one.column.total == "count" else _excel_number(value, one)
            plain = self._book.add_format({"bold": True, "top": 1}) if one.column.total == "count" else bold
            self._sheet.write_formula(row, index, formula, plain, shown if shown is not None else 0)


def _excel_number(value: Any, one: Shown) -> float | int | None:
    """What Excel keeps for a number: money in whole units, durations in days. None where it is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    if one.column.format == "money":
        return float(Decimal(str(value)) / 100)
    if one.column.format == "duration":
        return float(value) / 86_400
    # Excel keeps 15 digits; longer numbers are written as text.
    return float(value) if isinstance(value, Decimal) else value if abs(value) < XLSX_EXACT_INTEGER else None
