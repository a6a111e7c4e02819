"""A report's cells, and the files made of them: CSV, XLSX, HTML and PDF, read back by other programs' libraries."""

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pypdfium2
import pytest

from headway.flows.report_execution import pdf
from headway.flows.report_execution.cells import Shown, Totals, shown_columns
from headway.flows.report_execution.csv_and_xlsx import CsvOutput, XlsxOutput
from headway.flows.report_execution.definitions import Column, FrontMatter, Report, ReportRefused
from headway.flows.report_execution.html import HtmlOutput
from headway.flows.report_execution.output import Heading, Output
from headway.flows.report_execution.pdf import PdfOutput

NEW_YORK = ZoneInfo("America/New_York")
HEADING = Heading("Żółte <b>taxi</b>", "What it is about", [("Period", "last month"), ("Times", "America/New_York")])
AT = datetime(2026, 11, 1, 5, 30, tzinfo=UTC)


def shown(name: str, **column: Any) -> Shown:
    return Shown(name, name.capitalize(), Column(**column), NEW_YORK)


@pytest.mark.parametrize(
    ("format", "value", "text", "plain"),
    [
        ("integer", 1234567, "1,234,567", "1234567"),
        ("integer", Decimal(12), "12", "12"),  # PostgreSQL's sum of bigints
        ("number", 1234.5, "1,234.50", "1234.50"),
        ("number", Decimal("0.006"), "0.01", "0.01"),
        ("money", 123456, "1,234.56", "1234.56"),
        ("money", -5, "-0.05", "-0.05"),
        ("percent", 0.1234, "12.3%", "12.3%"),
        ("date", "2026-11-01", "2026-11-01", "2026-11-01"),
        ("date", date(2026, 11, 1), "2026-11-01", "2026-11-01"),
        ("instant", AT, "2026-11-01 01:30:00 EDT", "2026-11-01 01:30:00"),
        ("instant", "2026-11-01 06:30:00.000000", "2026-11-01 01:30:00 EST", "2026-11-01 01:30:00"),  # as in SQLite
        ("duration", 3725.4, "1:02:05", "1:02:05"),
        ("duration", -90, "-0:01:30", "-0:01:30"),
        ("duration", 360_000, "100:00:00", "100:00:00"),
        ("yes_no", 1, "yes", "yes"),
        ("yes_no", False, "no", "no"),
        ("text", 5, "5", "5"),
        ("text", None, "", ""),
        ("auto", AT, "2026-11-01 01:30:00 EDT", "2026-11-01 01:30:00"),
        ("auto", "x", "x", "x"),
        ("auto", True, "yes", "yes"),
        ("auto", Decimal("1.10"), "1.10", "1.10"),
    ],
)
def test_how_a_value_is_shown(format: str, value: Any, text: str, plain: str) -> None:
    one = shown("a", format=format)
    read = one.read(value, 1)
    assert (one.text(read), one.text(read, plain=True)) == (text, plain)


