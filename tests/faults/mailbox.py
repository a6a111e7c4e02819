"""A mail server that a stack's alerts go to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import prefect_email
from aiosmtpd.controller import Controller

from headway.models.ledger.database import writing
from headway.scheduler.prefect_side.mail import BLOCK
from headway.scheduler.store.settings import load_settings, save_settings
from tests.faults.stack import Stack
from tests.support.mail_server import MailServer
from tests.support.prefect_server import free_port


@contextmanager
def mailbox(stack: Stack) -> Iterator[MailServer]:
    """What arrives from now on for `ops@example.com`, whom alerts are for."""
    server = MailServer(free_port())
    controller = Controller(server, hostname="127.0.0.1", port=server.port)
    controller.start()
    try:
        api = stack.server.api()
        api.register_block_types([prefect_email])
        fields = {"smtp_server": "127.0.0.1", "smtp_port": server.port, "smtp_type": "INSECURE"}
        api.save_block("email-server-credentials", BLOCK, fields)
        with writing(stack.engine) as session:
            known = load_settings(session)
            save_settings(session, known.model_copy(update={"alert_recipients": ["ops@example.com"]}))
        yield server
    finally:
        controller.stop()
