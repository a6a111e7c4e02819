"""Back-up and restore of everything in HEADWAY_HOME.

A back-up is a folder with the same files and a manifest (sizes, SHA-256). Databases are copied by SQLite's own
online back-up, so that it may be made while everything runs. The ledger is copied last: whatever the other
databases know of a run, the ledger of the same back-up knows too.

A restore touches nothing outside of the home: its parent may be closed to Headway's user, and the home may be a mount
point. The files are put into `.restoring-STAMP`, then moved; what was there goes to `before-STAMP`.
"""

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import delete, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from models.db import database_url, make_engine, read_url, sqlite_module, with_driver, writing
from models.tables import SignInRow
from scheduler.errors import InvalidInput, Refused, SchedulerError
from scheduler.in_use import LOCK_FILE, MANIFEST, RESTORING, half_restored, not_in_use, refuse_half_restored
from scheduler.privileges import OPERATOR
from scheduler.store import audit

FORMAT = 1
RUN_NUMBERS_SKIPPED = 1_000_000
"""Run numbers left out after a restore: other systems may know those given since the back-up."""
_LEDGER = "headway.db"
_OPERATIONS = "HEADWAY_OPERATIONS_DATABASE_URL"
_LEFT_OUT = {LOCK_FILE, "up.json", MANIFEST}
_STAYS = {LOCK_FILE, "lost+found"}
_ASIDE = "before-"
_SET_ASIDE = re.compile(rf"{_ASIDE}\d{{8}}T\d{{6}}-\d{{6}}")
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
    refuse_half_restored(home)
    try:
        outside = _outside(home)
        _make_private(target.parent)
        partial = Path(tempfile.mkdtemp(prefix=f"{target.name}.partial-", dir=target.parent))
        with _whole_or_gone(partial):
            files = [entry for path in _files(home) if (entry := _copy(home, path, partial)) is not None]
            made_at = datetime.now(UTC).isoformat(timespec="seconds")
            backup = Backup(str(home), made_at, files, outside)
            _write_manifest(partial, backup)
            partial.replace(target)
    except OSError as error:
        raise SchedulerError(f"the back-up could not be written: {error}; nothing was kept of it") from error
    return backup


