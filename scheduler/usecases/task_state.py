"""Enable, disable, mark historical, delete."""

from typing import Any

from sqlmodel import Session, col, select

from models.domain import Actor, Privilege
from models.tables import TaskRow
from scheduler.clock import Clock
from scheduler.errors import Refused
from scheduler.privileges import require
from scheduler.store import audit, settings
from scheduler.store.tasks import facts, has_run, load_book, reschedule


def set_state(
    session: Session,
    clock: Clock,
    actor: Actor,
    task: TaskRow,
    *,
    enabled: bool | None = None,
    historical: bool | None = None,
) -> bool:
    """Enable or disable it, mark it historical or not; False if it was so already.

    It comes due from now on: nothing is made up for of the time in which it was disabled.
    """
    require(actor, Privilege.MANAGE)
    before = {"enabled": task.enabled, "historical": task.historical}
    after: dict[str, Any] = {
        "enabled": before["enabled"] if enabled is None else enabled,
        "historical": before["historical"] if historical is None else historical,
    }
    if after == before:
        return False
    now = clock.now()
    task.enabled, task.historical = after["enabled"], after["historical"]
    task.updated_at, task.version = now, task.version + 1
    session.add(task)
    settings.definitions_changed(session)
    session.flush()
    known = load_book(session).tasks.get(task.uid or 0)
    if known is not None:
        reschedule(task, known, now)
        session.add(task)
    action = "edit task" if enabled is None else "enable task" if enabled else "disable task"
    audit.record(session, now, actor, action, f"task {task.uid} '{task.name}'", before=before, after=after)
    return True


def delete_task(session: Session, clock: Clock, actor: Actor, task: TaskRow) -> None:
    """Delete a task that never ran. Refused where it ran (offer Historical), or where a step comes after it."""
    require(actor, Privilege.MANAGE)
    assert task.uid is not None
    if has_run(session, task.uid):
        raise Refused(
            f"'{task.name}' has runs in the log and cannot be deleted; mark it historical instead "
            "(historical: true in its definition)"
        )
    step = session.exec(select(TaskRow.name).where(col(TaskRow.after_uid) == task.uid)).first()
    if step is not None:
        raise Refused(f"'{step}' comes after '{task.name}'; change its schedule first")
    before = facts(task)
    session.delete(task)
    settings.definitions_changed(session)
    audit.record(session, clock.now(), actor, "delete task", f"task {task.uid} '{task.name}'", before=before)
