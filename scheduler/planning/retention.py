"""Retention: for how many days the runs of a type and result are kept after their end."""

from collections.abc import Iterable
from dataclasses import dataclass

from headway.errors import InvalidInput
from headway.models.values.run import OPEN, RunStatus

ANY = "*"
KEEP = "keep"
RESULTS = tuple(status for status in RunStatus if status not in OPEN)
"""How a run can have ended."""
MOST_DAYS = 100_000


@dataclass(frozen=True)
class RetentionRule:
    """For how many days the runs of a type and result are kept."""

    type: str | None
    """None: of any type."""
    result: RunStatus | None
    """None: with any result."""
    days: int | None
    """None: they are kept for good."""

    def text(self) -> str:
        """As `rule_of` reads it."""
        return f"{self.type or ANY}:{self.result or ANY}:{KEEP if self.days is None else self.days}"


@dataclass(frozen=True)
class Retention:
    """Which runs a purge may delete."""

    days: int | None = None
    """For the runs that no rule fits; None keeps them."""
    rules: tuple[RetentionRule, ...] = ()
    """The first rule that fits a run decides."""
    types: frozenset[str] = frozenset()
    """Only runs of these types are deleted; empty: of every type."""
    results: frozenset[RunStatus] = frozenset()
    """Only runs with these results are deleted; empty: with every result."""

    def named_types(self) -> set[str]:
        return set(self.types) | {rule.type for rule in self.rules if rule.type is not None}

    def facts(self) -> dict[str, object]:
        """For the audit trail, without what was left empty."""
        facts = {
            "older than days": self.days,
            "rules": [rule.text() for rule in self.rules],
            "types": sorted(self.types),
            "results": sorted(self.results),
        }
        return {key: value for key, value in facts.items() if value not in (None, [])}


def days_of(value: int, option: str = "--older-than") -> int:
    """The number of days, if it is one. InvalidInput names the option."""
    if not 0 <= value <= MOST_DAYS:
        raise InvalidInput(f"{option} {value}: give a number of days, 0 or more, {MOST_DAYS} at most")
    return value


def results_of(names: Iterable[str]) -> frozenset[RunStatus]:
    """The results of these names, as `log --json` has them. Raises InvalidInput for another word."""
    return frozenset(_result(name, "--result") for name in names)


def rule_of(text: str) -> RetentionRule:
    """TYPE:RESULT:DAYS, where TYPE and RESULT may be * and DAYS may be keep. Raises InvalidInput for anything else."""
    parts = text.rsplit(":", 2)
    if len(parts) != 3 or not parts[0]:
        raise InvalidInput(
            f"--rule {text!r}: write it TYPE:RESULT:DAYS, such as 'data_export:completed:30', '*:failed:365' or "
            "'report_execution:*:keep'"
        )
    kind, result, days = parts
    if days != KEEP and not days.isdecimal():
        raise InvalidInput(f"--rule {text!r}: {days!r} is no number of days; give one, or the word {KEEP}")
    return RetentionRule(
        None if kind == ANY else kind,
        None if result == ANY else _result(result, f"--rule {text!r}"),
        None if days == KEEP else days_of(int(days), f"--rule {text!r}:"),
    )


def _result(name: str, option: str) -> RunStatus:
    found = next((status for status in RESULTS if status.value == name), None)
    if found is None:
        raise InvalidInput(f"{option}: {name!r} is no result of an ended run; use one of {', '.join(RESULTS)}")
    return found
