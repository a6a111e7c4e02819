"""Configuration: importer path and its SFTP connection, mail, spacing, capacity, alerts, retention, time zone."""

import streamlit as st

from headway import wording as words
from headway.dashboard import ui
from headway.dashboard.settings import connections
from headway.dashboard.settings.fields import PATH, Sheet, duration, number, tell
from headway.models.values.actor import Privilege


def general(*, locked: bool) -> None:
    """What holds for every task."""
    sheet = Sheet("general", locked=locked)
    left, right = st.columns(2)
    zones = words.zones()
    zone = left.selectbox("Default time zone of schedules", zones, index=zones.index(sheet.opened.timezone),
                          key=sheet.key("timezone"), disabled=locked)  # fmt: skip
    problems = [
        sheet.take("timezone", zone, sheet.opened.timezone),
        number(right, sheet, "max_running", "Runs in progress at most", 1, 1000, about="Over all workers"),
        duration(left, sheet, "min_spacing", "Minimum spacing of steps",
                 about="Between the starts of two steps; less cannot be saved. Hours, minutes, seconds"),
        duration(right, sheet, "recommended_spacing", "Recommended spacing of steps",
                 about="Less is a warning; a step without a spacing has this one"),
        duration(left, sheet, "long_running", "Long-running alert after",
                 about="A run in progress for longer raises one alert"),
        duration(right, sheet, "pickup_after", "Pick-up alert after", optional=True,
                 about="A delivered file that the importer has not taken by then raises an alert; empty: never"),
        number(left, sheet, "retention_days", "Keep the log for (days)", 1, 100_000, empty="for ever",
               about="What a System Purge task leaves, where it says nothing of its own; empty: everything"),
    ]  # fmt: skip
    shown = ", ".join(sheet.opened.alert_recipients)
    text = right.text_input(
        "Alerts are mailed to",
        shown,
        key=sheet.key("alert_recipients"),
        disabled=locked,
        live=True,
        placeholder="ops@example.com, oncall@example.com",
    )
    if text.strip() != shown:
        addresses = [one.strip() for one in text.replace(";", ",").split(",") if one.strip()]
        problems.append(sheet.take("alert_recipients", addresses, sheet.opened.alert_recipients))
        tell(right, problems[-1])
    failures = st.checkbox("Mail an alert for each run that fails", sheet.opened.alert_on_failure, disabled=locked,
                           key=sheet.key("alert_on_failure"))  # fmt: skip
    problems.append(sheet.take("alert_on_failure", failures, sheet.opened.alert_on_failure))
    sheet.close(problems)


def importer(*, locked: bool) -> None:
    """Where exporters deliver, and how that server is reached."""
    sheet = Sheet("importer", locked=locked)
    shown = sheet.opened.customer_importer_file_path or ""
    path = st.text_input(
        "Customer Importer File Path",
        shown,
        key=sheet.key(PATH),
        disabled=locked,
        live=True,
        placeholder=r"\\flexftp\acme\import",
        help="System Settings -> Importer. Two backslashes in front, then server, share and folder",
    ).strip()
    problem = sheet.take(PATH, path or None, shown or None)
    tell(st, problem)
    sheet.close([problem])
    st.markdown("#### SFTP connection")
    connections.sftp(sheet.stored, locked=locked)


def mail(*, locked: bool) -> None:
    """How alerts leave the house."""
    settings = Sheet("mail", locked=locked).stored
    recipients = ", ".join(settings.alert_recipients) or "nobody yet: *General* says who"
    st.caption(f"Alerts go to {words.plain(recipients) if settings.alert_recipients else recipients}.")
    connections.mail(settings, locked=locked)


st.markdown("## Configuration")
locked = not ui.allowed(Privilege.MANAGE)
parts = {"General": general, "Importer": importer, "Mail": mail}
for tab, show in zip(st.tabs(list(parts), key="settings_tab", on_change="rerun"), parts.values(), strict=True):
    if tab.open:  # one at a time: the others would ask Prefect for nothing
        with tab:
            show(locked=locked)
