"""Task: the show page of one task, at an address of its own (/task?task=UID)."""

import html
from datetime import timedelta

import altair as alt
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from headway import wording as words
from headway.dashboard import task_buttons, ui
from headway.dashboard.data import CLOCK
from headway.models.ledger.tables import RunRow, id_of
from headway.models.values.instant import FOREVER
from headway.models.values.rule import Hold
from headway.models.values.run import SHOWN_AS
from headway.models.values.window import WindowPolicy
from headway.scheduler.store.queries.run_history import BAD
from headway.scheduler.usecases.log.browse_log import durations, runs_of_task
from headway.scheduler.usecases.runs.why import why
from headway.scheduler.usecases.tasks.show_task import Step, TaskView, show_task, state_of

MINUTE = timedelta(minutes=1)
_WINDOWS = {
    WindowPolicy.AVOID: "avoids maintenance windows",
    WindowPolicy.REQUIRE: "must run in a maintenance window",
    WindowPolicy.ALLOW: "may run in maintenance windows",
}
_RUNS = ["Start time", "Result", "Duration", "Processed", "Errors", "Error", "Report Detail"]
_COLOURS = {
    "Completed": "#3a9d5d",
    "Completed - With Errors": "#d98a00",
    "Execution failed": "#e5484d",
    "Cancelled": "#8b949e",
}
_RULES = {
    "reset": "Needs no reset",
    "busy": "Not running already",
    "group": "Nothing of its group is running",
    "capacity": "A slot is free",
    "window": "Maintenance windows allow it",
    "spacing": "Its chain keeps its distance",
    "engine": "Prefect and a worker are there",
}


def general(view: TaskView) -> None:
    row, known, line = view.row, view.known, view.line
    ui.heading(row.name)
    state = "Execution failed" if line.needs_reset and not view.open_run else line.state or "Nothing planned"
    colour = "red" if line.needs_reset else "green" if line.process_id else "blue" if line.state else "gray"
    marks = [f":{colour}-badge[{state}]"]
    marks += [":gray-badge[Disabled]"] * (not row.enabled) + [
        ":gray-badge[Historical: no longer in use]"
    ] * row.historical
    st.markdown(" ".join(marks))
    if row.description:
        st.text(row.description)
    ui.facts(
        [
            ("UID", row.uid),
            ("Type", row.type),
            ("Object", row.object),
            ("Step", line.step_shown),
            ("Process ID", words.process_in_words(line.process_id, state)),
            ("Schedule", view.schedule),
            ("Windows", _WINDOWS[row.window]),
            ("Estimate", words.length(known.estimate) if known else ""),
            ("Last result", line.last_result or "none so far"),
            ("After a failure", f"{row.on_failure.value}; retries {row.retries}"),
            ("Catch-up", row.catch_up.value),
            ("Group", known.group if known else ""),
        ]
    )


@st.fragment(run_every=ui.REFRESH_SECONDS)
def news(uid: int, known: tuple[object, ...]) -> None:
    """Says when the task has moved on since the page was made; a dialog that is open is not taken away."""
    if ui.fetch(state_of, uid) != known:
        told, show = st.columns([5, 1], vertical_alignment="center")
        told.info("It has moved on since this page was made.")
        if show.button("Show it", key="task_news", type="primary", width="stretch"):
            st.rerun()


def chain(view: TaskView) -> None:
    """The chain as a small picture: its steps from left to right, each with the time to keep behind the one before."""
    if not view.chain:
        return
    st.markdown("#### Chain")
    names = {step.uid: step.name for step in view.chain}
    columns: dict[int, list[str]] = {}
    for step in view.chain:
        columns.setdefault(step.step, []).append(_box(step, names, here=step.uid == view.row.uid))
    steps = "".join(f'<div class="step">{"".join(boxes)}</div>' for _, boxes in sorted(columns.items()))
    st.html(f'<div class="chain">{steps}</div>')


def _box(step: Step, names: dict[int, str], *, here: bool) -> str:
    name = words.tag("strong", step.name) if here else f'<a href="/task?task={step.uid}">{html.escape(step.name)}</a>'
    number = f"Step {step.step}"
    if step.after_uid is not None:
        number += f", {words.length(step.spacing)} after the start of '{names.get(step.after_uid, '?')}'"
    current = ' aria-current="true"' if here else ""
    return f"<div{current}>{words.tag('small', number)}<br>{name}</div>"


def why_card(view: TaskView, zone: str) -> DeltaGenerator | None:
    """Every rule's verdict, what clears it and when; the place for the earliest start, which takes longer."""
    card = view.why
    with st.container(border=True):
        st.markdown("#### Why")
        if not card.verdicts:
            st.error("Its definition is broken, so that no rule can judge it. Edit the task, or ask `headway plan`.")
            return None
        place = st.empty()
        place.text("Earliest start: being worked out ...")
        if card.run_id is not None:
            st.text(f"Run {card.run_id} waits since {words.day_and_time(card.due_at, zone)}.")
        elif card.due_at is not None:
            st.text(f"Judged for its next run, due {words.day_and_time(card.due_at, zone)}.")
        for rule, hold in card.verdicts:
            mark = ":red[:material/block:]" if hold else ":green[:material/check_circle:]"
            st.markdown(f"{mark} {words.plain(_verdict(rule.value, hold, zone))}")
    return place


