"""Flows that behave in one way each, for the tests of the engine room."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.states import Completed
from pydantic import BaseModel

from headway.flows.shared.result import announce_rename


class Counts(BaseModel):
    processed: int = 0
    errors: int = 0
    bytes: int = 0
    files: list[str] = []
    summary: str = ""


@flow
def nothing() -> None:
    """Does nothing."""


@flow
def counting(processed: int = 7, errors: int = 0) -> Counts:
    """Returns counts."""
    return Counts(processed=processed, errors=errors, bytes=1234, files=["a.csv", "b.csv"], summary="Two files.")


@flow
def stating() -> Any:
    """Returns a Prefect state that has the counts in its data."""
    return Completed(message="All in.", data={"processed": 3, "errors": 1})


@flow
async def asynchronous() -> dict[str, int]:
    """An async flow."""
    return {"processed": 5}


@task
def one_step(text: str) -> str:
    get_run_logger().info("Step %s", text)
    return text


@flow
def with_tasks() -> dict[str, int]:
    """Two tasks, one of them in a thread."""
    one_step("one")
    future = one_step.submit("two")
    return {"processed": len(future.result())}


@flow
def failing() -> None:
    """Raises."""
    raise ValueError("no such\nlist")


@flow(retries=1, retry_delay_seconds=0)
def failing_once(marker: str) -> dict[str, int]:
    """Fails the first time, where Prefect itself retries."""
    path = Path(marker)
    if not path.exists():
        path.touch()
        raise RuntimeError("first time")
    return {"processed": 1}


@flow
def leaving(code: int = 3) -> None:
    """Ends its process without a word."""
    os._exit(code)


@flow
def killing_itself() -> None:
    """Dies as if the kernel ran out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


@flow
def slow(started: str, seconds: float = 60) -> dict[str, int]:
    """Touches a file and then takes its time."""
    Path(started).write_text(str(os.getpid()))
    time.sleep(seconds)
    return {"processed": 1}


@flow
def stubborn(started: str, seconds: float = 60) -> None:
    """Ignores a TERM, and has a child process that does, too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", ignore], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    Path(started).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(seconds)


@flow
def waiting_for(started: str, go: str) -> dict[str, int]:
    """Touches one file, then waits for another."""
    Path(started).touch()
    while not Path(go).exists():
        time.sleep(0.02)
    return {"processed": 42}


@flow
def naming(started: str, go: str, name: str) -> None:
    """Touches one file, waits for another, and then gives a file its name, as a delivery does."""
    Path(started).touch()
    while not Path(go).exists():
        time.sleep(0.02)
    announce_rename(get_run_logger(), name)
    Path(name).touch()


@flow
def talking() -> None:
    """Log lines, progress and a receipt."""
    logger = get_run_logger()
    logger.info("Half way", extra={"progress": 50.0, "processed": 10})
    logger.warning("Careful")
    logger.error("Bad row 7")
    logger.info("Delivered a.csv", extra={"receipt": {"name": "a.csv", "bytes": 9}})
    logging.getLogger("tests.sample").warning("From the flow's own logger")


class Params(BaseModel):
    limit: int


@flow
def with_params(params: Params) -> dict[str, int]:
    """Takes a model."""
    return {"processed": params.limit}
