"""A report's file: what may stand in it, and what an author is told where something else does."""

from pathlib import Path

import pytest

from headway.flows.report_execution.catalog import catalog, load
from headway.flows.report_execution.definitions import ReportRefused

GOOD = """/*
title: Good
parameters:
  period: {type: time frame, default: today}
  least: {type: integer, minimum: 1, default: 3}
columns:
  n: {heading: Number, format: integer, total: sum}
*/
SELECT 1 AS n WHERE 3 >= :least
"""


def written(folder: Path, text: str, name: str = "mine.sql") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_report(tmp_path: Path) -> None:
    report = load(written(tmp_path, GOOD))
    assert (report.name, report.title, report.template) == ("mine", "Good", None)
    assert report.sql == "SELECT 1 AS n WHERE 3 >= :least"
    assert report.about.columns["n"].total == "sum"


def test_the_template_beside_it_belongs_to_it(tmp_path: Path) -> None:
    written(tmp_path, "<p>{{ title }}</p>", "mine.html.j2")
    assert load(written(tmp_path, GOOD)).template == "<p>{{ title }}</p>"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT 1", "it must begin with its front matter"),
        ("/* title: A */", "there is no SELECT"),
        ("/* title: [A */ SELECT 1", "its front matter is not YAML"),
        ("/* just words */ SELECT 1", "must be YAML pairs"),
        ("/* description: A */ SELECT 1", "title: Field required"),
        ("/* {title: A, colour: red} */ SELECT 1", "colour: there is no such key"),
        ("/* {title: A, columns: {n: {format: euro}}} */ SELECT 1", "columns.n.format: Input should be 'auto', 'text'"),
        ("/* {title: A, columns: {n: {total: sum}}} */ SELECT 1", "columns.n: a sum needs a numeric format"),
        ("/* {title: A, columns: {n: {format: text, decimals: 2}}} */ SELECT 1", "decimals belong to"),
        ("/* {title: A, parameters: {p: {type: choice}}} */ SELECT 1", "choices belong to type choice"),
        ("/* {title: A, parameters: {p: {type: text, minimum: 1}}} */ SELECT 1", "minimum and maximum belong"),
        ("/* {title: A, parameters: {P: {type: text}}} */ SELECT 1", "parameter 'P': a name is lower case"),
        ("/* {title: A, parameters: {p: {type: date, default: soon}}} */ SELECT 1", "p.default: 'soon' is not a date"),
        ("/* {title: A, parameters: {p: {type: time frame, default: 5}}} */ SELECT 1", "5 is not a time frame"),
        (
            "/* {title: A, parameters: {p: {type: integer, maximum: 2, default: 3}}} */ SELECT 1",
            "p.default: 3 is not at most 2",
        ),
        ("/* title: A */ SELECT :who", "its SQL uses :who, and there is no such parameter; there are: day_start"),
        (
            "/* title: A */ SELECT {{ minutes_between(a, b) }}",
            "no helper 'minutes_between'; there are: seconds_between",
        ),
        ("/* title: A */ SELECT {{ share(a) }}", "helper share takes 2 to 2 expressions, not 1"),
        ("/* title: A */ SELECT {{ a }}", "{{ or }} that belong to no helper"),
        ("/* title: A */\n-- on sqlite:\nSELECT 1\n-- on postgresql:\nSELECT :who", "its SQL uses :who"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ReportRefused) as refused:
        load(written(tmp_path, text))
    assert str(refused.value).startswith("Report 'mine' (mine.sql): ")
    assert message in str(refused.value)


def test_a_template_that_is_none_is_told_with_its_line(tmp_path: Path) -> None:
    written(tmp_path, "<p>\n{% for %}", "mine.html.j2")
    with pytest.raises(ReportRefused, match=r"Report 'mine' \(mine.sql\): its template, line 2: "):
        load(written(tmp_path, GOOD))


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "mine.sql").write_bytes(b"/* title: \xff */ SELECT 1")
    with pytest.raises(ReportRefused, match="is not UTF-8"):
        load(tmp_path / "mine.sql")


def test_a_file_name_that_is_no_report_name(tmp_path: Path) -> None:
    with pytest.raises(ReportRefused, match="its name must be lower case"):
        load(written(tmp_path, GOOD, "My report.sql"))


class TestCatalog:
    @pytest.fixture(autouse=True)
    def own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("HEADWAY_REPORTS", str(tmp_path))
        return tmp_path

    def test_own_reports_stand_beside_the_shipped_ones(self, own: Path) -> None:
        written(own, GOOD)
        known = catalog()
        assert known.find("mine") is known.find("GOOD") is known.reports["mine"]  # by name, by title
        assert known.find("Citations  by lot").name == "citations_by_lot"

    def test_a_shipped_name_is_taken_and_that_is_said(self, own: Path) -> None:
        written(own, GOOD, "task_runs.sql")
        known = catalog()
        assert known.reports["task_runs"].title == "Task runs by type and result"
        (problem,) = known.problems
        assert problem.startswith("Report 'task_runs' (") and "a shipped one has that name" in problem

    def test_a_broken_one_is_left_out_and_asking_for_it_says_why(self, own: Path) -> None:
        written(own, "SELECT 1")
        with pytest.raises(ReportRefused, match="must begin with its front matter"):
            catalog().find("mine")

    def test_an_unknown_one_is_refused_with_those_there_are(self) -> None:
        with pytest.raises(ReportRefused, match=r"There is no report 'nothing'\. There are: campaign_in_time, "):
            catalog().find("nothing")

    def test_by_default_they_lie_in_the_home(self, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HEADWAY_REPORTS")
        monkeypatch.setenv("HEADWAY_HOME", str(own))
        (own / "reports").mkdir()
        written(own / "reports", GOOD)
        assert "mine" in catalog().reports
