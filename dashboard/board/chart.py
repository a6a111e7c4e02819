"""The day board's picture: windows, bars, tails and the line of now, as one chart."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import altair as alt
import pandas as pd

from headway import wording as words
from headway.dashboard.board.axis import Axis
from headway.models.values.run import SHOWN_AS, RunStatus
from headway.scheduler.usecases.ahead.day_board import Bar, DayBoard, Slot

PLANNED = "Planned"
NO_PLACE = "Finds no place"
COLOURS = {
    "Execution failed": "#e5484d",  # red is for what failed, and for nothing else
    "Completed - With Errors": "#e08a00",
    "Missed": "#b8860b",
    "Completed": "#2f9e6e",
    "In progress": "#2f6fd0",
    "Waiting": "#8e6bd6",
    PLANNED: "#9fbbe6",
    NO_PLACE: "#b8860b",
    "Cancelled": "#8b8d98",
    "Skipped": "#8b8d98",
    "Superseded": "#b4b6bd",
}
"""In the order of what matters most; a stretch that sums up runs has the colour of the first that it holds."""
_WINDOWS = {"Reserved window": "#c9a227", "Released window": "#7d8590"}
_LANE_PIXELS, _AROUND_PIXELS = 34, 110  # Streamlit's height is the whole picture's, legend and labels included
_LEAST_PIXELS_OF = 330  # a bar is at least this part of the axis long, else it cannot be seen


def state_of(bar: Bar) -> str:
    """The bar's result in the words of the task log; what is only forecast is planned."""
    if bar.status is None:
        return PLANNED if bar.starts else NO_PLACE
    if bar.status is RunStatus.WAITING and not bar.starts:
        return NO_PLACE
    return SHOWN_AS[bar.status]


def loaded(board: DayBoard, axis: Axis, lanes: Sequence[str], *, by_task: bool) -> alt.LayerChart:
    """All layers, the windows lowest."""
    layers = [*_windows(board, axis)]
    if board.slots:
        layers.append(_slots(board.slots, axis, lanes))
    else:
        layers += _bars(board.bars, axis, lanes, by_task=by_task)
    layers += _now(board.now, axis)
    chart = alt.layer(*layers).resolve_scale(color="independent")
    drawn: alt.LayerChart = chart.properties(height=len(lanes) * _LANE_PIXELS + _AROUND_PIXELS)
    return drawn


def lane_of(bar: Bar, *, by_task: bool) -> str:
    return bar.task if by_task else bar.type


def link_of(bar: Bar) -> str:
    """Where a click leads: the run's report if it has a row, else its task."""
    return f"/run?run={bar.run_id}" if bar.run_id else f"/task?task={bar.uid}"


# Layers


def _x(axis: Axis, field: str = "from") -> alt.X:
    ticks = axis.ticks()
    # Vega knows no zones: the axis counts minutes, and its labels are looked up
    labels = "[" + ",".join(f"'{label}'" for _, label in ticks) + "]"
    places = "[" + ",".join(f"{place:g}" for place, _ in ticks) + "]"
    look = alt.Axis(
        values=[place for place, _ in ticks],
        labelExpr=f"{labels}[indexof({places}, datum.value)]",
        labelAlign="left" if axis.days > 1 else "center",
        labelOverlap="greedy",
        labelFlush=False,
        grid=True,
        title=None,
    )
    return alt.X(f"{field}:Q", scale=alt.Scale(domain=[0, axis.minutes], nice=False, zero=False), axis=look)


def _y(lanes: Sequence[str]) -> alt.Y:
    return alt.Y("lane:N", scale=alt.Scale(domain=list(lanes)), sort=list(lanes),
                 axis=alt.Axis(title=None, labelLimit=190, domain=False, ticks=False))  # fmt: skip


def _colour(states: Sequence[str], *, legend: bool = True) -> alt.Color:
    there = [state for state in COLOURS if state in states]
    scale = alt.Scale(domain=there, range=[COLOURS[state] for state in there])
    told = alt.Legend(orient="top", title=None, symbolType="square") if legend else None
    return alt.Color("Result:N", scale=scale, legend=told)


def _windows(board: DayBoard, axis: Axis) -> list[alt.Chart]:
    rows = [
        {
            "from": axis.place(one.start),
            "to": axis.place(one.end),
            "Kind": "Reserved window" if one.reserved else "Released window",
            "Window": one.window.name,
            "When": words.from_to(one.start, one.end, axis.zone),
        }
        for one in board.occurrences
    ]
    if not rows:
        return []
    there = [kind for kind in _WINDOWS if any(row["Kind"] == kind for row in rows)]
    scale = alt.Scale(domain=there, range=[_WINDOWS[kind] for kind in there])
    chart = alt.Chart(pd.DataFrame(rows)).mark_rect(opacity=1, strokeWidth=1)
    legend = alt.Legend(orient="top", title=None, symbolType="square")
    fill = alt.Fill("Kind:N", scale=scale, legend=legend)
    shade = alt.condition(alt.datum.Kind == "Reserved window", alt.value(0.3), alt.value(0.05))
    return [
        chart.encode(
            x=_x(axis),
            x2="to:Q",
            fill=fill,
            stroke=alt.Stroke("Kind:N", scale=scale, legend=None),
            fillOpacity=shade,
            strokeDash=alt.condition(alt.datum.Kind == "Reserved window", alt.value([1, 0]), alt.value([4, 3])),
            tooltip=["Window:N", "Kind:N", "When:N"],
        )
    ]


