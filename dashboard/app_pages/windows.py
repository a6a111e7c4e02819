"""Maintenance windows: what they are, and the next occurrences with release and reserve."""

import streamlit as st

from headway import wording as words
from headway.dashboard import ui, window_dialogs
from headway.dashboard.data import CLOCK
from headway.models.values.actor import Privilege
from headway.scheduler.planning.definitions.document import WindowSection
from headway.scheduler.usecases.windows.browse_windows import ComingOccurrence, coming_occurrences, windows


def days_in_words(window: WindowSection) -> str:
    return "every day" if len(window.days) == 7 else ", ".join(day.capitalize() for day in window.days)


def times_in_words(window: WindowSection) -> str:
    overnight = " the next day" if window.end <= window.start else ""
    return f"{window.start:%H:%M} to {window.end:%H:%M}{overnight}"


def definition(window: WindowSection, every: list[WindowSection], zone: str, may_change: bool) -> None:
    """One window with its buttons."""
    name, times, where, change, remove = st.columns([3, 4, 3, 1.2, 1.2], vertical_alignment="center")
    name.text(window.name)
    times.text(f"{days_in_words(window)}, {times_in_words(window)}")
    where.text(window.timezone or "the settings' zone")
    if not may_change:
        return
    if change.button("Edit", key=f"window_edit_{window.name}", width="stretch"):
        window_dialogs.edit(window, every, zone)
    if remove.button("Delete", key=f"window_delete_{window.name}", width="stretch"):
        window_dialogs.delete(window, every, zone)


def line(one: ComingOccurrence, zone: str, may_change: bool) -> None:
    """One occurrence with its button."""
    when, name, state, button = st.columns([4, 3, 3, 1.4], vertical_alignment="center")
    when.text(words.from_to(one.start, one.end, zone))
    name.text(one.window.name)
    if one.reserved:
        state.markdown(":orange-badge[Reserved]")
    else:
        state.markdown(f":green-badge[Released] by {words.plain(one.released_by or '')}")
    label = "Release" if one.reserved else "Reserve"
    key = f"window_{one.window.name}_{one.day}"
    if may_change and button.button(label, key=key, width="stretch", help="Shows first which runs it would move"):
        window_dialogs.release(one, zone)


st.markdown("## Maintenance windows")
zone = ui.zone()
may_change = ui.allowed(Privilege.MANAGE)
defined = ui.fetch(windows)
for window in defined:
    definition(window, defined, zone, may_change)
if not defined:
    st.info("There is no maintenance window: nothing is held for one. *Add window* makes the first.")
if may_change and st.button("Add window", key="window_add", icon=":material/add:"):
    window_dialogs.edit(None, defined, zone)
if defined:
    st.caption(
        "A reserved occurrence holds tasks that avoid windows. Released, it is theirs again; tasks that must run in a "
        "window may use it either way."
    )
    st.markdown("#### The next 14 occurrences")
    for one in ui.fetch(lambda session, actor: coming_occurrences(session, CLOCK, actor, catalog=ui.catalog(session))):
        line(one, zone, may_change)
