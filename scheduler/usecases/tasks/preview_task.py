"""A task before it is saved: what would change, what the lint says, when it would start, a slot that is free."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlmodel import Session

from headway.clock import Clock
from headway.models.values.actor import Actor
from headway.models.values.finding import Finding
from headway.models.values.instant import FOREVER
from headway.models.values.schedule import Cron, Once
from headway.models.values.task import Task
from headway.models.values.zone import zone
from headway.scheduler.planning.definitions.document import ScheduleSection, TaskSection
from headway.scheduler.planning.definitions.resolved_definitions import ResolvedDefinitions
from headway.scheduler.planning.lint import nearest_free
from headway.scheduler.planning.occurrences import next_occurrence
from headway.scheduler.usecases.tasks.apply import Applied
from headway.scheduler.usecases.tasks.save_task import save_task

_STARTS = 5
_DISTURBS = ("L1", "L3")


@dataclass(frozen=True)
class Coming:
    """A coming due, and when windows let the run start; None where they never do."""

    due_at: datetime
    start_at: datetime | None


@dataclass(frozen=True)
class Slot:
    """A schedule beside the present one that collides with nothing; at: its next due."""

    schedule: ScheduleSection
    at: datetime


@dataclass(kw_only=True, frozen=True)
class Preview:
    """findings: those that name the task. slot: only where something collides or a window is in the way."""

    applied: Applied
    findings: list[Finding]
    starts: list[Coming]
    slot: Slot | None
    timezone: str


def preview_task(session: Session, clock: Clock, actor: Actor, section: TaskSection, *, version: int | None) -> Preview:
    """What saving would do. Refused as `save_task` is; nothing is written."""
    applied = save_task(session, clock, actor, section, version=version, dry_run=True)
    assert applied.resolved is not None
    now = clock.now()
    findings = [finding for finding in applied.findings if section.name in finding.tasks]
    task = next((one for one in applied.resolved.tasks.values() if one.name == section.name), None)
    if task is None:  # an error keeps it out of the world
        return Preview(
            applied=applied,
            findings=findings,
            starts=[],
            slot=None,
            timezone=section.timezone or applied.resolved.settings.timezone,
        )
    disturbed = any(finding.id in _DISTURBS for finding in findings) and _moved(task, timedelta(0)) is not None
    slot = _free_slot(applied.resolved, task, now) if disturbed else None
    return Preview(
        applied=applied,
        findings=findings,
        starts=_starts(applied.resolved, task, now),
        slot=slot,
        timezone=task.timezone,
    )


def _starts(resolved: ResolvedDefinitions, task: Task, now: datetime) -> list[Coming]:
    found: list[Coming] = []
    at = now
    while len(found) < _STARTS and (due := next_occurrence(task, at)) is not None:
        clears_at = resolved.calendar.clears_at(task.window, task.estimate, due)
        found.append(Coming(due, due if clears_at is None else None if clears_at == FOREVER else clears_at))
        at = due
    return found


def _free_slot(resolved: ResolvedDefinitions, task: Task, now: datetime) -> Slot | None:
    """The nearest schedule that none of these findings is about."""

    def moved(shift: timedelta) -> Task | None:
        schedule = _moved(task, shift)
        if schedule is None:
            return None
        kind = Cron(schedule.cron) if schedule.cron else Once(schedule.once or datetime.min)
        return replace(task, schedule=kind)

    free = nearest_free(resolved, task, now, moved)
    due = next_occurrence(free, now) if free is not None else None
    if free is None or due is None:
        return None
    if isinstance(free.schedule, Cron):
        return Slot(ScheduleSection(cron=free.schedule.expression), due)
    assert isinstance(free.schedule, Once)
    return Slot(ScheduleSection(once=free.schedule.at), due)


def _moved(task: Task, shift: timedelta) -> ScheduleSection | None:
    """The schedule so much later or earlier on the same day; None where it has no single time of day to move."""
    if isinstance(task.schedule, Once):
        return ScheduleSection(once=(task.schedule.at.replace(tzinfo=zone(task.timezone)) + shift).replace(tzinfo=None))
    if not isinstance(task.schedule, Cron):
        return None
    minute, hour, *days = task.schedule.expression.split()
    if not (minute.isdecimal() and hour.isdecimal()) or len(days) != 3:
        return None
    at = int(hour) * 60 + int(minute) + int(shift / timedelta(minutes=1))
    return ScheduleSection(cron=" ".join([str(at % 60), str(at // 60), *days])) if 0 <= at < 1440 else None
