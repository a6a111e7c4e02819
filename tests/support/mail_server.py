"""A real SMTP server for tests, and the block that reaches it. A pytest plugin."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from prefect_email import EmailServerCredentials


@dataclass(frozen=True)
class Mail:
    """One message as it was taken: for whom, and its bytes."""

    recipients: list[str]
    content: bytes


@dataclass
class MailServer:
    """What arrived, and what it shall refuse.

    refuse: recipient -> answer. answers: for the next messages, instead of taking them. asked: connections so far.
    """

    port: int = 0
    mails: list[Mail] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)
    asked: int = 0

    async def handle_MAIL(self, _server: Any, _session: Any, envelope: Any, address: str, options: list[str]) -> str:
        self.asked += 1
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: list[str]) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        if self.answers:
            return self.answers.pop(0)
        self.mails.append(Mail(list(envelope.rcpt_tos), envelope.content))
        return "250 Kept"


@pytest.fixture
def mail_server(flow_prefect: None) -> Iterator[MailServer]:
    """A mail server of its own, saved as the block that flows use by default."""
    server = MailServer()
    with socket.socket() as probe:  # the controller asks its own port, so it has to know it
        probe.bind(("127.0.0.1", 0))
        server.port = probe.getsockname()[1]
    controller = Controller(server, hostname="127.0.0.1", port=server.port)
    controller.start()
    block = EmailServerCredentials(smtp_server="127.0.0.1", smtp_port=server.port, smtp_type="INSECURE")
    block.save("headway-mail", overwrite=True)
    yield server
    controller.stop()
