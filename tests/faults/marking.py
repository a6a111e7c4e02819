"""A flow that leaves a mark in a file when it begins, so that beginnings can be counted whatever the ledger says."""

import os
import resource
import time
from typing import Any

from prefect import flow
from prefect.context import get_run_context


def _mark() -> None:
    key = get_run_context().flow_run.idempotency_key  # type: ignore[union-attr]
    file = os.open(os.environ["HEADWAY_TEST_MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{key} {os.getpid()}\n".encode())  # one write, so that no two mix
    finally:
        os.close(file)


@flow
def marking(seconds: float = 0.0) -> dict[str, Any]:
    """Marks, takes its time, and has processed one record."""
    _mark()
    time.sleep(seconds)
    return {"processed": 1}


@flow
def eating() -> None:
    """Marks, and needs more memory than it may have."""
    _mark()
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    bytearray(1 << 31)