@pytest.mark.parametrize(
    ("format", "value"),
    [
        ("integer", 1.5),
        ("integer", "many"),
        ("integer", True),
        ("money", 0.5),
        ("number", float("nan")),
        ("number", True),
        ("date", AT),
        ("date", "01.11.2026"),
        ("instant", "yesterday"),
        ("instant", 5),
        ("yes_no", 2),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_place(format: str, value: Any) -> None:
    with pytest.raises(ReportRefused, match=r"^Row 7, column 'a': .* cannot be shown as " + format):
        shown("a", format=format).read(value, 7)


def test_columns_follow_the_select_and_missing_ones_are_refused(tmp_path: Path) -> None:
    about = FrontMatter(title="T", columns={"b": Column(heading="Second")})
    report = Report(name="mine", path=tmp_path, about=about, sql="", template=None)
    assert [one.heading for one in shown_columns(report, ["a_name", "b"], NEW_YORK)] == ["A name", "Second"]
    with pytest.raises(ReportRefused, match=r"describes the column 'b', which the SELECT does not give\. It gives: a"):
        shown_columns(report, ["a"], NEW_YORK)
    with pytest.raises(ReportRefused, match="gives 'b' twice"):
        shown_columns(report, ["b", "b"], NEW_YORK)


def test_totals() -> None:
    columns = [
        shown("a", format="text"),
        shown("b", format="money", total="sum"),
        shown("c", format="percent", total="average"),
        shown("d", format="text", total="count"),
    ]
    totals = Totals(columns)
    for values in (["x", 150, 0.5, "y"], ["y", None, None, None], ["z", 100, 0.25, ""]):
        totals.add(values)
    assert totals.texts() == ["Total", "2.50", "37.5%", "2"]


# ------------------------------------------------------------------ files

COLUMNS = [
    shown("task", format="text", width=20, total="count"),
    shown("runs", format="integer", total="sum"),
    shown("fines", format="money", total="sum"),
    shown("share", format="percent"),
    shown("started", format="instant"),
    shown("day", format="date"),
    shown("took", format="duration", total="average"),
    shown("fine", format="yes_no"),
]
ROWS: list[list[Any]] = [
    ["=cmd()|x", 3, 1250, 0.5, AT, date(2026, 11, 1), 90, True],
    ["<script>alert(1)</script>", -2, -50, None, None, None, 30.5, False],
    ["Łódź & 'so'", 10**16, 0, 1, AT, date(1066, 10, 14), None, None],
]


def fill(output: Output, rows: list[list[Any]] = ROWS, columns: list[Shown] = COLUMNS) -> Output:
    totals = Totals(columns)
    for row in rows:
        totals.add(row)
        output.add(row)
    output.finish(totals)
    return output


def test_csv(tmp_path: Path) -> None:
    fill(CsvOutput(tmp_path / "r.csv", COLUMNS))
    content = (tmp_path / "r.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")  # Excel takes it for UTF-8 by that
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert rows[0] == ["Task", "Runs", "Fines", "Share", "Started", "Day", "Took", "Fine"]
    assert rows[1] == ["'=cmd()|x", "3", "12.50", "50.0%", "2026-11-01 01:30:00", "2026-11-01", "0:01:30", "yes"]
    assert rows[2][:3] == ["<script>alert(1)</script>", "-2", "-0.50"]  # a negative number is no formula
    assert len(rows) == 4  # no totals: they would be added up again


def test_xlsx(tmp_path: Path) -> None:
    fill(XlsxOutput(tmp_path / "r.xlsx", HEADING, COLUMNS))
    book = openpyxl.load_workbook(tmp_path / "r.xlsx", data_only=True)
    sheet = book["Report"]
    rows = list(sheet.iter_rows(values_only=True))
    assert rows[0] == ("Task", "Runs", "Fines", "Share", "Started", "Day", "Took", "Fine")
    assert rows[1][:4] == ("=cmd()|x", 3, 12.5, 0.5) and sheet["A2"].data_type == "s"
    assert (rows[1][4], rows[1][5].date()) == (datetime(2026, 11, 1, 1, 30), date(2026, 11, 1))
    assert rows[3][1] == "10,000,000,000,000,000" and rows[3][5] == "1066-10-14"  # more than Excel can hold
    assert (sheet["C2"].number_format, sheet["G2"].number_format) == ("#,##0.00", "[h]:mm:ss")
    assert rows[4][0] == 3 and rows[4][2] == 12.0
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("A2", "A1:H4")
    assert [row[0].value for row in book["About"]["A1:A4"]] == ["Report", "Description", "Period", "Times"]
    formulas = openpyxl.load_workbook(tmp_path / "r.xlsx")["Report"]
    assert formulas["C5"].value == "=SUBTOTAL(9,C2:C4)"


def test_an_empty_workbook(tmp_path: Path) -> None:
    fill(XlsxOutput(tmp_path / "r.xlsx", HEADING, COLUMNS), rows=[])
    assert openpyxl.load_workbook(tmp_path / "r.xlsx")["Report"].max_row == 1


def html(tmp_path: Path, template: str | None = None, limit: int = 100) -> str:
    report = Report(name="mine", path=tmp_path, about=FrontMatter(title="T"), sql="", template=template)
    fill(HtmlOutput(tmp_path / "r.html", HEADING, COLUMNS, report, limit))
    return (tmp_path / "r.html").read_text(encoding="utf-8")


def test_html_is_whole_and_escaped(tmp_path: Path) -> None:
    page = html(tmp_path)
    assert "<script" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<h1>Żółte &lt;b&gt;taxi&lt;/b&gt;</h1>" in page
    assert "http" not in page and "src=" not in page  # nothing is fetched from anywhere
    assert page.count("<tr>") == 5 and "Period: last month" in page


def test_html_says_what_it_leaves_out(tmp_path: Path) -> None:
    page = html(tmp_path, limit=2)
    assert "Only the first 2 of 3 rows are shown; totals are of all rows." in page
    assert "Łódź" not in page


def test_a_template_of_the_reports_own(tmp_path: Path) -> None:
    page = html(
        tmp_path, "{{ title }}: {% for row in rows %}{{ row.task }}={{ values[loop.index0].runs }};{% endfor %}"
    )
    assert page.startswith("Żółte &lt;b&gt;taxi&lt;/b&gt;: =cmd()|x=3;&lt;script&gt;")


def test_a_template_may_stand_on_the_shipped_one(tmp_path: Path) -> None:
    page = html(tmp_path, "{% extends 'report_table.html.j2' %}{% block table %}{{ row_count }} rows{% endblock %}")
    assert "<h1>" in page and "3 rows" in page and "<table" not in page


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ rows.append(1) }}", "unsafe"),
        ("{% include '/etc/passwd' %}", "/etc/passwd"),
        ("{% for n in range(10 ** 9) %}x{% endfor %}", "Range too big"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{% for %}", "line 1"),
    ],
)
def test_a_template_that_fails_is_refused_with_its_reason(tmp_path: Path, template: str, message: str) -> None:
    with pytest.raises(ReportRefused, match=r"The template mine.html.j2") as refused:
        html(tmp_path, template)
    assert message in str(refused.value)


