"""Report execution: a report is run for a time frame, and sent by mail, put on an SFTP server, or both.

A report is a `.sql` file with a heading of its own (docs/howto/reports.md). It only reads. Its relative time
frame is reckoned from the instant at which the run came due, so that a retry reports on the same time.

Its counts: *processed* is the number of rows that the query gave (also where a PDF shows only the first of
them), *errors* the number of recipients that the mail server refused, *bytes* what was delivered: the file
over SFTP, the whole mail.
"""

import re
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from pydantic import Field

from headway.blocks.database.block import Database, ResultStream
from headway.flows.data_export.flow import load_database
from headway.flows.report_execution.catalog import OBJECT, Catalog, catalog, report_schema, values_schema
from headway.flows.report_execution.cells import Shown, Totals, shown_columns
from headway.flows.report_execution.csv_and_xlsx import CsvOutput, XlsxOutput
from headway.flows.report_execution.definitions import Report
from headway.flows.report_execution.delivery import (
    Body,
    Format,
    Made,
    SftpDelivery,
    load_server,
    mail_parts,
    put,
    refuse_nowhere,
)
from headway.flows.report_execution.html import HtmlOutput
from headway.flows.report_execution.output import Heading, Output
from headway.flows.report_execution.pdf import Paper, PdfOutput
from headway.flows.report_execution.sql import statement
from headway.flows.report_execution.time_frames import DayClock
from headway.flows.report_execution.values import Bound, values_of
from headway.flows.shared.delivery import TRANSFER
from headway.flows.shared.files import resolved_file_name, work_folder
from headway.flows.shared.mail import MailDelivery, load_mail_block, send_mail
from headway.flows.shared.result import (
    InputRefused,
    RunResult,
    completed,
    report_progress,
    run_due,
    run_object,
    run_zone,
)
from headway.models.values.zone import zone

BODY_ROWS = 500
"""So many rows a mail's body shows; mail programs cut longer ones."""
KNOWN = catalog()
"""The reports as they are when the task type is deployed: what its schema offers. A run reads the files again."""


@flow(name="report_execution", persist_result=False)
def report_execution(
    report: Annotated[str, Field(json_schema_extra=report_schema(KNOWN))] = OBJECT,
    values: Annotated[dict[str, Any], Field(json_schema_extra=values_schema(KNOWN))] = {},  # noqa: B006 - a JSON default
    mail: MailDelivery | None = None,
    body: Body = "attachment",
    sftp: SftpDelivery | None = None,
    format: Format = "pdf",
    file_name: Annotated[
        str, Field(min_length=1, max_length=240, json_schema_extra={"tokens": True})
    ] = "{task}_{date}",
    on_empty: Literal["send", "skip"] = "send",
    timezone: str = "",
    day_start: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "00:00",
    row_limit: Annotated[int, Field(ge=1, le=50_000)] = 5000,
    paper: Paper = "letter",
) -> State[RunResult]:
    """Runs a report and sends it by mail, over SFTP, or both.

    Args:
        report: Name of the report; {object} is the one that is called like the task's object.
        values: The report's own parameters. A time frame is today, yesterday, last N days, last N hours, this week,
            last week, month to date, last month, or two dates such as 2026-11-01 to 2026-11-15.
        mail: Who gets it by mail. Without mail and sftp the run is refused.
        body: Whether the mail has the file attached, the table in its body, or both.
        sftp: The SFTP block and folder that the file is put into.
        format: pdf, xlsx, csv or html. CSV and XLSX hold all rows.
        file_name: Name of the file; without an ending it gets that of the format. It may hold {date}, {time}, {task},
            {object} and {sequence}.
        on_empty: Where the report has no rows, send it all the same, or skip it.
        timezone: IANA zone of time frames and times; by default the task's.
        day_start: When a statistical day begins, HH:MM in that zone.
        row_limit: So many rows a PDF or HTML file shows at most; a note says how many more there are.
        paper: Paper of a PDF, letter or A4.
    """
    logger = get_run_logger()
    refuse_nowhere(mail, sftp)
    name = resolved_file_name(file_name if "." in file_name else f"{file_name}.{format}")
    known = catalog()
    chosen = chosen_report(known, report, logger)
    clock = DayClock(zone_of(timezone or run_zone()), time.fromisoformat(day_start))
    bound = values_of(chosen, values, run_due(), clock)
    database = load_database(chosen.about.database)
    query = statement(chosen.sql, database.dialect, bound)
    # What is missing shows before the work, not after it.
    server = load_server(sftp.block) if sftp else None
    if mail:
        load_mail_block(mail.block)
    plan = Plan(
        report=chosen,
        heading=heading_of(chosen, values, bound, clock),
        zone=clock.zone,
        format=format,
        row_limit=row_limit,
        paper=paper,
    )
    with work_folder() as folder:
        wants_file, wants_page = bool(sftp) or body != "table", bool(mail) and body != "attachment"
        made = write_report(database, query, plan, folder, wants_file, wants_page)
        if not made.rows and on_empty == "skip":
            logger.info("The report is empty: nothing is sent, as on_empty says.")
            return completed(RunResult(summary=f"{chosen.title}: no rows; nothing sent"))
        receipts = []
        # The file first: put twice it is the same file, but a mail must not come twice.
        if server and sftp and made.file:
            receipts.append(put(server, sftp.folder, made.file, name))
            report_progress(logger, 80, made.rows)
        if mail:
            text, html, attachments = mail_parts(made, name, format, body)
            receipts.append(send_mail(mail, text=text, html=html, attachments=attachments))
    report_progress(logger, 100, made.rows)
    return completed(result_of(chosen, made.rows, receipts))


