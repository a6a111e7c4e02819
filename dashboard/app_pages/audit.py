"""Audit: who changed what, when, from what to what. Nothing of it is ever purged."""

from datetime import timedelta
from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from headway import wording as words
from headway.dashboard import ui
from headway.dashboard.data import CLOCK
from headway.dashboard.downloads import AUDIT_COLUMNS, audit_cells
from headway.scheduler.usecases.log.browse_audit import AuditPage, AuditQuery, actions_in_use, browse_audit

_PAGE = 200
_RANGES = {"Last 24 hours": 1, "Last 7 days": 7, "Last 31 days": 31, "Last 366 days": 366, "All": None}


def asked() -> AuditQuery:
    """The filter as the widgets say it; to the minute, so that it stays the same while one reads."""
    time, search, what = st.columns([2, 3, 3], vertical_alignment="bottom")
    days = _RANGES[time.selectbox("Time", list(_RANGES), index=4, key="audit_range")]
    text = search.text_input("Search", key="audit_search", placeholder="Who, what, subject or reason").strip()
    actions = what.multiselect("What", ui.fetch(actions_in_use), key="audit_what", placeholder="Everything")
    now = CLOCK.now().replace(second=0, microsecond=0)
    return AuditQuery(text, now - timedelta(days=days) if days else None, None, tuple(actions))


def turned_to(query: AuditQuery) -> list[int]:
    """Where the pages turned so far begin; another filter begins at the first page."""
    same = (query.search, query.actions, st.session_state.audit_range)
    if st.session_state.get("audit_asked") != same:
        st.session_state.audit_asked, st.session_state.audit_below = same, []
    below: list[int] = st.session_state.audit_below
    return below


def table(page: AuditPage, zone: str) -> None:
    frame = pd.DataFrame([audit_cells(row, zone) for row in page.rows], columns=AUDIT_COLUMNS)
    st.container(key="audit_table").dataframe(
        frame,
        hide_index=True,
        height=ui.height(len(frame)),
        column_config={
            "When": st.column_config.TextColumn(width=165),
            "Who": st.column_config.TextColumn(width=140),
            "What": st.column_config.TextColumn(width=130),
            "Subject": st.column_config.TextColumn(width=220),
        },
    )


def pages(below: list[int], page: AuditPage, query: AuditQuery) -> None:
    back, on, csv = st.columns([1, 1, 2])
    if back.button("Newer", key="audit_newer", disabled=not below, width="stretch"):
        below.pop()
        st.rerun()
    if on.button("Older", key="audit_older", disabled=page.following is None, width="stretch") and page.following:
        below.append(page.following)
        st.rerun()
    since = query.since.isoformat() if query.since else ""
    wanted = {"search": query.search, "since": since, "what": ",".join(query.actions)}
    address = f"/download/audit.csv?{urlencode({name: value for name, value in wanted.items() if value})}"
    csv.link_button("Download all of this as CSV", address, icon=":material/download:", width="stretch")


st.markdown("## Audit")
zone = ui.zone()
query = asked()
below = turned_to(query)
page = ui.fetch(browse_audit, query, before_id=below[-1] if below else None, limit=_PAGE)
if page.rows:
    table(page, zone)
    st.caption(f"{len(page.rows)} rows on page {len(below) + 1}; times in {words.plain(zone)}")
elif page.following is None:
    st.info("Nothing matches. Everything that anybody changes leaves a line here; take filters out to see them.")
else:
    st.info("Nothing found among the newest of these. *Older* looks further.")
if page.rows or below or page.following:
    pages(below, page, query)
