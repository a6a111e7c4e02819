"""What a run's process may write about its run, and what it says. Standard library only.

The store implements RunLedger; scheduler/execution/run_process.py is its only user.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any, Literal, Protocol

from headway.scheduler.execution.process_identity import ProcessIdentity

OutcomeKind = Literal["completed", "failed", "cancelled"]


class ExitCode(IntEnum):
    """How a run's process leaves. Any other code, or a signal, means that it died."""

    RECORDED = 0
    """Its last write is in the ledger."""
    NOT_RECORDED = 74
    """The ledger's database could not be written; the process that started this one has to record its end."""
    CLAIM_LOST = 75
    """Another process owns the run by now: nothing was, and nothing may be, written."""
    TWIN = 76
    """Prefect knows this run and attempt as started already: another process has it."""


@dataclass(frozen=True)
class LogLine:
    """One log record of a flow. `at` is aware UTC; `level` as in logging (ERROR is 40)."""

    at: datetime
    level: int
    logger: str
    message: str


@dataclass(kw_only=True, frozen=True)
class Outcome:
    """How a run ended, in the flow's own words."""

    kind: OutcomeKind
    processed: int | None = None
    """Records, as the flow counted them; None if it did not."""
    errors: int = 0
    bytes: int | None = None
    """Size of what was sent, received or written; None if the flow did not say."""
    files: tuple[Any, ...] = field(default=())
    """Names, or JSON objects with more about each."""
    message: str = ""
    error: str | None = None
    """One line: exception type and message. None unless it failed."""
    permanent: bool = False
    """It failed in a way that trying again does not change; then there is no automatic retry."""


class RunLedger(Protocol):
    """The ledger as one run's process sees it.

    Each call carries the claim. False means the claim is lost: the process has to end at once. Calls
    come from several threads, never two at the same time.
    """

    def began(self, process: ProcessIdentity) -> bool:
        """The run has this process. False, too, if it already has another one."""

    def bind(self, flow_run_id: str) -> bool: ...

    def running(self) -> bool:
        """starting -> running"""

    def log(self, lines: Sequence[LogLine]) -> bool: ...

    def progress(self, percent: float | None, processed: int | None) -> bool: ...

    def receipt(self, receipt: dict[str, Any]) -> bool:
        """A delivery that happened; committed when the call returns."""

    def ended(self, outcome: Outcome) -> bool:
        """starting | running -> the outcome"""

    def not_started(self, reason: str) -> bool:
        """starting -> waiting: nothing of the flow ran."""

    def close(self) -> None: ...


LedgerFactory = Callable[[str, int, str], RunLedger]
"""(database_url, run_id, claim); opens its connection in the process that calls it."""
