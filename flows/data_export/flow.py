"""Data export: rows of a database, handed to the importer as a file.

Runs a reading query (or takes a table), writes the rows to a CSV, fixed-width or Excel file, and delivers
that file to the configured importer path. There is no other destination.

Its counts: *processed* is the number of data rows written (a header is none), *bytes* what was delivered,
*files* the receipts. *errors* is always 0: a row that cannot be written fails the run, nothing is delivered.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from pydantic import Field

from headway.blocks.database.block import Database, ResultStream
from headway.flows.shared.delivery import IMPORTER, TRANSFER, deliver, load_importer
from headway.flows.shared.file_writers import (
    CsvOptions,
    FixedWidthOptions,
    XlsxOptions,
    write_csv,
    write_fixed_width,
    write_xlsx,
)
from headway.flows.shared.files import resolved_file_name, work_folder
from headway.flows.shared.result import InputRefused, RunResult, completed, report_progress

Format = Literal["csv", "fixed_width", "xlsx"]
WRITING_SHARE = 60.0  # of the progress, in percent; sending is the rest
READY_SUFFIX = ".done"
ENDINGS: dict[Format, str] = {"csv": ".csv", "fixed_width": ".txt", "xlsx": ".xlsx"}

Write = Callable[[Path, ResultStream, Callable[[int], None]], int]


@flow(name="data_export", persist_result=False)
def data_export(
    file_name: Annotated[
        str, Field(min_length=1, max_length=240, json_schema_extra={"tokens": True})
    ] = "{task}_{date}_{sequence}",
    query: str = "",
    table: Annotated[str, Field(json_schema_extra={"tokens": True})] = "{object}",
    columns: list[str] = [],  # noqa: B006 - Prefect copies it into the schema; nothing changes it
    order_by: list[str] = [],  # noqa: B006
    database: str = "operations",
    format: Format = "csv",
    csv: CsvOptions = CsvOptions(),
    fixed_width: FixedWidthOptions = FixedWidthOptions(),
    xlsx: XlsxOptions = XlsxOptions(),
    ready_file: bool = False,
    on_empty: Literal["deliver", "skip"] = "deliver",
) -> State[RunResult]:
    """Rows of a database, handed to the importer as a CSV, fixed-width or Excel file.

    Args:
        file_name: Name of the delivered file. It may hold {date}, {time}, {task}, {object} and {sequence}. Without an
            ending it gets that of the format.
        query: The SELECT whose rows are exported; it goes before the table.
        table: The table to export where there is no query; by default the one named like the task's object.
        columns: Which columns of the table, in file order; empty means all of them.
        order_by: Columns of the table to sort by; empty means its primary key.
        database: Name of the database block to read from.
        format: csv, fixed_width or xlsx; the section of that name says how it is written.
        csv: For format csv: separator, quotes, line ends, header, encoding.
        fixed_width: For format fixed_width: the columns with their widths, line ends, header, encoding.
        xlsx: For format xlsx: the sheet's name, header.
        ready_file: Whether an empty file NAME.done follows once the data is complete.
        on_empty: What to do where there are no rows: deliver a file without rows, or skip the delivery.
    """
    logger = get_run_logger()
    name = resolved_file_name(file_name if "." in file_name else file_name + ENDINGS[format])
    ready_name = resolved_file_name(name + READY_SUFFIX) if ready_file else ""
    source = load_database(database)
    rows = source_of_rows(source, query, table, columns, order_by)
    server = load_importer(IMPORTER)
    write = _writer(format, csv, fixed_width, xlsx)
    with work_folder() as folder:
        local = folder / "data"
        processed = write_rows(source, rows, write, local)
        if not processed and on_empty == "skip":
            logger.info("No rows: nothing is delivered, as on_empty says.")
            return completed(RunResult(summary="No rows; nothing delivered"))
        receipts = [deliver(server, local, name, _sending(logger, local.stat().st_size, processed))]
        if ready_name:
            (folder / "ready").touch()
            receipts.append(deliver(server, folder / "ready", ready_name, lambda _sent: None))
    report_progress(logger, 100, processed)
    sent = sum(receipt["bytes"] for receipt in receipts)
    summary = f"{processed:,} rows in {name}, {sent:,} bytes delivered"
    return completed(RunResult(processed=processed, bytes=sent, files=receipts, summary=summary))


def load_database(name: str) -> Database:
    """The database block of that name. Raises InputRefused where there is none."""
    try:
        block = Database.load(name)
    except ValueError as error:
        raise InputRefused(f"There is no database block '{name}'. Make it, or correct the parameter.") from error
    assert isinstance(block, Database)
    return block


def source_of_rows(
    source: Database, query: str, table: str, columns: list[str], order_by: list[str]
) -> str | sa.Select[Any]:
    """What to read: the query as it is, or a SELECT of the table in a stable order."""
    if query.strip():
        if columns or order_by:
            raise InputRefused("columns and order_by belong to a table; in a query, say it in the SELECT.")
        return query
    if not table.strip() or "{" in table:
        raise InputRefused("Nothing to export: give a query or a table, or name the task's object like its table.")
    found = source.table(source.table_like(table.strip()))
    unknown = [name for name in [*columns, *order_by] if name not in found.c]
    if unknown:
        raise InputRefused(f"Table '{table}' has no column {', '.join(unknown)}. It has: {', '.join(found.c.keys())}.")
    chosen = [found.c[name] for name in columns] or list(found.c)
    order = [found.c[name] for name in order_by] or list(found.primary_key.columns)
    return sa.select(*chosen).order_by(*order)


def _writer(format: Format, csv: CsvOptions, fixed_width: FixedWidthOptions, xlsx: XlsxOptions) -> Write:
    writers: dict[Format, Write] = {
        "csv": lambda path, rows, on_rows: write_csv(path, rows.columns, rows.batches, csv, on_rows),
        "fixed_width": lambda path, rows, on_rows: write_fixed_width(
            path, rows.columns, rows.batches, fixed_width, on_rows
        ),
        "xlsx": lambda path, rows, on_rows: write_xlsx(path, rows.columns, rows.batches, xlsx, on_rows),
    }
    return writers[format]


@task(name="write rows", **TRANSFER)
def write_rows(source: Database, rows: str | sa.Select[Any], write: Write, local: Path) -> int:
    """Stream the rows to a local file; returns how many. A retry writes the file anew."""
    logger = get_run_logger()
    total = source.count(rows)
    logger.info(f"Exporting {total:,} rows" if total is not None else "Exporting (number of rows unknown)")

    def on_rows(done: int) -> None:
        report_progress(logger, WRITING_SHARE * done / total if total else 0.0, done)

    with source.stream(rows) as stream:
        done = write(local, stream, on_rows)
    logger.info(f"Wrote {done:,} rows, {local.stat().st_size:,} bytes", extra={"processed": done})
    return done


def _sending(logger: Any, size: int, processed: int) -> Callable[[int], None]:
    def on_bytes(sent: int) -> None:
        share = (100 - WRITING_SHARE) * (sent / size if size else 1.0)
        report_progress(logger, WRITING_SHARE + share, processed)

    return on_bytes
