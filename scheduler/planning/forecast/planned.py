"""A run of the forecast."""

from dataclasses import dataclass, field
from datetime import datetime

from headway.models.values.rule import Hold
from headway.models.values.run import Run
from headway.scheduler.planning.rules import RULES

RANK = {rule: rank for rank, rule in enumerate(RULES)}
Key = tuple[datetime, int, int]
"""Due, the task's UID, the run's number in the forecast: runs are judged in this order."""
Entry = tuple[Key, "Planned"]
"""A run in a queue."""


@dataclass(kw_only=True, slots=True, eq=False)
class Planned(Run):
    """A run of the forecast: when it starts and ends, and which rules held it until then."""

    key: Key = field(default=(datetime.min, 0, 0))
    """Its place in every queue."""
    met: list[tuple[int, int, Hold]] = field(default_factory=list)
    """Number of the turn, rank of the rule and the hold, once for each rule."""
    met_rules: int = 0
    """A bit for each rule in `met`, by rank."""
    came_due: bool = False
    """Whether it counts as waiting: a retry of a stored run does not before its time."""
    judged: bool = False
    """Whether every rule has judged it once."""
    outcome: str = "planned"
    """`planned`, `superseded` or `unplaced`."""

    @property
    def holds(self) -> list[Hold]:
        """Each rule that held the run at some turn from its due on, once, in the order met."""
        return [hold for _, _, hold in sorted(self.met, key=lambda entry: entry[:2])]
