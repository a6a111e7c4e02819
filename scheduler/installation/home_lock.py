"""Who uses a HEADWAY_HOME: `up` and each worker hold a lock on it as long as they live."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headway.errors import Refused, Unreachable

LOCK_FILE = "in-use.lock"
MANIFEST = "headway-backup.json"
RESTORING = ".restoring-"
"""How folders begin in which a restore puts its files before it moves them to their places."""


@contextmanager
def in_use(home: Path) -> Iterator[None]:
    """Keep the home from being replaced; it may be shared by many. Ends with the process, however that ends."""
    with _locked(home, fcntl.LOCK_SH, "is being restored; start again when that is done"):
        refuse_half_restored(home)
        yield


@contextmanager
def not_in_use(home: Path) -> Iterator[None]:
    """Refused while anything runs on this home; nothing can start on it meanwhile."""
    with _locked(home, fcntl.LOCK_EX, "is in use: stop `headway up` and its workers first"):
        yield


@contextmanager
def _locked(home: Path, kind: int, why_not: str) -> Iterator[None]:
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(home / LOCK_FILE, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise Unreachable(
            f"HEADWAY_HOME cannot be used: {error}; make the folder, and give it to the user that runs Headway"
        ) from None
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise Refused(f"{home} {why_not}") from None
    try:
        yield
    finally:
        os.close(handle)


def refuse_half_restored(home: Path) -> None:
    """What a killed restore has left is no installation, and no place for a new one: Refused."""
    if half_restored(home) is not None:
        raise Refused(f"{home} is half restored: run `headway restore` with the same back-up again to finish it")


def half_restored(home: Path) -> Path | None:
    """The folder in the home from which a restore was moving files when it was killed. Its manifest goes last."""
    manifest = next(home.glob(f"{RESTORING}*/{MANIFEST}"), None)
    return manifest.parent if manifest is not None else None
