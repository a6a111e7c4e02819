"""What became of runs, their processes and their files."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from headway.models.values.pickup import PickUp
from headway.models.values.run import RunStatus
from headway.wording.lengths import clock_length

LEVELS = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}
"""Levels of log lines."""


class RunFacts(Protocol):
    """What is read of a run's row."""

    @property
    def status(self) -> RunStatus: ...
    @property
    def started_at(self) -> datetime | None: ...
    @property
    def ended_at(self) -> datetime | None: ...
    @property
    def bytes(self) -> int: ...
    @property
    def error(self) -> str | None: ...
    @property
    def message(self) -> str: ...


class FileFacts(Protocol):
    """What is read of the row of a delivered file."""

    @property
    def pickup(self) -> PickUp | None: ...
    @property
    def pickup_at(self) -> datetime | None: ...
    @property
    def overdue_at(self) -> datetime | None: ...


def duration(run: RunFacts) -> str:
    """From its start to its end as `mm:ss`. Empty where one of them is missing."""
    return clock_length(run.ended_at - run.started_at) if run.started_at and run.ended_at else ""


def size_kb(run: RunFacts) -> float:
    """What the run sent or received in KB, to one decimal."""
    return round(run.bytes / 1024, 1)


def size(run: RunFacts) -> str:
    """As `size_kb`, as text: `0.0`, `12.5`."""
    return f"{size_kb(run):.1f}"


def trouble(run: RunFacts) -> str:
    """What an operator has to know about how the run ended. Empty where it completed."""
    return run.error or ("" if run.status is RunStatus.COMPLETED else run.message)


def process_in_words(process_id: int, state: str) -> str:
    """What a process ID means for an operator; `state` is the task's, as the list shows it."""
    if process_id == 0:
        return "0: it is not running"
    if state == "Execution failed":
        return f"{process_id}: it failed, and that process is not proven gone; a reset ends it and is safe"
    return f"{process_id}: it is running on the server; editing the task now could break the process"


def picked_up(file: FileFacts, shown: Callable[[datetime | None], str]) -> str:
    """What became of a delivered file at the importer path. Empty where no importer is to pick it up.

    shown: how an instant is written.
    """
    if file.pickup is PickUp.LYING:
        return "not picked up yet" if file.overdue_at is None else f"NOT PICKED UP: warned at {shown(file.overdue_at)}"
    if file.pickup is PickUp.CONSUMED:
        return f"consumed at {shown(file.pickup_at)}"
    if file.pickup is PickUp.REPLACED:
        return f"another file had its name at {shown(file.pickup_at)}"
    return f"still there at {shown(file.pickup_at)}, when the watch ended" if file.pickup is PickUp.LEFT else ""
