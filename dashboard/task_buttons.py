"""The task page's buttons: Run now, Enable, Historical, Reset, Delete. Each asks the use case, which may refuse."""

import streamlit as st
from sqlmodel import Session

from dashboard import ui, words
from dashboard.data import CLOCK, engine
from models.domain import OVERRIDABLE, SHOWN_AS, Privilege
from models.tables import TaskRow
from scheduler.errors import Refused
from scheduler.usecases.reset import ResetPreview, preview_reset, reset
from scheduler.usecases.run_now import Asked, run_now
from scheduler.usecases.show_task import TaskView, earliest_start
from scheduler.usecases.task_state import delete_task, set_state


def buttons(view: TaskView, zone: str) -> None:
    """What may be done with the task, by privilege and state."""
    if not ui.allowed(Privilege.MANAGE):
        return
    row = view.row
    places = st.columns(6)
    if places[0].button("Run now", key="run_now", type="primary", width="stretch", disabled=row.historical):
        _run_now(view, zone)
    if places[1].button("Reset", key="reset", width="stretch", help="Look at why it failed, then Finish"):
        _reset(row.uid or 0, row.name, zone)
    places[4].link_button("Edit", f"/define?task={row.uid}", width="stretch")
    enable = "Disable" if row.enabled else "Enable"
    if places[2].button(enable, key="enable", width="stretch"):
        _set(row.uid or 0, f"'{row.name}' is {enable.lower()}d.", enabled=not row.enabled)
    historical = "In use again" if row.historical else "Historical"
    if places[3].button(historical, key="historical", width="stretch", help="Marks a task that is no longer in use"):
        _set(row.uid or 0, f"'{row.name}': {historical}.", historical=not row.historical)
    if view.line.last_result is None and view.open_run is None:
        if places[5].button("Delete", key="delete", width="stretch", help="Only a task that never ran"):
            _delete(row.uid or 0, row.name)


def _task(session: Session, uid: int) -> TaskRow:
    row = session.get(TaskRow, uid)
    if row is None:
        raise Refused(f"task {uid} has been deleted meanwhile")
    return row


@st.dialog("Run now")
def _run_now(view: TaskView, zone: str) -> None:
    """As soon as possible, under the same rules; says when that will be before anybody clicks."""
    uid = view.row.uid or 0
    st.text(f"{view.row.name}\nIt means: as soon as possible, under the same rules as everything else.")
    rules = [rule for rule in sorted(OVERRIDABLE) if st.checkbox(f"Override {rule}", key=f"run_override_{rule}")]
    reason = st.text_input("Reason for the override (kept in the audit trail)", key="run_reason") if rules else ""
    follow = False
    if view.chain:
        follow = st.checkbox("Go on to the following steps", key="run_follow")
    at = ui.fetch(
        lambda session, actor: earliest_start(session, CLOCK, actor, uid, frozenset(rules), book=ui.book(session))
    )
    soon = at is not None and (at - CLOCK.now()).total_seconds() < 60
    when = "at once" if soon else words.day_and_time(at, zone) if at else "not before somebody acts (see Why)"
    st.markdown(f"It would start: **{words.plain(when)}**")
    if st.button("Run now", key="run_now_go", type="primary"):
        ui.act(
            lambda session, actor: run_now(
                session,
                CLOCK,
                actor,
                _task(session, uid),
                follow=follow,
                override=frozenset(rules),
                reason=reason or None,
            ),
            _asked,
        )


def _asked(asked: Asked) -> str:
    return f"Run {asked.run_id} waits for its turn." if asked.new else f"Run {asked.run_id} waits already."


@st.dialog("Reset", width="large")
def _reset(uid: int, name: str, zone: str) -> None:
    """Why it failed, what will happen, the warning, Finish."""
    preview = ui.fetch(lambda session, actor: preview_reset(session, CLOCK, actor, _task(session, uid)))
    _show(preview, zone)
    if st.button("Finish", key="reset_finish", type="primary"):
        ui.act_alone(
            lambda actor: reset(engine(), CLOCK, actor, uid),
            lambda status: f"'{name}' is reset. Run {preview.run_id}: {SHOWN_AS[status]}; process ID 0.",
        )


def _show(preview: ResetPreview, zone: str) -> None:
    st.text(f"{preview.task}, run {preview.run_id}: {SHOWN_AS[preview.status]}, {preview.errors} errors")
    if preview.error:
        st.error(words.plain(preview.error))
    if preview.last_lines:
        st.caption("The last log lines")
        st.code("\n".join(line.message for line in preview.last_lines[-8:]), language=None, wrap_lines=True)
    ui.facts(
        [
            ("Process", "ended by Finish" if preview.process_alive else "none is alive"),
            ("Locks that will be freed", ", ".join(preview.locks) or "none"),
            ("Next start", words.in_zone(preview.next_start_at, zone) or "none"),
        ]
    )
    st.text(f"Steps that were skipped: {', '.join(preview.skipped) or 'none'}")
    st.text(f"Files already delivered: {', '.join(preview.delivered) or 'none'}")
    if preview.warning:
        st.warning(words.plain(preview.warning))


def _set(uid: int, told: str, *, enabled: bool | None = None, historical: bool | None = None) -> None:
    ui.act(
        lambda session, actor: set_state(
            session, CLOCK, actor, _task(session, uid), enabled=enabled, historical=historical
        ),
        told,
    )


@st.dialog("Delete")
def _delete(uid: int, name: str) -> None:
    st.text(f"Delete '{name}'? It never ran, so nothing of the log is lost.")
    if st.button("Delete it", key="delete_go", type="primary"):
        ui.act(lambda session, actor: delete_task(session, CLOCK, actor, _task(session, uid)), f"'{name}' is deleted.")
