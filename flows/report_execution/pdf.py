"""A report as PDF: the table breaks over pages, each with its headings and `n / N`; landscape when it is wide.

The rows are drawn directly and not as fpdf2's own table, which takes ten times as long (7.8 against 0.78 ms a row).
"""

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from fpdf import FPDF
from fpdf.fonts import TTFFont

from headway.flows.report_execution.cells import Shown, Totals
from headway.flows.report_execution.output import Heading, note_of_cut

Paper = Literal["letter", "A4"]
MARGIN = 12.0  # millimetres, as all lengths here
PORTRAIT_CHARACTERS = 100
"""A table wider than that lies on its side."""
LINE = 1.25  # of the font's size
PADDING = 1.6
MILLIMETRES = 25.4 / 72  # in a point
CHARACTER = 0.62  # width of one, of the font's size, on the generous side
MAX_LINES = 12
"""More lines than that, and the rest of a cell's text is left out, with an ellipsis."""
FONT_FILES = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")
FONT_FOLDERS = (
    "/usr/share/fonts/truetype/dejavu",
    "/usr/share/fonts/dejavu",
    "/usr/share/fonts/dejavu-sans-fonts",
    "/usr/share/fonts/TTF",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/Library/Fonts",
    "~/Library/Fonts",
    "C:/Windows/Fonts",
)


@lru_cache(maxsize=1)
def dejavu() -> Path | None:
    """The folder that holds DejaVu Sans, regular and bold; None where it is not installed."""
    folders = (Path(folder).expanduser() for folder in FONT_FOLDERS)
    return next((one for one in folders if all((one / name).is_file() for name in FONT_FILES)), None)


