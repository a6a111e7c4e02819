"""What a report's file says: its front matter, checked, and its SQL.

A report is one `.sql` file. It begins with a comment that holds YAML: title, description, database,
parameters, columns. The comment's end is the front matter's end; the rest is one SELECT.
"""

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from headway.flows.shared.result import InputRefused

ParameterType = Literal["text", "integer", "number", "date", "boolean", "choice", "time frame"]
Format = Literal["auto", "text", "integer", "number", "money", "percent", "date", "instant", "duration", "yes_no"]
Total = Literal["sum", "average", "count"]

NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_FRONT_MATTER = re.compile(r"\s*/\*(.*?)\*/(.*)", re.DOTALL)
_NUMERIC: frozenset[str] = frozenset({"integer", "number", "money", "percent", "duration"})
DEFAULT_WIDTHS: dict[Format, int] = {
    "auto": 16, "text": 20, "integer": 9, "number": 11, "money": 12, "percent": 9, "date": 11, "instant": 24,
    "duration": 10, "yes_no": 6,
}  # fmt: skip


class ReportRefused(InputRefused):
    """A report's file, or what it was asked for, cannot be used; the message is a sentence for its author."""


class Parameter(BaseModel):
    """A value that the task gives the report, bound in the SQL as `:name`. Without a default it has to be given."""

    model_config = ConfigDict(extra="forbid")

    type: ParameterType
    title: str = ""
    description: str = ""
    choices: list[str] = Field(default=[], description="For type choice.")
    minimum: float | None = None
    maximum: float | None = None
    default: Any = None

    @property
    def required(self) -> bool:
        return "default" not in self.model_fields_set

    @model_validator(mode="after")
    def _fits_its_type(self) -> "Parameter":
        if (self.type == "choice") != bool(self.choices):
            raise ValueError("choices belong to type choice, and there they are needed")
        if self.type not in ("integer", "number") and (self.minimum is not None or self.maximum is not None):
            raise ValueError("minimum and maximum belong to the types integer and number")
        if isinstance(self.default, date):
            self.default = self.default.isoformat()  # YAML makes a date of 2026-11-01
        return self


class Column(BaseModel):
    """How a column of the result is shown. `width` is in characters."""

    model_config = ConfigDict(extra="forbid")

    heading: str = ""
    format: Format = "auto"
    width: int | None = Field(default=None, ge=2, le=200)
    decimals: int | None = Field(default=None, ge=0, le=6)
    total: Total | None = None

    @property
    def numeric(self) -> bool:
        return self.format in _NUMERIC

    @property
    def places(self) -> int:
        """Digits behind the point."""
        if self.decimals is not None:
            return self.decimals
        return {"number": 2, "percent": 1}.get(self.format, 0)

    @model_validator(mode="after")
    def _fits_its_format(self) -> "Column":
        if self.decimals is not None and self.format not in ("number", "percent"):
            raise ValueError("decimals belong to the formats number and percent")
        if self.total in ("sum", "average") and not self.numeric:
            raise ValueError(f"a {self.total} needs a numeric format: {', '.join(sorted(_NUMERIC))}")
        return self


class FrontMatter(BaseModel):
    """What a report says of itself."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field(min_length=1, max_length=120)
    description: str = ""
    database: str = "operations"
    parameters: dict[str, Parameter] = {}
    columns: dict[str, Column] = {}

    @model_validator(mode="after")
    def _named_well(self) -> "FrontMatter":
        bad = [name for name in self.parameters if not NAME.fullmatch(name)]
        if bad:
            raise ValueError(f"parameter {bad[0]!r}: a name is lower case letters, digits and _ after a letter")
        return self


@dataclass(kw_only=True, frozen=True)
class Report:
    """A report as its files say."""

    name: str
    path: Path
    about: FrontMatter
    sql: str
    template: str | None
    """Jinja text of the file NAME.html.j2 beside it, if there is one."""

    @property
    def title(self) -> str:
        return self.about.title


def read_report(path: Path) -> Report:
    """The report of that file. Raises ReportRefused with the file, the field and the reason."""
    name = path.name.removesuffix(".sql")
    try:
        if not NAME.fullmatch(name):
            raise ReportRefused("its name must be lower case letters, digits and _, beginning with a letter")
        front, sql = split(path.read_text(encoding="utf-8"))
        template = path.with_name(f"{name}.html.j2")
        shown = template.read_text(encoding="utf-8") if template.is_file() else None
        return Report(name=name, path=path, about=front_matter(front), sql=sql, template=shown)
    except UnicodeDecodeError:
        raise ReportRefused(f"Report '{name}' ({path.name}): it, or its template, is not UTF-8 text.") from None
    except OSError as error:
        raise ReportRefused(f"Report '{name}' ({path}) cannot be read: {error.strerror}.") from None
    except ReportRefused as error:
        raise ReportRefused(f"Report '{name}' ({path.name}): {error}.") from None


def split(text: str) -> tuple[str, str]:
    """Front matter and SQL."""
    match = _FRONT_MATTER.fullmatch(text.removeprefix("\ufeff"))
    if match is None:
        raise ReportRefused("it must begin with its front matter, YAML within /* and */")
    if not re.search(r"\w", match[2]):
        raise ReportRefused("there is no SELECT after the front matter")
    return match[1], match[2].strip()


def front_matter(text: str) -> FrontMatter:
    """The front matter, checked."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ReportRefused(f"its front matter is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ReportRefused("its front matter must be YAML pairs, at least `title: ...`")
    try:
        return FrontMatter.model_validate(content)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, one['loc'])) or 'front matter'}: {_reason(one)}" for one in error.errors())
        raise ReportRefused("; ".join(problems)) from None


def _reason(problem: Any) -> str:
    if problem["type"] == "extra_forbidden":
        return "there is no such key"
    return str(problem["msg"]).removeprefix("Value error, ")
