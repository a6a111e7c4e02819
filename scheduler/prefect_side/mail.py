"""Mail from the scheduler itself, through Prefect's e-mail block `headway-mail`."""

import logging
from collections.abc import Sequence
from email.message import EmailMessage

from headway.models.values.mail_address import sender_of

log = logging.getLogger("headway.mail")
BLOCK = "headway-mail"


def send_mail(recipients: Sequence[str], subject: str, text: str) -> bool:
    """Whether it was sent. Without recipients or block nothing is; a failure is logged, never raised."""
    if not recipients:
        return False
    message = EmailMessage()
    message["Subject"] = " ".join(subject.split())
    message["To"] = ", ".join(recipients)
    message.set_content(text)
    try:
        from prefect_email import EmailServerCredentials

        credentials = EmailServerCredentials.load(BLOCK)
        message["From"] = sender_of(credentials.username)
        with credentials.get_server() as server:
            server.send_message(message)
    except Exception as error:
        log.error("no mail about '%s' could be sent through the block %s: %s", subject, BLOCK, error)
        return False
    return True
