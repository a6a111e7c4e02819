"""Settings changed one by one: what nobody touched stays, and what somebody else changed is not overwritten."""

from typing import Any

import pytest

from headway.errors import InvalidInput, Refused
from headway.models.ledger.database import reading, writing
from headway.privileges import OPERATOR
from headway.scheduler.planning.definitions.document import SettingsSection
from headway.scheduler.store.settings import load_settings
from headway.scheduler.usecases.settings.configure import configure
from tests.support.installation import Desk

PATH = r"\\flexftp\acme\import"


def _settings(desk: Desk) -> SettingsSection:
    with reading(desk.engine) as session:
        return load_settings(session)


def _configure(desk: Desk, opened: SettingsSection | None = None, **values: Any) -> list[str]:
    """The keys that changed."""
    with writing(desk.engine) as session:
        applied = configure(session, desk.clock, OPERATOR, values, opened=opened)
    return [key for change in applied.changes for key in change.fields()]


def test_only_what_is_named_changes(desk: Desk) -> None:
    desk.define("settings: {alert_recipients: [ops@example.com], long_running: '05:00:00'}")
    assert _configure(desk, max_running=9, customer_importer_file_path=PATH) == [
        "customer_importer_file_path",
        "max_running",
    ]
    settings = _settings(desk)
    assert (settings.max_running, settings.customer_importer_file_path) == (9, PATH)
    assert settings.alert_recipients == ["ops@example.com"] and settings.long_running.total_seconds() == 5 * 3600


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"customer_importer_file_path": r"\flexftp\acme"}, "needs exactly two leading backslashes"),
        ({"customer_importer_file_path": r"\\\flexftp\acme"}, "needs exactly two leading backslashes"),
        ({"min_spacing": "soon"}, 'min_spacing: not a duration; write hours, minutes and seconds'),
        ({"long_running": "00:00:00"}, "long_running: the duration must be longer than nothing"),
        ({"timezone": "Mars/Olympus"}, "timezone: unknown time zone 'Mars/Olympus'"),
        ({"max_running": 0}, "max_running: .*greater than or equal to 1"),
        ({"alert_recipients": ["ops"]}, "'ops' is not a mail address"),
        ({"colour": "red"}, "colour: unknown key"),
    ],
)  # fmt: skip
def test_invalid_input_is_refused_and_nothing_is_written(quick_desk: Desk, values: dict[str, Any], said: str) -> None:
    before = _settings(quick_desk)
    with pytest.raises(InvalidInput, match=said):
        _configure(quick_desk, **values)
    assert _settings(quick_desk) == before and quick_desk.audit("edit settings") == []


def test_what_the_lint_finds_is_refused(desk: Desk) -> None:
    desk.tasks("name: a, type: job0", "name: b, type: job1, schedule: {after: a, spacing: '00:40:00'}")
    with pytest.raises(InvalidInput, match="'b' starts 40 min after 'a': under the minimum of 50 min"):
        _configure(desk, min_spacing="00:50:00")


def test_a_setting_that_somebody_else_changed_is_not_overwritten(desk: Desk) -> None:
    opened = _settings(desk)
    assert _configure(desk, opened, max_running=5) == ["max_running"]
    with pytest.raises(Refused, match="somebody has changed max_running since you opened this page"):
        _configure(desk, opened, max_running=6)
    assert _configure(desk, opened, retention_days=30) == ["retention_days"]  # another one: both stay
    assert _settings(desk).max_running == 5
