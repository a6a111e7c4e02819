"""Configuration: importer path, spacing, capacity, long-running, time zone."""

from datetime import timedelta
from typing import Any
from zoneinfo import available_timezones

import streamlit as st
from pydantic import ValidationError

from dashboard import ui, words
from dashboard.data import CLOCK
from models.domain import Privilege
from scheduler.definitions import Definitions, SettingsSection, explain
from scheduler.errors import InvalidInput
from scheduler.store.settings import load_settings
from scheduler.usecases.apply import Applied, apply

_MINUTE = timedelta(minutes=1)


def checked(values: dict[str, Any]) -> tuple[SettingsSection | None, list[str]]:
    """The settings, or what is wrong with which field."""
    try:
        return SettingsSection.model_validate(values), []
    except ValidationError as error:
        return None, explain(error)


def save(settings: SettingsSection) -> None:
    def do(session: Any, actor: Any) -> Applied:
        applied = apply(session, CLOCK, actor, Definitions(settings=settings))
        if applied.errors:
            raise InvalidInput([finding.message for finding in applied.errors])
        return applied

    ui.act(do, lambda applied: "Saved." if applied.changes else "Nothing has changed.")


st.markdown("## Configuration")
now = ui.fetch(lambda session, actor: load_settings(session))
locked = not ui.allowed(Privilege.MANAGE)
path = st.text_input(
    "Customer Importer File Path",
    now.customer_importer_file_path or "",
    key="settings_path",
    disabled=locked,
    placeholder=r"\\flexftp\acme\import",
    help="System Settings -> Importer. Two backslashes in front, then server, share and folder",
)
left, right = st.columns(2)
zones = sorted(available_timezones())
timezone = left.selectbox(
    "Default time zone of schedules", zones, index=zones.index(now.timezone), key="settings_zone", disabled=locked
)
running = right.number_input(
    "Runs in progress at most", 1, 1000, now.max_running, key="settings_running", disabled=locked
)
least = left.number_input(
    "Minimum spacing of steps (minutes)", 0, 10_000, int(now.min_spacing / _MINUTE), key="settings_min", disabled=locked
)
good = right.number_input(
    "Recommended spacing of steps (minutes)",
    0,
    10_000,
    int(now.recommended_spacing / _MINUTE),
    key="settings_recommended",
    disabled=locked,
)
long = left.number_input(
    "Long-running alert after (hours)", 1, 1000, max(1, int(now.long_running / timedelta(hours=1))),
    key="settings_long", disabled=locked,
)  # fmt: skip
values = {
    "timezone": timezone,
    "customer_importer_file_path": path.strip() or None,
    "max_running": int(running),
    "min_spacing": timedelta(minutes=int(least)) if int(least) != int(now.min_spacing / _MINUTE) else now.min_spacing,
    "recommended_spacing": timedelta(minutes=int(good))
    if int(good) != int(now.recommended_spacing / _MINUTE)
    else now.recommended_spacing,
    "long_running": timedelta(hours=int(long))
    if int(long) != max(1, int(now.long_running / timedelta(hours=1)))
    else now.long_running,
}
settings, problems = checked(values)
for problem in problems:
    st.error(words.plain(problem))
if not locked and st.button("Save", key="settings_save", type="primary", disabled=settings is None) and settings:
    save(settings)
if locked:
    st.caption("Changing these takes the privilege Task management.")
