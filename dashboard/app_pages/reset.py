"""Reset: why it failed, what will happen, the warning, Finish; then what to do next."""

import streamlit as st

from headway import wording as words
from headway.dashboard import ui
from headway.dashboard.data import CLOCK, engine
from headway.dashboard.task_buttons import ask_to_run, start_in_words, task_of
from headway.models.values.actor import Privilege
from headway.models.values.run import SHOWN_AS, RunStatus
from headway.scheduler.usecases.runs.reset import Fate, ResetPreview, preview_reset, reset

_DONE, _SHOWN = "reset_done", "reset_shown"
_SHOWN_LINES = 20


def why(preview: ResetPreview) -> None:
    """Error, error count, the last lines of the log."""
    st.markdown("#### Why it failed" if preview.status is RunStatus.FAILED else "#### What it is doing")
    if preview.error:
        st.error(words.plain(preview.error))
    elif preview.status is RunStatus.FAILED:
        st.error("It left no error text. The log's last lines may say more.")
    st.text(f"Run {preview.run_id}: {SHOWN_AS[preview.status]}, {words.count(preview.errors, 'error')} counted")
    if preview.last_lines:
        st.caption("The last lines of its log")
        lines = [
            f"{words.LEVELS.get(line.level, line.level):8} {line.message}"
            for line in preview.last_lines[-_SHOWN_LINES:]
        ]
        st.code("\n".join(lines), language=None, wrap_lines=True)
    st.link_button("Report Detail", f"/run?run={preview.run_id}", icon=":material/open_in_new:")


def what_will_happen(preview: ResetPreview, zone: str) -> None:
    st.markdown("#### What Finish does")
    running = preview.status is not RunStatus.FAILED
    if preview.warning:
        st.warning(words.plain(words.sentence(preview.warning)))
    elif running:
        st.warning("It is in progress: Finish ends it.")
    if preview.fate is Fate.OUT_OF_REACH:
        return
    groups = [lock.removeprefix("group:") for lock in preview.locks if lock.startswith("group:")]
    ui.facts(
        [
            ("Run", "becomes Cancelled" if running else "stays Execution failed, needs no reset any more"),
            ("Process", str(preview.fate)),
            ("Process ID", "becomes 0"),
            ("Group freed", ", ".join(groups) or "none is held"),
            ("Next start by schedule", words.in_zone(preview.next_start_at, zone) or "none"),
        ]
    )
    for label, found, none in (
        ("Steps that were skipped", preview.skipped, "none"),
        ("Files already delivered (they stay)", preview.delivered, "none"),
    ):
        st.text(f"{label}: {', '.join(found) or none}")


def finish(uid: int, preview: ResetPreview) -> None:
    # A press runs the page anew: what counts is the run that was on the screen when it was pressed.
    shown = st.session_state.get(_SHOWN, {}).get(uid)
    st.session_state[_SHOWN] = {uid: preview.run_id}
    go, back, _ = st.columns([1, 1, 3])
    refused = preview.fate is Fate.OUT_OF_REACH
    if go.button("Finish", key="reset_finish", type="primary", width="stretch", disabled=refused):
        with st.spinner("Ending what is left of it ..."):
            status = ui.act_alone(
                lambda actor: reset(engine(), CLOCK, actor, uid, shown=shown),
                lambda status: f"'{preview.task}' is reset. Run {preview.run_id}: {SHOWN_AS[status]}; process ID 0.",
                rerun=False,
            )
        if status is not None:
            st.session_state[_DONE] = (uid, preview.run_id, preview.task, tuple(preview.skipped))
            st.rerun()
    back.link_button("Leave it as it is", f"/task?task={uid}", width="stretch")


def afterwards(uid: int, run_id: int, name: str, skipped: tuple[str, ...], zone: str) -> None:
    """It is reset: run it again now, then maybe the steps behind it, or leave it to its schedule."""
    st.success(f"{words.plain(name)} is reset; its process ID is 0. Run {run_id} is in the log.")
    st.text(f"Run again now? It would start: {start_in_words(uid, frozenset(), zone)}")
    if skipped:
        st.text(f"Steps that were skipped behind it: {', '.join(skipped)}")
    again, following, leave = st.columns(3)
    if again.button("Run again now", key="reset_run", type="primary", width="stretch"):
        _run(uid, follow=False)
    if following.button(
        "Run again now, then the following steps", key="reset_follow", width="stretch", disabled=not has_steps(uid)
    ):
        _run(uid, follow=True)
    leave.link_button("Leave it to its schedule", f"/task?task={uid}", width="stretch")


def _run(uid: int, *, follow: bool) -> None:
    if ask_to_run(uid, follow=follow, rerun=False):
        st.session_state.pop(_DONE, None)
        st.switch_page("app_pages/task.py", query_params={"task": str(uid)})


def has_steps(uid: int) -> bool:
    catalog = ui.fetch(lambda session, actor: ui.catalog(session))
    return uid in catalog.tasks and bool(catalog.tasks[uid].successors)


def page(uid: int) -> None:
    zone = ui.zone()
    done = st.session_state.get(_DONE)
    if done and done[0] == uid:
        _, run_id, name, skipped = done
        ui.heading(f"Reset: {name}")
        afterwards(uid, run_id, name, skipped, zone)
        return
    ui.heading(f"Reset: {ui.fetch(lambda session, actor: task_of(session, uid).name)}")
    st.link_button("To the task", f"/task?task={uid}")
    preview = ui.fetch(lambda session, actor: preview_reset(session, CLOCK, actor, task_of(session, uid)))
    why(preview)
    what_will_happen(preview, zone)
    finish(uid, preview)


uid = ui.query_number("task")
if not ui.allowed(Privilege.MANAGE):
    st.error("A reset takes the privilege Task management. Ask a user manager for it.")
elif uid is None:
    st.info("Which task? Open one from [Tasks](/) and choose *Reset*.")
else:
    page(uid)
