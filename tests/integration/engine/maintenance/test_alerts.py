"""Alerts about runs that take too long or failed: one a run, by mail where somebody is to get it, and in the log."""

import logging
import socket
import threading
from email import message_from_bytes

import pytest
from aiosmtpd.controller import Controller
from prefect_email import EmailServerCredentials

from headway.models.ledger.tables import id_of
from headway.models.values.run import RunStatus
from headway.scheduler.engine.maintenance.alerts import alert_failures, alert_long_running
from headway.scheduler.prefect_side import mail
from tests.support.installation import Desk

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
    return id_of(desk.run("a"))


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
    from headway.errors import InvalidInput

    with pytest.raises(InvalidInput, match="'ops' is not a mail address"):
        quick_desk.define("settings: {alert_recipients: [ops]}")


FAILS = "settings: {alert_recipients: [ops@example.com]}"


def _fail(desk: Desk, name: str = "a", error: str = "Expected file did not arrive: no file 'codes.csv'.") -> int:
    desk.run_now(name)
    assert desk.turn() == [name]
    assert desk.end(name, RunStatus.FAILED, error=error)
    return id_of(desk.runs(name)[-1])


def test_a_failed_run_is_mailed_once_with_its_error_and_what_to_do(desk: Desk, inbox: _Inbox) -> None:
    desk.define(FAILS)
    desk.tasks("name: a, type: job0")
    run_id = _fail(desk)
    assert alert_failures(desk.engine, desk.clock.move(seconds=10)) == [run_id]
    assert alert_failures(desk.engine, desk.clock.move(seconds=10)) == []
    (mailed,) = inbox.mails
    message = message_from_bytes(mailed)
    assert "'a' failed: Expected file did not arrive: no file 'codes.csv'." in " ".join(message["Subject"].split())
    text = message.get_payload()
    assert f"headway log {run_id}" in text and "headway reset 'a'" in text


def test_runs_that_fail_together_are_one_mail(quick_desk: Desk, inbox: _Inbox) -> None:
    quick_desk.define(FAILS)
    quick_desk.tasks("name: a, type: job0", "name: b, type: job1, on_failure: continue", "name: c, type: job2")
    failed = [_fail(quick_desk, "a", "no space"), _fail(quick_desk, "b", "no rows")]
    quick_desk.run_now("c")
    quick_desk.turn()
    quick_desk.end("c")
    assert alert_failures(quick_desk.engine, quick_desk.clock.move(seconds=10)) == failed
    (mailed,) = inbox.mails
    message = message_from_bytes(mailed)
    assert message["Subject"] == "Headway: 2 runs failed: 'a', 'b'"
    text = message.get_payload()
    assert "no space" in text and "no rows" in text
    assert "headway reset 'a'" in text and "headway reset 'b'" not in text, "b runs again by itself"


def test_a_failed_attempt_that_is_retried_is_no_news(quick_desk: Desk, inbox: _Inbox) -> None:
    quick_desk.define(FAILS)
    quick_desk.tasks("name: a, type: job0, retries: 1, retry_delay: '00:01:00'")
    quick_desk.run_now("a")
    quick_desk.turn()
    quick_desk.end("a", RunStatus.FAILED, error="cut")
    assert alert_failures(quick_desk.engine, quick_desk.clock.move(minutes=2)) == []
    assert quick_desk.turn() == ["a"]
    quick_desk.end("a", RunStatus.FAILED, error="cut again")
    assert len(alert_failures(quick_desk.engine, quick_desk.clock.move(minutes=2))) == 1
    assert len(inbox.mails) == 1


def test_of_two_workers_one_tells_of_a_failure(desk: Desk, inbox: _Inbox) -> None:
    desk.define(FAILS)
    desk.tasks("name: a, type: job0")
    run_id = _fail(desk)
    both, told = threading.Barrier(2), []

    def alert() -> None:
        both.wait(30)
        told.extend(alert_failures(desk.engine, desk.clock.now()))

    threads = [threading.Thread(target=alert) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert told == [run_id] and len(inbox.mails) == 1


def test_old_failures_and_those_of_a_silent_installation_are_not_mailed(quick_desk: Desk, inbox: _Inbox) -> None:
    quick_desk.define("settings: {alert_recipients: [ops@example.com], alert_on_failure: false}")
    quick_desk.tasks("name: a, type: job0, on_failure: continue")
    _fail(quick_desk)
    assert len(alert_failures(quick_desk.engine, quick_desk.clock.move(seconds=10))) == 1
    quick_desk.define("settings: {alert_on_failure: true}")
    assert alert_failures(quick_desk.engine, quick_desk.clock.move(seconds=10)) == []
    _fail(quick_desk)
    assert alert_failures(quick_desk.engine, quick_desk.clock.move(days=2)) == []
    assert inbox.mails == []
