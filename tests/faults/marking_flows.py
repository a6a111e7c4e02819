"""Flows that leave marks in a file when they begin and end, so that both can be counted whatever the ledger says."""

import os
import resource
import time
from typing import Any

from prefect import flow
from prefect.context import get_run_context


def _mark(what: str) -> None:
    key = get_run_context().flow_run.idempotency_key  # type: ignore[union-attr]
    file = os.open(os.environ["HEADWAY_TEST_MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{key} {what} {time.time()}\n".encode())  # one write, so that no two mix
    finally:
        os.close(file)


@flow
def marking(seconds: float = 0.0) -> dict[str, Any]:
    """Marks, takes its time, marks, and has processed one record."""
    _mark("began")
    time.sleep(seconds)
    _mark("ended")
    return {"processed": 1}


@flow
def eating() -> None:
    """Marks, and needs more memory than it may have."""
    _mark("began")
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    bytearray(1 << 31)
