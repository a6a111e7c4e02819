"""A report's SQL for each database: helpers written out, values bound and never pasted in, the rest as it is."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from headway.flows.report_execution.definitions import FrontMatter, Report, ReportRefused
from headway.flows.report_execution.sql import arguments, expanded, statement
from headway.flows.report_execution.time_frames import DayClock
from headway.flows.report_execution.values import Bound, names_of, schema_of, values_of
from headway.scheduler.planning.definitions.parameters import problems_in

VALUES = {"name": Bound("O'Neil", sa.Text(), "text"), "n": Bound(3, sa.BigInteger(), "bigint")}


def compiled(sql: str, dialect: str = "sqlite") -> str:
    kind = sqlite.dialect() if dialect == "sqlite" else postgresql.dialect(paramstyle="named")
    return str(statement(sql, dialect, VALUES).compile(dialect=kind))


def test_values_are_bound_not_pasted() -> None:
    query = statement("SELECT :name", "sqlite", VALUES)
    assert query.compile().params == {"name": "O'Neil"}
    assert "Neil" not in str(query)


def test_postgresql_is_told_each_type() -> None:
    assert compiled("SELECT 1 WHERE :n IS NULL", "postgresql").startswith("SELECT 1 WHERE CAST(:n")
    assert compiled("SELECT 1 WHERE :n IS NULL", "postgresql").endswith(" AS bigint) IS NULL")


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        (
            "SELECT ':name', '12:30', 'it''s :n'",
            "SELECT ':name', '12:30', 'it''s :n'",
        ),  # within a text nothing is bound
        ('SELECT ":name" FROM t', 'SELECT ":name" FROM t'),
        ("SELECT 1 -- :who knows\n, 2", "SELECT 1  \n, 2"),
        ("SELECT 1 /* :who\nknows */;", "SELECT 1"),
        ("SELECT a::text", "SELECT a::text"),
        ("SELECT '100%' LIKE '%0%'", "SELECT '100%' LIKE '%0%'"),
    ],
)
def test_what_is_no_parameter_stays(sql: str, text: str) -> None:
    assert compiled(sql) == text


def test_each_database_gets_its_part() -> None:
    sql = "SELECT a FROM t\n-- on sqlite:\nORDER BY a COLLATE NOCASE\n-- on postgresql:\nORDER BY lower(a)\n"
    assert compiled(sql).split() == ["SELECT", "a", "FROM", "t", "ORDER", "BY", "a", "COLLATE", "NOCASE"]
    assert compiled(sql, "postgresql").endswith("ORDER BY lower(a)")


def test_helpers_within_helpers() -> None:
    text = expanded("{{ share(SUM({{ seconds_between(a, b) }}), COUNT(*)) }}", "postgresql")
    assert "{{" not in text and "EPOCH" in text and "NULLIF(COUNT(*), 0)" in text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a, b", ["a", "b"]),
        ("COALESCE(a, b), c", ["COALESCE(a, b)", "c"]),
        ("'a, (b', c", ["'a, (b'", "c"]),
        ("'it''s, so', c", ["'it''s, so'", "c"]),
        ("", []),
    ],
)
def test_expressions_are_split_at_outer_commas(text: str, parts: list[str]) -> None:
    assert arguments(text) == parts


PARAMETERS = {
    "who": {"type": "text"},
    "least": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
    "rate": {"type": "number", "default": None},
    "day": {"type": "date", "default": "2026-11-01"},
    "all": {"type": "boolean", "default": False},
    "kind": {"type": "choice", "choices": ["a", "b"], "default": None},
    "period": {"type": "time frame", "default": "yesterday"},
}
DUE = datetime(2026, 11, 18, 11, 30, tzinfo=UTC)
CLOCK = DayClock(ZoneInfo("America/New_York"), time(4))


@pytest.fixture
def report(tmp_path) -> Report:
    return Report(
        name="mine",
        path=tmp_path,
        about=FrontMatter(title="Mine", parameters=PARAMETERS),
        sql="SELECT 1",
        template=None,
    )


def test_the_values_of_a_run(report: Report) -> None:
    values = {
        name: bound.value for name, bound in values_of(report, {"who": "x", "day": "2026-12-24"}, DUE, CLOCK).items()
    }
    assert values == {
        "due": DUE, "today": date(2026, 11, 18), "timezone": "America/New_York", "day_start_minutes": 240,
        "who": "x", "least": 3, "rate": None, "day": date(2026, 12, 24), "all": False, "kind": None,
        "period_from": datetime(2026, 11, 17, 9, tzinfo=UTC), "period_to": datetime(2026, 11, 18, 9, tzinfo=UTC),
        "period_first_day": date(2026, 11, 17), "period_last_day": date(2026, 11, 17),
    }  # fmt: skip
    assert set(values) == names_of(report)


BAD = [
    ({}, "who"),
    ({"who": 5}, "5 is not"),
    ({"who": "x", "least": 0}, "0 is"),
    ({"who": "x", "least": 10}, "10 is"),
    ({"who": "x", "least": "3"}, "'3' is not"),
    ({"who": "x", "least": None}, "None is not"),
    ({"who": "x", "least": True}, "True is not"),
    ({"who": "x", "rate": "much"}, "'much' is not"),
    ({"who": "x", "day": "24.12.2026"}, "'24.12.2026' is not a date such as 2026-11-30"),
    ({"who": "x", "all": "yes"}, "'yes' is not"),
    ({"who": "x", "kind": "c"}, "'c' is not one of"),
    ({"who": "x", "period": "lately"}, "'lately' is not a time frame: today"),
    ({"who": "x", "whom": "y"}, "whom"),
]


@pytest.mark.parametrize(("given", "reason"), BAD)
def test_what_the_schema_refuses_at_save_the_run_refuses_too(report: Report, given: dict, reason: str) -> None:
    schema = {"properties": {"values": {"type": "object", "schema_by": {"report": {"mine": schema_of(report)}}},
                             "report": {"enum": ["mine"], "default": "mine"}}}  # fmt: skip
    problems = problems_in({"values": given}, schema)
    assert len(problems) == 1 and problems[0].startswith("parameters.values"), problems
    with pytest.raises(ReportRefused, match=r"^values\.") as refused:
        values_of(report, given, DUE, CLOCK)
    assert reason.split(" is")[0] in problems[0] and reason.split(" is")[0] in str(refused.value)


GOOD = [
    {"who": "x"},
    {"who": "", "least": 9, "rate": 0.5, "all": True, "kind": "b", "period": "last 7 days"},
    {"who": "x", "rate": 1, "kind": None},
]


@pytest.mark.parametrize("given", GOOD)
def test_what_the_schema_takes_the_run_takes(report: Report, given: dict) -> None:
    schema = {"type": "object", "properties": {"values": schema_of(report)}}
    assert problems_in({"values": given}, schema) == []
    values_of(report, given, DUE, CLOCK)


def test_a_day_that_no_calendar_has_is_refused_by_the_run(report: Report) -> None:
    with pytest.raises(ReportRefused, match=r"values.day: '2026-02-30' is not a date"):
        values_of(report, {"who": "x", "day": "2026-02-30"}, DUE, CLOCK)
