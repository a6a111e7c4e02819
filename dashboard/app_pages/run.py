"""Run: the report detail of one run, at an address of its own (/run?run=ID)."""

import pandas as pd
import streamlit as st

from headway import wording as words
from headway.dashboard import ui
from headway.models.ledger.tables import RunLogRow, id_of
from headway.models.values.pickup import PickUp
from headway.models.values.run import ACTIVE, SHOWN_AS, RunStatus
from headway.scheduler.usecases.log.browse_log import ERROR, LineQuery, RunReport, run_lines, run_report
from headway.wording import picked_up

_PAGE = 500
_TAIL = 200
WARNING = 30
_BAD = (RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.MISSED, RunStatus.SKIPPED)


def summary(report: RunReport, zone: str) -> None:
    run = report.run
    state = SHOWN_AS[run.status]
    colour = "red" if run.status in _BAD else "orange" if run.errors else "green" if run.ended_at else "blue"
    ui.heading(f"Run {run.id}: {report.task.name}")
    st.markdown(f":{colour}-badge[{state}] &nbsp; [The task](/task?task={run.task_uid})")
    if run.error:
        st.error(words.plain(run.error))
    elif run.message:
        st.text(run.message)
    ui.facts(
        [
            ("Due", words.in_zone(run.due_at, zone, seconds=True)),
            ("Start time", words.in_zone(run.started_at, zone, seconds=True)),
            ("End time", words.in_zone(run.ended_at, zone, seconds=True)),
            ("Duration (mm:ss)", words.duration(run)),
            ("Processed", run.processed),
            ("Errors", run.errors),
            ("Size (KB)", words.size_kb(run)),
            ("Attempts", run.attempt),
            ("Object", run.object),
            ("Type, step", f"{run.type}, {report.step_shown}"),
            ("Trigger", f"{run.trigger.value}{', asked for by ' + run.requested_by if run.requested_by else ''}"),
            ("Process ID", words.process_in_words(run.process_id, state)),
        ]
    )
    if run.override_reason:
        st.text(f"Overridden: {', '.join(run.overrides)}, because: {run.override_reason}")


def files(report: RunReport, zone: str) -> None:
    if not report.files:
        return
    st.markdown("#### Files delivered")
    rows = [
        [
            file.path or file.name,
            file.bytes,
            file.sha256,
            words.in_zone(file.at, zone, seconds=True),
            picked_up(file, lambda moment: words.in_zone(moment, zone, seconds=True)),
        ]
        for file in report.files
    ]
    if overdue := [file.name for file in report.files if file.overdue_at and file.pickup is PickUp.LYING]:
        st.warning(
            words.plain(f"Delivered, but not picked up in time: {', '.join(overdue)}. See whether the importer runs.")
        )
    frame = pd.DataFrame(rows, columns=["File", "Bytes", "SHA-256", "At", "Pick-up"])
    st.dataframe(
        ui.styled(frame, lambda row: ui.amber() if report.files[row].overdue_at else ""),
        hide_index=True,
        column_order=["File", "Pick-up", "Bytes", "At", "SHA-256"],
    )


def events(report: RunReport, zone: str) -> None:
    st.markdown("#### What happened")
    rows = [
        [
            words.in_zone(event.at, zone, seconds=True),
            _step(event.before, event.after),
            event.who,
            event.why,
        ]
        for event in report.events
    ]
    st.dataframe(pd.DataFrame(rows, columns=["At", "State", "Who", "Why"]), hide_index=True)
    for run, name in report.caused:
        left, right = st.columns([5, 1], vertical_alignment="center")
        left.text(f"Then: '{name}' {SHOWN_AS[run.status]}{': ' + run.message if run.message else ''}")
        right.link_button("Its run", f"/run?run={run.id}", width="stretch")


def _step(before: str | None, after: str) -> str:
    """Nothing for a note, which moves the run nowhere."""
    if before == after:
        return ""
    return f"{_state(before)} → {_state(after)}" if before else _state(after)


def _state(value: str | None) -> str:
    return SHOWN_AS[RunStatus(value)] + (" (starting)" if value == RunStatus.STARTING else "") if value else ""


def lines_table(lines: list[RunLogRow], zone: str, key: str) -> None:
    rows = [
        [words.in_zone(line.at, zone, seconds=True), words.LEVELS.get(line.level, str(line.level)), line.message]
        for line in lines
    ]
    frame = pd.DataFrame(rows, columns=["At", "Level", "Message"])
    st.container(key=key).dataframe(
        ui.styled(
            frame, lambda row: ui.red() if lines[row].level >= ERROR else ui.amber() if lines[row].level >= 30 else ""
        ),
        hide_index=True,
        height=ui.height(len(frame)),
        column_config={"Message": st.column_config.TextColumn(width=900)},
    )


def _style(level: int) -> str:
    return ui.red() if level >= ERROR else ui.amber() if level >= WARNING else ""


def pages(run_id: int, which: LineQuery, zone: str) -> None:
    """A finished run's log, page by page from its beginning."""
    if st.session_state.get("run_asked") != (run_id, which):
        st.session_state.run_asked, st.session_state.run_after = (run_id, which), [0]
    starts: list[int] = st.session_state.run_after
    lines = ui.fetch(run_lines, run_id, which, after=starts[-1], limit=_PAGE + 1)
    if not lines:
        st.info("No log line matches." if which != LineQuery() else "This run has written no log line.")
        return
    lines_table(lines[:_PAGE], zone, "run_lines")
    more = len(lines) > _PAGE
    if more or len(starts) > 1:
        back, on, _ = st.columns([1, 1, 3])
        if back.button("Back", key="run_back", disabled=len(starts) == 1, width="stretch"):
            starts.pop()
            st.rerun()
        if on.button("Next lines", key="run_on", disabled=not more, width="stretch"):
            starts.append(id_of(lines[_PAGE - 1]))
            st.rerun()


@st.fragment(run_every=2)
def tail(run_id: int, which: LineQuery) -> None:
    """The last lines of a run that is not over, as they come."""
    report = ui.fetch(run_report, run_id)
    if report.run.ended_at is not None:
        st.success("It has ended.")
        if st.button("Show its report", key="run_ended"):
            st.rerun()
    elif report.run.progress is not None:
        st.progress(min(max(report.run.progress / 100, 0.0), 1.0), text=f"{report.run.progress:.0f} %")
    lines = ui.fetch(run_lines, run_id, which, before=2**62, limit=_TAIL)
    if lines:
        lines_table(list(reversed(lines)), ui.zone(), "run_tail")
        st.caption(f"The last {len(lines)} lines, the newest first, while it runs.")
    else:
        st.info("No log line so far.")


def log(report: RunReport, zone: str) -> None:
    st.markdown("#### Log")
    only, search, download = st.columns([1, 3, 1.4], vertical_alignment="bottom")
    errors = only.checkbox("Errors only", key="run_errors")
    word = search.text_input("Search in the log", key="run_search", placeholder="Text in a line")
    run_id = id_of(report.run)
    address = f"/download/run/{run_id}.txt"
    download.link_button("Download the log", address, icon=":material/download:", width="stretch")
    which = LineQuery(errors, word.strip())
    if report.run.status in ACTIVE:
        tail(run_id, which)
    else:
        pages(run_id, which, zone)


run_id = ui.query_number("run")
if run_id is None:
    st.info("Which run? Open one from the [task log](/log) by *Report Detail*.")
else:
    report = ui.fetch(run_report, run_id)
    zone = ui.zone()
    summary(report, zone)
    files(report, zone)
    events(report, zone)
    log(report, zone)
