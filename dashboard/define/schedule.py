"""The Schedule step: at a time of day, by a cron expression, once, after another task, or not by itself."""

from datetime import datetime, time, timedelta
from typing import Any

import streamlit as st

from headway.dashboard.data import CLOCK
from headway.dashboard.define.state import begins_with, key, put
from headway.scheduler.planning.definitions.document import DAYS, LONGEST, ScheduleSection, TaskSection
from headway.wording import cron_in_words

_NONE, _DAILY, _CRON, _ONCE, _AFTER = KINDS = [
    "No times of its own", "On days at a time", "Cron", "Once", "After another task",
]  # fmt: skip
_MINUTE = timedelta(minutes=1)
_CRON_DAYS = ("sun", *DAYS[:6])  # as cron counts them, 0 = Sunday


def schedule(old: TaskSection | None, names: list[str]) -> dict[str, Any] | None:
    """`schedule:` of the definition, unchecked."""
    now = old.schedule if old else None
    begins = begins_with("kind", _kind_of(now))
    kind = st.radio("When", KINDS, KINDS.index(begins), key=key("kind"), horizontal=True)
    if kind == _DAILY:
        return _daily(now)
    if kind == _CRON:
        return _cron(now)
    if kind == _ONCE:
        return _once(now)
    if kind == _AFTER:
        return _after(now, names)
    return None


def take(slot: ScheduleSection) -> None:
    """Put a free slot into the widgets; called before they are drawn again."""
    simple = simple_cron(slot.cron) if slot.cron is not None else None
    if slot.once is not None:
        put("day", slot.once.date())
        put("at", slot.once.time())
    elif simple and st.session_state.get(key("kind")) == _DAILY:
        put("time", simple[0])
        put("days", simple[1])
    elif slot.cron is not None:
        put("cron", slot.cron)


def _kind_of(now: ScheduleSection | None) -> str:
    if now is None:
        return _NONE
    if now.cron is not None:
        return _DAILY if simple_cron(now.cron) else _CRON
    return _ONCE if now.once else _AFTER


def simple_cron(expression: str) -> tuple[time, list[str]] | None:
    """The time of day and the weekdays, where the expression says nothing else."""
    fields = expression.lower().split()
    if len(fields) != 5 or fields[2:4] != ["*", "*"] or not (fields[0].isdecimal() and fields[1].isdecimal()):
        return None
    if int(fields[0]) > 59 or int(fields[1]) > 23:
        return None
    days = _days(fields[4])
    return (time(int(fields[1]), int(fields[0])), days) if days else None


def _days(field: str) -> list[str] | None:
    if field == "*":
        return list(DAYS)
    found: set[str] = set()
    for part in field.split(","):
        ends = [_day_number(one) for one in part.split("-")]
        if len(ends) > 2 or None in ends:
            return None
        first, last = ends[0] or 0, ends[-1] or 0
        if last < first:
            return None
        found |= {_CRON_DAYS[number % 7] for number in range(first, last + 1)}
    return [day for day in DAYS if day in found]


def _day_number(text: str) -> int | None:
    if text in _CRON_DAYS:
        return _CRON_DAYS.index(text)
    return int(text) if text.isdecimal() and int(text) <= 7 else None


def _daily(now: ScheduleSection | None) -> dict[str, Any]:
    at, days = (now and now.cron and simple_cron(now.cron)) or (time(1, 15), list(DAYS))
    chosen_at = st.time_input("At", begins_with("time", at), key=key("time"), step=300) or at
    chosen = st.pills(
        "Days",
        DAYS,
        default=begins_with("days", days),
        key=key("days"),
        selection_mode="multi",
        format_func=lambda day: day.capitalize(),
    )
    if (chosen_at, chosen) == (at, days) and now and now.cron:
        return {"cron": now.cron}  # as it was written
    every = "*" if not chosen or len(chosen) == 7 else ",".join(day for day in DAYS if day in chosen)
    return {"cron": f"{chosen_at.minute} {chosen_at.hour} * * {every}"}


def _cron(now: ScheduleSection | None) -> dict[str, Any]:
    begins = begins_with("cron", (now and now.cron) or "15 1 * * *")
    text = st.text_input("Minute, hour, day, month, weekday", begins, key=key("cron"))
    if words := cron_in_words(text):
        st.caption(words)
    return {"cron": text}


def _once(now: ScheduleSection | None) -> dict[str, Any]:
    at = (now and now.once) or datetime.combine(CLOCK.now().date() + timedelta(days=1), time(8))
    day, clock = st.columns(2)
    on = day.date_input("Day", begins_with("day", at.date()), key=key("day"), format="YYYY-MM-DD")
    when = clock.time_input("At", begins_with("at", at.time()), key=key("at"))
    return {"once": datetime.combine(on, when).isoformat()}


def _after(now: ScheduleSection | None, names: list[str]) -> dict[str, Any] | None:
    if not names:
        st.info("There is no other task yet that it could come after.")
        return None
    spacing = now.spacing if now else None
    index = names.index(now.after) if now and now.after in names else 0
    known = int(spacing / _MINUTE) if spacing is not None else 60
    after = st.selectbox("After", names, index, key=key("after"))
    minutes = int(
        st.number_input("Least minutes between the two starts", 0, LONGEST // _MINUTE, known, key=key("spacing"))
    )
    kept = spacing is not None and int(spacing / _MINUTE) == minutes  # its seconds, too
    return {"after": after, "spacing": spacing if kept else timedelta(minutes=minutes)}
