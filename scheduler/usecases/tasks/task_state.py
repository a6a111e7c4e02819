"""Enable, disable, mark historical, delete."""

from typing import Any

from sqlmodel import Session

from headway.clock import Clock
from headway.errors import Refused
from headway.models.ledger.tables import TaskRow, id_of
from headway.models.values.actor import Actor, Privilege
from headway.privileges import require, require_for_type
from headway.scheduler.store import audit, settings
from headway.scheduler.store.queries.runs_of_task import fresh_task
from headway.scheduler.store.queries.task_list import followers
from headway.scheduler.store.runs.due_runs import account_before_edit
from headway.scheduler.store.runs.run_ends import cancel_unwanted
from headway.scheduler.store.tasks import facts, has_process, has_run, load_catalog, reschedule, tags_of


def set_state(
    session: Session,
    clock: Clock,
    actor: Actor,
    task: TaskRow,
    *,
    enabled: bool | None = None,
    historical: bool | None = None,
    confirmed: bool = True,
) -> bool:
    """Enable or disable it, mark it historical or not; False if it was so already.

    It comes due from now on: nothing is made up for of the time in which it was disabled. What waits of the schedule of
    a disabled or historical task is cancelled. confirmed: whether the editor
    knows that it has a process ID other than 0 ("it could break the process"); Refused without. To enable it takes the
    privilege that its type asks for, too.
    """
    require(actor, Privilege.MANAGE)
    _begin_edit(session, task)
    before = {"enabled": task.enabled, "historical": task.historical}
    after: dict[str, Any] = {
        "enabled": before["enabled"] if enabled is None else enabled,
        "historical": before["historical"] if historical is None else historical,
    }
    if after == before:
        return False
    if after["enabled"] and not after["historical"]:
        require_for_type(actor, tags_of(session, task.type))
    if not confirmed and has_process(session, task):
        raise Refused(
            f"'{task.name}' has a process ID: it is running, and changing it could break the process; confirm first"
        )
    now = clock.now()
    assert task.uid is not None
    if not after["enabled"] or after["historical"]:
        account_before_edit(session, load_catalog(session), {task.uid}, {task.uid}, now)
        session.refresh(task)
    task.enabled, task.historical = after["enabled"], after["historical"]
    task.updated_at, task.version = now, task.version + 1
    session.add(task)
    settings.definitions_changed(session)
    session.flush()
    catalog = load_catalog(session)
    cancel_unwanted(session, catalog, id_of(task), now=now, who=actor.name)
    known = catalog.tasks.get(id_of(task))
    if known is not None:
        reschedule(task, known, now)
        session.add(task)
    action = "edit task" if enabled is None else "enable task" if enabled else "disable task"
    audit.record(session, now, actor, action, f"task {task.uid} '{task.name}'", before=before, after=after)
    return True


def delete_task(session: Session, clock: Clock, actor: Actor, task: TaskRow) -> None:
    """Delete a task that never ran. Refused where it ran (offer Historical), or where a step comes after it."""
    require(actor, Privilege.MANAGE)
    _begin_edit(session, task)
    assert task.uid is not None
    if has_run(session, task.uid):
        raise Refused(
            f"'{task.name}' has runs in the log and cannot be deleted; mark it historical instead "
            "(historical: true in its definition)"
        )
    for _uid, _type, step in followers(session, [task.uid]):
        raise Refused(f"'{step}' comes after '{task.name}'; change its schedule first")
    before = facts(task)
    session.delete(task)
    settings.definitions_changed(session)
    audit.record(session, clock.now(), actor, "delete task", f"task {task.uid} '{task.name}'", before=before)


def _begin_edit(session: Session, task: TaskRow) -> None:
    """The task as it is now, and as no other edit changes it until this one is done."""
    uid, name = task.uid, task.name
    settings.begin_edit(session)
    if fresh_task(session, uid) is None:
        raise Refused(f"'{name}' has been deleted meanwhile")
