"""Stored settings, windows and releases."""

import logging
from datetime import date, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError
from sqlmodel import Session, col, delete, select

from headway.models.ledger.tables import ReleaseRow, SettingRow, TaskRow, WindowRow, id_of
from headway.models.values.window import DEFAULT_WINDOWS, WindowPolicy
from headway.scheduler.planning.definitions.document import DAYS, SettingsSection, WindowSection, explain

log = logging.getLogger("headway.settings")

_VERSION = "definitions_version"
_INSTALLED = "installed"
_TURN_LOCK = 7411002
_SETTING: Any = SettingRow.__table__  # type: ignore[attr-defined]
_IN_FORCE = sa.select(_SETTING.c.value).where(_SETTING.c.key == _VERSION)


def load_settings(session: Session) -> SettingsSection:
    """The settings in force: stored values over the defaults.

    A stored value that this version refuses does not count, and the log says so. It was accepted once; if it raised
    here, no turn could run and no page could be opened to correct it.
    """
    keys = list(SettingsSection.model_fields)
    rows = session.exec(select(SettingRow).where(col(SettingRow.key).in_(keys))).all()
    stored = {row.key: row.value for row in rows}
    try:
        return SettingsSection.model_validate(stored)
    except ValidationError as error:
        _warn_once(" ".join(explain(error, stored)))
        return SettingsSection.model_validate(_without_refused(stored, error))


def _without_refused(stored: dict[str, Any], error: ValidationError) -> dict[str, Any]:
    kept = dict(stored)
    for one in error.errors(include_url=False):
        key = str(one["loc"][0])
        if len(one["loc"]) > 1 and isinstance(kept.get(key), list):  # one of the mail addresses
            kept[key] = [value for value in kept[key] if value != one["input"]]
        else:
            kept.pop(key, None)
    return kept


@cache
def _warn_once(problems: str) -> None:
    """Once a process: the settings are read in every turn."""
    log.warning("stored settings that do not count, correct them on the configuration page: %s", problems)


def save_settings(session: Session, settings: SettingsSection) -> None:
    for key, value in settings.model_dump(mode="json").items():
        put(session, key, value)


def put(session: Session, key: str, value: Any) -> None:
    """Store one setting."""
    row = session.get(SettingRow, key)
    if row is None:
        session.add(SettingRow(key=key, value=value))
    else:
        row.value = value
        session.add(row)
    session.flush()


def get(session: Session, key: str, default: Any = None) -> Any:
    row = session.get(SettingRow, key)
    return default if row is None else row.value


def definitions_version(session: Session) -> int:
    """Grows with every change of tasks, types, windows or settings."""
    return int(session.execute(_IN_FORCE).scalar() or 0)


def begin_edit(session: Session) -> None:
    """Call before reading anything that an edit depends on: one edit at a time, and none during a turn.

    Two at a time could give their changes one version, and a worker that has seen the first would never see the
    second. A turn locks a run and then its task, an edit the other way round.
    """
    wait_for_turn(session)
    session.expire_all()  # what the session has read may be from before


def wait_for_turn(session: Session) -> None:
    """Return once the session's transaction has begun and no other worker's turn is under way."""
    session.connection()
    if session.get_bind().dialect.name == "postgresql":  # with SQLite a writer is alone
        session.execute(sa.text(f"SELECT pg_advisory_xact_lock({_TURN_LOCK})"))


def definitions_changed(session: Session) -> None:
    put(session, _VERSION, definitions_version(session) + 1)


def install(session: Session) -> bool:
    """Give a new installation its two default windows; False if it has been installed before."""
    if get(session, _INSTALLED):
        return False
    for window in DEFAULT_WINDOWS:
        session.add(
            WindowRow(
                name=window.name,
                days=sorted(window.days),
                start=window.start,
                end=window.end,
                timezone=window.timezone,
            )
        )
    put(session, _INSTALLED, True)
    definitions_changed(session)
    return True


