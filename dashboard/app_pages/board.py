"""Day board: one day or week as a picture, real runs left of now, the forecast right of it."""

from datetime import date, timedelta

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from headway import wording as words
from headway.dashboard import ui
from headway.dashboard.board import memory
from headway.dashboard.board.axis import Axis, axis_of, monday_of, title_of
from headway.dashboard.board.chart import lane_of, link_of, loaded, slot_rows, state_of
from headway.dashboard.data import CLOCK
from headway.models.values.zone import zone as known_zone
from headway.scheduler.usecases.ahead.day_board import Bar, BoardQuery, DayBoard, day_board
from headway.scheduler.usecases.ahead.look_ahead import Ahead
from headway.scheduler.usecases.tasks.browse_tasks import types_in_use

_REFRESH_SECONDS = 20
_MOST_LANES, _MOST_ROWS = 40, 300
_EVERY = "Every type"
_COLUMNS = ["Start", "End", "Task", "Open", "Result", "Type", "Step", "Due", "Why"]
_MANY_TASKS = 1500


def turn_to(day: date) -> None:
    st.session_state.board_day = day


def controls(today: date) -> tuple[date, int, str | None, str]:
    """The day, how many days, the one type that is laid out by task (None: a lane a type), and a search."""
    span, back, home, on, day = st.columns([1.6, 1, 1, 1, 1.6], vertical_alignment="bottom")
    week = span.segmented_control("Span", ["Day", "Week"], default="Day", required=True, key="board_span",
                                  bind="query-params") == "Week"  # fmt: skip
    chosen = day.date_input("Day", today, key="board_day", bind="query-params", required=True)
    first = monday_of(chosen) if week else chosen
    step = timedelta(days=7 if week else 1)
    back.button("Previous", key="board_back", on_click=turn_to, args=(first - step,), width="stretch")
    home.button("Today", key="board_today", on_click=turn_to, args=(today,), width="stretch")
    on.button("Next", key="board_on", on_click=turn_to, args=(first + step,), width="stretch")
    kind, word = st.columns(2)
    types = ui.fetch(types_in_use)
    one = kind.selectbox("Lanes", [_EVERY, *types], key="board_type", bind="query-params",
                         help="One type is laid out by task")  # fmt: skip
    search = word.text_input("Search", key="board_search", placeholder="Task name", live=True).strip()
    return first, 7 if week else 1, None if one == _EVERY else one, search


@st.fragment(run_every=_REFRESH_SECONDS)
def board(axis: Axis, kind: str | None, search: str) -> None:
    slot = timedelta(minutes=15) if axis.days == 1 else timedelta(hours=2)
    query = BoardQuery(start=axis.start, end=axis.end, slot=slot, type=kind, search=search)

    def look(ahead: Ahead | None) -> DayBoard:
        return ui.fetch(
            lambda session, actor: day_board(session, CLOCK, actor, query, catalog=ui.catalog(session), ahead=ahead)
        )

    place = st.empty()
    if axis.end <= CLOCK.now():
        draw(place, look(None), axis, kind)
        return
    many = len(ui.fetch(lambda session, actor: ui.catalog(session).tasks)) > _MANY_TASKS
    if many and not memory.is_there():  # what is known is on screen at once, what takes a moment comes behind it
        draw(place, look(None), axis, kind, note="The forecast is being made ...")
    draw(place, look(memory.forecast(axis.end)), axis, kind)


def draw(place: DeltaGenerator, found: DayBoard, axis: Axis, kind: str | None, note: str = "") -> None:
    """LoadedBoard and table, in place of what stood there."""
    by_task = kind is not None and not found.slots
    lanes, left_out = lanes_of(found, kind)
    with place.container():
        if not lanes:
            st.info("There is no task yet. *Define task* makes one; then its runs are drawn here.")
            return
        st.altair_chart(loaded(found, axis, lanes, by_task=by_task), alt=summary(found, axis))
        for line in [note, *notes(found, axis, left_out)]:
            if line:
                st.caption(line)
        st.markdown("#### The same as a table")
        if found.slots:
            slot_table(found, axis)
        elif found.bars:
            table(found.bars, axis.zone)
        else:
            st.info("Nothing ran, runs or comes due in this time. Turn to another day, or clear the search.")


