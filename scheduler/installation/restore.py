"""Restore of a back-up into HEADWAY_HOME.

It touches nothing outside of the home: its parent may be closed to Headway's user, and the home may be a mount point.
The files are put into `.restoring-STAMP`, then moved; what was there goes to `before-STAMP`.
"""

import os
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from headway.errors import Refused
from headway.models.ledger.database import make_engine, writing
from headway.privileges import OPERATOR
from headway.scheduler.installation.backup_folder import (
    ASIDE,
    LEDGER,
    Backup,
    Entry,
    check,
    discard,
    is_apart,
    make_private,
    read_manifest,
    sync,
    whole_or_gone,
    write_manifest,
)
from headway.scheduler.installation.home_lock import MANIFEST, RESTORING, half_restored, not_in_use
from headway.scheduler.store import audit, sign_ins
from headway.scheduler.store.runs.transitions import skip_run_numbers

RUN_NUMBERS_SKIPPED = 1_000_000
"""Run numbers left out after a restore: other systems may know those given since the back-up."""


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
    with whole_or_gone(stage):
        make_private(stage)
        for entry in backup.files:
            _put_back(source, stage, entry)
        if (stage / LEDGER).exists():
            _begin_anew(stage / LEDGER, backup)
        write_manifest(stage, backup)  # killed before this, the home is the old one; after it, the next one goes on
    return _move(stage, home, backup, anew=True)


def _move(stage: Path, home: Path, backup: Backup, *, anew: bool = False) -> Path | None:
    """Put the old things aside and the new ones in their place; again from where a kill left it. Undone on failure.

    The old ledger goes first and the new one comes last. So no ledger ever lies beside keys or databases of another
    state; while there is none, `refuse_half_restored` prevents that a new one is begun.
    """
    aside = home / stage.name.replace(RESTORING, ASIDE)
    new = {Path(entry.path).parts[0] for entry in backup.files}
    # A name that is no longer in the stage has been put in its place already: what is called so in the home is new.
    old = [path for path in _installed(home) if path.name not in new or os.path.lexists(stage / path.name)]
    moves = [(path, _free(aside / path.name)) for path in sorted(old, key=lambda path: path.name != LEDGER)]
    coming = (path for path in sorted(stage.iterdir()) if path.name != MANIFEST)
    moves += [(path, home / path.name) for path in sorted(coming, key=lambda path: path.name == LEDGER)]
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
            discard(stage)
        raise
    for folder in [home, *([aside] if aside.exists() else [])]:
        sync(folder)
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
    return sorted(path for path in home.iterdir() if not is_apart(path.name))


def _is_vacant(home: Path) -> bool:
    """Nothing is there but what a refused attempt leaves: `logs/defects.log`."""
    return all(
        path.name == "logs" and path.is_dir() and {log.name for log in path.iterdir()} <= {"defects.log"}
        for path in _installed(home)
    )


def _put_back(source: Path, fresh: Path, entry: Entry) -> None:
    path = fresh / entry.path
    make_private(path.parent)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    shutil.copyfile(source / entry.path, path)
    path.chmod(entry.mode)


def _begin_anew(ledger: Path, backup: Backup) -> None:
    """What must not come back from the past: run numbers that were given since, and people's sessions."""
    engine = make_engine(f"sqlite:///{ledger}")
    try:
        with writing(engine) as session:
            skip_run_numbers(session, RUN_NUMBERS_SKIPPED)
            sign_ins.delete_all_sessions(session)
            facts = {"made at": backup.made_at, "of": backup.home}
            audit.record(session, datetime.now(UTC), OPERATOR, "restore", "HEADWAY_HOME", after=facts)
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        engine.dispose()
    ledger.with_name(f"{LEDGER}-journal").unlink(missing_ok=True)  # without WAL SQLite leaves it there, empty