def _bars(bars: Sequence[Bar], axis: Axis, lanes: Sequence[str], *, by_task: bool) -> list[alt.Chart]:
    rows = [_row(bar, axis, by_task) for bar in bars]
    rows = [row for row in rows if row["lane"] in lanes]
    if not rows:
        return [alt.Chart(pd.DataFrame({"from": [0], "lane": [lanes[0] if lanes else ""]})).mark_point(opacity=0)
                .encode(x=_x(axis), y=_y(lanes))]  # fmt: skip
    tips = ["Task:N", "Result:N", "When:N", "Due:N", "Why:N"]
    states = [str(row["Result"]) for row in rows]
    layers = []
    tails = [row for row in rows if row["tail"] is not None]
    if tails:
        tail = alt.Chart(pd.DataFrame(tails)).mark_rule(strokeDash=[2, 2], strokeWidth=2, color="#8b8d98")
        layers.append(tail.encode(x=_x(axis, "to"), x2="tail:Q", y=_y(lanes), tooltip=["Task:N", "Tail:N"]))
    ran = [row for row in rows if row["starts"]]
    if ran:
        bar = alt.Chart(pd.DataFrame(ran)).mark_bar(cornerRadius=2, cursor="pointer", height={"band": 0.6})
        layers.append(
            bar.encode(
                x=_x(axis),
                x2="to:Q",
                y=_y(lanes),
                color=_colour(states),
                href="link:N",
                tooltip=tips,
                description="Said:N",
            )
        )
    never = [row for row in rows if not row["starts"]]
    if never:
        point = alt.Chart(pd.DataFrame(never)).mark_point(shape="diamond", size=90, filled=True, cursor="pointer")
        layers.append(
            point.encode(
                x=_x(axis),
                y=_y(lanes),
                color=_colour(states, legend=not ran),
                href="link:N",
                tooltip=tips,
                description="Said:N",
            )
        )
    return layers


def _row(bar: Bar, axis: Axis, by_task: bool) -> dict[str, Any]:
    begins = axis.place(bar.start_at)
    ends = max(axis.place(bar.end_at), begins + axis.minutes / _LEAST_PIXELS_OF)
    tail = axis.place(bar.next_from) if bar.next_from is not None else None
    until = words.in_zone(bar.next_from, axis.zone)
    return {
        "lane": lane_of(bar, by_task=by_task),
        "from": begins,
        "to": min(ends, axis.minutes),
        "tail": tail if tail is not None and tail > ends else None,
        "Tail": f"the next step not before {until}",
        "starts": bar.starts,
        "Result": state_of(bar),
        "Task": bar.task,
        "When": words.from_to(bar.start_at, bar.end_at, axis.zone) if bar.starts else "does not start",
        "Due": words.day_and_time(bar.due_at, axis.zone),
        "Why": bar.reason,
        "Said": f"{bar.task}: {state_of(bar)}, {words.day_and_time(bar.start_at, axis.zone)}",
        "link": link_of(bar),
    }


def _slots(slots: Sequence[Slot], axis: Axis, lanes: Sequence[str]) -> alt.Chart:
    rows = [row for row in slot_rows(slots, axis) if row["lane"] in lanes]
    chart = alt.Chart(pd.DataFrame(rows)).mark_bar(height={"band": 0.7})
    drawn: alt.Chart = chart.encode(
        x=_x(axis),
        x2="to:Q",
        y=_y(lanes),
        color=_colour([str(row["Result"]) for row in rows]),
        tooltip=["Type:N", "When:N", "Runs:N"],
    )
    return drawn


def slot_rows(slots: Sequence[Slot], axis: Axis) -> list[dict[str, Any]]:
    """A row for each type and stretch of time: its runs by result, coloured by the worst of them."""
    summed: dict[tuple[str, datetime, datetime], dict[str, int]] = {}
    for slot in slots:
        counts = summed.setdefault((slot.type, slot.start_at, slot.end_at), {})
        state = PLANNED if slot.status is None else SHOWN_AS[slot.status]
        counts[state] = counts.get(state, 0) + slot.count
    return [
        {
            "lane": kind,
            "Type": kind,
            "from": axis.place(start),
            "to": axis.place(end),
            "start_at": start,
            "When": words.from_to(start, end, axis.zone),
            "Result": next(state for state in COLOURS if state in counts),
            "Runs": ", ".join(f"{counts[state]} {state}" for state in COLOURS if state in counts),
            "count": sum(counts.values()),
        }
        for (kind, start, end), counts in sorted(summed.items())
    ]


def _now(now: datetime, axis: Axis) -> list[alt.Chart]:
    if not axis.start <= now < axis.end:
        return []
    data = pd.DataFrame({"from": [axis.place(now)], "label": [f"now {words.day_and_time(now, axis.zone)[-9:]}"]})
    line = alt.Chart(data).mark_rule(strokeWidth=2, color="#7a7f87").encode(x=_x(axis))
    text = alt.Chart(data).mark_text(align="left", dx=4, dy=-4, color="#7a7f87", fontWeight="bold", baseline="bottom")
    return [line, text.encode(x=_x(axis), y=alt.value(0), text="label:N")]
