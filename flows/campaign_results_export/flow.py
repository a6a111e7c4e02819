"""Campaign results export: what a campaign came to, handed to the importer as a CSV file.

*simple* has a row a record (that was tried at least once), *detailed* a row an attempt, also where nothing was
dialled; a call in progress is left for a later export. Records that a do-not-call list of the kind record excludes
are left out. With `records: new` a file holds what is new since the last successful export of this task; that moves
on only after the file has its final name, so a failed export loses nothing, and one that was killed in between is
ended by the next attempt or run: the same file once more, then what came since.

Its counts: *processed* is the number of data rows delivered (a header is none), *bytes* what was delivered,
*files* the receipts. *errors* is always 0: a row that cannot be written fails the run, nothing is delivered.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from pydantic import Field

from headway.blocks.database.block import Database
from headway.blocks.sftp.block import SftpServer
from headway.blocks.transfer import DeliveryKey
from headway.flows.campaign_results_export.outbox import Outbox, Pending
from headway.flows.campaign_results_export.results import Detail, Results, results_of
from headway.flows.campaign_results_export.watermarks import Reached, Stream, is_new, next_mark, reached
from headway.flows.data_export.flow import READY_SUFFIX, load_database
from headway.flows.shared.campaigns import load_writable
from headway.flows.shared.delivery import IMPORTER, TRANSFER, deliver, load_importer
from headway.flows.shared.file_writers import CsvOptions, write_csv
from headway.flows.shared.files import resolved_file_name, work_folder
from headway.flows.shared.result import RunResult, completed, report_progress, task_identity

WRITING_SHARE = 60.0  # of the progress, in percent; sending is the rest


@dataclass(frozen=True)
class Sender:
    """Where files go, and what they are called."""

    importer: SftpServer
    file_name: str
    ready_name: str

    def send(
        self, local: Path, file_name: str, ready_name: str, processed: int, key: DeliveryKey | None = None
    ) -> list[dict[str, Any]]:
        """Deliver a file, then its ready file if there is to be one; returns the receipts.

        key: as `deliver` takes it.
        """
        logger, size = get_run_logger(), local.stat().st_size

        def on_bytes(sent: int) -> None:
            report_progress(logger, WRITING_SHARE + (100 - WRITING_SHARE) * (sent / size if size else 1.0), processed)

        receipts = [deliver(self.importer, local, file_name, on_bytes, key)]
        if ready_name:
            ready = local.with_name("ready")
            ready.touch()
            receipts.append(deliver(self.importer, ready, ready_name, lambda _sent: None))
        return receipts


@flow(name="campaign_results_export", persist_result=False)
def campaign_results_export(
    campaign: Annotated[str, Field(min_length=1, max_length=100, json_schema_extra={"tokens": True})] = "{object}",
    file_name: Annotated[
        str, Field(min_length=1, max_length=240, json_schema_extra={"tokens": True})
    ] = "{task}_{date}_{sequence}.csv",
    detail: Detail = "simple",
    records: Literal["all", "new"] = "all",
    csv: CsvOptions = CsvOptions(),
    database: str = "operations",
    ready_file: bool = False,
    on_empty: Literal["deliver", "skip"] = "deliver",
) -> State[RunResult]:
    """What a campaign came to, handed to the importer as a CSV file.

    Args:
        campaign: Name of the campaign; by default the task's object.
        file_name: Name of the delivered file. It may hold {date}, {time}, {task}, {object} and {sequence}. Without an
            ending it gets .csv.
        detail: simple (a row a record that was tried) or detailed (a row an attempt, also where nothing was dialled).
        records: all, or only what is new since the last successful export of this task (new).
        csv: Separator, quotes, line ends, header, encoding.
        database: Name of the database block that holds the campaigns.
        ready_file: Whether an empty file NAME.done follows once the data is complete.
        on_empty: What to do where there are no rows: deliver a file without rows, or skip the delivery.
    """
    name = resolved_file_name(file_name if "." in file_name else f"{file_name}.csv")
    ready_name = resolved_file_name(name + READY_SUFFIX) if ready_file else ""
    source = load_database(database) if records == "all" else load_writable(database)
    sender = Sender(load_importer(IMPORTER), name, ready_name)
    with source.reading() as connection:
        results = results_of(connection, campaign, detail)
        excluded = connection.execute(results.excluded()).scalar_one()
    if excluded:
        get_run_logger().info(f"{excluded:,} {_rows_of(detail)} are left out: their accounts are excluded")
    export = export_all if records == "all" else export_new
    return completed(export(source, results, sender, csv, on_empty == "skip"))


def _rows_of(detail: Detail) -> str:
    return "records" if detail == "simple" else "attempts"


def export_all(source: Database, results: Results, sender: Sender, csv: CsvOptions, skip_empty: bool) -> RunResult:
    """Everything, whatever was exported before; the watermark stays where it is."""
    with work_folder() as folder:
        local = folder / "data"
        processed = write_results(source, results, results.query(), csv, local, None)
        if not processed and skip_empty:
            return _nothing()
        receipts = sender.send(local, sender.file_name, sender.ready_name, processed)
    return _result([(sender.file_name, processed, receipts)])


def export_new(source: Database, results: Results, sender: Sender, csv: CsvOptions, skip_empty: bool) -> RunResult:
    """First the file that an earlier attempt or run has left, then what is new."""
    logger = get_run_logger()
    stream = Stream(task_identity(), results.stream)
    outbox = Outbox(source, stream)
    delivered = outbox.of_this_run()
    pending = outbox.pending()
    if pending is not None:
        logger.info(f"{pending.file_name} ({pending.processed:,} rows) was begun before; it is delivered first")
        delivered.append(send_pending(outbox, pending, sender))
    if sender.file_name in {one.file_name for one in delivered}:
        # This run's own, or an earlier one's of the same name, whose place another would take at the importer.
        logger.info(f"{sender.file_name} is delivered; what is new by now is left for the next run")
    else:
        made = make_new(outbox, source, results, sender, csv, skip_empty)
        if made is not None:
            delivered.append(send_pending(outbox, made, sender))
    report_progress(logger, 100, sum(one.processed for one in delivered))
    return _result([(one.file_name, one.processed, one.receipts) for one in delivered])


def make_new(
    outbox: Outbox, source: Database, results: Results, sender: Sender, csv: CsvOptions, skip_empty: bool
) -> Pending | None:
    """A file of what is new, kept in the outbox; None where there is nothing and that is to be skipped."""
    at, uid = results.key
    with source.reading() as connection:
        before = reached(connection, outbox.stream)
    query = results.query().where(is_new(outbox.stream, before, at, uid))
    with work_folder() as folder:
        local, taken = folder / "data", Taken(folder / "taken")
        processed = write_results(source, results, query, csv, local, taken)
        if not processed and skip_empty:
            return None
        mark = next_mark(before, taken.last, datetime.now(UTC))
        return outbox.keep(local, sender.file_name, sender.ready_name, processed, mark, taken.rows())


def send_pending(outbox: Outbox, pending: Pending, sender: Sender) -> Pending:
    """Deliver a kept file under its own name, and move the watermark."""

    def send(kept: Pending, local: Path) -> list[dict[str, Any]]:
        name = f"kept file {kept.uid} {kept.sha256}"  # whichever run delivers it
        return sender.send(local, kept.file_name, kept.ready_name, kept.processed, DeliveryKey(name, name))

    with work_folder() as folder:
        return outbox.deliver(pending, folder / "data", send)


class Taken:
    """The keys of the rows in a file, in a scratch file of their own: memory does not grow with them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last: Reached | None = None

    def begin(self) -> None:
        """Forget what an earlier try has written."""
        self.path.write_text("")
        self.last = None

    def add(self, batch: Any) -> None:
        with self.path.open("a") as file:
            file.writelines(f"{uid} {at.isoformat()}\n" for at, uid, *_ in batch)
        at, uid, *_ = batch[-1]
        self.last = Reached(at, uid)

    def rows(self) -> Iterator[Reached]:
        with self.path.open() as file:
            for line in file:
                uid, at = line.split()
                yield Reached(datetime.fromisoformat(at), int(uid))


