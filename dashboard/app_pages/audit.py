"""Audit: who changed what, when, from what to what. Nothing of it is ever purged."""

import json
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import ui, words
from scheduler.usecases.browse_audit import browse_audit

_PAGE = 200
_COLUMNS = ["When", "Who", "What", "Subject", "Reason", "Before", "After"]


def short(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def changed(before: Any, after: Any) -> tuple[str, str]:
    """Only what differs, where both are known."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        return short({key: before.get(key) for key in keys}), short({key: after.get(key) for key in keys})
    return short(before), short(after)


st.markdown("## Audit")
zone = ui.zone()
search = st.text_input("Search", key="audit_search", placeholder="Who, what, subject or reason").strip()
if st.session_state.get("audit_asked") != search:
    st.session_state.audit_asked, st.session_state.audit_below = search, []
below: list[int] = st.session_state.audit_below
rows = ui.fetch(browse_audit, search=search, before_id=below[-1] if below else None, limit=_PAGE + 1)
if not rows:
    st.info("Nothing matches. Everything that anybody changes leaves a line here.")
else:
    shown = []
    for row in rows[:_PAGE]:
        when = words.in_zone(row.at, zone, seconds=True)
        shown.append([when, row.actor, row.action, row.subject, row.reason or "", *changed(row.before, row.after)])
    frame = pd.DataFrame(shown, columns=_COLUMNS)
    st.dataframe(
        frame,
        hide_index=True,
        height=ui.height(len(frame)),
        column_config={"Subject": st.column_config.TextColumn(width=260)},
    )
    st.download_button(
        "Download this page as CSV", lambda: ui.as_csv(frame), "audit.csv", "text/csv", icon=":material/download:"
    )
    back, on, _ = st.columns([1, 1, 3])
    if back.button("Newer", key="audit_newer", disabled=not below, width="stretch"):
        below.pop()
        st.rerun()
    if on.button("Older", key="audit_older", disabled=len(rows) <= _PAGE, width="stretch"):
        below.append(rows[_PAGE - 1].id or 0)
        st.rerun()
