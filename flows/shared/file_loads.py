"""What imports of files have in common: each file is loaded once, whatever dies in between.

The order makes a crash harmless. Bad rows are put beside the source first; then the load is committed
together with the note (`file_load`) that this run has loaded this file; then the file is put away. The next
attempt of the run finds the note, and does only what is left.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from prefect import get_run_logger

from headway.blocks.database.block import Database
from headway.flows.shared.files import sha256_of, work_folder
from headway.flows.shared.incoming import (
    After,
    Late,
    OnMissing,
    Place,
    error_file_name,
    fetch,
    find_files,
    put_away,
    put_error_file,
    wait_for_files,
)
from headway.flows.shared.result import BadRows, InputRefused, RunResult, report_progress, run_key
from headway.flows.shared.staging import Staging
from headway.models.operations.tables import FileLoad

Load = dict[str, Any]
"""A row of `file_load`."""

Receipt = dict[str, Any]
ImportOne = Callable[[str, Path], tuple[Load, Receipt | None]]
"""Loads the fetched file `work folder / source`; returns the load and the receipt of the error file."""


@dataclass(kw_only=True, frozen=True)
class Source:
    """Which files a run takes, and what becomes of them."""

    place: Place
    file_name: str
    on_missing: OnMissing
    wait_minutes: int
    after: After
    archive_folder: str
    newest: bool = False
    """Take the newest file only; the older ones are put away unread."""
    late: Late | None = None


@dataclass
class Imported:
    """What this run has loaded, also in its earlier attempts, and the error files that this attempt wrote."""

    loads: list[Load] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)

    @property
    def processed(self) -> int:
        return sum(load["processed"] for load in self.loads)

    def result(self, what: str) -> RunResult:
        """The run's result. what: such as `4 rows into makes`; files and bad rows are added to it."""
        errors = sum(load["errors"] for load in self.loads)
        summary = f"{what} from {', '.join(load['file_name'] for load in self.loads) or 'no file'}"
        if errors:
            where = ", ".join(load["error_file"] for load in self.loads if load["error_file"])
            summary += f"; {errors:,} bad rows in {where}"
        size = sum(load["bytes"] for load in self.loads)
        return RunResult(processed=self.processed, errors=errors, bytes=size, files=self.receipts, summary=summary)


def import_files(source: Source, target: Database, import_one: ImportOne, *, one_only: bool) -> Imported:
    """Fetch, load and put away each file that fits, oldest first; those that this run has loaded are only put away.

    one_only: several files are refused, because each would throw out what the one before has loaded.
    """
    logger = get_run_logger()
    place, pattern = source.place, source.file_name
    loads = loads_of_this_run(target)
    if loads:  # by an earlier attempt of this run; what it has put away is not missing
        names = find_files(place, pattern)
    else:
        names = wait_for_files(place, pattern, source.on_missing, timedelta(minutes=source.wait_minutes), source.late)
    passed_over: list[str] = []
    if source.newest:
        names, passed_over = _newest(names, loads)
    if one_only and len({*names, *loads}) > 1:
        raise InputRefused(
            f"{len(names)} files fit '{pattern}': {', '.join(names[:5])}. Policy replace takes one: "
            "each would throw out what the one before has loaded."
        )
    receipts: list[Receipt] = []
    for name in names:
        with work_folder() as work:
            fetch(place, name, work / "source")
            if name in loads and sha256_of(work / "source") != loads[name]["sha256"]:
                logger.warning(f"{name} is a new file, which came after this run's: left for the next run.")
                continue
            if name not in loads:
                loads[name], receipt = import_one(name, work)
                receipts += [receipt] if receipt else []
        for older in passed_over:
            logger.warning(f"{older} is older than {name}: not loaded.")
            put_away(place, older, source.after, source.archive_folder)
        put_away(place, name, source.after, source.archive_folder)
    imported = Imported(list(loads.values()), receipts)
    report_progress(logger, 100, imported.processed)
    return imported


def _newest(names: list[str], loads: dict[str, Load]) -> tuple[list[str], list[str]]:
    """The newest file, and the older ones. Once this run has loaded one, that was it: what came later is left."""
    taken = next((name for name in reversed(names) if not loads or name in loads), None)
    return ([], []) if taken is None else ([taken], names[: names.index(taken)])


def import_staged(
    place: Place,
    name: str,
    work: Path,
    facts: dict[str, str],
    sort_rows: Callable[[Path, Staging], None],
    load_rows: Callable[[Staging, Load], Load],
) -> tuple[Load, Receipt | None]:
    """Load one fetched file by way of a staging file.

    facts: `task_type` and `target` of the note. sort_rows: changes nothing yet. load_rows: changes the target in
    one transaction that ends with `keep_load`, and returns the load.
    """
    local = work / "source"
    with Staging(work / "staging.db") as staging:
        sort_rows(local, staging)
        error_file = error_file_name(name) if staging.bad else ""
        if error_file:
            staging.write_error_file(work / "errors.csv")
        receipt = put_error_file(place, work / "errors.csv" if error_file else None, error_file_name(name))
        _log_bad_rows(staging, name, error_file)
        load = new_load(local, name, **facts, processed=staging.good, errors=staging.bad, error_file=error_file)
        load = load_rows(staging, load)
    return load, receipt


def _log_bad_rows(staging: Staging, name: str, error_file: str) -> None:
    bad_rows = BadRows(get_run_logger(), name)
    for line, reason, _ in staging.bad_rows():
        bad_rows.add(line, reason)
    bad_rows.finish(error_file)


def new_load(local: Path, name: str, **facts: Any) -> Load:
    """The note that this run loads this file: size and checksum of `local`, and the counts given."""
    return {
        "run_key": run_key(),
        "file_name": name,
        "bytes": local.stat().st_size,
        "sha256": sha256_of(local),
        "duplicates": 0,
        **facts,
    }


def keep_load(connection: sa.Connection, load: Load) -> None:
    """Write the note, in the load's own transaction."""
    connection.execute(sa.insert(FileLoad), {**load, "loaded_at": datetime.now(UTC)})


def loads_of_this_run(target: Database) -> dict[str, Load]:
    """Files that an earlier attempt of this run has loaded, by name."""
    key = run_key()
    if key is None:
        return {}
    with target.reading() as connection:
        rows = connection.execute(sa.select(FileLoad).where(FileLoad.run_key == key)).mappings()  # type: ignore[arg-type]
        return {row["file_name"]: dict(row) for row in rows}
