"""Delivering a finished local file to the importer: the only place that exports go to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError

from headway.blocks.database.block import DatabaseError
from headway.blocks.sftp.block import SftpServer
from headway.blocks.transfer import DeliveryKey, TransferError
from headway.flows.shared.result import InputRefused, announce_receipt, announce_rename, delivery_key, run_importer_path

PATH_IS_SET = (
    "The importer path is the setting Customer Importer File Path: Configuration, or "
    "settings.customer_importer_file_path in a file for `headway apply`."
)
IMPORTER = "importer"  # the one block that holds the configured importer path; exports have no other destination
OnBytes = Callable[[int], None]
"""Called with the bytes sent so far."""


def may_pass(_task: Task[..., Any], _run: TaskRun, state: State) -> bool:
    """Whether trying again may help: an error of the network or a database that is not permanent."""
    error = state.result(raise_on_failure=False)
    if isinstance(error, (TransferError, DatabaseError)):
        return not error.permanent
    return isinstance(error, (OSError, OperationalError))


TRANSFER: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": [10, 60, 180],
    "retry_condition_fn": may_pass,
    "cache_policy": NO_CACHE,  # each call has an effect: none may be taken from a cache
    "persist_result": False,
}
"""How tasks that talk to another machine are retried."""


def load_importer(name: str) -> SftpServer:
    """The SFTP block that holds the configured importer path. Raises InputRefused where there is none, or no good one.

    So that an export is refused before its rows are read, and never after.
    """
    try:
        block = SftpServer.load(name)
    except RuntimeError as error:  # what Prefect makes of a document that the block itself refuses
        if not isinstance(error.__cause__, ValidationError):
            raise
        told = "; ".join(one["msg"].removeprefix("Value error, ") for one in error.__cause__.errors())
        raise InputRefused(f"The SFTP block '{name}' cannot be used: {told} {PATH_IS_SET}") from error
    except ValueError as error:
        raise InputRefused(
            f"The importer '{name}' is not configured: there is no SFTP block of that name. "
            "Make it, with the Customer Importer File Path, and run the task again."
        ) from error
    assert isinstance(block, SftpServer)
    if name == IMPORTER and (configured := run_importer_path()):
        block.importer_path = configured  # the block may have been edited after this run was started
    try:
        block.importer_folder()
    except TransferError as error:
        raise InputRefused(str(error)) from error
    return block


def still_ours(path: str) -> None:
    """Returns if the run is still this process's, as far as the scheduler can say; if not, the process ends here.

    Raises TransferError, to be tried again, where the scheduler's ledger cannot be asked: the run may be another's.
    """
    try:
        announce_rename(get_run_logger(), path)
    except Exception as error:  # whatever its database raises
        told = str(error).partition("\n")[0]
        raise TransferError(f"{path} is uploaded and does not get its name yet: {told}") from error


@task(name="deliver", **TRANSFER)
def deliver(
    importer: SftpServer, local: Path, name: str, on_bytes: OnBytes, key: DeliveryKey | None = None
) -> dict[str, Any]:
    """Put the file at the importer path under its final name; returns the receipt, announced already.

    key: of a file that another run may go on with, what tells it from all others (default: it is this run's).
    """
    with importer.connect() as session:
        sent = session.deliver(
            local,
            importer.importer_folder(),
            name,
            on_progress=lambda sent, *_: on_bytes(sent),
            key=key or delivery_key(),
            before_rename=still_ours,
        )
    # The block's name says whose importer is to pick it up: the scheduler looks there later.
    receipt = {**sent.as_dict(), "block": importer._block_document_name}
    announce_receipt(get_run_logger(), receipt)
    return receipt
