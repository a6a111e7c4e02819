"""Beside the steps of Define task: the live lint, when it would start, a free slot; and what saving would change."""

import html
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from headway import wording as words
from headway.dashboard import ui
from headway.dashboard.data import CLOCK
from headway.dashboard.define.state import key
from headway.models.values.finding import Level
from headway.scheduler.planning.definitions.document import Definitions, TaskSection
from headway.scheduler.usecases.tasks.apply import Change
from headway.scheduler.usecases.tasks.export import as_yaml
from headway.scheduler.usecases.tasks.preview_task import Preview, Slot, preview_task


def preview_of(found: TaskSection, version: int | None) -> Preview:
    """What saving would do, as `preview_task` says it; said again while nothing has changed.

    Among ten thousand tasks it takes two seconds to find out, and *Next* and *Back* ask for the same.
    """
    minute = CLOCK.now().replace(second=0, microsecond=0)
    defined = ui.fetch(lambda session, actor: ui.catalog(session).version)
    asked = (found.model_dump_json(), version, defined, minute)
    known: tuple[object, Preview] | None = st.session_state.get(key("preview"))
    if known is not None and known[0] == asked:
        return known[1]
    preview = ui.fetch_now(preview_task, found, version=version)
    preview = replace(preview, applied=replace(preview.applied, resolved=None))  # a session need not keep all tasks
    st.session_state[key("preview")] = (asked, preview)
    return preview


def lint_card(preview: Preview, zone: str, take: Any) -> None:
    """What would go wrong, with dates; what windows do to it; the slot to take with one click."""
    st.markdown("#### What the lint says")
    for finding in preview.findings:
        show = st.error if finding.level is Level.ERROR else st.warning
        show(words.plain(f"{finding.id}: {finding.message}"))
    for finding in preview.applied.errors:
        if finding not in preview.findings:
            st.error(words.plain(f"{finding.id}: {finding.message} (it keeps everything from being saved)"))
    if not preview.findings:
        st.success("Nothing to complain of in the next 35 days and on both nights of a clock change.")
    if preview.slot is not None:
        label = f"Take the free slot {_slot_in_words(preview.slot, preview.timezone)}"
        st.button(words.plain(label), key="define_take_slot", on_click=take, args=(preview.slot.schedule,))
    starts(preview, zone)


def _slot_in_words(slot: Slot, timezone: str) -> str:
    at = words.day_and_time(slot.at, timezone)
    return at if slot.schedule.once else at.rsplit(" ", 2)[1]


def starts(preview: Preview, zone: str) -> None:
    if not preview.starts:
        return
    st.markdown("#### It would start")
    for coming in preview.starts:
        due = words.day_and_time(coming.due_at, preview.timezone)
        if coming.start_at == coming.due_at:
            st.text(due)
        elif coming.start_at is None:
            st.text(f"{due}: never, no window is long enough")
        else:
            st.text(f"{words.day_and_time(coming.start_at, preview.timezone)} (due {due}, held by a window)")


def difference(found: TaskSection, changes: list[Change]) -> None:
    """Old and new side by side, field by field; then the task as YAML."""
    st.markdown("#### What would change")
    change = next((one for one in changes if one.kind == "task" and one.name == found.name), None)
    if change is None:
        st.caption("Nothing has changed so far.")
    else:
        before, after = _flat(change.before or {}), _flat(change.after or {})
        fields = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        if change.before is None:
            fields = [name for name in fields if after.get(name) not in (None, "", {}, [])]
        rows = "".join(_row(name, before, after) for name in fields)
        st.html(f'<table class="diff"><tr><th>Field</th><th>Old</th><th>New</th></tr>{rows}</table>')
    with st.expander("As YAML"):
        content = as_yaml(Definitions.model_construct(tasks=[found])).partition("tasks:")[2]
        st.code(f"tasks:{content}", language="yaml")


def _row(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    old, new = (words.tag(mark, _cell(one.get(name))) for mark, one in (("del", before), ("ins", after)))
    return f"<tr><td>{html.escape(name)}</td><td>{old}</td><td>{new}</td></tr>"


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _flat(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested facts by their paths, such as parameters.csv.separator."""
    found: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def asks_for_confirmation(preview: Preview) -> bool:
    """True once the editor has confirmed that it is running; at once where it is not."""
    if not preview.applied.running:
        return True
    return st.checkbox(
        "It has a process ID: editing it could break the process. The running process keeps the parameters it started "
        "with. Save it all the same",
        key=key("confirmed"),
    )


def broken(problems: list[str]) -> None:
    """What keeps the definition from being looked at at all."""
    st.markdown("#### What the lint says")
    for problem in problems:
        st.error(words.plain(problem))
