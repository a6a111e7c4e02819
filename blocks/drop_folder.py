"""A local folder into which other programs put files for imports."""

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from io import BufferedReader, BufferedWriter
from pathlib import Path

from prefect.blocks.core import Block
from pydantic import Field

from headway.blocks.remote_names import check_name, check_steps, is_owners_part, is_temp_name, part_name
from headway.blocks.transfer import BeforeRename, DeliveryKey, Receipt, RemoteFile, TransferError
from headway.text import cause

OnBytes = Callable[[int, int], None]
"""Called with bytes copied and bytes in all."""


class DropFolder(Block):
    """
    A folder tree on the worker's own machine; nothing outside of `root` is read or written.

    Example:
        Look what has arrived:
        ```python
        from headway.blocks.drop_folder import DropFolder

        drop_folder = DropFolder.load("BLOCK_NAME")
        with drop_folder.connect() as session:
            print(session.list("", "*.csv"))
        ```
    """

    _block_type_name = "Headway Drop Folder"
    _block_type_slug = "headway-drop-folder"
    _documentation_url = "https://docs.prefect.io/v3/concepts/blocks"  # type: ignore[assignment]
    _description = "A local folder into which other programs put files for Headway's imports."

    root: str = Field(description="Absolute path of the folder. Tasks may name folders below it only.")

    @contextmanager
    def connect(self) -> Iterator["DropFolderSession"]:
        """The same calls as a session with an SFTP server. Raises TransferError."""
        root = Path(self.root)
        if not root.is_absolute() or not root.is_dir():
            raise TransferError(
                f"Drop folder: root '{self.root}' is no absolute path of a folder on this machine. "
                "Correct the block, or make the folder.",
                permanent=True,
            )
        yield DropFolderSession(root.resolve())


class DropFolderSession:
    """Files below one root. Links are never followed, so a link cannot lead outside."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def list(self, folder: str, pattern: str = "*") -> list[RemoteFile]:
        """The plain files whose names fit the pattern, by name; unfinished ones are left out."""
        with os.scandir(self._folder(folder)) as entries:
            found = [
                RemoteFile(entry.name, facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC))
                for entry in entries
                if entry.is_file(follow_symlinks=False)
                and fnmatchcase(entry.name, pattern)
                and not is_temp_name(entry.name)
                and (facts := entry.stat(follow_symlinks=False))
            ]
        return sorted(found, key=lambda file: file.name)

    def stat(self, folder: str, name: str) -> RemoteFile | None:
        """Size and time of one file; None where there is no file of that name."""
        return next((file for file in self.list(folder) if file.name == check_name(name)), None)

    def fetch(self, folder: str, name: str, local: Path, *, on_progress: OnBytes | None = None) -> Receipt:
        """Copy one file to `local`."""
        return self._copy(self._file(folder, name), local, name, on_progress)

    def deliver(
        self,
        local: Path,
        folder: str,
        name: str,
        *,
        on_progress: OnBytes | None = None,
        key: DeliveryKey | None = None,
        before_rename: BeforeRename | None = None,
    ) -> Receipt:
        """Put a local file into the folder; under its name only when it is whole.

        `key` tells this delivery from others of the same name: a later one of its owner's clears away what it left.
        """
        target = self._folder(folder) / check_name(name)
        part = target.with_name(part_name(name, key))
        for left in target.parent.iterdir():
            if key is not None and left != part and is_owners_part(left.name, name, key):
                left.unlink(missing_ok=True)
        try:
            receipt = self._copy(local, part, name, on_progress, shown_path=str(target))
            if before_rename:
                before_rename(str(target))
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
        return receipt

    def archive(self, folder: str, name: str, into: str) -> str:
        """Move one file into a folder below it, made if need be; returns the path that it has then.

        Where that name is taken a number is added: an archive loses nothing.
        """
        source = self._file(folder, name)
        target_folder = self._below(self._folder(folder), into)
        try:
            target_folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TransferError(
                f"The folder '{into}' cannot be made in {folder or self.root}: {cause(error)}."
            ) from error
        target = _free_name(self._below(target_folder, ""), name)
        os.rename(source, target)
        return str(target)

    def remove(self, folder: str, name: str) -> None:
        """Delete one file; an error where it is not there."""
        self._file(folder, name).unlink()

    def _folder(self, folder: str) -> Path:
        path = self._below(self.root, folder)
        if not path.is_dir():
            raise TransferError(f"The folder '{folder}' is not there, below {self.root}.", permanent=True)
        return path

    def _below(self, base: Path, folder: str) -> Path:
        check_steps(folder)
        path = (base / folder).resolve()
        if not path.is_relative_to(self.root):
            raise TransferError(
                f"The folder '{folder}' lies outside the drop folder {self.root}. Name one below it.",
                permanent=True,
            )
        return path

    def _file(self, folder: str, name: str) -> Path:
        path = self._folder(folder) / check_name(name)
        if path.is_symlink() or not path.is_file():
            raise TransferError(f"There is no file '{name}' in the drop folder {path.parent}.", permanent=True)
        return path

    def _copy(
        self, source: Path, target: Path, name: str, on_progress: OnBytes | None, shown_path: str = ""
    ) -> Receipt:
        started_at = datetime.now(UTC)
        try:
            with _plain_file(source) as reading, _new_file(target) as writing:
                shutil.copyfileobj(reading, writing, 1 << 20)
                writing.flush()
                os.fsync(writing.fileno())
        except OSError as error:
            raise TransferError(f"Copying '{name}' failed: {error.strerror}.") from error
        size = target.lstat().st_size
        if on_progress:
            on_progress(size, size)
        return Receipt(
            name=name,
            path=shown_path or str(source),
            bytes=size,
            sha256=_sha256_of(target),
            host_key="",
            attempts=1,
            started_at=started_at,
            ended_at=datetime.now(UTC),
            consumed=False,
            verified="read_back",
        )


def _plain_file(path: Path) -> BufferedReader:
    """Open for reading what is no link, though one may have been put there since it was looked at."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
    return file


def _new_file(path: Path) -> BufferedWriter:
    """Open for writing a file that was not there before: a link of that name is taken away, never followed."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb")


def _sha256_of(path: Path) -> str:
    with _plain_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _free_name(folder: Path, name: str) -> Path:
    path, number = folder / name, 0
    while path.exists():
        number += 1
        path = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
    return path
