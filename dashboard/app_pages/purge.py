"""System purge: what would go, in counts; what stays and why; confirm by typing."""

import pandas as pd
import streamlit as st

from dashboard import ui, words
from dashboard.data import CLOCK
from models.domain import SHOWN_AS, RunStatus
from scheduler.usecases.purge import purge

st.markdown("## System purge")
st.text(
    "Deletes runs that ended long ago, with their events, log lines and receipts. It never deletes everything: open "
    "runs, each task's last run, failures that nobody has reset, and the audit trail stay."
)
days = int(st.number_input("Delete runs that ended more than this many days ago", 0, 10_000, 366, key="purge_days"))
found = ui.fetch_now(purge, days, dry_run=True)
if not found.total:
    st.info(f"Nothing is old enough to go; {found.kept} old runs stay for the reasons above.")
else:
    rows = [[kind, SHOWN_AS[RunStatus(result)], count] for (kind, result), count in found.runs.items()]
    st.dataframe(pd.DataFrame(rows, columns=["Type", "Result", "Runs"]), hide_index=True)
    zone = ui.zone()
    st.text(
        f"{found.total} runs and {found.lines} log lines that ended before {words.in_zone(found.before, zone)} would "
        f"go; {found.kept} old runs stay."
    )
    word = f"purge {found.total}"
    typed = st.text_input(f"Type *{word}* to confirm", key="purge_word")
    if st.button("Purge", key="purge_go", type="primary", disabled=typed.strip() != word):
        with st.spinner("Deleting ..."):
            ui.act(
                lambda session, actor: purge(session, CLOCK, actor, days),
                lambda done: f"{done.total} runs and {done.lines} log lines are gone; {done.kept} old ones stay.",
            )
