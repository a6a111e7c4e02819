"""Task Scheduler Error Report: what went wrong since the last report, by mail as HTML with the lines as CSV.

Tasks that are stuck or need a reset come first. Then the errors: new, recurring (seen in the days before, too)
and resolved. A report begins where the last one ended whose mail was accepted: nothing is left out, and a report
that failed is made up for by the next.

Its counts: *processed* is the number of error lines that it is about. *errors* is the number of recipients that the
mail server refused, each an error line. *bytes* is the size of the mail, *files* its receipt.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from pydantic import Field

from headway.blocks.database.block import Database
from headway.flows.data_export.flow import load_database
from headway.flows.shared.delivery import TRANSFER
from headway.flows.shared.files import work_folder
from headway.flows.shared.mail import Attachment, MailDelivery, load_mail_block, send_mail
from headway.flows.shared.result import InputRefused, RunResult, completed, report_progress, run_key, run_zone
from headway.flows.task_error_report.groups import Grouping
from headway.flows.task_error_report.ledger_reader import (
    LOOK_BACK,
    covers_of,
    earlier_lines,
    error_lines,
    good_runs,
    last_covers,
    never_started,
    own_run,
    period_of,
    troubles,
)
from headway.flows.task_error_report.page import ErrorCsv, ErrorReport, html_of, text_of_mail

LEDGER = "ledger"
CSV_NAME = "task_errors_{:%Y-%m-%d_%H%M}.csv"


@flow(name="task_error_report", persist_result=False)
def task_error_report(
    mail: MailDelivery | None = None,
    on_empty: Literal["send", "skip"] = "send",
    lookback_days: Annotated[int, Field(ge=1, le=90)] = 7,
    max_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000,
) -> State[RunResult]:
    """What went wrong since the last report, by mail: new, recurring and resolved errors, stuck tasks first.

    Args:
        mail: Who gets it. Without it the report cannot be run.
        on_empty: What to do where there is nothing to tell: send a mail that says so, or skip it.
        lookback_days: An error that was there in so many days before the last report is recurring, else it is new.
        max_rows: The CSV file has at most so many error lines; more are counted.
    """
    logger = get_run_logger()
    if mail is None:
        raise InputRefused(
            "Nobody is named who gets the report: edit the task and set its parameter mail, at least mail.to, such as "
            "{to: [ops@example.com]}."
        )
    load_mail_block(mail.block)
    ledger = load_database(LEDGER)
    with work_folder() as folder:
        local = folder / "lines.csv"
        report, facts, sent = read_ledger(ledger, local, run_zone(), lookback_days, max_rows)
        if sent is not None:
            return _sent_before(logger, sent)
        logger.info(f"{report.span()}: {report.summary()}", extra={"processed": report.lines})
        if report.empty and on_empty == "skip":
            return completed(RunResult(summary="Nothing to tell; no mail, as on_empty says"))
        report_progress(logger, 60, report.lines)
        attachment = Attachment(csv_name(report), local, "text/csv; charset=utf-8")
        receipt = send_mail(
            mail, text=text_of_mail(report), html=html_of(report), attachments=[attachment], facts=facts
        )
    return _result(logger, receipt, report.lines, report.summary())


def _result(logger: Any, receipt: dict[str, Any], lines: int, summary: str) -> State[RunResult]:
    report_progress(logger, 100, lines)
    refused = len(receipt["refused"])
    return completed(
        RunResult(processed=lines, errors=refused, bytes=receipt["bytes"], files=[receipt], summary=summary)
    )


def _sent_before(logger: Any, receipt: dict[str, Any]) -> State[RunResult]:
    """An earlier attempt of this run got its mail accepted, and then did not come to its end."""
    logger.info(f"The mail {receipt['message_id']} of this run was accepted before; it is not sent again.")
    for address, reason in receipt["refused"].items():
        logger.info(f"The mail server had refused the recipient {address}: {reason}")  # that attempt counted it
    return _result(logger, receipt, receipt["covers"]["lines"], "Sent by an earlier attempt of this run")


def csv_name(report: ErrorReport) -> str:
    """The attachment's name, with the end of its period in UTC."""
    return CSV_NAME.format(report.period.until)


@task(name="read ledger", **TRANSFER)
def read_ledger(
    ledger: Database, local: Path, zone: str, lookback_days: int, max_rows: int
) -> tuple[ErrorReport, dict[str, Any], dict[str, Any] | None]:
    """The report, what its receipt has to say, and the receipt of this run's mail if it was accepted before.

    All of it is one picture of the ledger; the error lines go to the local file as they are read.
    """
    with ledger.reading() as connection:
        now = datetime.now(UTC)
        own = own_run(connection, run_key())
        last = last_covers(connection, own.task_uid) if own else None
        sent = last[1] if own and last and last[0] == own.id else None
        period = period_of(own, last[1]["covers"] if last else None, now)
        grouping, lines, late = Grouping(), 0, set[int]()
        grouping.before(earlier_lines(connection, period, lookback_days))
        with ErrorCsv(local, zone, max_rows) as rows:
            for line in error_lines(connection, period):
                lines += 1
                rows.add(line, grouping.add(line))
                if line.run_ended_at > period.until - LOOK_BACK:
                    late.add(line.run_id)
        groups = grouping.result(good_runs(connection, period))
        report = ErrorReport(
            period=period,
            zone=zone,
            lookback_days=lookback_days,
            troubles=troubles(connection, now),
            groups=groups,
            lines=lines,
            in_csv=rows.rows,
            never_started=never_started(connection, period),
        )
    return report, covers_of(period, sorted(late), lines), sent
