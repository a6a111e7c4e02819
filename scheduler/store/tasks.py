"""Stored tasks and task types, as a file would say them and as the rules see them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, col, func, select

from headway.models.ledger.tables import RunRow, TaskRow, TaskTypeRow, id_of
from headway.models.values.run import Run, RunStatus, Trigger
from headway.models.values.task import Task
from headway.scheduler.planning.definitions.document import Definitions, ScheduleSection, TaskSection
from headway.scheduler.planning.definitions.resolved_definitions import ResolvedDefinitions, build
from headway.scheduler.planning.definitions.task_types import TaskType
from headway.scheduler.planning.occurrences import next_occurrence
from headway.scheduler.store import settings as stored_settings

_PLAIN = tuple(
    "name type object description timezone enabled historical window on_failure on_errors catch_up "  # noqa: SIM905
    "expected_duration retries retry_delay parameters".split()
)


@dataclass(frozen=True)
class Catalog:
    """All that is defined, at one version: what a worker keeps between turns, as long as there is no edit."""

    version: int
    resolved: ResolvedDefinitions
    rows: Mapping[int, TaskRow]
    deployed_at: datetime | None = None

    @property
    def tasks(self) -> Mapping[int, Task]:
        return self.resolved.tasks


def load_types(session: Session) -> dict[str, TaskType]:
    return {
        row.name: TaskType(
            name=row.name,
            group=row.group_name,
            exporter=row.exporter,
            description=row.description,
            entrypoint=row.entrypoint,
            deployment_id=row.deployment_id,
            work_pool=row.work_pool,
            parameter_schema=row.parameter_schema,
            tags=tuple(row.tags),
        )
        for row in session.exec(select(TaskTypeRow).order_by(col(TaskTypeRow.name))).all()
    }


def tags_of(session: Session, type_name: str) -> list[str]:
    """The tags of a task type; none for one that is not known."""
    row = session.get(TaskTypeRow, type_name)
    return [] if row is None else list(row.tags)


def save_types(session: Session, types: Iterable[TaskType], now: datetime) -> None:
    """Make the stored task types those given. One that tasks still use stays, without its deployment."""
    stored_settings.begin_edit(session)
    used = set(session.exec(select(TaskRow.type).distinct()).all())
    given = {one.name: one for one in types}
    rows = {row.name: row for row in session.exec(select(TaskTypeRow)).all()}
    for name, row in rows.items():
        if name not in given:
            if name in used:
                row.deployment_id = ""
                session.add(row)
            else:
                session.delete(row)
    for one in given.values():
        row = rows.get(one.name) or TaskTypeRow(name=one.name, group_name=one.group, updated_at=now)
        row.group_name, row.exporter, row.description = one.group, one.exporter, one.description
        row.entrypoint, row.deployment_id, row.work_pool = one.entrypoint, one.deployment_id, one.work_pool
        row.parameter_schema = None if one.parameter_schema is None else dict(one.parameter_schema)
        row.tags, row.updated_at = list(one.tags), now
        session.add(row)
    session.flush()
    stored_settings.definitions_changed(session)


def load_definitions(session: Session, rows: Iterable[TaskRow] | None = None) -> Definitions:
    """Everything that is stored, as `headway export` says it: tasks in the order of their UIDs."""
    all_rows = list(rows) if rows is not None else task_rows(session)
    names = {row.uid: row.name for row in all_rows}
    return Definitions(
        settings=stored_settings.load_settings(session),
        windows=stored_settings.load_windows(session),
        tasks=[section(row, names) for row in all_rows],
    )


def task_rows(session: Session) -> list[TaskRow]:
    return list(session.exec(select(TaskRow).order_by(col(TaskRow.uid))).all())


def section(row: TaskRow, names: Mapping[int | None, str]) -> TaskSection:
    """The row as a file would say it."""
    return TaskSection.model_construct(**{key: getattr(row, key) for key in _PLAIN}, schedule=_schedule(row, names))


def _schedule(row: TaskRow, names: Mapping[int | None, str]) -> ScheduleSection | None:
    if row.cron is not None:
        return ScheduleSection(cron=row.cron)
    if row.once is not None:
        return ScheduleSection(once=row.once)
    if row.after_uid is not None:
        return ScheduleSection(after=names[row.after_uid], spacing=row.spacing)
    return None


def load_catalog(session: Session, known: Catalog | None = None) -> Catalog:
    """All tasks, types, windows and settings; the known one where nothing has changed since."""
    version = stored_settings.definitions_version(session)
    if known is not None and known.version == version:
        return known
    rows = task_rows(session)
    definitions = load_definitions(session, rows)
    uids = {row.name: id_of(row) for row in rows}
    estimates = {id_of(row): row.learned_duration for row in rows if row.learned_duration is not None}
    resolved = build(definitions, load_types(session), uids=uids, estimates=estimates, check=())
    deployed_at = session.exec(select(func.max(TaskTypeRow.updated_at))).one()
    return Catalog(version, resolved, {id_of(row): row for row in rows}, deployed_at)


def load_chain_catalog(session: Session, uid: int) -> Catalog:
    """As load_catalog, for the task's own chain only and without windows: enough to end one of its runs."""
    row = session.get(TaskRow, uid, populate_existing=True)
    while row is not None and row.after_uid is not None:
        row = session.get(TaskRow, row.after_uid, populate_existing=True)
    rows, found = [], [row] if row is not None else []
    while found:
        rows += found
        uids = [one.uid for one in found]
        found = list(session.exec(select(TaskRow).where(col(TaskRow.after_uid).in_(uids))).all())
    names = {one.uid: one.name for one in rows}
    definitions = Definitions(
        settings=stored_settings.load_settings(session), windows=[], tasks=[section(one, names) for one in rows]
    )
    resolved = build(definitions, load_types(session), uids={one.name: id_of(one) for one in rows}, check=())
    return Catalog(-1, resolved, {id_of(one): one for one in rows})