@contextmanager
def _whole_or_gone(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        _discard(folder)
        raise


def _discard(folder: Path) -> None:
    """Without the manifest, which goes first, what is left of a folder counts for nothing."""
    with suppress(OSError):
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _files(home: Path) -> Iterator[Path]:
    """What is to be copied, relative to the home, the ledger last."""
    found = sorted(path.relative_to(home) for path in _found(home) if _is_ours(path))
    yield from (path for path in found if str(path) != _LEDGER)
    yield from (path for path in found if str(path) == _LEDGER)


def _found(home: Path) -> Iterator[Path]:
    """All that lies in the home but what restores have left there. OSError: a folder that cannot be read."""

    def failed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # gone meanwhile
            raise error

    for folder, folders, files in os.walk(home, onerror=failed):
        if Path(folder) == home:
            folders[:] = [name for name in folders if not _is_apart(name)]
        yield from (Path(folder, name) for name in [*folders, *files])


def _is_apart(name: str) -> bool:
    """Whether what is called so at the home's top is no part of the installation."""
    return name in _STAYS or name.startswith(RESTORING) or _SET_ASIDE.fullmatch(name) is not None


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
    before = sorted(path.name for path in home.iterdir() if _SET_ASIDE.fullmatch(path.name))
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


def _write_manifest(folder: Path, backup: Backup) -> None:
    """At once: with a manifest the folder counts as complete."""
    path = folder / f"{MANIFEST}.new"
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    path.write_text(json.dumps(asdict(backup), indent=1) + "\n", encoding="utf-8")
    path.rename(folder / MANIFEST)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Restore


def restore(source: Path, home: Path, *, replace: bool = False) -> tuple[Backup, Path | None]:
    """Put a back-up into the home, whole or not at all; where in it that is kept which was there, if anything.

    replace: what is there is set aside (never deleted). Refused while anything runs on it. A restore that was killed
    while it moved files is finished.
    """
    backup = read_manifest(source)
    check(source, backup)
    with not_in_use(home):
        try:
            return backup, _put_into(home, source, backup, replace)
        except OSError as error:
            state = "is half restored, and the next restore finishes it" if half_restored(home) else "is as it was"
            raise Refused(
                f"{home} could not be written: {error}. It {state}. All of it must belong to the user that runs "
                f"Headway, nothing in it may be a mount point of its own, and {backup.bytes:,} bytes must be free: "
                "see to that and restore again"
            ) from error


def _put_into(home: Path, source: Path, backup: Backup, replace: bool) -> Path | None:
    begun = half_restored(home)
    if begun is not None:
        earlier = read_manifest(begun)
        if earlier == backup:
            return _move(begun, home, earlier)
        if not replace:
            raise Refused(
                f"{home} is half restored, from the back-up made at {earlier.made_at}: restore that one to finish it, "
                "or give --replace to set it aside"
            )
        _move(begun, home, earlier)
    for stale in home.glob(f"{RESTORING}*"):  # of one that was killed before it moved anything
        shutil.rmtree(stale)
    if not replace and not _is_vacant(home):
        raise Refused(f"{home} is not empty; give --replace to set aside what is in it, or HEADWAY_HOME another folder")
    home.chmod(0o700)
    stage = home / f"{RESTORING}{datetime.now(UTC):%Y%m%dT%H%M%S-%f}"
    with _whole_or_gone(stage):
        _make_private(stage)
        for entry in backup.files:
            _put_back(source, stage, entry)
        if (stage / _LEDGER).exists():
            _begin_anew(stage / _LEDGER, backup)
        _write_manifest(stage, backup)  # killed before this, the home is the old one; after it, the next one goes on
    return _move(stage, home, backup, anew=True)


def _move(stage: Path, home: Path, backup: Backup, *, anew: bool = False) -> Path | None:
    """Put the old things aside and the new ones in their place; again from where a kill left it. Undone on failure.

    The old ledger goes first and the new one comes last. So no ledger ever lies beside keys or databases of another
    state; while there is none, `refuse_half_restored` keeps anybody from beginning a new one.
    """
    aside = home / stage.name.replace(RESTORING, _ASIDE)
    new = {Path(entry.path).parts[0] for entry in backup.files}
    # A name that is no longer in the stage has been put in its place already: what is called so in the home is new.
    old = [path for path in _installed(home) if path.name not in new or os.path.lexists(stage / path.name)]
    moves = [(path, _free(aside / path.name)) for path in sorted(old, key=lambda path: path.name != _LEDGER)]
    coming = (path for path in sorted(stage.iterdir()) if path.name != MANIFEST)
    moves += [(path, home / path.name) for path in sorted(coming, key=lambda path: path.name == _LEDGER)]
    try:
        if old:
            aside.mkdir(mode=0o700, exist_ok=True)
        for was, becomes in moves:
            was.rename(becomes)
    except BaseException:
        for was, becomes in reversed(moves):
            if os.path.lexists(becomes) and not os.path.lexists(was):
                becomes.rename(was)
        if anew:
            with suppress(OSError):
                aside.rmdir()
            _discard(stage)
        raise
    (stage / MANIFEST).unlink()
    stage.rmdir()
    return aside if aside.exists() else None


def _free(path: Path) -> Path:
    """That path, or one beside it where something is set aside under it already."""
    number, free = 0, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free


def _installed(home: Path) -> list[Path]:
    return sorted(path for path in home.iterdir() if not _is_apart(path.name))


def _is_vacant(home: Path) -> bool:
    """Nothing is there but what a refused attempt leaves: `logs/defects.log`."""
    return all(
        path.name == "logs" and path.is_dir() and {log.name for log in path.iterdir()} <= {"defects.log"}
        for path in _installed(home)
    )


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
    wrong = [f"{entry.path}: {problem}" for entry in backup.files if (problem := _problem(source, entry))]
    if wrong:
        raise InvalidInput([f"{source} is damaged or cannot be read; nothing was restored", *wrong[:20]])


def _problem(source: Path, entry: Entry) -> str | None:
    path = source / entry.path
    try:
        if not path.resolve().is_relative_to(source.resolve()):
            return "lies outside of the back-up"
        if not path.is_file():
            return "is missing"
        if path.stat().st_size != entry.bytes or _sha256(path) != entry.sha256:
            return "is not what was backed up"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


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
            first = "INSERT INTO sqlite_sequence SELECT 'run', 0 WHERE 'run' NOT IN (SELECT name FROM sqlite_sequence)"
            session.execute(text(first))  # SQLite makes the row at the first run only
            skip = text("UPDATE sqlite_sequence SET seq = seq + :skipped WHERE name = 'run'")
            session.execute(skip, {"skipped": RUN_NUMBERS_SKIPPED})
            session.execute(delete(SignInRow))
            facts = {"made at": backup.made_at, "of": backup.home}
            audit.record(session, datetime.now(UTC), OPERATOR, "restore", "HEADWAY_HOME", after=facts)
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        engine.dispose()
    ledger.with_name(f"{_LEDGER}-journal").unlink(missing_ok=True)  # without WAL SQLite leaves it there, empty


def _make_private(folder: Path) -> None:
    """The folder and those above it that are missing, for their owner alone (mkdir's own mode is the last one's)."""
    if not folder.is_dir():
        _make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
