"""The task page's buttons: Run now, Enable, Historical, Reset, Edit, Delete. The use case may refuse any of them."""

import streamlit as st
from sqlmodel import Session

from headway import wording as words
from headway.dashboard import ui
from headway.dashboard.data import CLOCK
from headway.errors import Refused
from headway.models.ledger.tables import TaskRow, id_of
from headway.models.values.actor import Actor, Privilege
from headway.models.values.rule import OVERRIDABLE, RuleId
from headway.scheduler.store.tasks import task_of_uid
from headway.scheduler.usecases.runs.run_now import Asked, run_now
from headway.scheduler.usecases.tasks.show_task import TaskView, earliest_start
from headway.scheduler.usecases.tasks.task_state import delete_task, set_state

_AT_ONCE = "at once"
_OF_OTHER_RUNS = (RuleId.BUSY, RuleId.GROUP, RuleId.CAPACITY)


def buttons(view: TaskView, zone: str) -> None:
    """What may be done with the task, by privilege and state."""
    if not ui.allowed(Privilege.MANAGE):
        return
    row = view.row
    places = st.columns(6)
    old = "Historical tasks cannot be run" if row.historical else None
    if places[0].button("Run now", key="run_now", type="primary", width="stretch", disabled=row.historical, help=old):
        _run_now(view, zone)
    if places[1].button("Reset", key="reset", width="stretch", help="Look at why it failed, then Finish"):
        st.switch_page("app_pages/reset.py", query_params={"task": str(row.uid)})
    if places[2].button("Disable" if row.enabled else "Enable", key="enable", width="stretch"):
        _change(view, f"'{row.name}' is {'disabled' if row.enabled else 'enabled'}.", enabled=not row.enabled)
    historical = "In use again" if row.historical else "Historical"
    if places[3].button(historical, key="historical", width="stretch", help="Marks a task that is no longer in use"):
        told = f"'{row.name}' is {'in use again' if row.historical else 'historical now'}."
        _change(view, told, historical=not row.historical)
    if places[4].button("Edit", key="edit", width="stretch"):
        st.switch_page("app_pages/define.py", query_params={"task": str(row.uid)})
    if not view.has_run:
        if places[5].button("Delete", key="delete", width="stretch", help="Only a task that never ran"):
            _delete(id_of(row), row.name)


def task_of(session: Session, uid: int) -> TaskRow:
    """The task's row in this transaction. Refused where it was deleted meanwhile."""
    row = task_of_uid(session, uid)
    if row is None:
        raise Refused(f"task {uid} has been deleted meanwhile")
    return row


def start_in_words(uid: int, rules: frozenset[str], zone: str) -> str:
    """When a run asked for now would start, by the forecast."""
    at = ui.fetch(lambda session, actor: earliest_start(session, CLOCK, actor, uid, rules, catalog=ui.catalog(session)))
    if at is None:
        return "not before somebody acts (see Why)"
    return _AT_ONCE if (at - CLOCK.now()).total_seconds() < 60 else words.day_and_time(at, zone)


def _expected(view: TaskView, rules: frozenset[str], zone: str) -> str:
    """As `start_in_words`; a run that is in the way and overdue to end may take longer than the forecast thinks."""
    told = start_in_words(id_of(view.row), rules, zone)
    in_the_way = next((hold for rule, hold in view.why.verdicts if hold and rule in _OF_OTHER_RUNS), None)
    return f"when its way is free: {in_the_way.reason}" if told == _AT_ONCE and in_the_way else told


@st.dialog("Run now")
def _run_now(view: TaskView, zone: str) -> None:
    """As soon as possible, under the same rules; says when that will be before the click."""
    uid = id_of(view.row)
    st.text(f"{view.row.name}\nIt means: as soon as possible, under the same rules as everything else.")
    if view.line.needs_reset:
        st.error("It failed and needs a reset first.")
        if st.button("To the reset", key="run_to_reset", type="primary"):
            st.switch_page("app_pages/reset.py", query_params={"task": str(uid)})
        return
    rules = [rule for rule in sorted(OVERRIDABLE) if st.checkbox(f"Override {rule}", key=f"run_override_{rule}")]
    reason = st.text_input("Reason for the override (kept in the audit trail)", key="run_reason") if rules else ""
    follow = bool(view.chain) and st.checkbox("Go on to the following steps", key="run_follow")
    st.markdown(f"It would start: **{words.plain(_expected(view, frozenset(rules), zone))}**")
    if st.button("Run now", key="run_now_go", type="primary"):
        ask_to_run(uid, follow=follow, override=frozenset(rules), reason=reason or None)


def ask_to_run(
    uid: int,
    *,
    follow: bool = False,
    override: frozenset[str] = frozenset(),
    reason: str | None = None,
    rerun: bool = True,
) -> Asked | None:
    """Run now; None where it was refused, with the reason on screen."""
    return ui.act(
        lambda session, actor: run_now(
            session, CLOCK, actor, task_of(session, uid), follow=follow, override=override, reason=reason
        ),
        _asked,
        rerun=rerun,
    )


def _asked(asked: Asked) -> str:
    return f"Run {asked.run_id} waits for its turn." if asked.new else f"Run {asked.run_id} waits already."


def _change(view: TaskView, told: str, *, enabled: bool | None = None, historical: bool | None = None) -> None:
    """At once, unless it has a process ID: then the operator has to confirm it."""
    if view.line.process_id:
        _confirm(view, told, enabled, historical)
    else:
        _set(id_of(view.row), told, enabled, historical, confirmed=False)


@st.dialog("It is running")
def _confirm(view: TaskView, told: str, enabled: bool | None, historical: bool | None) -> None:
    st.warning(
        f"'{words.plain(view.row.name)}' has the process ID {view.line.process_id}: changing it now could break the "
        "process. The running process keeps the parameters it started with."
    )
    if st.button("Change it all the same", key="change_confirmed", type="primary"):
        _set(id_of(view.row), told, enabled, historical, confirmed=True)


def _set(uid: int, told: str, enabled: bool | None, historical: bool | None, *, confirmed: bool) -> None:
    ui.act(
        lambda session, actor: set_state(
            session, CLOCK, actor, task_of(session, uid), enabled=enabled, historical=historical, confirmed=confirmed
        ),
        told,
    )


@st.dialog("Delete")
def _delete(uid: int, name: str) -> None:
    st.text(f"Delete '{name}'? It never ran, so nothing of the log is lost.")
    if st.button("Delete it", key="delete_go", type="primary"):
        if ui.act(lambda session, actor: _deleted(session, actor, uid), f"'{name}' is deleted.", rerun=False):
            st.switch_page("app_pages/tasks.py")


def _deleted(session: Session, actor: Actor, uid: int) -> bool:
    delete_task(session, CLOCK, actor, task_of(session, uid))
    return True
