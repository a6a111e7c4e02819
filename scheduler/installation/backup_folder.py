"""A folder that holds a back-up: the files of a HEADWAY_HOME and a manifest (sizes, SHA-256), which goes in last."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headway.errors import InvalidInput
from headway.scheduler.installation.home_lock import LOCK_FILE, MANIFEST, RESTORING

FORMAT = 1
LEDGER = "headway.db"
ASIDE = "before-"
"""How folders begin in which a restore keeps what was there."""
SET_ASIDE = re.compile(rf"{ASIDE}\d{{8}}T\d{{6}}-\d{{6}}")
STAYS = {LOCK_FILE, "lost+found"}


@dataclass(frozen=True)
class Entry:
    """One file of a back-up; `path` is relative to it, `mode` its permissions."""

    path: str
    bytes: int
    sha256: str
    mode: int


@dataclass(kw_only=True, frozen=True)
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
        if path.stat().st_size != entry.bytes or sha256(path) != entry.sha256:
            return "is not what was backed up"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def write_manifest(folder: Path, backup: Backup) -> None:
    """At once, and after all else is on the disk: with a manifest the folder counts as complete."""
    for below, _, files in os.walk(folder):
        for path in [*(Path(below, name) for name in files), Path(below)]:
            sync(path)
    path = folder / f"{MANIFEST}.new"
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    path.write_text(json.dumps(asdict(backup), indent=1) + "\n", encoding="utf-8")
    sync(path)
    path.rename(folder / MANIFEST)
    sync(folder)
    sync(folder.parent)


def sync(path: Path) -> None:
    """Wait until a file, or what a folder lists, would outlive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def whole_or_gone(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        discard(folder)
        raise


def discard(folder: Path) -> None:
    """Without the manifest, which goes first, what is left of a folder counts for nothing."""
    with suppress(OSError):
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def make_private(folder: Path) -> None:
    """The folder and those above it that are missing, for their owner alone (mkdir's own mode is the last one's)."""
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def is_apart(name: str) -> bool:
    """Whether what is called so at the home's top is no part of the installation."""
    return name in STAYS or name.startswith(RESTORING) or SET_ASIDE.fullmatch(name) is not None
