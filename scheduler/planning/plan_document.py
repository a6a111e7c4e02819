"""The JSON document of `headway plan`: the forecast and the findings."""

from datetime import UTC, datetime
from typing import Any

from headway.models.values.finding import Finding
from headway.models.values.rule import Hold
from headway.scheduler.planning.forecast.planned import Planned


def instant(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC with a Z. None for None."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def document(start: datetime, end: datetime, runs: list[Planned], findings: list[Finding]) -> dict[str, Any]:
    """The document as the contract of the command line describes it."""
    return {
        "from": instant(start),
        "to": instant(end),
        "runs": [_row(run) for run in runs],
        "findings": [finding_row(finding) for finding in findings],
    }


def finding_row(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "level": finding.level.value,
        "tasks": list(finding.tasks),
        "message": finding.message,
    }


def hold_row(hold: Hold) -> dict[str, Any]:
    return {"rule": hold.rule.value, "reason": hold.reason, "until": instant(hold.until)}


def _row(run: Planned) -> dict[str, Any]:
    planned = run.outcome == "planned"
    return {
        "task": run.task.name,
        "uid": run.task.uid,
        "type": run.task.type,
        "group": run.task.group,
        "step": run.task.step,
        "due_at": instant(run.due_at),
        "start_at": instant(run.started_at) if planned else None,
        "end_at": instant(run.ended_at) if planned else None,
        "status": run.outcome,
        "holds": [hold_row(hold) for hold in run.holds],
    }
