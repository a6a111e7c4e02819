"""Mail from the scheduler itself, through Prefect's e-mail block `headway-mail`."""

import logging
from collections.abc import Sequence

log = logging.getLogger("headway.mail")
BLOCK = "headway-mail"


def send_mail(recipients: Sequence[str], subject: str, text: str) -> bool:
    """Whether it was sent. Without recipients or block nothing is; a failure is logged, never raised."""
    if not recipients:
        return False
    try:
        from prefect_email import EmailServerCredentials, email_send_message

        credentials = EmailServerCredentials.load(BLOCK)
        for recipient in recipients:
            email_send_message.fn(email_server_credentials=credentials, subject=subject, msg=text, email_to=recipient)
    except Exception as error:
        log.error("no mail about '%s' could be sent through the block %s: %s", subject, BLOCK, error)
        return False
    return True
