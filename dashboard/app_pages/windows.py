"""Maintenance windows: what they are, and the next occurrences with release and reserve."""

import pandas as pd
import streamlit as st

from dashboard import ui, words
from dashboard.data import CLOCK
from models.domain import Privilege
from scheduler.definitions import WindowSection
from scheduler.usecases.browse_windows import ComingOccurrence, coming_occurrences, windows
from scheduler.usecases.release_window import release_window

_COLUMNS = ["Window", "Days", "From", "To", "Time zone"]


def row_of(window: WindowSection, zone: str) -> list[str]:
    overnight = " (next day)" if window.end <= window.start else ""
    days = "every day" if len(window.days) == 7 else ", ".join(day.capitalize() for day in window.days)
    return [window.name, days, f"{window.start:%H:%M}", f"{window.end:%H:%M}{overnight}", window.timezone or zone]


def line(one: ComingOccurrence, zone: str, may_change: bool) -> None:
    """One occurrence with its button."""
    when, state, button = st.columns([4, 3, 1.3], vertical_alignment="center")
    when.text(f"{words.from_to(one.start, one.end, zone)}   {one.window.name}")
    if one.reserved:
        state.markdown(":orange-badge[Reserved]")
    else:
        state.markdown(f":green-badge[Released] by {words.plain(one.released_by or '')}")
    label = "Release" if one.reserved else "Reserve"
    key = f"window_{one.window.name}_{one.day}"
    if may_change and button.button(label, key=key, width="stretch"):
        name, day = one.window.name, one.day
        ui.act(
            lambda session, actor: release_window(session, CLOCK, actor, name, day, reserve=not one.reserved),
            f"'{name}' of {day:%a %-d %b} is {label.lower()}d.",
        )


st.markdown("## Maintenance windows")
zone = ui.zone()
defined = ui.fetch(windows)
if defined:
    frame = pd.DataFrame([row_of(window, "the settings' zone") for window in defined], columns=_COLUMNS)
    st.dataframe(frame, hide_index=True)
    st.caption(
        "A reserved occurrence holds tasks that avoid windows. Released, it is theirs again; tasks that must run in a "
        "window may use it either way. `headway apply` changes the windows themselves."
    )
    st.markdown("#### The next 14 occurrences")
    may_change = ui.allowed(Privilege.MANAGE)
    for one in ui.fetch(lambda session, actor: coming_occurrences(session, CLOCK, actor, book=ui.book(session))):
        line(one, zone, may_change)
else:
    st.info("There is no maintenance window: nothing is held for one. `headway apply` makes them.")
