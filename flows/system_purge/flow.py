"""System purge: deletes old runs with their events, log lines and receipts, as `headway purge` does.

It never deletes everything: open runs (its own too), each task's last run, failures that were not reset, and
the audit trail stay. The deletion is one row of the audit trail.

Its counts: *processed* is the number of runs deleted. *errors* is always 0: where it cannot go on it fails, what was
deleted until then stays deleted, and the next run goes on from there. *bytes* is 0, nothing is transferred.
"""

import json
import os
import subprocess
from collections import deque
from typing import Annotated, Any, Literal

from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from pydantic import BaseModel, ConfigDict, Field

from headway.blocks.transfer import TransferError
from headway.environment import python_module
from headway.flows.shared.delivery import TRANSFER
from headway.flows.shared.result import InputRefused, RunResult, completed, report_progress, run_key

Result = Literal["completed", "completed_with_errors", "failed", "cancelled", "superseded", "missed", "skipped"]
Days = Annotated[int, Field(ge=0, le=100_000)]

COMMAND = (*python_module("headway.cli"), "purge", "--json")
"""The command line's contract is stable; a flow knows nothing of the scheduler besides."""
UNREACHABLE = 5  # its exit code where the database is away
REFUSED = (2, 3, 4)


class PurgeRule(BaseModel):
    """Other days for some runs; the first rule that fits a run decides."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(default="", description="Runs of this task type; empty means every type.")
    result: Result | None = Field(default=None, description="Runs that ended so; empty means every result.")
    older_than_days: Days | None = Field(
        description="They go if they ended more than so many days ago; empty (null) keeps them for good."
    )


@flow(name="system_purge", persist_result=False)
def system_purge(
    older_than_days: Days | None = None,
    rules: list[PurgeRule] = [],  # noqa: B006 - Prefect copies it into the schema; nothing changes it
    only_types: list[str] = [],  # noqa: B006
    only_results: list[Result] = [],  # noqa: B006
    dry_run: bool = False,
) -> State[RunResult]:
    """Old runs deleted with their logs, with days of their own for types and results.

    Args:
        older_than_days: Runs that no rule fits go if they ended more than so many days ago. Empty: the setting
            retention_days; without that only what a rule fits goes.
        rules: Other days for a type, a result or both; the first rule that fits a run decides.
        only_types: Only runs of these task types; empty means every type.
        only_results: Only runs with these results; empty means every result.
        dry_run: Only count and log what would go.
    """
    logger = get_run_logger()
    arguments = purge_arguments(older_than_days, rules, only_types, only_results)
    deleted = purge(arguments, dry_run)
    for one in deleted["counts"]:
        word = "would go" if dry_run else "deleted"
        logger.info(f"{one['type']}, {one['result']}: {one['runs']:,} runs {word}")
    for why, runs in deleted["kept_why"].items():
        logger.info(f"Old enough, but it stays: {runs:,} runs ({why})")
    processed = 0 if dry_run else deleted["runs"]
    report_progress(logger, 100, processed)
    done = f"{deleted['runs']:,} runs and {deleted['lines']:,} log lines {'would go' if dry_run else 'deleted'}"
    return completed(RunResult(processed=processed, summary=f"{done}; {deleted['kept']:,} old ones stay"))


def purge_arguments(
    older_than_days: int | None, rules: list[PurgeRule], only_types: list[str], only_results: list[Result]
) -> list[str]:
    """The command line's arguments."""
    arguments = [] if older_than_days is None else [f"--older-than={older_than_days}"]
    for rule in rules:
        days = "keep" if rule.older_than_days is None else rule.older_than_days
        arguments.append(f"--rule={rule.type or '*'}:{rule.result or '*'}:{days}")
    return [
        *arguments,
        *(f"--type={name}" for name in only_types),
        *(f"--result={name}" for name in only_results),
    ]


@task(name="purge", **TRANSFER)
def purge(arguments: list[str], dry_run: bool) -> dict[str, Any]:
    """The document that the command line answers with. A retry goes on where the last one ended."""
    logger = get_run_logger()
    more = ["--dry-run"] if dry_run else [f"--reason=system_purge, run {run_key()}", "--progress"]
    environment = {name: value for name, value in os.environ.items() if name != "HEADWAY_USER"}
    told: deque[str] = deque(maxlen=5)
    with subprocess.Popen(
        [*COMMAND, *arguments, *more],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:  # in this process's group, so that a reset ends it too
        assert process.stdout is not None and process.stderr is not None
        for line in process.stderr:
            done, _, of = line.strip().partition("/")
            if done.isdecimal() and of.isdecimal():
                report_progress(logger, 99 * int(done) / max(int(of), 1), int(done))
            elif line.strip():
                told.append(line.strip())
        answer = process.stdout.read()
    _refuse_failure(process.returncode, " ".join(told))
    document: dict[str, Any] = json.loads(answer)
    return document


def _refuse_failure(exit_code: int, told: str) -> None:
    if exit_code == 0:
        return
    if exit_code == UNREACHABLE:
        raise TransferError(f"The scheduler's database did not answer: {told}")
    if exit_code in REFUSED:
        raise InputRefused(f"The purge was refused: {told}")
    raise TransferError(f"The purge ended with exit code {exit_code}: {told or 'it said nothing'}", permanent=True)
