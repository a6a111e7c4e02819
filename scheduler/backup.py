"""Back-up and restore of everything in HEADWAY_HOME.

A back-up is a folder with the same files and a manifest (sizes, SHA-256). Databases are copied by SQLite's own
online back-up, so that it may be made while everything runs. The ledger is copied last: whatever the other
databases know of a run, the ledger of the same back-up knows too.
"""

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import delete, text
from sqlalchemy.engine import make_url

from models.db import database_url, make_engine, sqlite_module, writing
from models.tables import SignInRow
from scheduler.errors import InvalidInput, Refused, SchedulerError
from scheduler.in_use import LOCK_FILE, not_in_use
from scheduler.privileges import OPERATOR
from scheduler.store import audit

MANIFEST = "headway-backup.json"
FORMAT = 1
RUN_NUMBERS_SKIPPED = 1_000_000
"""Run numbers left out after a restore: other systems may know those given since the back-up."""
_LEDGER = "headway.db"
_LEFT_OUT = {LOCK_FILE, "up.json"}
_JOURNALS = ("-wal", "-shm", "-journal")
_SQLITE_HEADER = b"SQLite format 3\x00"


@dataclass(frozen=True)
class Entry:
    """One file of a back-up; `path` is relative to it, `mode` its permissions."""

    path: str
    bytes: int
    sha256: str
    mode: int


@dataclass(frozen=True)
class Backup:
    """What a back-up holds. `outside`: what belongs to the installation and lies elsewhere, in words."""

    home: str
    made_at: str
    files: list[Entry]
    outside: list[str]
    format: int = FORMAT

    @property
    def bytes(self) -> int:
        return sum(entry.bytes for entry in self.files)


def back_up(home: Path, target: Path) -> Backup:
    """Copy the home to a new folder, complete or not at all; it may be in use meanwhile."""
    if not home.is_dir():
        raise InvalidInput(f"HEADWAY_HOME {home} is not there: there is nothing to back up")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InvalidInput(f"{target} is there already and not empty: give a folder that is new")
    if target.resolve().is_relative_to(home.resolve()):
        raise InvalidInput(f"{target} lies in HEADWAY_HOME {home}: give a folder outside of it")
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _make_private(partial)
        files = [entry for path in _files(home) if (entry := _copy(home, path, partial)) is not None]
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        backup = Backup(str(home), made_at, files, _outside())
        _write_manifest(partial, backup)
        partial.replace(target)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise SchedulerError(f"the back-up could not be written: {error}; nothing was kept of it") from error
    return backup


def _files(home: Path) -> Iterator[Path]:
    """What is to be copied, relative to the home, the ledger last."""
    found = sorted(path.relative_to(home) for path in home.rglob("*") if _is_ours(path))
    yield from (path for path in found if str(path) != _LEDGER)
    yield from (path for path in found if str(path) == _LEDGER)


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
    _make_private(copy.parent)
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
    return Entry(str(path), copy.stat().st_size, _sha256(copy), mode)


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


def _outside() -> list[str]:
    outside = []
    if make_url(database_url()).get_backend_name() != "sqlite":
        outside.append("the ledger, which is in PostgreSQL: back that up with pg_dump")
    if os.environ.get("PREFECT_API_URL"):
        outside.append("Prefect's own database, which belongs to the server at PREFECT_API_URL")
    return outside


def _write_manifest(folder: Path, backup: Backup) -> None:
    path = folder / MANIFEST
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    path.write_text(json.dumps(asdict(backup), indent=1) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Restore


def restore(source: Path, home: Path, *, replace: bool = False) -> tuple[Backup, Path | None]:
    """Put a back-up in the home's place, whole or not at all; where the home that was there is kept, if any.

    replace: the home that is there is set aside (never deleted). Refused while anything runs on it.
    """
    backup = read_manifest(source)
    check(source, backup)
    with not_in_use(home):
        taken = any(path.name != LOCK_FILE for path in home.iterdir())
        if taken and not replace:
            raise Refused(f"{home} is not empty; give --replace to set it aside, or HEADWAY_HOME another folder")
        fresh = home.with_name(f"{home.name}.restoring")
        shutil.rmtree(fresh, ignore_errors=True)
        for entry in backup.files:
            _put_back(source, fresh, entry)
        if (fresh / _LEDGER).exists():
            _begin_anew(fresh / _LEDGER, backup)
        aside = _free_name(home) if taken else None
        if aside is None:
            shutil.rmtree(home)
        else:
            home.rename(aside)
        fresh.rename(home)
    return backup, aside


def read_manifest(source: Path) -> Backup:
    """What the back-up holds. InvalidInput if it is none."""
    try:
        facts: dict[str, Any] = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
        files = [Entry(**entry) for entry in facts.pop("files")]
        backup = Backup(files=files, **facts)
    except FileNotFoundError:
        raise InvalidInput(f"{source} is no back-up: there is no {MANIFEST} in it") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InvalidInput(f"{source / MANIFEST} cannot be read: {error}") from None
    if backup.format != FORMAT:
        raise InvalidInput(f"{source} is a back-up of format {backup.format}; this Headway reads format {FORMAT}")
    return backup


def check(source: Path, backup: Backup) -> None:
    """Every file is as the manifest says. InvalidInput names those that are not."""
    wrong = []
    for entry in backup.files:
        path = source / entry.path
        if not path.resolve().is_relative_to(source.resolve()):
            wrong.append(f"{entry.path}: lies outside of the back-up")
        elif not path.is_file():
            wrong.append(f"{entry.path}: is missing")
        elif path.stat().st_size != entry.bytes or _sha256(path) != entry.sha256:
            wrong.append(f"{entry.path}: is not what was backed up")
    if wrong:
        raise InvalidInput([f"{source} is damaged; nothing was restored", *wrong[:20]])


def _put_back(source: Path, fresh: Path, entry: Entry) -> None:
    path = fresh / entry.path
    _make_private(path.parent)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    shutil.copyfile(source / entry.path, path)
    path.chmod(entry.mode)


def _begin_anew(ledger: Path, backup: Backup) -> None:
    """What must not come back from the past: run numbers that were given since, and people's sessions."""
    engine = make_engine(f"sqlite:///{ledger}")
    try:
        with writing(engine) as session:
            skip = text("UPDATE sqlite_sequence SET seq = seq + :skipped WHERE name = 'run'")
            session.execute(skip, {"skipped": RUN_NUMBERS_SKIPPED})
            session.execute(delete(SignInRow))
            facts = {"made at": backup.made_at, "of": backup.home}
            audit.record(session, datetime.now(UTC), OPERATOR, "restore", "HEADWAY_HOME", after=facts)
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        engine.dispose()


def _make_private(folder: Path) -> None:
    """The folder and those above it that are missing, for their owner alone (mkdir's own mode is the last one's)."""
    if not folder.is_dir():
        _make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _free_name(home: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    return home.with_name(f"{home.name}.before-{stamp}")
