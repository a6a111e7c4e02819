"""A task as the rules see it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta

from headway.models.values.instant import DEFAULT_TIMEZONE
from headway.models.values.schedule import Schedule
from headway.models.values.window import WindowPolicy


class OnFailure(enum.StrEnum):
    """What a failed run means for the task's next one."""

    HOLD = "hold"
    """It waits until an operator resets the task."""
    CONTINUE = "continue"
    """It starts as usual."""


class OnErrors(enum.StrEnum):
    """What a run that completed with errors means for the next step."""

    CONTINUE = "continue"
    """The step follows."""
    STOP = "stop"
    """The step does not follow."""


class CatchUp(enum.StrEnum):
    """What becomes of occurrences that came due while an older one waited, or while no worker was alive."""

    LATEST = "latest"
    """Only the latest one runs; the older ones are superseded or missed."""
    ALL = "all"
    """Each one runs."""


@dataclass(kw_only=True, frozen=True, slots=True)
class Task:
    """What the rules know of a task."""

    uid: int
    name: str
    type: str
    group: str
    """Runs of one group never overlap."""
    schedule: Schedule | None = None
    """None: it runs only by Run now."""
    timezone: str = DEFAULT_TIMEZONE
    """IANA name of the schedule's zone."""
    enabled: bool = True
    historical: bool = False
    """Kept for its log; it does not run any more."""
    window: WindowPolicy = WindowPolicy.AVOID
    on_failure: OnFailure = OnFailure.HOLD
    on_errors: OnErrors = OnErrors.CONTINUE
    catch_up: CatchUp = CatchUp.LATEST
    estimate: timedelta | None = None
    """How long a run is taken to last; None if that is unknown."""
    step: int = 1
    """Its number in its chain. This, `root` and `successors` come from `planning.chains.link`."""
    root: int = 0
    """The UID of its chain's first task."""
    successors: tuple[int, ...] = ()
    """The UIDs of the steps right after it."""

    @property
    def scheduled(self) -> bool:
        """Whether its schedule makes runs: neither disabled nor historical."""
        return self.enabled and not self.historical
