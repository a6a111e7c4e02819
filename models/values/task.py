"""A task as the rules see it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta

from headway.models.values.instant import DEFAULT_TIMEZONE
from headway.models.values.schedule import Schedule
from headway.models.values.window import WindowPolicy


class OnFailure(enum.StrEnum):
    HOLD = "hold"
    CONTINUE = "continue"


class OnErrors(enum.StrEnum):
    CONTINUE = "continue"
    STOP = "stop"


class CatchUp(enum.StrEnum):
    LATEST = "latest"
    ALL = "all"


@dataclass(kw_only=True, frozen=True, slots=True)
class Task:
    """What the rules know of a task. `step`, `root` and `successors` are filled by `planning.chains.link`."""

    uid: int
    name: str
    type: str
    group: str
    schedule: Schedule | None = None
    timezone: str = DEFAULT_TIMEZONE
    enabled: bool = True
    historical: bool = False
    window: WindowPolicy = WindowPolicy.AVOID
    on_failure: OnFailure = OnFailure.HOLD
    on_errors: OnErrors = OnErrors.CONTINUE
    catch_up: CatchUp = CatchUp.LATEST
    estimate: timedelta | None = None
    step: int = 1
    root: int = 0
    successors: tuple[int, ...] = ()

    @property
    def scheduled(self) -> bool:
        """Whether it gets runs by itself: neither disabled nor historical."""
        return self.enabled and not self.historical
