"""A report's SQL made ready for one database: helpers written out, values bound. Nothing is ever pasted in.

The same report runs on SQLite and on PostgreSQL. What the two say differently is written as a helper,
`{{ seconds_between(started_at, ended_at) }}`; the list of helpers is fixed. Where that is not enough, a
line `-- on sqlite:` or `-- on postgresql:` begins a part that only that database gets.
"""

import re
from collections.abc import Callable, Mapping

import sqlalchemy as sa

from headway.flows.report_execution.definitions import ReportRefused
from headway.flows.report_execution.values import Bound

_SECTION = re.compile(r"^[ \t]*--[ \t]*on (sqlite|postgresql):[ \t]*$", re.MULTILINE)
_HELPER = re.compile(r"\{\{\s*(\w+)\s*\(((?:[^{}]|\{(?!\{)|\}(?!\}))*)\)\s*\}\}")
# Texts, quoted names and comments are left alone: a colon in them begins no name.
_PIECES = re.compile(
    r"""(?P<kept>'(?:[^']|'')*'|"[^"]*"|::)|(?P<comment>--[^\n]*|/\*.*?\*/)|(?<![\w:]):(?P<name>[A-Za-z_]\w*)""",
    re.DOTALL,
)


def statement(sql: str, dialect: str, values: Mapping[str, Bound]) -> sa.TextClause:
    """The query for that database, with the values it uses bound. Raises ReportRefused."""
    used: dict[str, Bound] = {}

    def piece(match: re.Match[str]) -> str:
        if match["comment"] is not None:
            return " "
        if match["name"] is None:
            return match["kept"].replace(":", "\\:")
        name = match["name"]
        if name not in values:
            raise ReportRefused(f"its SQL uses :{name}, and there is no such parameter; there are: {', '.join(values)}")
        used[name] = values[name]
        # PostgreSQL cannot guess the type of a value that is only compared with NULL.
        return f"CAST(:{name} AS {values[name].postgresql})" if dialect == "postgresql" else f":{name}"

    text = _PIECES.sub(piece, expanded(for_dialect(sql, dialect), dialect)).strip().rstrip(";").strip()
    return sa.text(text).bindparams(*(sa.bindparam(name, one.value, one.type) for name, one in used.items()))


def check(sql: str, names: set[str]) -> None:
    """Raises ReportRefused where the SQL uses a helper or a parameter that there is not, on either database."""
    values = {name: Bound(None, sa.Text(), "text") for name in sorted(names)}
    for dialect in ("sqlite", "postgresql"):
        statement(sql, dialect, values)


def for_dialect(sql: str, dialect: str) -> str:
    """The parts for every database and for this one."""
    common, *parts = _SECTION.split(sql)
    return common + "".join(text for name, text in zip(parts[::2], parts[1::2], strict=True) if name == dialect)


def expanded(sql: str, dialect: str) -> str:
    """The SQL with each helper written out, inner ones first."""

    def write_out(match: re.Match[str]) -> str:
        return _helper(match[1], arguments(match[2]), dialect)

    while (after := _HELPER.sub(write_out, sql)) != sql:
        sql = after
    if "{{" in sql or "}}" in sql:
        raise ReportRefused("its SQL has {{ or }} that belong to no helper; write {{ helper(expression, ...) }}")
    return sql


def arguments(text: str) -> list[str]:
    """Split at the commas that are in no parenthesis and no quotes."""
    found, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "," and depth == 0:
            found.append("")
            continue
        else:
            depth += {"(": 1, ")": -1}.get(letter, 0)
        found[-1] += letter
    return [one.strip() for one in found if one.strip()]


def _helper(name: str, given: list[str], dialect: str) -> str:
    if name not in HELPERS:
        raise ReportRefused(f"there is no helper '{name}'; there are: {', '.join(HELPERS)}")
    least, most, write = HELPERS[name]
    if not least <= len(given) <= most:
        raise ReportRefused(f"helper {name} takes {least} to {most} expressions, not {len(given)}")
    return write(dialect == "sqlite", *given)


def _local(lite: bool, instant: str, zone: str) -> str:
    """Local wall time: a text in SQLite, a timestamp in PostgreSQL."""
    return f"headway_local({instant}, {zone})" if lite else f"(({instant}) AT TIME ZONE ({zone}))"


def _seconds_between(lite: bool, begin: str, end: str) -> str:
    if lite:
        return f"ROUND((julianday({end}) - julianday({begin})) * 86400.0, 3)"
    return f"CAST(EXTRACT(EPOCH FROM (({end}) - ({begin}))) AS double precision)"


def _days_between(lite: bool, begin: str, end: str) -> str:
    if lite:
        return f"CAST(ROUND(julianday(date({end})) - julianday(date({begin}))) AS INTEGER)"
    return f"(CAST({end} AS date) - CAST({begin} AS date))"


def _add_days(lite: bool, day: str, days: str) -> str:
    return f"date({day}, ({days}) || ' days')" if lite else f"(CAST({day} AS date) + CAST({days} AS integer))"


def _local_day(lite: bool, instant: str, zone: str = ":timezone") -> str:
    local = _local(lite, instant, zone)
    return f"date({local}, '-' || :day_start_minutes || ' minutes')" if lite else (
        f"CAST({local} - make_interval(mins => CAST(:day_start_minutes AS integer)) AS date)"
    )  # fmt: skip


def _local_hour(lite: bool, instant: str, zone: str = ":timezone") -> str:
    local = _local(lite, instant, zone)
    return f"CAST(substr({local}, 12, 2) AS INTEGER)" if lite else f"CAST(EXTRACT(HOUR FROM {local}) AS integer)"


def _local_clock(lite: bool, instant: str, zone: str = ":timezone") -> str:
    local = _local(lite, instant, zone)
    return f"(substr({local}, 12, 8) || '.000000')" if lite else f"CAST({local} AS time)"


def _local_weekday(lite: bool, instant: str, zone: str = ":timezone") -> str:
    local = _local(lite, instant, zone)
    if lite:
        return f"((CAST(strftime('%w', {local}) AS INTEGER) + 6) % 7)"
    return f"(CAST(EXTRACT(ISODOW FROM {local}) AS integer) - 1)"


def _share(lite: bool, part: str, whole: str) -> str:
    return f"(CAST({part} AS {'REAL' if lite else 'double precision'}) / NULLIF({whole}, 0))"


HELPERS: dict[str, tuple[int, int, Callable[..., str]]] = {
    "seconds_between": (2, 2, _seconds_between),
    "days_between": (2, 2, _days_between),
    "add_days": (2, 2, _add_days),
    "local_day": (1, 2, _local_day),
    "local_hour": (1, 2, _local_hour),
    "local_clock": (1, 2, _local_clock),
    "local_weekday": (1, 2, _local_weekday),
    "share": (2, 2, _share),
}
"""By name: how many expressions it takes (least, most), and what it writes. docs/howto/reports.md describes each."""
