"""Define task: General, Schedule, Parameters; the lint beside it; the last step shows what changes."""

from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import available_timezones

import streamlit as st
from pydantic import ValidationError

from dashboard import ui, words
from dashboard.data import CLOCK
from dashboard.parameter_form import form
from models.domain import CatchUp, Level, OnErrors, OnFailure, Privilege, WindowPolicy
from scheduler.definitions import Definitions, ScheduleSection, TaskSection, explain
from scheduler.errors import InvalidInput
from scheduler.store.tasks import load_types, section, task_rows
from scheduler.usecases.apply import Applied
from scheduler.usecases.export import as_yaml
from scheduler.usecases.find import find_task
from scheduler.usecases.save_task import save_task

_KINDS = ["No times of its own", "Cron", "Once", "After another task"]


def _key(name: str) -> str:
    """A widget's key: its own for each task, so that nothing of one form gets into another."""
    return f"define_{ui.query_number('task') or 'new'}_{name}"


def general(old: TaskSection | None, types: list[str]) -> dict[str, Any]:
    left, right = st.columns(2)
    name = left.text_input("Task name", old.name if old else "", key=_key("name"), disabled=old is not None)
    kind = right.selectbox("Type", types, types.index(old.type) if old and old.type in types else 0, key=_key("type"))
    return {
        "name": old.name if old else name,
        "type": kind,
        "object": left.text_input("Object", old.object if old else "", key=_key("object")),
        "description": right.text_input("Description", old.description if old else "", key=_key("description")),
        "enabled": left.checkbox("Enabled", old.enabled if old else True, key=_key("enabled")),
        "historical": right.checkbox(
            "Historical", old.historical if old else False, key=_key("historical"), help="No longer in use"
        ),
    }


def schedule(old: TaskSection | None, names: list[str]) -> dict[str, Any]:
    now = old.schedule if old else None
    index = 0 if now is None else 1 if now.cron else 2 if now.once else 3
    kind = st.radio("When", _KINDS, index, key=_key("kind"), horizontal=True)
    found: dict[str, Any] = {"schedule": None}
    if kind == "Cron":
        cron = st.text_input("Minute, hour, day, month, weekday", (now and now.cron) or "15 1 * * *", key=_key("cron"))
        found["schedule"] = {"cron": cron}
    elif kind == "Once":
        at = (now and now.once) or datetime.combine(CLOCK.now().date() + timedelta(days=1), time(8))
        day, clock = st.columns(2)
        on, when = (
            day.date_input("Day", at.date(), key=_key("day")),
            clock.time_input("At", at.time(), key=_key("at")),
        )
        found["schedule"] = {"once": datetime.combine(on, when).isoformat()}
    elif kind == "After another task" and names:
        before = now.after if now and now.after in names else names[0]
        minutes = int(now.spacing / timedelta(minutes=1)) if now and now.spacing else 60
        after = st.selectbox("After", names, names.index(before), key=_key("after"))
        spacing = st.number_input("Least minutes between the two starts", 0, 100_000, minutes, key=_key("spacing"))
        found["schedule"] = {"after": after, "spacing": timedelta(minutes=int(spacing))}
    zones = ["The settings' time zone", *sorted(available_timezones())]
    zone = st.selectbox(
        "Time zone", zones, zones.index(old.timezone) if old and old.timezone in zones else 0, key=_key("zone")
    )
    found["timezone"] = None if zone == zones[0] else zone
    return {**found, **rules(old)}


def rules(old: TaskSection | None) -> dict[str, Any]:
    places = st.columns(4)
    chosen: dict[str, Any] = {}
    for place, (name, label, kind) in zip(
        places,
        [
            ("window", "Maintenance windows", WindowPolicy),
            ("on_failure", "After a failure", OnFailure),
            ("on_errors", "Chain after errors", OnErrors),
            ("catch_up", "Catch up", CatchUp),
        ],
        strict=True,
    ):
        options = list(kind)
        now = getattr(old, name) if old else options[0]
        chosen[name] = place.selectbox(label, options, options.index(now), key=_key(name))
    left, middle, right = st.columns(3)
    expected = old.expected_duration if old else None
    minutes = left.number_input(
        "Expected minutes (0: learn it)", 0, 100_000, int(expected / timedelta(minutes=1)) if expected else 0,
        key=_key("expected"),
    )  # fmt: skip
    kept = expected is not None and int(expected / timedelta(minutes=1)) == int(minutes)
    chosen["expected_duration"] = expected if kept else timedelta(minutes=int(minutes)) if minutes else None
    chosen["retries"] = int(middle.number_input("Retries", 0, 100, old.retries if old else 0, key=_key("retries")))
    delay = old.retry_delay if old else timedelta(minutes=5)
    given = int(
        right.number_input("Retry after (minutes)", 0, 100_000, int(delay / timedelta(minutes=1)), key=_key("delay"))
    )
    chosen["retry_delay"] = delay if given == int(delay / timedelta(minutes=1)) else timedelta(minutes=given)
    return chosen


