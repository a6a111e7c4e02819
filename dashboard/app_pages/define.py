"""Define task: General, Schedule, Parameters; the lint beside them; the last step shows what saving would change."""

from datetime import timedelta
from typing import Any

import streamlit as st
from pydantic import ValidationError
from sqlmodel import Session

from headway import wording as words
from headway.dashboard import ui
from headway.dashboard.data import CLOCK, block_names
from headway.dashboard.define import schedule
from headway.dashboard.define.parameter_form import Form
from headway.dashboard.define.side import asks_for_confirmation, broken, difference, lint_card, preview_of
from headway.dashboard.define.state import begins_with, forget, key, opened, put, version_at_opening
from headway.errors import InvalidInput
from headway.models.ledger.tables import id_of
from headway.models.values.actor import Actor, Privilege
from headway.models.values.task import CatchUp, OnErrors, OnFailure
from headway.models.values.window import WindowPolicy
from headway.scheduler.planning.definitions.document import LONGEST, ScheduleSection, TaskSection, explain
from headway.scheduler.store.tasks import load_types, section, task_of_uid
from headway.scheduler.usecases.tasks.apply import Applied
from headway.scheduler.usecases.tasks.find_task import find_task
from headway.scheduler.usecases.tasks.preview_task import Preview
from headway.scheduler.usecases.tasks.save_task import save_task

STEPS = ["1 General", "2 Schedule", "3 Define Task Parameters"]
_OPTIONS = {
    "window": ("Maintenance windows", WindowPolicy, "avoid: not inside one. require: only inside one. allow: whenever"),
    "on_failure": ("After a failure", OnFailure, "hold: waits until somebody resets it. continue: runs next time"),
    "on_errors": ("Chain after errors", OnErrors, "Whether the next step follows a run that counted errors"),
    "catch_up": ("Catch up", CatchUp, "After a standstill: the latest occurrence only, or all of them"),
}
_MINUTE = timedelta(minutes=1)


def general(old: TaskSection | None, types: dict[str, Any]) -> dict[str, Any]:
    names = sorted(types)
    left, right = st.columns(2)
    name = left.text_input(
        "Task name",
        old.name if old else "",
        key=key("name"),
        disabled=old is not None,
        help="Unique; it stays as it is",
    )
    index = names.index(old.type) if old and old.type in names else 0
    kind = right.selectbox("Type", names, index, key=key("type"))
    if kind and types[kind].description:
        st.caption(words.plain(types[kind].description.splitlines()[0]))
    about = "What it works on, such as Citations"
    return {
        "name": old.name if old else name.strip(),
        "type": kind,
        "object": left.text_input("Object", old.object if old else "", key=key("object"), help=about),
        "description": right.text_input("Description", old.description if old else "", key=key("description")),
        "enabled": left.checkbox("Enabled", old.enabled if old else True, key=key("enabled")),
        "historical": right.checkbox(
            "Historical", old.historical if old else False, key=key("historical"), help="No longer in use"
        ),
    }


