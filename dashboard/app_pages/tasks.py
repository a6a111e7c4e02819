"""Tasks: what is scheduled and in progress, what needs an operator first."""

import pandas as pd
import streamlit as st

from headway import wording as words
from headway.dashboard import ui
from headway.dashboard.data import CLOCK
from headway.models.values.actor import Privilege
from headway.scheduler.usecases.tasks.browse_tasks import TaskQuery, browse_tasks, types_in_use
from headway.scheduler.usecases.tasks.task_list import TaskLine

COLUMNS = [
    *("Start time", "Object", "Task", "UID", "Type", "Step", "Attempts", "State", "Open", "Progress", "Process ID"),
    *("Last result", "Reason"),
]
_MOST = 300


def row_of(line: TaskLine, zone: str) -> list[object]:
    """One task in the order of COLUMNS."""
    state = "Execution failed" if line.needs_reset and line.state in ("", "Scheduled") else line.state
    out_of_use = "(historical)" if line.historical else "" if line.enabled else "(disabled)"
    reasons = ["needs a reset"] * line.needs_reset + [one for one in (line.stuck, line.reason) if one]
    return [
        words.in_zone(line.next_start_at, zone),
        line.object,
        line.name,
        line.uid,
        line.type,
        line.step_shown,
        line.attempts,
        "Stuck" if line.stuck else f"{state} {out_of_use}".strip(),
        f"/task?task={line.uid}",
        line.progress,
        line.process_id,
        line.last_result or "",
        "; ".join(reasons),
    ]


def clear() -> None:
    """Literally every task: scheduled and unscheduled, historical too. The widgets begin anew, with other defaults."""
    st.session_state.tasks_cleared = st.session_state.get("tasks_cleared", 0) + 1


def filter_key(name: str) -> str:
    return f"tasks_{name}_{st.session_state.get('tasks_cleared', 0)}"


def picked() -> None:
    """Remember the task, not the row's place: the next refresh may put another task there."""
    rows = st.session_state.tasks_table.selection.rows
    shown = st.session_state.get("tasks_shown", [])
    st.session_state.tasks_picked = shown[rows[0]] if rows and rows[0] < len(shown) else None


@st.fragment(run_every=ui.REFRESH_SECONDS)
def table() -> None:
    query = TaskQuery(
        everything=not st.session_state.get(filter_key("enabled"), not st.session_state.get("tasks_cleared")),
        search=st.session_state.get(filter_key("search"), "").strip(),
        types=tuple(st.session_state.get(filter_key("types"), [])),
    )
    page = ui.fetch(
        lambda session, actor: browse_tasks(session, CLOCK, actor, query, catalog=ui.catalog(session), limit=_MOST)
    )
    if not page.lines:
        nothing(query)
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
        column_config=_WIDTHS,
    )
    if page.matching > len(page.lines):
        st.caption(f"The first {len(page.lines)} of {page.matching} tasks. Search to see the others.")
    details({line.uid: line for line in page.lines}.get(st.session_state.get("tasks_picked") or 0))


_WIDTHS = {
    "Start time": st.column_config.TextColumn(width=132, help="The next one; of a waiting run the one it came due at"),
    "Object": st.column_config.TextColumn(width=92),
    "Task": st.column_config.TextColumn(width=132),
    "Open": st.column_config.LinkColumn(width=44, display_text="Open"),
    "UID": st.column_config.NumberColumn(width=38, format="%d"),
    "Type": st.column_config.TextColumn(width=102),
    "Step": st.column_config.TextColumn(width=56),
    "Attempts": st.column_config.NumberColumn(width=58),
    "State": st.column_config.TextColumn(width=100),
    "Progress": st.column_config.ProgressColumn(width=70, min_value=0, max_value=100, format="%.0f%%"),
    "Process ID": st.column_config.NumberColumn(width=70, format="%d", help="0: it is not running"),
    "Last result": st.column_config.TextColumn(width=148),
    "Reason": st.column_config.TextColumn(width=420, help="Why it waits, or what somebody has to do"),
}


def nothing(query: TaskQuery) -> None:
    """An empty list, and what to do about it."""
    if query.search or query.types or not query.everything:
        st.info("No task matches. *Clear* shows literally every task, scheduled and unscheduled.")
    else:
        st.info("There is no task yet.")
    if ui.allowed(Privilege.MANAGE):
        st.link_button("Define a task", "/define", icon=":material/edit_calendar:")


def _style(line: TaskLine) -> str:
    if line.needs_reset or line.stuck:
        return ui.red()
    return ui.amber() if line.last_result == "Completed - With Errors" else ""


def details(line: TaskLine | None) -> None:
    """The picked task in a line, with the way to its page."""
    if line is None:
        st.caption("Pick a row to see why it waits, or follow *Open* to the task.")
        return
    with st.container(border=True):
        left, right = st.columns([5, 1], vertical_alignment="center")
        left.text(f"{line.name} (UID {line.uid})\n{words.process_in_words(line.process_id, line.state)}")
        for why in (line.stuck, line.reason):
            if why:
                left.text(words.sentence(why))
        right.link_button("Open task", f"/task?task={line.uid}", width="stretch")
        if line.needs_reset and ui.allowed(Privilege.MANAGE):
            left.text("It failed, and waits until somebody has looked.")
            right.link_button("Reset", f"/reset?task={line.uid}", width="stretch", type="primary")


st.markdown("## Scheduled and in progress")
search, types, enabled, every = st.columns([3, 3, 1.2, 1], vertical_alignment="bottom")
search.text_input("Search", key=filter_key("search"), placeholder="Task, object, description or UID")
types.multiselect("Type", ui.fetch(types_in_use), key=filter_key("types"), placeholder="Every type")
enabled.checkbox(
    "Enabled?",
    not st.session_state.get("tasks_cleared"),
    key=filter_key("enabled"),
    help="On: tasks scheduled now. Off: those used in the past too.",
)
every.button("Clear", on_click=clear, width="stretch", help="Literally every task, scheduled and unscheduled")
table()
