"""Which reports there are: the shipped ones, and those in a folder of the user's own.

`python -m headway.flows.report_execution.catalog` lists them, and says what is wrong with each file that is not listed.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway.flows.report_execution.definitions import Report, ReportRefused, read_report
from headway.flows.report_execution.html import check_template
from headway.flows.report_execution.sql import check
from headway.flows.report_execution.values import check_defaults, names_of, schema_of
from headway.models.ledger.database import home

SHIPPED = Path(__file__).parent / "reports"
OBJECT = "{object}"
"""As a report's name: the one that is called like the task's object."""


@dataclass(frozen=True)
class Catalog:
    """The reports that can be run, by name, and what is wrong with the files that cannot."""

    reports: dict[str, Report]
    problems: list[str]

    def find(self, wanted: str) -> Report:
        """The report of that name or title, whatever its case. Raises ReportRefused, naming those there are."""
        plain = " ".join(wanted.lower().split())
        for report in self.reports.values():
            if plain in (report.name, report.title.lower(), report.name.replace("_", " ")):
                return report
        broken = next((one for one in self.problems if one.startswith(f"Report '{wanted}' ")), "")
        raise ReportRefused(broken or f"There is no report '{wanted}'. There are: {', '.join(self.reports)}.")


def own_folder() -> Path:
    """Where users keep reports of their own: HEADWAY_REPORTS, else `reports` in HEADWAY_HOME."""
    return Path(os.environ.get("HEADWAY_REPORTS") or home() / "reports").expanduser()


def catalog() -> Catalog:
    """All reports as their files say now. A shipped name is taken: a user's file of that name is a problem."""
    reports: dict[str, Report] = {}
    problems: list[str] = []
    for folder in (SHIPPED, own_folder()):
        for path in sorted(folder.glob("*.sql")):
            try:
                report = load(path)
            except ReportRefused as error:
                problems.append(str(error))
                continue
            if report.name in reports:
                problems.append(f"Report '{report.name}' ({path}) is not used: a shipped one has that name. Rename it.")
            else:
                reports[report.name] = report
    return Catalog(reports, problems)


def load(path: Path) -> Report:
    """The report of that file, checked as far as that is possible without a database. Raises ReportRefused."""
    report = read_report(path)
    try:
        check_defaults(report)
        check(report.sql, names_of(report))
        if report.template is not None:
            check_template(report.template)
    except ReportRefused as error:
        raise ReportRefused(f"Report '{report.name}' ({path.name}): {error}.") from None
    return report


def report_schema(known: Catalog) -> dict[str, Any]:
    """For the flow's parameter `report`: which names there are to choose from."""
    return {"enum": [OBJECT, *known.reports]}


def values_schema(known: Catalog) -> dict[str, Any]:
    """For the flow's parameter `values`: which schema it has, by what `report` says."""
    anything = {"type": "object", "title": "The report named like the task's object"}
    schemas = {name: schema_of(report) for name, report in known.reports.items()}
    return {"schema_by": {"report": {OBJECT: anything, **schemas}}}


def _listed() -> int:
    known = catalog()
    for report in known.reports.values():
        print(f"{report.name:30} {report.title}  [{', '.join(report.about.parameters) or 'no parameters'}]")
    for problem in known.problems:
        print(problem, file=sys.stderr)
    return 2 if known.problems else 0


if __name__ == "__main__":
    sys.exit(_listed())