def write(row: TaskRow, draft: TaskSection, uids: Mapping[str, int]) -> None:
    """Put a draft's values into a row; its predecessor's UID is looked up in `uids`."""
    for key in _PLAIN:
        setattr(row, key, getattr(draft, key))
    schedule = draft.schedule or ScheduleSection.model_construct(cron=None, once=None, after=None, spacing=None)
    row.cron, row.spacing = schedule.cron, schedule.spacing
    row.once = schedule.once.isoformat() if schedule.once else None
    row.after_uid = uids[schedule.after] if schedule.after else None


def reschedule(row: TaskRow, task: Task, now: datetime) -> None:
    """From now on the row comes due by its present schedule; nothing before now is made up for."""
    row.accounted_at = now
    row.next_due_at = next_occurrence(task, now - timedelta(microseconds=1))


def task_of_uid(session: Session, uid: int) -> TaskRow | None:
    """The task of that UID."""
    return session.get(TaskRow, uid)


def has_run(session: Session, uid: int) -> bool:
    """Whether it ever ran; a ledger row of any kind counts, for deleting would lose it."""
    return session.exec(select(RunRow.id).where(RunRow.task_uid == uid).limit(1)).first() is not None


def has_process(session: Session, task: TaskRow) -> bool:
    """Whether one of its runs has a process ID: it is in progress, or was lost and its process may live on."""
    open_ = select(RunRow.id).where(RunRow.task_uid == task.uid, col(RunRow.ended_at).is_(None), RunRow.process_id != 0)
    if session.exec(open_).first() is not None:
        return True
    lost = session.get(RunRow, task.failed_run_id) if task.failed_run_id else None
    return lost is not None and lost.process_id != 0


def task_named(session: Session, name: str) -> TaskRow | None:
    """The task of that very name."""
    return session.exec(select(TaskRow).where(TaskRow.name == name)).first()


def by_name(session: Session, name: str) -> TaskRow | None:
    """The task of that name; a bare number that names no task is taken for its UID."""
    row = task_named(session, name)
    if row is None and name.isdecimal() and len(name) <= 18:
        row = session.get(TaskRow, int(name))
    return row


def as_run(row: RunRow, task: Task) -> Run:
    """A ledger row as the rules see it. A run that waits for a retry is due at the end of its delay."""
    return Run(
        task=task,
        due_at=row.retry_at or row.due_at,
        trigger=Trigger(row.trigger),
        status=RunStatus(row.status),
        started_at=row.started_at,
        ended_at=row.ended_at,
        id=id_of(row),
        attempt=row.attempt,
        follow=row.follow,
        overrides=frozenset(row.overrides),
    )


def facts(row: TaskRow) -> dict[str, Any]:
    """A task's row for the audit trail."""
    plain = {key: getattr(row, key) for key in _PLAIN}
    return {**plain, "cron": row.cron, "once": row.once, "after_uid": row.after_uid, "spacing": row.spacing}