def rules(old: TaskSection | None) -> dict[str, Any]:
    """How it keeps its distance, and what happens when it fails."""
    chosen: dict[str, Any] = {}
    for place, (name, (label, kind, about)) in zip(st.columns(4), _OPTIONS.items(), strict=True):
        options = list(kind)
        index = options.index(getattr(old, name)) if old else 0
        chosen[name] = place.selectbox(label, options, index, key=key(name), help=about)
    left, middle, right = st.columns(3)
    expected, delay = (old.expected_duration, old.retry_delay) if old else (None, 5 * _MINUTE)
    known, pause = int(expected / _MINUTE) if expected else 0, int(delay / _MINUTE)
    about = "0: the 95th percentile of its last 20 runs"
    minutes = int(left.number_input("Expected minutes", 0, LONGEST // _MINUTE, known, key=key("expected"), help=about))
    chosen["retries"] = int(middle.number_input("Retries", 0, 100, old.retries if old else 0, key=key("retries")))
    after = int(right.number_input("Retry after (minutes)", 0, LONGEST // _MINUTE, pause, key=key("delay")))
    kept = expected is not None and known == minutes  # its seconds, too, if it was not touched
    chosen["expected_duration"] = expected if kept else minutes * _MINUTE if minutes else None
    chosen["retry_delay"] = delay if pause == after else after * _MINUTE
    return chosen


def zone_of_task(old: TaskSection | None) -> str | None:
    zones = ["The settings' time zone", *words.zones()]
    index = zones.index(old.timezone) if old and old.timezone in zones else 0
    chosen = st.selectbox("Time zone", zones, index, key=key("zone"))
    return None if chosen == zones[0] else chosen


def parameters(old: TaskSection | None, kind: str | None, types: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The parameters as the form has them, and what is wrong with them; that stands beside its field, too."""
    schema = types[kind].parameter_schema if kind in types else None
    stored = old.parameters if old and old.type == kind else {}
    if not schema or not schema.get("properties"):
        st.caption("This type has no parameters that are known here; `headway deploy` reads them from Prefect.")
        return stored, []
    form = Form(schema, stored, key(f"parameter_{kind}"), block_names)
    return form.values, form.problems()


def checked(values: dict[str, Any]) -> tuple[TaskSection | None, list[str]]:
    """The definition, or what is wrong with which field."""
    try:
        if values["schedule"] is not None:
            values = {**values, "schedule": ScheduleSection.model_validate(values["schedule"])}
        return TaskSection.model_validate(values), []
    except ValidationError as error:
        return None, explain(error)


def go_to(step: str) -> None:
    """The tabs are made anew with another one open; a click on a tab asks no server."""
    put("step", step)


def ways(number: int) -> None:
    """Back and Next, as in every wizard; the tabs do the same."""
    places = st.columns([1, 1, 3])
    if number:
        places[0].button("Back", key=key(f"back_{number}"), on_click=go_to, args=(STEPS[number - 1],), width="stretch")
    if number < len(STEPS) - 1:
        place = places[1 if number else 0]
        place.button("Next", key=key(f"next_{number}"), on_click=go_to, args=(STEPS[number + 1],), width="stretch")


def save_button(found: TaskSection, version: int | None, preview: Preview, problems: list[str]) -> None:
    confirmed = asks_for_confirmation(preview)
    applied = preview.applied
    stuck = bool(applied.errors or problems) or not applied.changes or not confirmed
    if st.button("Save", key=key("save"), type="primary", disabled=stuck):
        uid = ui.act(
            lambda session, actor: _save(session, actor, found, version, confirmed),
            f"'{found.name}' is saved.",
            rerun=False,
        )
        if uid is not None:
            forget()
            st.switch_page("app_pages/task.py", query_params={"task": str(uid)})


def _save(session: Session, actor: Actor, found: TaskSection, version: int | None, confirmed: bool) -> int:
    applied: Applied = save_task(session, CLOCK, actor, found, version=version, confirmed=confirmed)
    if applied.errors:
        raise InvalidInput([finding.message for finding in applied.errors])
    return id_of(find_task(session, found.name))


def overtaken(name: str) -> None:
    """The task was saved elsewhere while it was being edited here."""
    st.error(
        f"somebody has changed {words.plain(name)} since you opened it; nothing of yours was saved. Open it again to "
        "see how it is now."
    )
    st.button("Open it again (what you typed is dropped)", key=key("reopen"), on_click=forget, type="primary")


def page() -> None:
    opened()
    uid = ui.query_number("task")
    catalog = ui.fetch(lambda session, actor: ui.catalog(session))
    names = {one.uid: one.name for one in catalog.rows.values()}
    row = ui.fetch(lambda session, actor: task_of_uid(session, uid)) if uid is not None else None
    if uid is not None and row is None:
        st.error(f"There is no task with UID {uid}: it was deleted, or the address is wrong.")
        return
    old = section(row, names) if row else None
    ui.heading(f"Edit task: {row.name}" if row else "Define task")
    version = None
    if row:
        version = version_at_opening(row.version)
        if version != row.version:
            overtaken(row.name)
            return
        st.link_button("To its page", f"/task?task={row.uid}")
    wizard(old, version, [name for name in names.values() if not old or name != old.name])


def wizard(old: TaskSection | None, version: int | None, others: list[str]) -> None:
    types = ui.fetch(lambda session, actor: load_types(session))
    left, right = st.columns([3, 2], gap="medium")
    with left:
        first, second, third = st.tabs(STEPS, key=key("step"), default=begins_with("step", STEPS[0]))
    with first:
        values = general(old, types)
        ways(0)
    with second:
        values["schedule"] = schedule.schedule(old, others)
        values["timezone"] = zone_of_task(old)
        values |= rules(old)
        ways(1)
    with third:
        values["parameters"], problems = parameters(old, values["type"], types)
        ways(2)
    if not values["name"] or not values["type"]:
        with right:
            st.info("Give it a name and a type first; then the lint tells here what it would collide with.")
        return
    found, wrong = checked(values)
    with right:
        if found is None:
            broken(wrong)
            return
        preview = preview_of(found, version)
        told = [finding.message for finding in preview.findings]
        for problem in problems:
            if not any(problem in message for message in told):
                st.error(words.plain(problem))
        lint_card(preview, ui.zone(), schedule.take)
    with third:
        difference(found, preview.applied.changes)
        save_button(found, version, preview, problems)


if ui.allowed(Privilege.MANAGE):
    page()
else:
    st.error("Defining tasks takes the privilege Task management. Ask a user manager for it.")