class PdfOutput:
    """Draws row after row; what is beyond the limit is counted and left out."""

    def __init__(self, path: Path, heading: Heading, columns: list[Shown], limit: int, paper: Paper) -> None:
        self.cut = 0
        self.replaced: set[str] = set()
        """Characters that the font lacks; a question mark stands in their place."""
        self._path, self._heading, self._columns, self._limit = path, heading, columns, limit
        self._drawn = 0
        characters = sum(one.width for one in columns)
        self._pdf = _Pages("landscape" if characters > PORTRAIT_CHARACTERS else "portrait", "mm", paper)
        self._pdf.on_foot = self._foot
        self._set_up_fonts()
        usable, padding = self._pdf.w - 2 * MARGIN, 2 * PADDING * len(columns)
        width_per_point = characters * CHARACTER * MILLIMETRES
        self._size = max(6.0, min(9.0, (usable - padding) / width_per_point))  # in points
        spread = min(usable, max(1.15 * (self._size * width_per_point + padding), 0.6 * usable))
        self._widths = [spread * one.width / characters for one in columns]
        self._widths_of: dict[tuple[str, str], float] = {}
        self._pdf.add_page()
        self._title()
        self._headings()

    # ------------------------------------------------------------------ fonts

    def _set_up_fonts(self) -> None:
        self._family = "helvetica"
        self._known: frozenset[int] | None = None
        folder = dejavu()
        if folder is not None:
            self._family = "dejavu"
            for style, name in zip(("", "B"), FONT_FILES, strict=True):
                self._pdf.add_font(self._family, style, str(folder / name))
            self._known = self._letters("") & self._letters("B")

    def _letters(self, style: str) -> frozenset[int]:
        self._font(9, style)
        font = self._pdf.current_font
        assert isinstance(font, TTFFont)
        return frozenset(font.cmap)

    def _clean(self, text: str) -> str:
        """With a question mark for each character that the font lacks, and spaces for control characters."""
        if text.isascii() and text.isprintable():
            return text
        return "".join(self._letter(letter) for letter in text)

    def _letter(self, letter: str) -> str:
        if letter in "\n\r\t\v\f\u2028\u2029":
            return " " if letter == "\t" else "\n"
        if self._known is not None:
            fits = (ord(letter) in self._known and letter.isprintable()) or letter == "\u00a0"
        else:
            fits = _in_latin_1(letter)
        if not fits:
            self.replaced.add(letter)
        return letter if fits else "?"

    # ------------------------------------------------------------------ the parts of a page

    def _title(self) -> None:
        self._pdf.y = MARGIN
        self._paragraph(self._heading.title, 14, "B")
        if self._heading.description:
            self._paragraph(self._heading.description, 9)
        facts = "  ·  ".join(f"{name}: {text}" for name, text in self._heading.facts)
        self._paragraph(facts, 8, grey=True)
        self._pdf.y += 2

    def _paragraph(self, text: str, size: float, style: str = "", *, grey: bool = False) -> None:
        self._font(size, style)
        self._pdf.set_text_color(*((90,) * 3 if grey else (20,) * 3))
        for line in self._lines(text, self._pdf.w - 2 * MARGIN, style, size, 40):
            self._pdf.y += size * LINE * MILLIMETRES
            self._pdf.text(MARGIN, self._pdf.y, line)
        self._pdf.y += size * 0.35 * MILLIMETRES
        self._pdf.set_text_color(20, 20, 20)

    def _headings(self) -> None:
        self._row([one.heading for one in self._columns], "B", fill=True, with_headings=False)

    def _foot(self) -> None:
        self._font(7.5)
        self._pdf.set_text_color(90, 90, 90)
        y = self._pdf.h - MARGIN + 4
        title = self._lines(self._heading.title, self._pdf.w * 0.7, "", 7.5, 1)
        self._pdf.text(MARGIN, y, title[0] if title else "")
        # A cell, because fpdf puts the number of pages into cells only.
        self._pdf.set_xy(self._pdf.w - MARGIN - 14, y - 3)
        self._pdf.cell(14, 4, f"{self._pdf.page_no()} / {PAGES}")
        self._pdf.set_text_color(20, 20, 20)

    # ------------------------------------------------------------------ rows

    def add(self, values: list[Any]) -> None:
        if self._drawn >= self._limit:
            self.cut += 1
            return
        self._drawn += 1
        self._row([one.text(value) for one, value in zip(self._columns, values, strict=True)])

    def _row(self, texts: list[str], style: str = "", *, fill: bool = False, with_headings: bool = True) -> None:
        self._font(self._size, style)
        cells = [
            self._cell(text, width - 2 * PADDING, style, whole=one.right and not fill)
            for text, width, one in zip(texts, self._widths, self._columns, strict=True)
        ]
        step = self._size * LINE * MILLIMETRES
        height = max(1, *(len(lines) for lines in cells)) * step + PADDING
        if self._pdf.y + height > self._pdf.h - MARGIN - 2:
            self._pdf.add_page()
            self._pdf.y = MARGIN
            if with_headings:
                self._headings()
                self._font(self._size, style)
        self._draw(cells, height, step, style, fill)

    def _cell(self, text: str, width: float, style: str, *, whole: bool) -> list[str]:
        """The cell's lines. A number is not broken: it is drawn smaller where it is too wide."""
        return [self._clean(text)] if whole else self._lines(text, max(1.0, width), style, self._size)

    def _draw(self, cells: list[list[str]], height: float, step: float, style: str, fill: bool) -> None:
        top, x = self._pdf.y, MARGIN
        if fill:
            self._pdf.set_fill_color(234, 239, 243)
            self._pdf.rect(x, top, sum(self._widths), height, style="F")
        for lines, width, one in zip(cells, self._widths, self._columns, strict=True):
            for number, line in enumerate(lines):
                long = self._width(line, style)
                narrow = min(1.0, max(1.0, width - 2 * PADDING) / long) if long else 1.0
                self._font(self._size * narrow, style)
                shift = width - PADDING - long * narrow if one.right else PADDING
                self._pdf.text(x + shift, top + PADDING / 2 + (number + 0.78) * step, line)
                self._font(self._size, style)
            x += width
        self._pdf.y = top + height
        self._pdf.set_draw_color(*((140,) * 3 if fill else (215,) * 3))
        self._pdf.line(MARGIN, self._pdf.y, MARGIN + sum(self._widths), self._pdf.y)

    def finish(self, totals: Totals) -> None:
        if not totals.rows:
            self._pdf.y += 2
            self._paragraph("No rows.", 9)
        elif totals.wanted:
            self._row(totals.texts(), "B")
        if self.cut:
            self._room(12)
            self._paragraph(note_of_cut(self._drawn, totals.rows), 8)
        self._pdf.set_title(self._heading.title)
        self._pdf.output(str(self._path))

    def _room(self, height: float) -> None:
        if self._pdf.y + height > self._pdf.h - MARGIN:
            self._pdf.add_page()
            self._pdf.y = MARGIN
        self._pdf.y += 2

    # ------------------------------------------------------------------ text

    def _font(self, size: float, style: str = "") -> None:
        self._pdf.set_font(self._family, style, size)

    def _width(self, text: str, style: str) -> float:
        """Of a text in the current font, in millimetres; words come again and again, so they are remembered."""
        key = (text, f"{style}{self._pdf.font_size_pt}")
        if key not in self._widths_of:
            if len(self._widths_of) > 20_000:
                self._widths_of.clear()
            self._widths_of[key] = self._pdf.get_string_width(text)
        return self._widths_of[key]

    def _lines(self, text: str, width: float, style: str, size: float, most: int = MAX_LINES) -> list[str]:
        """The text in lines that fit; a word that is too long is broken. Beyond `most` lines it ends with …"""
        # So many characters fill the lines however thin they are.
        text = self._clean(text[: int(most * width / (size * MILLIMETRES * 0.2)) + 1])
        lines: list[str] = []
        for paragraph in text.split("\n"):
            lines += self._wrapped(paragraph, width, style)
        lines = lines or [""]
        if len(lines) <= most:
            return lines
        last = lines[most - 1]
        dots = "…" if self._known is not None else "..."
        while last and self._width(last + dots, style) > width:
            last = last[:-1]
        return [*lines[: most - 1], last + dots]

    def _wrapped(self, text: str, width: float, style: str) -> list[str]:
        if self._width(text, style) <= width:
            return [text]
        lines, line = [], ""
        for word in text.split(" "):
            longer = f"{line} {word}" if line else word
            if self._width(longer, style) <= width:
                line = longer
                continue
            if line:
                lines.append(line)
            while len(word) > 1 and self._width(word, style) > width:
                fitting = self._fitting(word, width, style)
                lines.append(word[:fitting])
                word = word[fitting:]
            line = word
        return [*lines, line]

    def _fitting(self, word: str, width: float, style: str) -> int:
        """How many of its letters fit, at least one."""
        low, high = 1, len(word)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._pdf.get_string_width(word[:middle]) <= width else (low, middle - 1)
        return low


PAGES = "{headway-pages}"
"""Stands for the number of pages until it is known."""


class _Pages(FPDF):
    """Calls back for each page's foot, and breaks no page by itself."""

    def __init__(self, orientation: Literal["landscape", "portrait"], unit: Literal["mm"], paper: Paper) -> None:
        super().__init__(orientation, unit, paper)
        self.on_foot: Any = None
        self.set_auto_page_break(False)
        self.alias_nb_pages(PAGES)

    def footer(self) -> None:
        if self.on_foot is not None:
            self.on_foot()


def _in_latin_1(letter: str) -> bool:
    try:
        letter.encode("latin-1")
        return letter.isprintable() or letter == "\u00a0"
    except UnicodeEncodeError:
        return False
