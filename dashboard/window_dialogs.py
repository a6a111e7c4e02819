"""What changes maintenance windows on screen: each dialog shows which runs would move before anything is saved."""

from collections.abc import Callable, Mapping
from datetime import timedelta

import pandas as pd
import streamlit as st
from sqlmodel import Session

from headway import wording as words
from headway.dashboard import ui
from headway.dashboard.data import CLOCK
from headway.errors import InvalidInput
from headway.models.values.actor import Actor
from headway.scheduler.planning.definitions.document import DAYS, WindowSection
from headway.scheduler.usecases.windows.browse_windows import ComingOccurrence
from headway.scheduler.usecases.windows.edit_windows import checked_window, delete_window, save_window
from headway.scheduler.usecases.windows.release_window import release_window
from headway.scheduler.usecases.windows.window_change import Moved, Preview, preview_release, preview_windows

_COLUMNS = ["Task", "Due", "Starts as it is", "Starts after the change", "Moves", "Why"]
_MOST = 200
_NOT = "does not start"
_SETTINGS_ZONE = "the settings' zone"


@st.dialog("Maintenance window", width="large")
def edit(opened: WindowSection | None, every: list[WindowSection], zone: str) -> None:
    """A new window, or another shape for the one that was opened."""
    name = st.text_input("Name", opened.name if opened else "", key="window_name")
    days = st.pills("Days", DAYS, selection_mode="multi", default=opened.days if opened else None,
                    format_func=str.capitalize, key="window_days")  # fmt: skip
    left, middle, right = st.columns([1, 1, 2])
    start = left.text_input("Start", f"{opened.start:%H:%M}" if opened else "", key="window_start", placeholder="05:00")
    end = middle.text_input("End", f"{opened.end:%H:%M}" if opened else "", key="window_end", placeholder="06:00",
                            help="Not later than the start: it ends on the next day")  # fmt: skip
    zones = [_SETTINGS_ZONE, *words.zones()]
    chosen = (opened.timezone if opened else None) or _SETTINGS_ZONE
    where = right.selectbox("Time zone", zones, index=zones.index(chosen) if chosen in zones else 0, key="window_zone")
    values = {
        "name": name.strip(),
        "days": list(days),
        "start": start.strip(),
        "end": end.strip(),
        "timezone": None if where == _SETTINGS_ZONE else where,
        "released": opened.released if opened else [],
    }
    section = _checked(values, begun=bool(name or days or start or end))
    if section is None:
        st.button("Save", key="window_save", type="primary", disabled=True)
        return
    if section == opened:
        st.caption("Nothing has changed yet. Change something to see which runs it would move.")
        return
    windows = [section if one == opened else one for one in every] if opened else [*every, section]
    _preview_of(windows, zone)
    if st.button("Save", key="window_save", type="primary"):
        ui.act(
            lambda session, actor: save_window(session, CLOCK, actor, section, opened=opened),
            lambda changed: f"'{section.name}' is saved." if changed else "Nothing has changed.",
        )


def _checked(values: Mapping[str, object], *, begun: bool) -> WindowSection | None:
    try:
        return checked_window(values)
    except InvalidInput as error:
        for problem in error.problems if begun else ():
            st.error(words.plain(problem))
        if not begun:
            st.caption("Name it, choose its days, and say from when to when.")
        return None


@st.dialog("Delete maintenance window", width="large")
def delete(opened: WindowSection, every: list[WindowSection], zone: str) -> None:
    st.text(f"'{opened.name}' will hold nothing any more, and its released occurrences are forgotten.")
    windows = [one for one in every if one != opened]
    _preview_of(windows, zone)
    if st.button("Delete it", key="window_delete_go", type="primary"):
        ui.act(lambda session, actor: delete_window(session, CLOCK, actor, opened), f"'{opened.name}' is deleted.")


@st.dialog("Release or reserve an occurrence", width="large")
def release(one: ComingOccurrence, zone: str) -> None:
    """The occurrence given back to the tasks that avoid windows, or taken again."""
    name, day, reserve = one.window.name, one.day, not one.reserved
    st.text(f"{name}, {words.from_to(one.start, one.end, zone)}")
    if reserve:
        st.caption("Reserved again, it holds the tasks that avoid windows.")
    else:
        st.caption("Released, it is free for the tasks that avoid windows. Those that must run in one may use it too.")
    ask: Callable[[Session, Actor], Preview] = lambda session, actor: preview_release(  # noqa: E731
        session, CLOCK, actor, name, day, reserve=reserve, catalog=ui.catalog(session)
    )
    preview(ui.fetch(ask), zone)
    verb = "Reserve" if reserve else "Release"
    if st.button(f"{verb} {words.plain(name)} of {day:%a %-d %b}", key="window_release_go", type="primary"):
        ui.act(
            lambda session, actor: release_window(session, CLOCK, actor, name, day, reserve=reserve),
            f"'{name}' of {day:%a %-d %b} is {verb.lower()}d.",
        )


def _preview_of(windows: list[WindowSection], zone: str) -> None:
    preview(
        ui.fetch(lambda session, actor: preview_windows(session, CLOCK, actor, windows, catalog=ui.catalog(session))),
        zone,
    )


def preview(found: Preview, zone: str) -> None:
    """The forecast before and after, side by side."""
    until = words.day_and_time(found.until, zone)
    if not found.whole:
        st.warning(
            f"With so many tasks the forecast reaches only to {words.plain(until)}: what moves later is not shown."
        )
    if not found.moved:
        st.info(
            words.plain(f"No run would move: {found.runs} are forecast until {until}, and all start as they would.")
        )
        return
    st.markdown(f"**{words.plain(summary(found, until))}**")
    rows = [_row(one, zone) for one in found.moved[:_MOST]]
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    st.container(key="window_preview").dataframe(
        ui.styled(frame, lambda row: ui.red() if found.moved[row].after is None else ""),
        hide_index=True,
        height=ui.height(len(frame), most=8),
        column_config={"Why": st.column_config.TextColumn(width=380)},
    )
    if len(found.moved) > len(rows):
        st.caption(f"The first {len(rows)} of {len(found.moved)}.")


def summary(found: Preview, until: str) -> str:
    """`3 of 40 runs until Mon 30 Nov 06:00 EST would move: 2 earlier, 1 later.`"""
    none = sum(one.after is None for one in found.moved)
    earlier = sum(_by(one) < timedelta(0) for one in found.moved)
    later = sum(_by(one) > timedelta(0) for one in found.moved)
    began = len(found.moved) - none - earlier - later
    parts = [
        (earlier, "earlier"),
        (later, "later"),
        (began, "would start that does not now"),
        (none, "would not start"),
    ]
    told = ", ".join(f"{count} {word}" for count, word in parts if count)
    return f"{len(found.moved)} of {words.count(found.runs, 'run')} until {until} would move: {told}."


def _by(one: Moved) -> timedelta:
    """How much later; nothing where it starts only on one side."""
    return one.after - one.before if one.before is not None and one.after is not None else timedelta(0)


def _row(one: Moved, zone: str) -> list[str]:
    by = _by(one)
    moves = f"{words.length(abs(by))} {'earlier' if by < timedelta(0) else 'later'}" if by else ""
    return [
        one.task,
        words.in_zone(one.due_at, zone),
        words.in_zone(one.before, zone) or _NOT,
        words.in_zone(one.after, zone) or _NOT,
        moves,
        one.reason,
    ]