def checked(values: dict[str, Any]) -> tuple[TaskSection | None, list[str]]:
    """The definition, or what is wrong with which field."""
    try:
        if values["schedule"] is not None:
            values = {**values, "schedule": ScheduleSection.model_validate(values["schedule"])}
        return TaskSection.model_validate(values), []
    except ValidationError as error:
        return None, explain(error)


def review(found: TaskSection, version: int | None, problems: list[str]) -> None:
    """What saving would change, what the lint says of it, and the YAML."""
    applied = ui.fetch_now(save_task, found, version=version, dry_run=True)
    for finding in applied.findings:
        if found.name in finding.tasks:
            show = st.error if finding.level is Level.ERROR else st.warning
            show(words.plain(f"{finding.id}: {finding.message}"))
    for change in applied.changes:
        before, after = change.before or {}, change.after or {}
        for name in change.fields() if change.before else []:
            st.text(f"{name}: {before.get(name)!r} becomes {after.get(name)!r}")
    if not applied.changes:
        st.caption("Nothing has changed so far.")
    with st.expander("As YAML"):
        st.code(as_yaml(Definitions.model_construct(tasks=[found])).partition("tasks:")[2], language="yaml")
    confirmed = True
    if applied.running:
        confirmed = st.checkbox(
            "It is running now: editing it could break the process. The running process keeps the parameters it "
            "started with. Save it all the same",
            key=_key("confirmed"),
        )
    stuck = bool(applied.errors or problems) or not applied.changes or not confirmed
    if st.button("Save", key=_key("save"), type="primary", disabled=stuck):
        ui.act(lambda session, actor: _save(session, actor, found, version), f"'{found.name}' is saved.")


def _save(session: Any, actor: Any, found: TaskSection, version: int | None) -> Applied:
    applied = save_task(session, CLOCK, actor, found, version=version, confirmed=True)
    if applied.errors:
        raise InvalidInput([finding.message for finding in applied.errors])
    row = find_task(session, found.name)  # the page goes on from what it has just saved
    st.session_state[f"define_version_{found.name}"] = row.version
    st.query_params["task"] = str(row.uid)
    return applied


def page() -> None:
    uid = ui.query_number("task")
    rows = ui.fetch(lambda session, actor: task_rows(session))
    names = {row.uid: row.name for row in rows}
    row = next((one for one in rows if one.uid == uid), None)
    old = section(row, names) if row else None
    ui.heading(f"Edit task: {row.name}" if row else "Define task")
    version = None
    if row:
        version = st.session_state.setdefault(f"define_version_{row.name}", row.version)
        st.link_button("To its page", f"/task?task={row.uid}")
    types = ui.fetch(lambda session, actor: load_types(session))
    first, second, third = st.tabs(["1 General", "2 Schedule", "3 Define Task Parameters"])
    with first:
        values = general(old, sorted(types))
    with second:
        values |= schedule(old, [name for name in names.values() if not old or name != old.name])
    with third:
        schema = types[values["type"]].parameter_schema if values["type"] in types else None
        stored = old.parameters if old and old.type == values["type"] else {}
        if schema and schema.get("properties"):
            values["parameters"], problems = form(schema, stored, _key(values["type"]))
        else:
            values["parameters"], problems = stored, []
            st.caption("This type has no parameters that are known here; `headway deploy` reads them from Prefect.")
    st.markdown("#### What would change")
    found, wrong = checked(values)
    for problem in [*problems, *wrong]:
        st.error(words.plain(problem))
    if found:
        review(found, version, problems)


if ui.allowed(Privilege.MANAGE):
    page()
else:
    st.error("Defining tasks takes the privilege Task management. Ask a user manager for it.")