def lanes_of(found: DayBoard, kind: str | None) -> tuple[list[str], int]:
    """The lanes in their order, and how many did not fit."""
    if kind is None or found.slots:
        types = ui.fetch(types_in_use)
        return (types if kind is None else [kind]), 0
    names = list(dict.fromkeys(lane_of(bar, by_task=True) for bar in found.bars))
    return names[:_MOST_LANES] or [kind], max(0, len(names) - _MOST_LANES)


def summary(found: DayBoard, axis: Axis) -> str:
    """The picture in a sentence, for people who cannot see it."""
    return f"{title_of(axis)}: {found.runs} runs, {len(found.occurrences)} maintenance windows. The table has them all."


def notes(found: DayBoard, axis: Axis, left_out: int) -> list[str]:
    told = []
    if found.slots:
        length = "15 minutes" if axis.days == 1 else "2 hours"
        told.append(
            f"{found.runs:,} runs are too many for a bar each: a bar sums up {length} of a type and has the colour of "
            "its worst result. Choose a type, or search for a task, to see single runs."
        )
    if left_out:
        told.append(f"{left_out} more tasks have runs in this time: search for them, or look at the table.")
    if found.forecast_until is not None and found.forecast_until < axis.end:
        until = words.day_and_time(found.forecast_until, axis.zone)
        told.append(f"With so many tasks the forecast reaches to {until}; what comes due later is not drawn yet.")
    elif axis.end > found.now and not found.slots:
        told.append(
            "Right of now: the forecast, by the same rules that start the runs. Dotted: the next step keeps its "
            "distance until there. Click a bar for its run or task."
        )
    return told


def table(bars: list[Bar], zone: str) -> None:
    shown = bars[:_MOST_ROWS]
    rows = [
        [
            words.in_zone(bar.start_at, zone) if bar.starts else "",
            words.in_zone(bar.end_at, zone) if bar.starts else "",
            bar.task,
            link_of(bar),
            state_of(bar),
            bar.type,
            bar.step,
            words.in_zone(bar.due_at, zone),
            bar.reason,
        ]
        for bar in shown
    ]
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    colours = {"Execution failed": ui.red(), "Completed - With Errors": ui.amber()}
    st.container(key="board_table").dataframe(
        ui.styled(frame, lambda row: colours.get(str(rows[row][4]), "")),
        hide_index=True,
        height=ui.height(len(frame), most=12),
        column_config={
            "Open": st.column_config.LinkColumn(width=60, display_text="Open"),
            "Task": st.column_config.TextColumn(width=190),
            "Result": st.column_config.TextColumn(width=160),
            "Why": st.column_config.TextColumn(width=420),
        },
    )
    if len(bars) > len(shown):
        st.caption(f"The first {len(shown)} of {len(bars)} runs. Choose a type, or search, to see the others.")


def slot_table(found: DayBoard, axis: Axis) -> None:
    rows = [[row["When"], row["Type"], row["count"], row["Runs"]] for row in slot_rows(found.slots, axis)]
    frame = pd.DataFrame(rows, columns=["When", "Type", "Runs", "Of these"])
    st.container(key="board_slots").dataframe(frame, hide_index=True, height=ui.height(len(frame), most=12))


zone = ui.zone()
today = CLOCK.now().astimezone(known_zone(zone)).date()
heading = st.empty()  # above the controls that say which day it names
first, days, kind, search = controls(today)
axis = axis_of(first, days, zone)
heading.markdown(f"## {title_of(axis)}")
board(axis, kind, search)
