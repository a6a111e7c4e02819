"""Definitions resolved into the values that rules read, and what is wrong with them."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from headway.models.values.finding import Finding, Level
from headway.models.values.limits import Limits
from headway.models.values.schedule import After, Cron, Once, Schedule
from headway.models.values.task import Task
from headway.models.values.zone import zone
from headway.scheduler.planning.chains import link, loops
from headway.scheduler.planning.definitions.document import Definitions, SettingsSection, TaskSection
from headway.scheduler.planning.definitions.parameters import problems_in
from headway.scheduler.planning.definitions.task_types import TaskType
from headway.scheduler.planning.occurrences import check_cron
from headway.scheduler.planning.windows import Calendar


@dataclass(kw_only=True, frozen=True)
class ResolvedDefinitions:
    """Tasks, windows and limits that belong together."""

    tasks: Mapping[int, Task]
    """By UID."""
    calendar: Calendar
    limits: Limits
    types: Mapping[str, TaskType]
    """By name."""
    settings: SettingsSection
    findings: tuple[Finding, ...] = ()
    """The errors that kept a task out."""


def build(
    definitions: Definitions,
    types: Mapping[str, TaskType],
    *,
    uids: Mapping[str, int] | None = None,
    estimates: Mapping[int, timedelta] | None = None,
    check: Collection[str] | None = None,
) -> ResolvedDefinitions:
    """The tasks, windows and limits that definitions describe.

    uids: the stored tasks' UIDs by name; without them a task's UID is its position, from 1. estimates: learned
    durations by UID, for tasks without an expected one. check: the names of the tasks whose parameters are checked
    against their schemas, all if None. A stored task was checked when it was saved; if its type has changed since,
    it still comes due and its run fails, which operators see.
    """
    settings = definitions.settings or SettingsSection()
    limits = Limits(settings.min_spacing, settings.recommended_spacing, settings.max_running)
    sections = definitions.tasks or []
    names = uids or {section.name: position for position, section in enumerate(sections, 1)}
    findings = _duplicates(sections) + _bad_chains(sections)
    broken = {name for finding in findings for name in finding.tasks}
    tasks: dict[str, Task] = {}
    for section in sections:
        problems = _problems(section, types)
        if check is None or section.name in check:
            problems += _parameter_problems(section.name, section.parameters, types.get(section.type))
        findings += [Finding("L8", Level.ERROR, (section.name,), problem) for problem in problems]
        if problems:
            broken.add(section.name)
        if section.name not in broken:
            uid = names[section.name]
            estimate = section.expected_duration or (estimates or {}).get(uid)
            schedule = _schedule(section, names, limits)
            tasks[section.name] = _task(section, uid, types[section.type], settings, schedule, estimate)
    _drop_orphans(sections, tasks)
    calendar = Calendar(definitions.windows_or_default(settings.timezone))
    linked = link(tasks.values())
    return ResolvedDefinitions(
        tasks=linked, calendar=calendar, limits=limits, types=types, settings=settings, findings=tuple(findings)
    )


def _problems(section: TaskSection, types: Mapping[str, TaskType]) -> list[str]:
    problems = []
    here = f"task '{section.name}'"
    if section.timezone is not None:
        try:
            zone(section.timezone)
        except ValueError as error:
            problems.append(f"{here}, timezone: {error}")
    if section.schedule is not None and section.schedule.cron is not None:
        try:
            check_cron(section.schedule.cron)
        except ValueError as error:
            problems.append(f"{here}, schedule.cron: {error}")
    if section.type not in types:
        problems.append(f"{here}, type: unknown type {section.type!r}; there are: {', '.join(sorted(types))}")
    return problems


def _parameter_problems(name: str, parameters: Mapping[str, Any], task_type: TaskType | None) -> list[str]:
    schema = None if task_type is None else task_type.parameter_schema
    return [f"task '{name}', {problem}" for problem in problems_in(parameters, schema)]


def parameter_findings(
    tasks: Iterable[tuple[str, str, Mapping[str, Any]]], types: Mapping[str, TaskType]
) -> list[Finding]:
    """L8 for each (name, type, parameters) that the type's schema does not allow, or no longer."""
    return [
        Finding("L8", Level.ERROR, (name,), problem)
        for name, kind, parameters in tasks
        for problem in _parameter_problems(name, parameters, types.get(kind))
    ]


def _duplicates(sections: list[TaskSection]) -> list[Finding]:
    counts = Counter(section.name for section in sections)
    return [
        Finding("L8", Level.ERROR, (name,), f"{count} tasks are named '{name}': a task's name is unique")
        for name, count in counts.items()
        if count > 1
    ]


def _bad_chains(sections: list[TaskSection]) -> list[Finding]:
    names = {section.name for section in sections}
    after: dict[str, str] = {}
    findings = []
    for section in sections:
        if section.schedule is None or section.schedule.after is None:
            continue
        after[section.name] = section.schedule.after
        if section.schedule.after not in names:
            findings.append(
                Finding(
                    "L6",
                    Level.ERROR,
                    (section.name,),
                    f"task '{section.name}', schedule.after: there is no task named '{section.schedule.after}'",
                )
            )
    for loop in loops(after):
        way = " -> ".join(f"'{name}'" for name in [*loop, loop[0]])
        message = f"a chain loops: {way} (each is to come after the next); give one of them times of its own"
        findings.append(Finding("L6", Level.ERROR, tuple(loop), message))
    return findings


def _schedule(section: TaskSection, uids: Mapping[str, int], limits: Limits) -> Schedule | None:
    schedule = section.schedule
    if schedule is None:
        return None
    if schedule.cron is not None:
        return Cron(schedule.cron)
    if schedule.once is not None:
        return Once(schedule.once)
    assert schedule.after is not None
    spacing = limits.recommended_spacing if schedule.spacing is None else schedule.spacing
    return After(uids[schedule.after], spacing)


def _task(
    section: TaskSection,
    uid: int,
    task_type: TaskType,
    settings: SettingsSection,
    schedule: Schedule | None,
    estimate: timedelta | None,
) -> Task:
    return Task(
        uid=uid,
        name=section.name,
        type=section.type,
        group=task_type.group,
        schedule=schedule,
        timezone=section.timezone or settings.timezone,
        enabled=section.enabled,
        historical=section.historical,
        window=section.window,
        on_failure=section.on_failure,
        on_errors=section.on_errors,
        catch_up=section.catch_up,
        estimate=estimate,
    )


def _drop_orphans(sections: list[TaskSection], tasks: dict[str, Task]) -> None:
    """Keep out the steps whose predecessor was kept out. They get no finding: the predecessor has one."""
    after: dict[str, Any] = {s.name: s.schedule.after for s in sections if s.schedule and s.schedule.after}
    while orphans := [name for name in tasks if name in after and after[name] not in tasks]:
        for name in orphans:
            del tasks[name]