def earliest(view: TaskView, zone: str, place: DeltaGenerator) -> None:
    """By the forecast of everything; last on the page, so that nothing else waits for it."""
    nothing = view.why.run_id is None and view.why.due_at is None
    row = view.row
    found = None if nothing else ui.fetch(
        lambda session, actor: why(session, CLOCK, actor, row, catalog=ui.catalog(session)).earliest_start_at
    )  # fmt: skip
    if found is not None:
        place.text(f"Earliest start: {words.day_and_time(found, zone)}")
    elif nothing and not any(hold for _, hold in view.why.verdicts):
        place.text("Earliest start: nothing is planned")
    else:
        place.text("Earliest start: not known, it takes somebody to act (see red)")


def _verdict(rule: str, hold: Hold | None, zone: str) -> str:
    if hold is None:
        return _RULES[rule]
    if hold.until is None or hold.until == FOREVER:
        return f"{rule}: {hold.reason}"
    clears = words.day_and_time(hold.until, zone)
    return f"{rule}: {hold.reason}" + ("" if clears in hold.reason else f" (clears {clears})")


def starts(view: TaskView, zone: str) -> None:
    st.markdown("#### Next starts")
    if not view.starts:
        why_not = "it is historical" if view.row.historical else "it is disabled" if not view.row.enabled else ""
        after = view.row.after_uid is not None
        said = "It starts behind the step before it, as the chain shows." if after else "It has no times of its own."
        st.caption(f"Nothing is planned: {why_not}." if why_not else said)
        return
    own = view.known.timezone if view.known else zone
    rows = [
        [
            words.in_zone(start.at, own),
            words.in_zone(start.at, "UTC"),
            "change that day" if start.clock_changes else "",
        ]
        for start in view.starts
    ]
    st.dataframe(pd.DataFrame(rows, columns=[f"Due ({own})", "UTC", "Clocks"]), hide_index=True)


def history(view: TaskView, zone: str) -> None:
    uid = id_of(view.row)
    runs = ui.fetch(runs_of_task, uid)
    st.markdown("#### Recent runs")
    if not runs:
        st.caption("It never ran. *Run now* starts it as soon as possible.")
        return
    frame = pd.DataFrame([_run(run, zone) for run in runs], columns=_RUNS)
    st.container(key="task_runs").dataframe(
        ui.styled(frame, lambda row: ui.red() if runs[row].status in BAD else ""),
        hide_index=True,
        height=ui.height(len(frame), most=8),
        column_config={"Report Detail": st.column_config.LinkColumn(display_text="Report Detail")},
    )
    st.link_button("All of its runs", f"/log?task={uid}")
    trend(uid, zone)


def _run(run: RunRow, zone: str) -> list[object]:
    return [
        words.in_zone(run.started_at or run.due_at, zone),
        SHOWN_AS[run.status],
        words.duration(run),
        run.processed,
        run.errors,
        run.error or "",
        f"/run?run={run.id}",
    ]


def trend(uid: int, zone: str) -> None:
    """How long its last runs took, bar by bar."""
    rows = [
        [
            words.in_zone(run.started_at, zone),
            (run.ended_at - run.started_at).total_seconds() / 60,
            SHOWN_AS[run.status],
        ]
        for run in ui.fetch(durations, uid)
        if run.started_at and run.ended_at
    ]
    if len(rows) < 3:
        return
    st.markdown("#### Duration trend")
    chart = alt.Chart(pd.DataFrame(rows, columns=["Start", "Minutes", "Result"])).mark_bar()
    chart = chart.encode(
        x=alt.X("Start:N", sort=None, axis=alt.Axis(labels=False)),
        y="Minutes:Q",
        color=alt.Color("Result:N", scale=alt.Scale(domain=list(_COLOURS), range=list(_COLOURS.values()))),
        tooltip=["Start", "Minutes", "Result"],
    )
    st.altair_chart(chart.properties(height=160))


uid = ui.query_number("task")
if uid is None:
    st.info("Which task? Open one from [Tasks](/).")
else:
    view = ui.fetch(
        lambda session, actor: show_task(session, CLOCK, actor, uid or 0, catalog=ui.catalog(session), with_start=False)
    )
    zone = ui.zone()
    general(view)
    news(uid, ui.fetch(state_of, uid))
    task_buttons.buttons(view, zone)
    left, right = st.columns(2)
    with left:
        place = why_card(view, zone)
        chain(view)
    with right:
        starts(view, zone)
    history(view, zone)
    if view.row.parameters:
        st.markdown("#### Parameters")
        st.json(view.row.parameters, expanded=True)
    if place is not None:
        earliest(view, zone, place)
