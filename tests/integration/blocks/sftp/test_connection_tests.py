"""Trying the connections against real servers: every step, what is left behind, and what to do where it fails."""

import socket
from collections.abc import Iterator
from email import message_from_bytes
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from headway.blocks.sftp.connection_test import try_importer_path
from headway.scheduler.prefect_side.mail_test import MailStep, try_mail
from tests.support.openssh import OpenSsh
from tests.support.prefect_server import free_port
from tests.support.sftp_faults import FaultServer

ALL = ["Reach the server", "Host key and sign-in", "Importer folder", "Write", "Read back", "Rename", "Remove"]


def test_every_step_is_taken_and_nothing_is_left_behind(any_sftp: FaultServer | OpenSsh) -> None:
    steps = list(try_importer_path(any_sftp.block()))
    assert [step.name for step in steps] == ALL and all(step.ok for step in steps), steps
    assert list(any_sftp.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "name", "said"),
    [
        ({"port": 1}, "Reach the server", "cannot be reached"),
        ({"password": "wrong"}, "Host key and sign-in", "Check user name, password and key"),
        ({"known_host_key": None}, "Host key and sign-in", "no host key is stored"),
        ({"importer_path": r"\\flexftp\acme\nowhere"}, "Importer folder", "the server has no such folder. Create it"),
        ({"importer_path": None}, "Importer folder", "has no importer path"),
    ],
)
def test_it_stops_at_the_step_that_fails_and_says_the_remedy(
    fault_server: FaultServer, changes: dict[str, Any], name: str, said: str
) -> None:
    steps = list(try_importer_path(fault_server.block(**changes)))
    assert [step.ok for step in steps] == [True] * (len(steps) - 1) + [False]
    assert steps[-1].name == name and said in steps[-1].said


@pytest.mark.parametrize(("operation", "name"), [("write", "Write"), ("read", "Read back"), ("rename", "Rename")])
def test_a_failed_trial_clears_away_what_it_wrote(fault_server: FaultServer, operation: str, name: str) -> None:
    import asyncssh

    fault_server.behaviour.knows_posix_rename = False
    fault_server.inject(operation, effect="refuse", error=asyncssh.SFTPPermissionDenied("no"))
    steps = list(try_importer_path(fault_server.block()))
    assert (steps[-1].name, steps[-1].ok) == (name, False) and "permission denied" in steps[-1].said
    assert list(fault_server.folder.iterdir()) == []


def test_an_importer_that_takes_the_file_at_once_is_no_error(fault_server: FaultServer) -> None:
    fault_server.behaviour.after_rename = lambda path: path.unlink()
    *_, last = try_importer_path(fault_server.block())
    assert last.ok and "the importer has taken it" in last.said


def test_a_trial_that_is_given_up_clears_away_too(fault_server: FaultServer) -> None:
    steps = try_importer_path(fault_server.block())
    assert [next(steps).name for _ in range(4)][-1] == "Write"
    steps.close()  # type: ignore[attr-defined]
    assert list(fault_server.folder.iterdir()) == []


# Mail


class _Inbox:
    def __init__(self) -> None:
        self.mails: list[bytes] = []
        self.refuses = False

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if self.refuses:
            return "550 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(envelope.content)
        return "250 Kept"


@pytest.fixture
def inbox() -> Iterator[tuple[_Inbox, dict[str, Any]]]:
    """A real mail server that knows one user, and the block's fields that reach it."""
    kept, port = _Inbox(), free_port()

    def login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=data.password == b"right", handled=False)

    controller = Controller(
        kept, hostname="127.0.0.1", port=port, authenticator=login, auth_require_tls=False, auth_required=False
    )
    controller.start()
    yield kept, {"smtp_server": "127.0.0.1", "smtp_port": port, "smtp_type": "INSECURE"}
    controller.stop()


def _last(fields: dict[str, Any]) -> MailStep:
    *_, last = try_mail(fields, "ops@example.com")
    return last


def test_a_test_mail_arrives(inbox: tuple[_Inbox, dict[str, Any]]) -> None:
    kept, fields = inbox
    steps = list(try_mail({**fields, "username": "headway@example.com", "password": "right"}, "ops@example.com"))
    assert [(step.name, step.ok) for step in steps] == [("Reach the server", True), ("Sign in", True), ("Send", True)]
    mail = message_from_bytes(kept.mails[0])
    assert (mail["To"], mail["From"], mail["Subject"]) == (
        "ops@example.com", "headway@example.com", "Headway: test mail",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "name", "said"),
    [
        ({"smtp_port": 1}, "Reach the server", "cannot be reached .*check server, port and firewall"),
        ({"smtp_server": "no-such-host.invalid"}, "Reach the server", "no machine named 'no-such-host.invalid'"),
        ({"smtp_type": "SSL"}, "Reach the server", "does not speak SSL on this port"),
        ({"smtp_type": "STARTTLS"}, "Reach the server", "does not offer that"),
        ({"username": "u", "password": "wrong"}, "Sign in", "refuses user name and password .*enter them again"),
        ({"username": "ü", "password": "ü"}, "Sign in", "characters that mail servers do not take"),
    ],
)
def test_what_is_wrong_is_said_with_its_remedy(
    inbox: tuple[_Inbox, dict[str, Any]], changes: dict[str, Any], name: str, said: str
) -> None:
    import re

    last = _last({**inbox[1], **changes})
    assert (last.name, last.ok) == (name, False) and re.search(said, last.said), last
    assert inbox[0].mails == []


def test_an_address_that_is_refused_is_said(inbox: tuple[_Inbox, dict[str, Any]]) -> None:
    inbox[0].refuses = True
    last = _last(inbox[1])
    assert (last.name, last.ok) == ("Send", False) and "refuses the address" in last.said


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headway.scheduler.prefect_side.mail_test._PATIENCE_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        fields = {"smtp_server": "127.0.0.1", "smtp_port": silent.getsockname()[1], "smtp_type": "INSECURE"}
        assert "did not answer within 0.2 s" in _last(fields).said