@task(name="write results", **TRANSFER)
def write_results(
    source: Database, results: Results, query: sa.Select[Any], csv: CsvOptions, local: Path, taken: Taken | None
) -> int:
    """Stream the rows to a local file; returns how many. A retry writes the file anew."""
    logger = get_run_logger()
    total = source.count(query)
    logger.info(f"Exporting {total:,} {_rows_of(results.detail)}" if total is not None else "Exporting")
    if taken is not None:
        taken.begin()

    def on_rows(done: int) -> None:
        report_progress(logger, WRITING_SHARE * done / total if total else 0.0, done)

    with source.stream(query) as stream:
        batches = _file_batches(results, stream.batches, taken.add if taken else lambda _batch: None)
        done = write_csv(local, results.columns, batches, csv, on_rows)
    logger.info(f"Wrote {done:,} rows, {local.stat().st_size:,} bytes", extra={"processed": done})
    return done


def _file_batches(results: Results, batches: Iterator[Any], take: Callable[[Any], None]) -> Iterator[list[list[Any]]]:
    for batch in batches:
        take(batch)
        yield list(results.file_rows(batch))


def _nothing() -> RunResult:
    get_run_logger().info("No rows: nothing is delivered, as on_empty says.")
    return RunResult(summary="No rows; nothing delivered")


def _result(files: list[tuple[str, int, list[dict[str, Any]]]]) -> RunResult:
    """The run's result: each delivered file with its rows and receipts."""
    if not files:
        return _nothing()
    receipts = [receipt for *_, theirs in files for receipt in theirs]
    sent = sum(receipt["bytes"] for receipt in receipts)
    told = ", ".join(f"{processed:,} rows in {name}" for name, processed, _ in files)
    processed = sum(processed for _, processed, _ in files)
    return RunResult(processed=processed, bytes=sent, files=receipts, summary=f"{told}, {sent:,} bytes delivered")
