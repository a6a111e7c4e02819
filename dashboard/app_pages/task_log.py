"""Task log: every run that has ended, newest first."""

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from headway import wording as words
from headway.dashboard import ui
from headway.dashboard.data import CLOCK
from headway.dashboard.downloads import COLUMNS, cells, parameters_of
from headway.models.ledger.tables import id_of
from headway.models.values.run import SHOWN_AS, RunStatus
from headway.models.values.zone import zone as known_zone
from headway.scheduler.planning.local_time import to_utc
from headway.scheduler.store.queries.run_history import BAD
from headway.scheduler.usecases.log.browse_log import Key, LogPage, LogQuery, browse_log
from headway.scheduler.usecases.tasks.browse_tasks import types_in_use

_PAGE = 200
_ORDER = [
    *("Start time", "Report Detail", "End time", "Object", "Task", "Duration", "Size (KB)", "Result", "Error", "Type"),
    *("Step", "Processed", "Errors", "Attempts", "Trigger", "UID", "Run"),
]
_ENDED = [status for status in RunStatus if status not in (RunStatus.WAITING, RunStatus.STARTING, RunStatus.RUNNING)]
_RANGES = {"Last 24 hours": 1, "Last 7 days": 7, "Last 31 days": 31, "Last 366 days": 366, "All": None, "Days ...": 0}


def asked(zone: str) -> LogQuery:
    """The filter as the widgets say it."""
    top = st.columns([2, 3, 2, 2], vertical_alignment="bottom")
    chosen = top[0].selectbox("Time", list(_RANGES), index=1, key="log_range")
    search = top[1].text_input("Search", key="log_search", placeholder="Task or object")
    types = top[2].multiselect("Type", ui.fetch(types_in_use), key="log_types", placeholder="Every type")
    results = top[3].multiselect(
        "Result", _ENDED, key="log_results", placeholder="Every result", format_func=lambda one: SHOWN_AS[one]
    )
    below = st.columns([2, 2, 3, 2], vertical_alignment="center")
    errors = below[0].checkbox("Errors only", key="log_errors", help="Failed, with errors, missed or skipped")
    oldest = below[1].checkbox("Oldest first", key="log_oldest")
    since, until = _range(_RANGES[chosen], zone, below[2])
    return LogQuery(
        since=since,
        until=until,
        task_uid=ui.query_number("task"),
        search=search.strip(),
        types=tuple(types),
        results=tuple(results),
        errors=errors,
        newest_first=not oldest,
    )


def _range(
    days: int | None, zone: str, place: st.delta_generator.DeltaGenerator
) -> tuple[datetime | None, datetime | None]:
    now = CLOCK.now().replace(second=0, microsecond=0)
    if days is None:
        return None, None
    if days:
        return now - timedelta(days=days), None
    today = now.astimezone(known_zone(zone)).date()
    given = place.date_input("Days", (today - timedelta(days=7), today), key="log_days", label_visibility="collapsed")
    first, last = (given[0], given[-1]) if isinstance(given, tuple) and given else (today, today)
    return _midnight(first, zone), _midnight(last + timedelta(days=1), zone)


def _midnight(day: date, zone: str) -> datetime:
    return to_utc(datetime.combine(day, time()), known_zone(zone))


def turned_to(query: LogQuery) -> list[Key]:
    """The keys of the pages turned so far; another filter begins at the first page."""
    chosen = (st.session_state.log_range, st.session_state.get("log_days"))
    filter_ = (chosen, replace(query, since=None, until=None))  # the last 7 days begin later with every minute
    if st.session_state.get("log_asked") != filter_:
        st.session_state.log_asked = filter_
        st.session_state.log_keys = []
    keys: list[Key] = st.session_state.log_keys
    return keys


def table(page: LogPage, zone: str) -> None:
    rows = [[*cells(run, name, page.steps[id_of(run)], zone), f"/run?run={run.id}"] for run, name in page.rows]
    frame = pd.DataFrame(rows, columns=[*COLUMNS, "Report Detail"])
    st.container(key="log_table").dataframe(
        ui.styled(frame, lambda row: style(page.rows[row][0].status, page.rows[row][0].errors)),
        hide_index=True,
        height=ui.height(len(frame)),
        column_order=_ORDER,
        column_config={
            "Start time": st.column_config.TextColumn(width=138),
            "Report Detail": st.column_config.LinkColumn(width=95, display_text="Report Detail"),
            "End time": st.column_config.TextColumn(width=138),
            "Object": st.column_config.TextColumn(width=90),
            "Task": st.column_config.TextColumn(width=160),
            "Duration": st.column_config.TextColumn(width=70, help="mm:ss"),
            "Size (KB)": st.column_config.NumberColumn(width=75, format="%.1f"),
            "Result": st.column_config.TextColumn(width=160),
            "Error": st.column_config.TextColumn(width=400),
        },
    )


def style(status: RunStatus, errors: int) -> str:
    if status in BAD:
        return ui.red()
    return ui.amber() if errors else ""


def pages(keys: list[Key], page: LogPage, query: LogQuery) -> None:
    first, back, on, csv = st.columns([1, 1, 1, 2])
    if first.button("First page", key="log_first", disabled=not keys, width="stretch"):
        keys.clear()
        st.rerun()
    if back.button("Back", key="log_back", disabled=not keys, width="stretch"):
        keys.pop()
        st.rerun()
    if on.button("Next page", key="log_next", disabled=page.following is None, width="stretch") and page.following:
        keys.append(page.following)
        st.rerun()
    address = f"/download/task-log.csv?{urlencode(parameters_of(query))}"
    csv.link_button("Download all of this as CSV", address, icon=":material/download:", width="stretch")


st.markdown("## Task log")
zone = ui.zone()
query = asked(zone)
if query.task_uid is not None:
    st.info(f"Only the task with UID {query.task_uid}. [Show every task](/log)")
keys = turned_to(query)
page = ui.fetch(browse_log, query, behind=keys[-1] if keys else None, limit=_PAGE)
if page.looked_to is not None:
    st.info(
        f"The log has been looked through back to {words.in_zone(page.looked_to, zone)}."
        if query.newest_first
        else f"The log has been looked through up to {words.in_zone(page.looked_to, zone)}.",
        icon=":material/manage_search:",
    )
if page.rows:
    table(page, zone)
    count = f"{words.count(len(page.rows), 'run')} on page {len(keys) + 1}"
    st.caption(f"{count}; there may be more." if page.following else f"{count}, the last. A header sorts this page.")
elif page.following is None:
    st.info("No run in this filter has ended. Widen the time, or take the filters out. Waiting runs are under *Tasks*.")
else:
    st.info("Nothing found among these. *Next page* looks further.")
if page.rows or keys or page.following:
    pages(keys, page, query)
