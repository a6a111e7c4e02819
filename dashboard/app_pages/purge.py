"""System purge: what would go, in counts; what stays and why; confirm by typing."""

import pandas as pd
import streamlit as st

from headway import wording as words
from headway.dashboard import ui
from headway.dashboard.data import CLOCK, engine
from headway.models.values.run import SHOWN_AS, RunStatus
from headway.scheduler.planning.retention import RESULTS, Retention
from headway.scheduler.store.settings import load_settings
from headway.scheduler.usecases.log.purge import purge, would_go
from headway.scheduler.usecases.tasks.browse_tasks import types_in_use

DAYS_WITHOUT_A_SETTING = 366

st.markdown("## System purge")
st.text(
    "Deletes runs that ended long ago, with their events, log lines and receipts. It never deletes everything: open "
    "runs, each task's last run, failures that nobody has reset, and the audit trail stay."
)
setting = ui.fetch(lambda session, actor: load_settings(session).retention_days)
default = setting or DAYS_WITHOUT_A_SETTING
days = int(
    st.number_input("Delete runs that ended more than this many days ago", 0, 100_000, default, key="purge_days")
)
left, right = st.columns(2)
kinds = left.multiselect("Only these types", ui.fetch(types_in_use), placeholder="Every type", key="purge_types")
results = right.multiselect(
    "Only these results",
    RESULTS,
    placeholder="Every result",
    format_func=lambda one: SHOWN_AS[one],
    key="purge_results",
)
retention = Retention(days, types=frozenset(kinds), results=frozenset(results))
found = ui.fetch_now(would_go, retention)
if not found.total:
    st.info("Nothing is old enough to go.")
else:
    rows = [[kind, SHOWN_AS[RunStatus(result)], count] for (kind, result), count in found.runs.items()]
    st.dataframe(pd.DataFrame(rows, columns=["Type", "Result", "Runs"]), hide_index=True)
if found.kept:
    st.text(f"{words.count(found.kept, 'old run')} to keep:")
    reasons = [[count, why] for why, count in found.kept_why.items()]
    st.dataframe(pd.DataFrame(reasons, columns=["Runs", "Why they stay"]), hide_index=True)
if found.total and found.before is not None:
    going = f"{words.count(found.total, 'run')} and {words.count(found.lines, 'log line')}"
    st.text(f"{going} that ended before {words.in_zone(found.before, ui.zone())} would go.")
    word = f"purge {found.total}"
    typed = st.text_input(f"Type *{word}* to confirm", key="purge_word")
    if st.button("Purge", key="purge_go", type="primary", disabled=typed.strip() != word):
        bar = st.progress(0.0, "Deleting ...")

        def show(done: int, of: int) -> None:
            bar.progress(min(done / of, 1.0), f"{done} of {of} runs deleted")

        ui.act_alone(
            lambda actor: purge(engine(), CLOCK, actor, retention, on_progress=show),
            lambda done: (
                f"{words.count(done.total, 'run')} and {words.count(done.lines, 'log line')} are gone; {done.kept} old "
                "ones stay."
            ),
        )
