"""The settings' fields: what is shown, what was changed, and what is wrong with it."""

from datetime import timedelta
from typing import Any

import streamlit as st

from headway import wording as words
from headway.dashboard import ui
from headway.dashboard.data import CLOCK
from headway.errors import InvalidInput
from headway.scheduler.installation.deploy import sync_importer_path
from headway.scheduler.planning.definitions.document import SettingsSection
from headway.scheduler.store.settings import load_settings
from headway.scheduler.usecases.settings.configure import checked_settings, configure
from headway.scheduler.usecases.tasks.apply import Applied

PATH = "customer_importer_file_path"


class Sheet:
    """Some of the settings being edited. `key` makes a widget's key, another one once they were saved or reloaded."""

    def __init__(self, name: str, *, locked: bool) -> None:
        self.name, self.locked = name, locked
        state = st.session_state.setdefault(f"_sheet_{name}", {"number": 0, "opened": None})
        self.stored = ui.fetch(lambda session, actor: load_settings(session))
        if state["opened"] is None or (not state.get("touched") and state["opened"] != self.stored):
            state.update(number=state["number"] + 1, opened=self.stored)
        self._state = state
        self.opened: SettingsSection = state["opened"]
        self.values: dict[str, Any] = {}

    def key(self, field: str) -> str:
        return f"settings_{field}_{self._state['number']}"

    def take(self, field: str, value: Any, shown: Any) -> str | None:
        """Keep what a field says, if it is another than was shown; what is wrong with it."""
        if value == shown:
            return None
        self.values[field] = value
        return problem_with(field, value)

    def close(self, problems: list[str | None]) -> None:
        """Save and Discard, once every field has had its say."""
        self._state["touched"] = bool(self.values)
        if self.locked:
            st.caption("Changing these takes the privilege Task management.")
            return
        if self.values and self.stored != self.opened:
            st.warning("Somebody else has changed settings meanwhile. *Discard* shows them as they are now.")
        save, discard, _ = st.columns([1, 1, 4])
        wrong = any(problems) or not self.values
        if save.button("Save", key=f"settings_save_{self.name}", type="primary", disabled=wrong, width="stretch"):
            self._save()
        if discard.button("Discard", key=f"settings_discard_{self.name}", disabled=not self.values, width="stretch"):
            self._state["opened"] = None
            st.rerun()

    def _save(self) -> None:
        values, opened = dict(self.values), self.opened
        ui.act(lambda session, actor: configure(session, CLOCK, actor, values, opened=opened), self._saved)

    def _saved(self, applied: Applied) -> str:
        self._state.update(opened=None, touched=False)
        if PATH in self.values and not sync_importer_path():
            return "Saved. There is no SFTP connection yet that could have the path, or Prefect is away."
        return "Saved."


def problem_with(field: str, value: Any) -> str | None:
    """What is wrong with one setting, in the sentence that a file would get; None if nothing is."""
    try:
        checked_settings({field: value})
    except InvalidInput as error:
        return "\n".join(error.problems)
    return None


def tell(place: Any, problem: str | None) -> None:
    """The problem, right under its field."""
    if problem is not None:
        place.error(words.plain(problem))


def text_of(value: timedelta | None) -> str:
    """A duration as a file would say it: `18:00:00`; empty for None."""
    if value is None:
        return ""
    seconds = int(value.total_seconds())
    return f"{seconds // 3600:02d}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"


def duration(
    place: Any, sheet: Sheet, field: str, label: str, *, optional: bool = False, about: str = ""
) -> str | None:
    """A text field for hours, minutes and seconds, checked while one types."""
    shown = text_of(getattr(sheet.opened, field))
    text = place.text_input(label, shown, key=sheet.key(field), disabled=sheet.locked, live=True,
                            placeholder="01:00:00", help=about or None).strip()  # fmt: skip
    problem = sheet.take(field, None if optional and not text else text, None if optional and not shown else shown)
    tell(place, problem)
    return problem


def number(
    place: Any, sheet: Sheet, field: str, label: str, least: int, most: int, *, about: str = "", empty: str = ""
) -> str | None:
    """A whole number; with `empty`, one may be left out, and that is what it means."""
    shown = getattr(sheet.opened, field)
    value = place.number_input(label, least, most, shown, step=1, key=sheet.key(field), disabled=sheet.locked,
                               placeholder=empty or None, help=about or None)  # fmt: skip
    problem = sheet.take(field, None if value is None else int(value), shown)
    tell(place, problem)
    return problem
