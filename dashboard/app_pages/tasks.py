"""Tasks: what is scheduled and in progress, what needs somebody first."""

import pandas as pd
import streamlit as st

from dashboard import ui, words
from dashboard.data import CLOCK
from scheduler.usecases.browse_tasks import TaskQuery, browse_tasks, types_in_use
from scheduler.usecases.task_list import TaskLine

COLUMNS = [
    *(
        "Task",
        "Open",
        "Start time",
        "Object",
        "State",
        "Progress",
        "Waits because",
        "Last result",
        "Type",
        "UID",
        "Step",
    ),
    *("Attempts", "Process ID"),
]
_MOST = 300


def row_of(line: TaskLine, zone: str) -> list[object]:
    """One task in the order of COLUMNS."""
    state = "Execution failed" if line.needs_reset and line.state in ("", "Scheduled") else line.state
    reason = f"needs a reset{'; ' + line.reason if line.reason else ''}" if line.needs_reset else line.reason
    return [
        line.name,
        f"/task?task={line.uid}",
        words.in_zone(line.next_start_at, zone),
        line.object,
        state if line.enabled else f"{state} (disabled)".strip(),
        line.progress,
        reason,
        line.last_result or "",
        line.type,
        line.uid,
        line.step,
        line.attempts,
        line.process_id,
    ]


def clear() -> None:
    """Literally every task: scheduled and unscheduled, historical too."""
    st.session_state.tasks_enabled = False
    st.session_state.tasks_search = ""
    st.session_state.tasks_types = []


def picked() -> None:
    """Remember the task, not the row's place: the next refresh may put another task there."""
    rows = st.session_state.tasks_table.selection.rows
    shown = st.session_state.get("tasks_shown", [])
    st.session_state.tasks_picked = shown[rows[0]] if rows and rows[0] < len(shown) else None


@st.fragment(run_every=ui.REFRESH_SECONDS)
def table() -> None:
    query = TaskQuery(
        everything=not st.session_state.get("tasks_enabled", True),
        search=st.session_state.get("tasks_search", "").strip(),
        types=tuple(st.session_state.get("tasks_types", [])),
    )
    page = ui.fetch(
        lambda session, actor: browse_tasks(session, CLOCK, actor, query, book=ui.book(session), limit=_MOST)
    )
    if not page.lines:
        st.info("No task matches. *Clear* shows every task; `headway apply` or *Define task* makes new ones.")
        return
    zone = ui.zone()
    st.session_state.tasks_shown = [line.uid for line in page.lines]
    frame = pd.DataFrame([row_of(line, zone) for line in page.lines], columns=COLUMNS)
    st.dataframe(
        ui.styled(frame, lambda row: _style(page.lines[row])),
        key="tasks_table",
        hide_index=True,
        height=ui.height(len(frame)),
        on_select=picked,
        selection_mode="single-row",
        column_config={
            "Task": st.column_config.TextColumn(width=190),
            "Open": st.column_config.LinkColumn(width=60, display_text="Open"),
            "Object": st.column_config.TextColumn(width=110),
            "Progress": st.column_config.ProgressColumn(width=100, min_value=0, max_value=100, format="%.0f%%"),
            "Waits because": st.column_config.TextColumn(width=300),
        },
    )
    if page.matching > len(page.lines):
        st.caption(f"The first {len(page.lines)} of {page.matching} tasks. Search to see the others.")
    details({line.uid: line for line in page.lines}.get(st.session_state.get("tasks_picked") or 0))


def _style(line: TaskLine) -> str:
    if line.needs_reset:
        return ui.RED
    return ui.AMBER if line.last_result == "Completed - With Errors" else ""


def details(line: TaskLine | None) -> None:
    """The picked task in a line, with the way to its page."""
    if line is None:
        st.caption("Pick a row to see why it waits, or follow *Open* to the task.")
        return
    with st.container(border=True):
        left, right = st.columns([5, 1], vertical_alignment="center")
        left.text(f"{line.name} (UID {line.uid})\n{words.process_in_words(line.process_id, line.state)}")
        if line.reason:
            left.text(f"Waits because: {line.reason}")
        right.link_button("Open task", f"/task?task={line.uid}", width="stretch")


st.markdown("## Scheduled and in progress")
st.session_state.setdefault("tasks_enabled", True)
search, types, enabled, every = st.columns([3, 3, 1.2, 1], vertical_alignment="bottom")
search.text_input("Search", key="tasks_search", placeholder="Task, object, description or UID")
types.multiselect("Type", ui.fetch(types_in_use), key="tasks_types", placeholder="Every type")
enabled.checkbox("Enabled?", key="tasks_enabled", help="On: tasks scheduled now. Off: those used in the past too.")
every.button("Clear", on_click=clear, width="stretch", help="Literally every task, scheduled and unscheduled")
table()
