"""Back-up of everything in HEADWAY_HOME, while it runs.

Databases are copied by SQLite's own online back-up. The ledger is copied last: whatever the other databases know of a
run, the ledger of the same back-up knows too.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from headway.errors import InvalidInput, SchedulerError
from headway.models.ledger.database import database_url, read_url, sqlite_module, with_driver
from headway.scheduler.installation.backup_folder import (
    LEDGER,
    SET_ASIDE,
    Backup,
    Entry,
    is_apart,
    make_private,
    sha256,
    sync,
    whole_or_gone,
    write_manifest,
)
from headway.scheduler.installation.home_lock import LOCK_FILE, MANIFEST, refuse_half_restored

_OPERATIONS = "HEADWAY_OPERATIONS_DATABASE_URL"
_LEFT_OUT = {LOCK_FILE, "up.json", MANIFEST}
_JOURNALS = ("-wal", "-shm", "-journal")
_SQLITE_HEADER = b"SQLite format 3\x00"


def back_up(home: Path, target: Path) -> Backup:
    """Copy the home to a new folder, complete or not at all; it may be in use meanwhile."""
    if not home.is_dir():
        raise InvalidInput(f"HEADWAY_HOME {home} is not there: there is nothing to back up")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InvalidInput(f"{target} is there already and not empty: give a folder that is new")
    if target.resolve().is_relative_to(home.resolve()):
        raise InvalidInput(f"{target} lies in HEADWAY_HOME {home}: give a folder outside of it")
    refuse_half_restored(home)
    try:
        outside = _outside(home)
        make_private(target.parent)
        partial = Path(tempfile.mkdtemp(prefix=f"{target.name}.partial-", dir=target.parent))
        with whole_or_gone(partial):
            files = [entry for path in _files(home) if (entry := _copy(home, path, partial)) is not None]
            made_at = datetime.now(UTC).isoformat(timespec="seconds")
            backup = Backup(home=str(home), made_at=made_at, files=files, outside=outside)
            write_manifest(partial, backup)
            partial.replace(target)
            sync(target.parent)
    except OSError as error:
        raise SchedulerError(f"the back-up could not be written: {error}; nothing was kept of it") from error
    return backup


def _files(home: Path) -> Iterator[Path]:
    """What is to be copied, relative to the home, the ledger last."""
    found = sorted(path.relative_to(home) for path in _found(home) if _is_ours(path))
    yield from (path for path in found if str(path) != LEDGER)
    yield from (path for path in found if str(path) == LEDGER)


def _found(home: Path) -> Iterator[Path]:
    """All that lies in the home but what restores have left there. OSError: a folder that cannot be read."""

    def failed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # gone meanwhile
            raise error

    for folder, folders, files in os.walk(home, onerror=failed):
        if Path(folder) == home:
            folders[:] = [name for name in folders if not is_apart(name)]
        yield from (Path(folder, name) for name in [*folders, *files])


def _is_ours(path: Path) -> bool:
    if path.name in _LEFT_OUT or path.name.endswith(_JOURNALS):
        return False
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:  # gone meanwhile
        return False


def _copy(home: Path, path: Path, target: Path) -> Entry | None:
    """None: the file went away meanwhile, as logs and temporary files do."""
    source, copy = home / path, target / path
    make_private(copy.parent)
    try:
        mode = stat.S_IMODE(source.stat().st_mode)
        os.close(os.open(copy, os.O_CREAT | os.O_WRONLY, 0o600))
        if _is_database(source):
            _copy_database(source, copy)
        else:
            shutil.copyfile(source, copy)
    except FileNotFoundError:
        copy.unlink(missing_ok=True)
        return None
    return Entry(str(path), copy.stat().st_size, sha256(copy), mode)


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE_HEADER)) == _SQLITE_HEADER


def _copy_database(source: Path, copy: Path) -> None:
    """As it is at one instant, checked afterwards."""
    driver = sqlite_module()
    reading, writing_to = driver.connect(f"file:{quote(str(source))}?mode=ro", uri=True), driver.connect(str(copy))
    try:
        reading.backup(writing_to)
        writing_to.execute("PRAGMA journal_mode=DELETE")  # one file, without companions
        found = writing_to.execute("PRAGMA quick_check").fetchone()[0]
    except driver.Error as error:
        raise SchedulerError(f"the database {source} could not be copied: {error}") from error
    finally:
        reading.close()
        writing_to.close()
    if found != "ok":
        raise SchedulerError(f"the database {source} is damaged: {found}")


def _outside(home: Path) -> list[str]:
    """What belongs to the installation and is not copied. InvalidInput: a variable does not hold an address."""
    outside = [
        *_database_outside(home, "the ledger", "HEADWAY_DATABASE_URL", database_url()),
        *_database_outside(home, "the data that tasks work on", _OPERATIONS, os.environ.get(_OPERATIONS)),
    ]
    if os.environ.get("PREFECT_API_URL"):
        outside.append("Prefect's own database, which belongs to the server at PREFECT_API_URL")
    reports = os.environ.get("HEADWAY_REPORTS")
    if reports and not _lies_in(home, Path(reports).expanduser()):
        outside.append(f"your own reports, which are in {reports} (HEADWAY_REPORTS)")
    links = sorted(path for path in _found(home) if path.is_symlink())
    outside += [f"{path.relative_to(home)}, which is a link to {os.readlink(path)}" for path in links]
    before = sorted(path.name for path in home.iterdir() if SET_ASIDE.fullmatch(path.name))
    return outside + [f"{name}, which a restore has set aside" for name in before]


def _database_outside(home: Path, what: str, variable: str, address: str | None) -> Iterator[str]:
    if not address:
        return
    url = _address(variable, address)
    if url.get_backend_name() == "postgresql":
        yield f"{what}, which is in PostgreSQL: back that up with pg_dump"
    elif url.get_backend_name() != "sqlite":
        yield f"{what}, which is in the database that {variable} names"
    elif url.database and not _lies_in(home, Path(url.database)):
        yield f"{what}, which is in the file {url.database} ({variable}): copy that with `sqlite3 FILE '.backup COPY'`"


def _address(variable: str, address: str) -> URL:
    try:
        url = read_url(with_driver(address))
        url.get_dialect()
    except (ArgumentError, ValueError, ImportError):  # it may hold a password: it is not repeated
        raise InvalidInput(
            f"{variable} is not a database's address; write it like postgresql://user:password@host/name"
        ) from None
    return url


def _lies_in(home: Path, path: Path) -> bool:
    return path.resolve().is_relative_to(home.resolve())
