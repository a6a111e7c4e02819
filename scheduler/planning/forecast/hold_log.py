"""A run of the forecast, and what it has yet to be told.

A held run is parked until its blocker lets it go; what it would have been told meanwhile is kept here: for each
rule and subject the runs that this rule has not held yet, so that each (run, rule) is told at most once.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from headway.models.values.rule import Hold, RuleId
from headway.models.values.run import Run, RunStatus
from headway.scheduler.planning.board import Board
from headway.scheduler.planning.rules import RULES

RANK = {rule: rank for rank, rule in enumerate(RULES)}
Key = tuple[datetime, int, int]
Entry = tuple[Key, "Planned"]
"""A run in a queue."""


@dataclass(kw_only=True, slots=True, eq=False)
class Planned(Run):
    """A run of the forecast. `told`: (number of the turn, rank of the rule, hold), each rule once."""

    key: Key = field(default=(datetime.min, 0, 0))
    told: list[tuple[int, int, Hold]] = field(default_factory=list)
    known: int = 0
    came_due: bool = False
    seen: bool = False
    outcome: str = "planned"

    @property
    def holds(self) -> list[Hold]:
        """Each rule that held the run at some turn from its due on, once, in the order met."""
        return [hold for _, _, hold in sorted(self.told, key=lambda entry: entry[:2])]


class HoldLog:
    """Runs that a rule has not held yet, by the rule's subject (a group, a task, everybody)."""

    def __init__(self, rule: RuleId) -> None:
        self.rule_id = rule
        self.rule = RULES[rule]
        self.bit = 1 << RANK[rule]
        self.rank = RANK[rule]
        self.runs: dict[Any, list[Planned]] = {}
        self.pending: set[Any] = set()
        self.turn = 0

    def watch(self, subject: Any, run: Planned) -> None:
        self.runs.setdefault(subject, []).append(run)

    def holds_now(self, subject: Any, board: Board, now: datetime, after: Key | None = None) -> None:
        """The rule holds the subject's runs from now on: tell them, or only those judged later than `after`.

        Those that were judged before in this turn are told at the next, if it still holds then.
        """
        runs = self.runs.get(subject)
        if not runs:
            return
        tail = 0 if after is None else bisect_right(runs, after, key=_key)
        news = [run for run in runs[tail:] if run.status is RunStatus.WAITING and not run.known & self.bit]
        hold = self.rule(news[0], board, now) if news else None  # the same for all runs of one subject
        del runs[tail:]
        if hold is None:
            runs += news
        else:
            for run in news:
                run.known |= self.bit
                run.told.append((self.turn, self.rank, hold))
        if tail:
            self.pending.add(subject)

    def start_of_turn(self, turn: int, board: Board, now: datetime) -> None:
        self.turn = turn
        if self.pending:
            pending, self.pending = self.pending, set()
            for subject in pending:
                self.holds_now(subject, board, now)


def _key(run: Planned) -> Key:
    return run.key
