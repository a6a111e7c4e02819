"""The error report's groups: the same error of the same task is one, whatever numbers are in its text.

new: it was not there in the days before this period; recurring: it was; resolved: it was, did not come back,
and a run of its task has ended well since.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from headway.flows.task_error_report.ledger_reader import ErrorLine, GoodRuns

Kind = Literal["new", "recurring"]
MOST_GROUPS = 5_000
"""Beyond it errors are counted, and in the CSV, but not told apart."""
_SIGNATURE_LETTERS = 300
# What Prefect itself says about a failure that the run's error says already.
_ECHO = re.compile(r"Encountered exception during execution|Task run failed with exception|Finished in state Failed")

Key = tuple[int, str]
"""Task UID and signature."""


@dataclass(kw_only=True)
class Group:
    """Errors that are alike. text: of the last one. resolved_at: when a run ended well after it; None: none has."""

    task: str
    type: str
    text: str
    first_at: datetime
    last_at: datetime
    last_run_id: int
    last_run_ended_at: datetime
    count: int = 1
    kind: Kind = "new"
    resolved_at: datetime | None = None

    def add(self, line: ErrorLine) -> None:
        self.count += 1
        self.first_at, self.last_at = min(self.first_at, line.at), max(self.last_at, line.at)
        self.text, self.last_run_id, self.last_run_ended_at = text_of(line), line.run_id, line.run_ended_at


@dataclass(frozen=True)
class Groups:
    """What the report shows; `left_out` errors were too different to be told apart."""

    new: list[Group]
    recurring: list[Group]
    resolved: list[Group]
    left_out: int = 0


def text_of(line: ErrorLine) -> str:
    """The line's text; why the run failed where the line is Prefect's echo of that."""
    return line.failure if line.failure is not None and _ECHO.search(line.text) else line.text


def key_of(line: ErrorLine) -> Key:
    text = text_of(line).strip()
    first = text.splitlines()[0] if text else ""
    return line.task_uid, re.sub(r"\d+", "#", " ".join(first.split()))[:_SIGNATURE_LETTERS]


class Grouping:
    """Takes the lines one by one: first those of the days before, then the period's."""

    def __init__(self) -> None:
        self._before: dict[Key, Group] = {}
        self._now: dict[Key, Group] = {}
        self._left_out = 0

    def before(self, lines: Iterable[ErrorLine]) -> None:
        for line in lines:
            self._put(self._before, line)

    def add(self, line: ErrorLine) -> Kind:
        """Which kind the line's error is."""
        group = self._put(self._now, line)
        if group is None:
            self._left_out += 1
            return "new"
        group.kind = "recurring" if key_of(line) in self._before else "new"
        return group.kind

    @staticmethod
    def _put(groups: dict[Key, Group], line: ErrorLine) -> Group | None:
        key = key_of(line)
        if found := groups.get(key):
            found.add(line)
            return found
        if len(groups) >= MOST_GROUPS:
            return None
        groups[key] = Group(
            task=line.task,
            type=line.type,
            text=text_of(line),
            first_at=line.at,
            last_at=line.at,
            last_run_id=line.run_id,
            last_run_ended_at=line.run_ended_at,
        )
        return groups[key]

    def result(self, good: Mapping[int, GoodRuns]) -> Groups:
        """The groups, latest first. good: the runs that ended well, by task UID."""
        for (uid, _), group in self._now.items():
            runs = good.get(uid)
            if runs is not None and runs.last_id > group.last_run_id:
                group.resolved_at = runs.last_at
        resolved = [group for key, group in self._before.items() if self._is_over(key, group, good.get(key[0]))]
        kinds = {kind: [one for one in self._now.values() if one.kind == kind] for kind in ("new", "recurring")}
        return Groups(_sorted(kinds["new"]), _sorted(kinds["recurring"]), _sorted(resolved), self._left_out)

    def _is_over(self, key: Key, group: Group, runs: GoodRuns | None) -> bool:
        """Whether it was in this period that a run of the task ended well without it: told once, and not again."""
        if key in self._now or runs is None:
            return False
        if runs.before_at is not None and runs.before_at > group.last_run_ended_at:
            return False
        group.resolved_at = runs.first_at
        return True


def _sorted(groups: list[Group]) -> list[Group]:
    return sorted(groups, key=lambda one: (one.last_at, one.task), reverse=True)
