"""Apply: settings, windows and tasks as definitions say, by name, all or nothing, with the difference and the lint.

Saving one task from the dashboard is the same with a file of one task.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlmodel import Session

from headway.clock import Clock
from headway.errors import Refused
from headway.models.ledger.tables import TaskRow, id_of
from headway.models.values.actor import Actor, Privilege
from headway.models.values.finding import Finding, Level
from headway.privileges import require, require_for_type
from headway.scheduler.planning.definitions.document import Definitions, SettingsSection, TaskSection, WindowSection
from headway.scheduler.planning.definitions.resolved_definitions import ResolvedDefinitions, build
from headway.scheduler.planning.definitions.task_types import TaskType
from headway.scheduler.planning.lint import lint
from headway.scheduler.store import audit
from headway.scheduler.store import settings as stored_settings
from headway.scheduler.store import tasks as stored_tasks
from headway.scheduler.store.queries.runs_of_task import tasks_with_a_process
from headway.scheduler.store.runs.due_runs import account_before_edit
from headway.scheduler.store.runs.run_ends import cancel_unwanted


@dataclass(frozen=True)
class Change:
    """One thing that is made or changed. before: None where it is new."""

    kind: str
    name: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    def fields(self) -> list[str]:
        """The keys whose values differ."""
        before, after = self.before or {}, self.after or {}
        return [key for key in {**before, **after} if before.get(key) != after.get(key)]


@dataclass(frozen=True)
class Applied:
    """What apply did or, dry, would do. `errors` keep everything from being written. world: as it is with it."""

    changes: list[Change]
    findings: list[Finding]
    running: list[str] = field(default_factory=list)
    resolved: ResolvedDefinitions | None = None

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level is Level.ERROR]


def apply(
    session: Session,
    clock: Clock,
    actor: Actor,
    definitions: Definitions,
    *,
    dry_run: bool = False,
    confirmed: bool = True,
    about: Collection[str] | None = None,
) -> Applied:
    """Make what is stored as the definitions say; what they do not name stays.

    confirmed: whether the editor knows that tasks with a process ID other than 0 are among the changed ones ("it could
    break the process"); Refused without. Nothing is written where the lint finds an error, nor in a dry run.
    about: names of tasks; the lint looks for collisions and windows of these only.
    NotAllowed also where a changed task's type asks for a further privilege, or the retention changes without System
    Purge.
    """
    require(actor, Privilege.MANAGE)
    if not dry_run:
        stored_settings.begin_edit(session)
    now = clock.now()
    all_rows = stored_tasks.task_rows(session)
    stored = stored_tasks.load_definitions(session, all_rows)
    merged = _merge(stored, definitions)
    rows = {row.name: row for row in all_rows}
    uids = _uids(merged, rows)
    changes = _changes(stored, merged)
    types = stored_tasks.load_types(session)
    _require_more(actor, changes, types)
    edited = {
        change.name for change in changes if change.kind == "task"
    }  # others' errors are not for this edit to mend
    learned = {id_of(row): row.learned_duration for row in rows.values() if row.learned_duration is not None}
    resolved = build(merged, types, uids=uids, estimates=learned, check=edited)
    applied = Applied(changes, lint(resolved, now, about=about), _running(session, changes), resolved)
    if applied.errors or dry_run or not changes:
        return applied
    if applied.running and not confirmed:
        names = ", ".join(f"'{name}'" for name in applied.running)
        raise Refused(f"{names} has a process ID: it is running, and editing it could break the process; confirm first")
    moved = _moved(changes, uids)
    if moved:  # with ten thousand tasks each of these loads takes a second
        _account(session, merged, moved, uids, now)
    _write(session, actor, merged, rows, changes, now)
    if moved:
        _reschedule(session, resolved, moved, now)
    switched = [one.name for one in changes if one.kind == "task" and {"enabled", "historical"} & set(one.fields())]
    if switched:
        catalog = stored_tasks.load_catalog(session)
        for name in switched:
            cancel_unwanted(session, catalog, uids[name], now=now, who=actor.name)
    return applied


def _require_more(actor: Actor, changes: list[Change], types: dict[str, TaskType]) -> None:
    """What a task's type asks for besides Task management; the settings are no way round the privilege to purge."""
    for change in changes:
        if change.kind == "settings" and "retention_days" in change.fields():
            require(actor, Privilege.PURGE)
        for facts in (change.before, change.after) if change.kind == "task" else ():
            if facts is not None and facts["type"] in types:
                require_for_type(actor, types[facts["type"]].tags)


def _merge(stored: Definitions, given: Definitions) -> Definitions:
    """The stored definitions with the given ones on top: settings key by key, windows and tasks by name.

    An empty list of windows says that there are none, as it does in a file that is only planned.
    """
    assert stored.settings is not None
    settings = stored.settings
    if given.settings is not None:
        named = {key: getattr(given.settings, key) for key in given.settings.model_fields_set}
        settings = SettingsSection.model_validate({**settings.model_dump(), **named})
    windows = {one.name: one for one in stored.windows or []} if given.windows != [] else {}
    windows |= {one.name: one for one in given.windows or []}
    tasks = {one.name: one for one in stored.tasks or []}
    extra: list[TaskSection] = []
    seen: set[str] = set()
    for one in given.tasks or []:
        if one.name in seen:
            extra.append(one)  # kept, so that the lint names the duplicate
        else:
            tasks[one.name] = one
        seen.add(one.name)
    return Definitions.model_construct(settings=settings, windows=[*windows.values()], tasks=[*tasks.values(), *extra])


def _uids(merged: Definitions, rows: dict[str, TaskRow]) -> dict[str, int]:
    """Stored UIDs; new tasks get stand-ins behind them until they are written."""
    uids = {name: id_of(row) for name, row in rows.items()}
    following = max(uids.values(), default=0)
    for one in merged.tasks or []:
        if one.name not in uids:
            following += 1
            uids[one.name] = following
    return uids


def _changes(stored: Definitions, merged: Definitions) -> list[Change]:
    changes = []
    assert stored.settings is not None and merged.settings is not None
    before, after = stored.settings.model_dump(mode="json"), merged.settings.model_dump(mode="json")
    if before != after:
        changes.append(Change("settings", "settings", before, after))
    old_windows = {one.name: _window_facts(one) for one in stored.windows or []}
    new_windows = {one.name: _window_facts(one) for one in merged.windows or []}
    changes += _differences("window", old_windows, new_windows)
    old = {one.name: one for one in stored.tasks or []}
    given = [one for one in merged.tasks or [] if one is not old.get(one.name)]  # the others are as they were
    old_tasks = {one.name: old[one.name].model_dump(mode="json") for one in given if one.name in old}
    new_tasks = {one.name: one.model_dump(mode="json") for one in given}
    return changes + _differences("task", old_tasks, new_tasks)


def _window_facts(window: WindowSection) -> dict[str, Any]:
    facts = window.model_dump(mode="json")
    return {**facts, "released": sorted(facts["released"])}


def _differences(kind: str, old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]]) -> list[Change]:
    names = [*old, *(name for name in new if name not in old)]
    return [Change(kind, name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]


def _running(session: Session, changes: list[Change]) -> list[str]:
    """The changed tasks that have a process ID."""
    names = [change.name for change in changes if change.kind == "task" and change.before is not None]
    if not names:
        return []
    found = tasks_with_a_process(session, names)
    return [name for name in names if name in found]


def _write(
    session: Session,
    actor: Actor,
    merged: Definitions,
    rows: dict[str, TaskRow],
    changes: list[Change],
    now: datetime,
) -> None:
    assert merged.settings is not None
    kinds = {change.kind for change in changes}
    if "settings" in kinds:
        stored_settings.save_settings(session, merged.settings)
    if "window" in kinds:
        stored_settings.save_windows(session, merged.windows or [], actor.name, now)
    drafts = {one.name: one for one in merged.tasks or []}
    changed = [change.name for change in changes if change.kind == "task"]
    for name in changed:  # rows first, so that steps find their predecessors' UIDs
        if name not in rows:
            rows[name] = _new_row(drafts[name], now)
            session.add(rows[name])
            session.flush()
    uids = {name: id_of(row) for name, row in rows.items()}
    for name in changed:
        row = rows[name]
        stored_tasks.write(row, drafts[name], uids)
        row.updated_at, row.version = now, row.version + 1
        session.add(row)
    session.flush()
    stored_settings.definitions_changed(session)
    for change in changes:
        verb = "create" if change.before is None else "delete" if change.after is None else "edit"
        subject = f"{change.kind} '{change.name}'"
        audit.record(session, now, actor, f"{verb} {change.kind}", subject, before=change.before, after=change.after)


def _new_row(draft: TaskSection, now: datetime) -> TaskRow:
    row = TaskRow(
        name=draft.name,
        type=draft.type,
        window=draft.window,
        on_failure=draft.on_failure,
        on_errors=draft.on_errors,
        catch_up=draft.catch_up,
        retry_delay=draft.retry_delay,
        created_at=now,
        updated_at=now,
        accounted_at=now,
    )
    row.version = 0
    return row


_SCHEDULE_FIELDS = {"schedule", "timezone", "enabled", "historical"}


def _moved(changes: list[Change], uids: dict[str, int]) -> set[str]:
    """The tasks whose times change: every one where the settings' zone does."""
    if any(change.kind == "settings" and "timezone" in change.fields() for change in changes):
        return set(uids)
    return {change.name for change in changes if change.kind == "task" and _SCHEDULE_FIELDS & set(change.fields())}


def _account(session: Session, merged: Definitions, moved: set[str], uids: dict[str, int], now: datetime) -> None:
    """What came due until now, by the times that are about to change, keeps its row."""
    stopped = {uids[one.name] for one in merged.tasks or [] if not one.enabled or one.historical}
    catalog = stored_tasks.load_catalog(session)
    account_before_edit(session, catalog, {uids[name] for name in moved}, stopped, now)


def _reschedule(session: Session, resolved: ResolvedDefinitions, moved: set[str], now: datetime) -> None:
    """Tasks whose times changed come due by the new ones, from now on."""
    by_name = {task.name: task for task in resolved.tasks.values()}
    for row in stored_tasks.task_rows(session):
        if row.name in by_name and row.name in moved:
            stored_tasks.reschedule(row, by_name[row.name], now)
            session.add(row)
    session.flush()
