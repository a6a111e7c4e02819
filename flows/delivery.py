"""Delivering a finished local file to the importer: the only place that exports go to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from blocks.sftp import SftpServer
from prefect import get_run_logger, task
from prefect.client.schemas.objects import TaskRun
from prefect.states import State
from prefect.tasks import Task

from flows.result import InputRefused, announce_receipt

OnBytes = Callable[[int], None]
"""Called with the bytes sent so far."""


def may_pass(_task: Task[..., Any], _run: TaskRun, state: State) -> bool:
    """Whether trying again may help: an error that says it is permanent is not tried again."""
    error = state.result(raise_on_failure=False)
    return not getattr(error, "permanent", False)


def load_importer(name: str) -> SftpServer:
    """The SFTP block that holds the configured importer path. Raises InputRefused where there is none."""
    try:
        block = SftpServer.load(name)
    except ValueError as error:
        raise InputRefused(
            f"The importer '{name}' is not configured: there is no SFTP block of that name. "
            "Make it, with the Customer Importer File Path, and run the task again."
        ) from error
    assert isinstance(block, SftpServer)
    return block


@task(
    name="deliver",
    retries=3,
    retry_delay_seconds=[10, 60, 180],
    retry_condition_fn=may_pass,
    persist_result=False,
)
def deliver(importer: SftpServer, local: Path, name: str, on_bytes: OnBytes) -> dict[str, Any]:
    """Put the file at the importer path under its final name; returns the receipt, announced already."""
    with importer.connect() as session:
        receipt = session.deliver(
            local, importer.importer_folder(), name, on_progress=lambda sent, *_: on_bytes(sent)
        ).as_dict()
    announce_receipt(get_run_logger(), receipt)
    return receipt
