"""What every task type hands back, and how it tells of its progress while it runs.

The scheduler learns of a run by two ways only: the log records that the flow writes (read on the spot,
so they survive the process) and the result that it returns.
"""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from prefect.artifacts import Artifact
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Completed
from pydantic import BaseModel, ConfigDict, Field

from headway.blocks.transfer import DeliveryKey

RESULT_KEY = "headway-result"
"""The artifact that holds what a flow returned, where another pool executed it."""
LOGGED_ROWS = 100
"""So many bad rows are logged one by one; the rest only count (and are in the error file)."""


class RunResult(BaseModel):
    """The counts of one run. `bytes` is what was transferred; `files` are receipts (JSON-able)."""

    model_config = ConfigDict(extra="forbid")

    processed: int = 0
    errors: int = 0
    bytes: int = 0
    files: list[dict[str, Any]] = Field(default_factory=list)
    summary: str = ""


class InputRefused(Exception):
    """A parameter, a file or a state of things makes the run impossible: trying again changes nothing.

    The message is a sentence for an operator.
    """

    permanent = True
    expected = True
    """No defect is behind it: log and reset page show the message, without a traceback."""


def completed(result: RunResult) -> State[RunResult]:
    """What a flow returns: Prefect shows the summary as the state's message, `state.data` has the rest.

    In a process of the scheduler's own the result is read on the spot. Elsewhere (another work pool) it is left in
    Prefect as an artifact, because Prefect keeps no data of a state that is not persisted.
    """
    if "HEADWAY_RUN" not in os.environ and FlowRunContext.get() is not None:
        Artifact(type="result", key=RESULT_KEY, data=result.model_dump(mode="json")).create()
    return Completed(message=result.summary, data=result)


def run_key() -> str | None:
    """Names the scheduler's run, the same for each of its attempts; None outside a flow run.

    The scheduler starts a flow run with the idempotency key `run id:attempt`; a flow run that a person
    started in Prefect is named by its own id.
    """
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    if flow_run is None:
        return None
    run, _, attempt = (flow_run.idempotency_key or "").rpartition(":")
    return run if run and attempt.isdigit() else str(flow_run.id)


def task_identity() -> str:
    """Names the task whose run this is, the same after it was renamed.

    The scheduler tags its flow runs with the task's UID. What is started in Prefect itself is named by its
    deployment.
    """
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    if flow_run is None:
        return "no task"
    tag = next((tag for tag in sorted(flow_run.tags) if tag.startswith("task:")), None)
    return tag or f"deployment:{flow_run.deployment_id}"


def delivery_key() -> DeliveryKey | None:
    """Tells this run's deliveries from all others' of the same file names; None outside a flow run.

    The same for each of its attempts. With its deployment and its due, for another installation may count its tasks
    and runs alike and deliver to the same folder. A task has one run at a time; a deployment in plain Prefect may not.
    """
    key, context = run_key(), FlowRunContext.get()
    flow_run = context.flow_run if context else None
    if key is None or flow_run is None:
        return None
    run, is_planned = f"run {key} {_label('headway.due')}", key != str(flow_run.id)
    return DeliveryKey(f"{flow_run.deployment_id} {task_identity()}" if is_planned else run, run)


def run_due() -> datetime:
    """The instant at which the run came due, aware UTC: the same for each of its attempts.

    The scheduler hands it over as a label of the flow run. In plain Prefect it is the time for which the
    flow run was scheduled, and outside a flow run it is now.
    """
    due = _label("headway.due")
    if due:
        return datetime.fromisoformat(due).astimezone(UTC)
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    scheduled = flow_run.expected_start_time if flow_run else None
    return scheduled.astimezone(UTC) if scheduled else datetime.now(UTC)


def run_zone() -> str:
    """IANA name of the task's time zone (or the settings', where the task names none); UTC in plain Prefect."""
    return _label("headway.zone") or "UTC"


def run_object() -> str:
    """Name of the task's object; empty where it has none, and in plain Prefect."""
    return _label("headway.object")


def run_importer_path() -> str:
    """The configured importer path as the scheduler knew it when the run started; empty in plain Prefect."""
    return _label("headway.importer_path")


def _label(name: str) -> str:
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    return str(flow_run.labels.get(name) or "") if flow_run else ""


class _Throttle:
    """Lets one report a second through, and the first and last of each run."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._run: object = None
        self._reported_at = 0.0

    def passes(self, run: object, percent: float) -> bool:
        now = self.clock()
        if run == self._run and now - self._reported_at < 1.0 and percent < 100:
            return False
        self._run, self._reported_at = run, now
        return True


_throttle = _Throttle()


def report_progress(logger: Any, percent: float, processed: int | None = None) -> None:
    """Say how far the run is (0 to 100, and rows so far if known), at most once a second.

    The scheduler reads `progress` and `processed` from the log record.
    """
    percent = min(max(percent, 0.0), 100.0)
    run = (getattr(logger, "extra", None) or {}).get("flow_run_id")
    if not _throttle.passes(run, percent):
        return
    extra: dict[str, Any] = {"progress": round(percent, 1)}
    rows = ""
    if processed is not None:
        extra["processed"] = processed
        rows = f", {processed:,} rows"
    logger.info(f"{percent:.0f} %{rows}", extra=extra)


def announce_rename(logger: Any, path: str) -> None:
    """Log that a file is uploaded whole and gets its final name now.

    In a process of the scheduler's the record is in the ledger when this returns; a process that was given up meanwhile
    is ended by it. Raises what the ledger's database raises.
    """
    logger.info(f"Uploaded {path}: it gets its name now", extra={"only_with_claim": True})


def announce_receipt(logger: Any, receipt: dict[str, Any]) -> None:
    """Log a file the moment it has its final name: the ledger knows it even if the process dies now."""
    logger.info(
        f"Delivered {receipt['path']}: {receipt['bytes']:,} bytes, SHA-256 {receipt['sha256']}",
        extra={"receipt": receipt},
    )


class BadRows:
    """Counts bad rows and logs the first of them, each as an error line."""

    def __init__(self, logger: Any, file_name: str) -> None:
        self.logger = logger
        self.file_name = file_name
        self.count = 0

    def add(self, line: int, reason: str) -> None:
        self.count += 1
        if self.count <= LOGGED_ROWS:
            self.logger.error(f"{self.file_name} line {line}: {reason}")

    def finish(self, error_file: str) -> None:
        """Say how many more there are, and where they all can be read."""
        if self.count > LOGGED_ROWS:
            self.logger.error(f"{self.count - LOGGED_ROWS:,} more bad rows; all {self.count:,} are in {error_file}")
