"""Incoming files: finding them, waiting for them, fetching them, and putting them away afterwards."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, Protocol

from prefect import get_run_logger, task

from headway.blocks.drop_folder import DropFolder
from headway.blocks.sftp.block import SftpServer
from headway.blocks.transfer import BeforeRename, DeliveryKey, Receipt, RemoteFile, TransferError
from headway.flows.shared.delivery import TRANSFER, load_importer, still_ours
from headway.flows.shared.result import InputRefused, announce_receipt, delivery_key

POLL_SECONDS = 15.0
ERROR_SUFFIX = "_error.csv"

After = Literal["archive", "delete", "leave"]
OnMissing = Literal["fail", "wait", "skip"]
SourceKind = Literal["importer", "sftp", "drop_folder"]


class Session(Protocol):
    """What an SFTP session and a drop folder's session have in common."""

    def list(self, folder: str, pattern: str = "*") -> list[RemoteFile]: ...
    def stat(self, folder: str, name: str) -> RemoteFile | None: ...
    def fetch(self, folder: str, name: str, local: Path, *, on_progress: Any = None) -> Any: ...
    def deliver(
        self,
        local: Path,
        folder: str,
        name: str,
        *,
        on_progress: Any = None,
        key: DeliveryKey | None = None,
        before_rename: BeforeRename | None = None,
    ) -> Receipt: ...
    def archive(self, folder: str, name: str, into: str) -> str: ...
    def remove(self, folder: str, name: str) -> None: ...


@dataclass(frozen=True)
class Place:
    """Where files come from: a folder of the importer's server, or of a local drop folder."""

    block: Any
    folder: str

    def __str__(self) -> str:
        return self.folder or ("the drop folder" if isinstance(self.block, DropFolder) else "the server's root")

    @contextmanager
    def connect(self) -> Iterator[Session]:
        with self.block.connect() as session:
            yield session


@dataclass(frozen=True)
class Late:
    """What happens once a file is `after` late: `tell` is called once, with a sentence, and the waiting goes on."""

    after: timedelta
    tell: Callable[[str], None]


def place_of(source: SourceKind, importer: str, drop_folder: str, folder: str, sftp_server: str = "") -> Place:
    """The place that the parameters name. Raises InputRefused where a block is missing."""
    if source == "sftp":
        return Place(_sftp_server(sftp_server), folder)
    if source == "importer":
        if folder:
            raise InputRefused("folder belongs to source drop_folder; the importer has one folder, its path.")
        block = load_importer(importer)
        return Place(block, block.importer_folder())
    try:
        return Place(DropFolder.load(drop_folder), folder)
    except ValueError as error:
        raise InputRefused(f"There is no drop folder block '{drop_folder}'. Make it, with its root.") from error


def _sftp_server(name: str) -> SftpServer:
    if not name:
        raise InputRefused("sftp_server is empty: with source sftp, name the SFTP server block there.")
    try:
        block = SftpServer.load(name)
    except ValueError as error:
        raise InputRefused(
            f"There is no SFTP server block '{name}'. Make it, or correct sftp_server, the name of the block."
        ) from error
    assert isinstance(block, SftpServer)
    return block


def error_file_name(name: str) -> str:
    """Where the bad rows of the file `name` go."""
    return f"{Path(name).stem}{ERROR_SUFFIX}"


def fits(name: str, pattern: str) -> bool:
    """Whether a file is meant by a name or pattern; files of bad rows never are."""
    return (name == pattern or fnmatchcase(name, pattern)) and not name.endswith(ERROR_SUFFIX)


def wait_for_files(
    place: Place, pattern: str, on_missing: OnMissing, limit: timedelta, late: Late | None = None
) -> list[str]:
    """Names of the files that fit, oldest first. None: fail, wait up to the limit and then fail, or skip.

    Waiting keeps the run, and so its group, busy.
    """
    logger = get_run_logger()
    began_at = time.monotonic()
    ends_at = began_at + (limit.total_seconds() if on_missing == "wait" else 0)
    told = False
    while not (names := find_files(place, pattern)):
        if on_missing == "skip":
            logger.warning(f"No file '{pattern}' in {place}: left for the next run.")
            return []
        if time.monotonic() >= ends_at:
            waited = f", though waited for {limit}" if on_missing == "wait" else ""
            raise InputRefused(f"Expected file did not arrive: no file '{pattern}' in {place}{waited}.")
        if not told:
            logger.info(f"Waiting up to {limit} for a file '{pattern}'.")
            told = True
        if late and time.monotonic() >= began_at + late.after.total_seconds():
            late.tell(f"Expected file did not arrive: no file '{pattern}' in {place} for {late.after}; still waiting.")
            late = None
        time.sleep(min(POLL_SECONDS, max(ends_at - time.monotonic(), 0)))
    return names


@task(name="look for files", **TRANSFER)
def find_files(place: Place, pattern: str) -> list[str]:
    """Names of the files that fit now, oldest first."""
    with place.connect() as session:
        files = [file for file in session.list(place.folder) if fits(file.name, pattern)]
    return [file.name for file in sorted(files, key=lambda file: (str(file.modified_at or ""), file.name))]


@task(name="fetch", **TRANSFER)
def fetch(place: Place, name: str, local: Path) -> None:
    """Copy one file here. Raises TransferError, to be tried again, if it changed meanwhile."""
    with place.connect() as session:
        before = session.stat(place.folder, name)
        session.fetch(place.folder, name, local)
        after = session.stat(place.folder, name)
    if before != after or (after and after.bytes != local.stat().st_size):
        raise TransferError(f"'{name}' is still being written: it changed while it was read.", permanent=False)


@task(name="write error file", **TRANSFER)
def put_error_file(place: Place, local: Path | None, name: str) -> dict[str, Any] | None:
    """Put the bad rows beside the source. None: there are none, and a file of earlier bad rows goes away."""
    with place.connect() as session:
        if local is None:
            if session.stat(place.folder, name):
                session.remove(place.folder, name)
            return None
        receipt = session.deliver(local, place.folder, name, key=delivery_key(), before_rename=still_ours).as_dict()
    announce_receipt(get_run_logger(), receipt)
    return receipt


@task(name="put away", **TRANSFER)
def put_away(place: Place, name: str, after: After, archive_folder: str) -> None:
    """Archive, delete or leave a file that has been loaded; one that is gone already is fine."""
    logger = get_run_logger()
    if after == "leave":
        return
    with place.connect() as session:
        if not session.stat(place.folder, name):
            return
        if after == "delete":
            session.remove(place.folder, name)
            logger.info(f"Deleted {name}")
        else:
            logger.info(f"Archived {name} as {session.archive(place.folder, name, archive_folder)}")