def chosen_report(known: Catalog, wanted: str, logger: Any) -> Report:
    """The report that the parameter, or the task's object, names."""
    if wanted == OBJECT:
        wanted = run_object()
        if not wanted:
            raise InputRefused(
                "Which report? Choose one in the parameter report, or name the task's object like one: "
                f"{', '.join(known.reports)}."
            )
    report = known.find(wanted)
    for problem in known.problems:
        if problem.startswith(f"Report '{report.name}' "):
            logger.warning(problem)
    return report


def zone_of(name: str) -> ZoneInfo:
    """The IANA zone. Raises InputRefused where there is none of that name."""
    try:
        return zone(name)
    except ValueError:
        raise InputRefused(f"timezone: '{name}' is no IANA time zone, such as America/New_York.") from None


def heading_of(report: Report, values: dict[str, Any], bound: dict[str, Bound], clock: DayClock) -> Heading:
    """Title, description, and for which parameters and instant it was made."""

    def shown(moment: datetime) -> str:
        return moment.astimezone(clock.zone).strftime("%Y-%m-%d %H:%M %Z")

    facts = []
    for name, parameter in report.about.parameters.items():
        title = parameter.title or name.replace("_", " ").capitalize()
        value = values.get(name, parameter.default)
        if value is not None and parameter.type == "time frame":
            begin, end = bound[f"{name}_from"].value, bound[f"{name}_to"].value
            said = "" if " to " in value else f"{value}, "
            facts.append((title, f"{said}{shown(begin)} to {shown(end)}"))
        elif value is not None:
            facts.append((title, {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)))
    facts.append(("Due", shown(bound["due"].value)))
    facts.append(("Times", clock.zone.key))
    return Heading(report.title, " ".join(report.about.description.split()), facts)


@dataclass(kw_only=True, frozen=True)
class Plan:
    """How the report is to be written."""

    report: Report
    heading: Heading
    zone: ZoneInfo
    format: Format
    row_limit: int
    paper: Paper


@task(name="write report", **TRANSFER)
def write_report(
    database: Database, query: sa.TextClause, plan: Plan, folder: Path, wants_file: bool, wants_page: bool
) -> Made:
    """Stream the rows into a local file, a page for a mail's body, or both. A retry writes them anew."""
    logger = get_run_logger()
    file = folder / "report" if wants_file else None
    page = folder / "page" if wants_page else None
    with database.stream(query) as stream:
        columns = shown_columns(plan.report, stream.columns, plan.zone)
        output = _output(plan, columns, file) if file else None
        pages = HtmlOutput(page, plan.heading, columns, plan.report, BODY_ROWS) if page else None
        totals = _write(stream, columns, [one for one in (output, pages) if one is not None], logger)
    for one, what in ((output, f"the {plan.format.upper()} file"), (pages, "the mail's body")):
        if one is not None and one.cut:
            logger.warning(f"Only the first {totals.rows - one.cut:,} of {totals.rows:,} rows are in {what}.")
    if isinstance(output, PdfOutput) and output.replaced:
        letters = " ".join(sorted(output.replaced)[:20])
        logger.warning(
            f"The PDF's font lacks {len(output.replaced)} kinds of characters, shown as '?': {letters}. "
            "Install the DejaVu fonts, or choose another format."
        )
    size = f", {file.stat().st_size:,} bytes" if file else ""
    logger.info(f"{plan.report.title}: {totals.rows:,} rows{size}", extra={"processed": totals.rows})
    return Made(totals.rows, plan.heading, file, page)


def _output(plan: Plan, columns: list[Shown], file: Path) -> "Output":
    match plan.format:
        case "csv":
            return CsvOutput(file, columns)
        case "xlsx":
            return XlsxOutput(file, plan.heading, columns)
        case "html":
            return HtmlOutput(file, plan.heading, columns, plan.report, plan.row_limit)
    return PdfOutput(file, plan.heading, columns, plan.row_limit, plan.paper)


def _write(stream: ResultStream, columns: list[Shown], outputs: list[Output], logger: Any) -> Totals:
    totals = Totals(columns)
    for batch in stream.batches:
        for row in batch:
            values = [one.read(value, totals.rows + 1) for one, value in zip(columns, row, strict=True)]
            totals.add(values)
            for output in outputs:
                output.add(values)
        report_progress(logger, 0, totals.rows)
    for output in outputs:
        output.finish(totals)
    report_progress(logger, 60, totals.rows)
    return totals


def result_of(report: Report, rows: int, receipts: list[dict[str, Any]]) -> RunResult:
    """The run's counts: each refused recipient is an error, and has its line in the log."""
    sent = sum(receipt["bytes"] for receipt in receipts)
    refused = sum(len(receipt.get("refused") or {}) for receipt in receipts)
    ways = " and ".join(
        f"mailed to {receipt['accepted']}" if "accepted" in receipt else f"delivered as {receipt['name']}"
        for receipt in receipts
    )
    summary = re.sub(r"\s+", " ", f"{report.title}: {rows:,} rows, {ways}, {sent:,} bytes")
    return RunResult(processed=rows, errors=refused, bytes=sent, files=receipts, summary=summary)