def load_windows(session: Session) -> list[WindowSection]:
    """The windows as a file would say them, in the order of their making."""
    released: dict[int, list[Any]] = {}
    for release in session.exec(select(ReleaseRow).order_by(col(ReleaseRow.day))).all():
        released.setdefault(release.window_id, []).append(release.day)
    return [
        WindowSection(
            name=row.name,
            days=[DAYS[day] for day in row.days],
            start=row.start,
            end=row.end,
            timezone=row.timezone,
            released=released.get(id_of(row), []),
        )
        for row in session.exec(select(WindowRow).order_by(col(WindowRow.id))).all()
    ]


def save_windows(session: Session, windows: list[WindowSection], by: str, now: Any) -> None:
    """Make the stored windows those given, by name; releases included."""
    kept = {window.name for window in windows}
    rows = {row.name: row for row in session.exec(select(WindowRow)).all()}
    for name, row in rows.items():
        if name not in kept:
            session.exec(delete(ReleaseRow).where(col(ReleaseRow.window_id) == row.id))
            session.delete(row)
    session.flush()
    for window in windows:
        row = rows.get(window.name) or WindowRow(name=window.name, days=[], start=window.start, end=window.end)
        row.days = [DAYS.index(day) for day in window.days]
        row.start, row.end, row.timezone = window.start, window.end, window.timezone
        session.add(row)
        session.flush()
        assert row.id is not None
        _save_releases(session, row.id, window, by, now)


def _save_releases(session: Session, window_id: int, window: WindowSection, by: str, now: Any) -> None:
    stored = {r.day: r for r in session.exec(select(ReleaseRow).where(ReleaseRow.window_id == window_id)).all()}
    for day, release in stored.items():
        if day not in window.released:
            session.delete(release)
    for day in window.released:
        if day not in stored:
            session.add(ReleaseRow(window_id=window_id, day=day, released_by=by, released_at=now))
    session.flush()


def window_named(session: Session, name: str) -> WindowRow | None:
    """The window of that name."""
    return session.exec(select(WindowRow).where(WindowRow.name == name)).first()


def rename_window(session: Session, name: str, new: str) -> None:
    """Give the window another name; its releases stay."""
    row = session.exec(select(WindowRow).where(WindowRow.name == name)).one()
    row.name = new
    session.add(row)
    session.flush()


def remove_window(session: Session, name: str) -> None:
    """The window is gone, its releases too."""
    row = session.exec(select(WindowRow).where(WindowRow.name == name)).one()
    session.exec(delete(ReleaseRow).where(col(ReleaseRow.window_id) == row.id))
    session.delete(row)
    session.flush()


def is_released(session: Session, window_id: int, day: date) -> bool:
    """Whether the occurrence that begins on that local day was given back."""
    return session.get(ReleaseRow, (window_id, day)) is not None


def set_released(session: Session, window_id: int, day: date, released: bool, by: str, now: datetime) -> None:
    """Give the occurrence back, or reserve it again; it is not so already."""
    if released:
        session.add(ReleaseRow(window_id=window_id, day=day, released_by=by, released_at=now))
    else:
        session.delete(session.get_one(ReleaseRow, (window_id, day)))


def released_by(session: Session) -> dict[tuple[str, date], str]:
    """Who gave back which occurrence: by the window's name and the local day of its start."""
    names = {row.id: row.name for row in session.exec(select(WindowRow)).all()}
    rows = session.exec(select(ReleaseRow)).all()
    return {(names[row.window_id], row.day): row.released_by for row in rows}


def tasks_that_require_a_window(session: Session) -> list[str]:
    """The names of the tasks that must run in a maintenance window, but for historical ones."""
    names = select(TaskRow.name).where(TaskRow.window == WindowPolicy.REQUIRE, col(TaskRow.historical).is_(False))
    return list(session.exec(names.order_by(col(TaskRow.uid))).all())
