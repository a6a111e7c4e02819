"""The alert about a run that takes too long: one a run, by mail where somebody is to get it, and in the log."""

import logging
import socket
from email import message_from_bytes

import pytest
from aiosmtpd.controller import Controller
from prefect_email import EmailServerCredentials

from scheduler import mail
from scheduler.alerts import alert_long_running
from tests.desk import Desk

LATE = "settings: {long_running: '02:00:00', alert_recipients: [ops@example.com]}"


class _Inbox:
    def __init__(self) -> None:
        self.mails: list[bytes] = []

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        self.mails.append(envelope.content)  # type: ignore[attr-defined]
        return "250 Kept"


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch):
    """A real mail server, and the block that reaches it."""
    kept = _Inbox()
    with socket.socket() as probe:  # the controller asks its own port, so it has to know it
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(kept, hostname="127.0.0.1", port=port)
    controller.start()
    block = EmailServerCredentials(smtp_server="127.0.0.1", smtp_port=port, smtp_type="INSECURE")
    monkeypatch.setattr(EmailServerCredentials, "load", lambda name: {mail.BLOCK: block}[name])
    yield kept
    controller.stop()


def _start(desk: Desk) -> int:
    desk.tasks("name: a, type: job0")
    desk.run_now("a")
    assert desk.turn() == ["a"]
    return desk.run("a").id or 0


def test_a_run_over_the_limit_is_mailed_once(desk: Desk, inbox: _Inbox) -> None:
    desk.define(LATE)
    run_id = _start(desk)
    assert alert_long_running(desk.engine, desk.clock.move(hours=1, minutes=59)) == []
    assert alert_long_running(desk.engine, desk.clock.move(minutes=1)) == [run_id]
    assert alert_long_running(desk.engine, desk.clock.move(hours=5)) == []
    assert len(inbox.mails) == 1
    message = message_from_bytes(inbox.mails[0])
    assert message["To"] == "ops@example.com"
    assert "'a' has been in progress for more than 2 h" in message["Subject"]


def test_without_recipients_the_log_has_it(quick_desk: Desk, inbox: _Inbox, caplog: pytest.LogCaptureFixture) -> None:
    run_id = _start(quick_desk)
    with caplog.at_level(logging.WARNING, logger="headway.alerts"):
        assert alert_long_running(quick_desk.engine, quick_desk.clock.move(hours=18)) == [run_id]
    assert "more than 18 h" in caplog.text
    assert inbox.mails == []


def test_a_mail_server_that_is_away_is_said_and_does_no_harm(
    quick_desk: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = EmailServerCredentials(smtp_server="127.0.0.1", smtp_port=1, smtp_type="INSECURE")
    monkeypatch.setattr(EmailServerCredentials, "load", lambda name: block)
    quick_desk.define(LATE)
    run_id = _start(quick_desk)
    assert alert_long_running(quick_desk.engine, quick_desk.clock.move(hours=3)) == [run_id]
    assert "no mail about" in caplog.text


def test_a_recipient_that_is_no_mail_address_is_refused(quick_desk: Desk) -> None:
    from scheduler.errors import InvalidInput

    with pytest.raises(InvalidInput, match="'ops' is not a mail address"):
        quick_desk.define("settings: {alert_recipients: [ops]}")
