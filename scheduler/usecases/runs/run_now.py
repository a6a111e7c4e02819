"""Run now: as soon as possible, under the same rules as everything else."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session

from headway.clock import Clock
from headway.errors import InvalidInput, Refused
from headway.models.ledger.tables import RunRow, TaskRow, id_of
from headway.models.values.actor import Actor, Privilege
from headway.models.values.rule import OVERRIDABLE
from headway.models.values.run import Trigger
from headway.models.values.task import OnFailure
from headway.privileges import require, require_for_type
from headway.scheduler.store import audit
from headway.scheduler.store.queries.runs_of_task import fresh_run, waiting_run_now
from headway.scheduler.store.queries.task_list import followers
from headway.scheduler.store.runs.transitions import add_run
from headway.scheduler.store.tasks import load_catalog, tags_of


@dataclass(frozen=True)
class Asked:
    """The run that was asked for; `new` is False where one was waiting already."""

    run_id: int
    due_at: datetime
    new: bool


def run_now(
    session: Session,
    clock: Clock,
    actor: Actor,
    task: TaskRow,
    *,
    follow: bool = False,
    override: frozenset[str] = frozenset(),
    reason: str | None = None,
) -> Asked:
    """Add a waiting run that is due now, or answer with the manual run that waits already.

    override: rules lifted for this run alone (window, spacing), with a reason. Refused: the task is historical, or
    needs a reset. It takes the privilege that the task's type asks for, too, and with `follow` those of the next steps.
    """
    require(actor, Privilege.MANAGE)
    for kind in _types_to_run(session, task, follow):
        require_for_type(actor, tags_of(session, kind))
    _check_override(override, reason)
    if task.historical:
        raise Refused(f"'{task.name}' is historical, no longer in use: it cannot be run")
    if task.failed_run_id and task.on_failure is OnFailure.HOLD:
        raise Refused(
            f"'{task.name}' failed in run {task.failed_run_id} and needs a reset first: headway reset '{task.name}'"
        )
    now = clock.now()
    waiting = waiting_run_now(session, task)
    if waiting is not None:
        return _join(session, now, actor, task, waiting, follow, override, reason)
    values = {"follow": follow, "overrides": sorted(override), "override_reason": reason if override else None}
    catalog = load_catalog(session)
    if task.uid is None or task.uid not in catalog.tasks:
        raise Refused(f"'{task.name}' is not valid as it is defined; see `headway plan`")
    due_at, row = now, None
    while row is None:
        row = add_run(
            session,
            catalog.tasks[task.uid],
            task,
            due_at=due_at,
            trigger=Trigger.MANUAL,
            requested_by=actor.name,
            now=now,
            who=actor.name,
            why="Run now" + (f", overriding {', '.join(sorted(override))}: {reason}" if override else ""),
            **values,
        )
        due_at += timedelta(microseconds=1)
    assert row.id is not None
    audit.record(
        session, now, actor, "run now", f"task {task.uid} '{task.name}'", after={"run": row.id, **values}, reason=reason
    )
    return Asked(row.id, row.due_at, True)


def follow_run(session: Session, actor: Actor, run_id: int) -> RunRow | None:
    """The run as it is now, for a caller who waits for its end; None once it was purged."""
    require(actor, Privilege.VIEW)
    return fresh_run(session, run_id)


def _types_to_run(session: Session, task: TaskRow, follow: bool) -> set[str]:
    """The task's type and, where the following steps run too, theirs."""
    types, uids = {task.type}, {id_of(task)}
    found = [id_of(task)] if follow else []
    while found:
        steps = [(uid, kind) for uid, kind, _ in followers(session, found) if uid not in uids]
        found = [uid for uid, _ in steps]
        uids |= set(found)
        types |= {kind for _, kind in steps}
    return types


def _check_override(override: frozenset[str], reason: str | None) -> None:
    if refused := sorted(set(override) - OVERRIDABLE):
        raise InvalidInput(f"--override: {', '.join(refused)} cannot be overridden; only window and spacing can")
    if override and not (reason or "").strip():
        raise InvalidInput("--override needs --reason TEXT: it is kept in the audit trail")


def _join(
    session: Session,
    now: datetime,
    actor: Actor,
    task: TaskRow,
    waiting: RunRow,
    follow: bool,
    override: frozenset[str],
    reason: str | None,
) -> Asked:
    """The waiting run, with what this call asks for on top of what it has."""
    assert waiting.id is not None
    before = {"follow": waiting.follow, "overrides": list(waiting.overrides)}
    after = {"follow": waiting.follow or follow, "overrides": sorted(set(waiting.overrides) | override)}
    if after != before:
        waiting.follow, waiting.overrides = bool(after["follow"]), list(after["overrides"])  # type: ignore[call-overload]
        waiting.override_reason = reason or waiting.override_reason
        session.add(waiting)
        subject = f"task {task.uid} '{task.name}'"
        audit.record(session, now, actor, "run now", subject, before=before, after=after, reason=reason)
    return Asked(waiting.id, waiting.due_at, False)