# ------------------------------------------------------------------ PDF

NARROW = [shown("task", format="text", width=20), shown("runs", format="integer", total="sum")]


def make_pdf(path: Path, columns: list[Shown], rows: list[list[Any]], limit: int = 5000) -> PdfOutput:
    output = PdfOutput(path, HEADING, columns, limit, "letter")
    fill(output, rows, columns)
    return output


def pages(path: Path) -> list[str]:
    document = pypdfium2.PdfDocument(path)
    return [" ".join(page.get_textpage().get_text_range().split()) for page in document]


def test_pdf_breaks_over_pages_each_with_headings_and_number(tmp_path: Path) -> None:
    make_pdf(tmp_path / "r.pdf", NARROW, [[f"Task {n}", n] for n in range(200)])
    texts = pages(tmp_path / "r.pdf")
    assert len(texts) >= 4
    for number, text in enumerate(texts, 1):
        assert "Task Runs" in text
        assert text.endswith(f"{number} / {len(texts)}")
    seen = " ".join(texts)
    assert all(f"Task {n} {n}" in seen for n in range(200))
    assert "Total 19,900" in texts[-1] and "Total" not in texts[0]


def ink(path: Path, number: int = 0) -> tuple[float, float]:
    """How far from the page's left and right edge the nearest dark dot is, as a share of its width."""
    picture = pypdfium2.PdfDocument(path)[number].render(scale=1).to_pil().convert("L")
    left, _, right, _ = picture.point([255 if shade < 160 else 0 for shade in range(256)]).getbbox()
    return left / picture.width, 1 - right / picture.width


def test_pdf_lies_on_its_side_when_wide_and_nothing_runs_off_it(tmp_path: Path) -> None:
    make_pdf(tmp_path / "narrow.pdf", NARROW, [["x", 1]])
    wide = [shown(f"column{n}", format="text", width=30) for n in range(6)] + [shown("n", format="money", total="sum")]
    make_pdf(tmp_path / "wide.pdf", wide, [["word " * 30] * 6 + [10**13], ["x" * 300] * 6 + [1]])
    upright, lying = (pypdfium2.PdfDocument(tmp_path / name)[0].get_size() for name in ("narrow.pdf", "wide.pdf"))
    assert upright == (612, 792) and lying == (792, 612)
    assert all(edge > 0.03 for edge in ink(tmp_path / "wide.pdf"))
    (text,) = pages(tmp_path / "wide.pdf")
    assert text.count("word") == 180 and text.replace(" ", "").count("x") >= 1800  # wrapped, not clipped
    assert "100,000,000,000.00" in text  # a number is made smaller, not broken


def test_pdf_with_forty_columns_still_comes_out(tmp_path: Path) -> None:
    make_pdf(tmp_path / "r.pdf", [shown(f"c{n}", format="text") for n in range(40)], [["a value"] * 40] * 3)
    assert all(edge > 0.03 for edge in ink(tmp_path / "r.pdf"))


def test_pdf_says_what_it_leaves_out(tmp_path: Path) -> None:
    output = make_pdf(tmp_path / "r.pdf", NARROW, [["x", n] for n in range(10)], limit=4)
    (text,) = pages(tmp_path / "r.pdf")
    assert output.cut == 6
    assert "Total 45" in text and "Only the first 4 of 10 rows are shown; totals are of all rows." in text


def test_an_empty_pdf_says_so(tmp_path: Path) -> None:
    make_pdf(tmp_path / "r.pdf", NARROW, [])
    assert "No rows." in pages(tmp_path / "r.pdf")[0]


def test_a_text_without_end_keeps_to_its_cell(tmp_path: Path) -> None:
    make_pdf(tmp_path / "r.pdf", NARROW, [["long " * 6000, 1], ["after", 2]])
    texts = pages(tmp_path / "r.pdf")
    assert len(texts) == 1 and "after 2" in texts[0]


@pytest.mark.skipif(pdf.dejavu() is None, reason="the DejaVu fonts are not installed on this machine")
def test_pdf_writes_all_that_the_font_has_and_marks_the_rest(tmp_path: Path) -> None:
    output = make_pdf(tmp_path / "r.pdf", NARROW, [["Łódź Привет Ελλάδα 漢", 1]])
    assert "Łódź Привет Ελλάδα ? 1" in pages(tmp_path / "r.pdf")[0]
    assert output.replaced == {"漢"}


def test_pdf_without_the_font_marks_what_latin_1_has_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "dejavu", lambda: None)
    output = make_pdf(tmp_path / "r.pdf", NARROW, [["Łódź Größe\x07", 1]])
    assert "?ód? Größe? 1" in pages(tmp_path / "r.pdf")[0]
    assert {"Ł", "ź", "\x07"} <= output.replaced
