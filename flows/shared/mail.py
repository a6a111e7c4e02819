"""Mail from a flow: one message to named people, through a Prefect e-mail block.

What a receiver may rely on: a retry of the same run bears the same Message-ID, so a duplicate can be dropped.
"""

import hashlib
import smtplib
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import localtime, make_msgid
from pathlib import Path
from typing import Annotated, Any

from prefect import get_run_logger, task
from prefect.context import FlowRunContext
from prefect_email import EmailServerCredentials
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from headway.blocks.transfer import TransferError
from headway.flows.shared.delivery import TRANSFER
from headway.flows.shared.result import InputRefused, announce_receipt, run_key
from headway.models.values.mail_address import MAX_LENGTH, PATTERN, read_mail_address, sender_of
from headway.text import cause

MAIL_BLOCK = "headway-mail"
MAX_ATTACHED_BYTES = 50_000_000
"""Mail servers commonly take 10 to 50 MB; a message is made in memory."""
SILENCE_SECONDS = 60.0
"""A mail server that says nothing for so long is given up on."""

_POLICY = SMTP.clone(cte_type="7bit")  # what every server can pass on


Address = Annotated[
    str,
    AfterValidator(read_mail_address),
    # A schema's $ also matches before a last line feed.
    WithJsonSchema({"type": "string", "maxLength": MAX_LENGTH, "pattern": f"^{PATTERN}$(?!\\n)"}),
]


class MailDelivery(BaseModel):
    """Who gets the mail, and through which mail server."""

    model_config = ConfigDict(extra="forbid")

    to: list[Address] = Field(min_length=1, description="Mail addresses of those it is for, at least one.")
    cc: list[Address] = Field(default=[], description="Addresses that get a copy, seen by all.")
    bcc: list[Address] = Field(default=[], description="Addresses that get a copy, seen by nobody else.")
    subject: str = Field(
        default="{task} {date}",
        min_length=1,
        max_length=250,
        json_schema_extra={"tokens": True},
        description="The subject line. It may hold {date}, {time}, {task}, {object} and {sequence}.",
    )
    sender: Address | None = Field(
        default=None,
        description="The From address; by default the block's username where that is an address, else "
        "headway@localhost.",
    )
    block: str = Field(
        default=MAIL_BLOCK, min_length=1, description="Name of the Email Server Credentials block to send through."
    )

    def recipients(self) -> list[str]:
        """Everybody who gets it, each once."""
        return list(dict.fromkeys([*self.to, *self.cc, *self.bcc]))


@dataclass(frozen=True)
class Attachment:
    """A file to attach under this name. `mime_type` as in a header: `text/csv; charset=utf-8`."""

    name: str
    path: Path
    mime_type: str


@task(name="send mail", **TRANSFER)
def send_mail(
    mail: MailDelivery,
    *,
    text: str,
    html: str = "",
    attachments: Sequence[Attachment] = (),
    facts: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Send one message; returns its receipt, announced already.

    The receipt has name (the subject), path (`mailto:` and those whom all may see), bytes and sha256 of the whole
    message, message_id, accepted (how many recipients), refused (address: reason), and `facts`, JSON-able, for
    readers of the ledger. Each refused recipient is one error
    line, and one error for the flow to count. Raises InputRefused, or TransferError where trying again may help; it is
    tried again.
    """
    logger = get_run_logger()
    credentials = load_mail_block(mail.block)
    sender = mail.sender or sender_of(credentials.username)
    message = compose(mail, sender, text, html, attachments)
    content = message.as_bytes(policy=_POLICY)
    refused = _send(credentials, mail, sender, content)
    for address, reason in refused.items():
        logger.error(f"The mail server refused the recipient {address}: {reason}")
    receipt = {
        "name": str(message["Subject"]),
        "path": "mailto:" + ",".join(dict.fromkeys([*mail.to, *mail.cc])),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "message_id": str(message["Message-ID"]),
        "accepted": len(mail.recipients()) - len(refused),
        "refused": refused,
        **(facts or {}),
    }
    announce_receipt(logger, receipt)
    return receipt


def load_mail_block(name: str) -> EmailServerCredentials:
    """The e-mail block of that name. Raises InputRefused where there is none."""
    try:
        block = EmailServerCredentials.load(name)
    except ValueError as error:
        raise InputRefused(
            f"There is no e-mail block '{name}' (Email Server Credentials in Prefect). Make it, or correct mail.block."
        ) from error
    assert isinstance(block, EmailServerCredentials)
    return block


def compose(mail: MailDelivery, sender: str, text: str, html: str, attachments: Sequence[Attachment]) -> EmailMessage:
    """The message: text, the same as HTML where there is any, attachments. Bcc is in no header."""
    message = EmailMessage(policy=_POLICY)
    message["Subject"] = _one_line(mail.subject)
    message["From"] = sender
    message["To"] = ", ".join(mail.to)
    if mail.cc:
        message["Cc"] = ", ".join(mail.cc)
    message["Date"] = localtime()
    message["Message-ID"] = _message_id(mail, sender, _one_line(mail.subject))
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no absence notes in return
    message.set_content(_sendable(text))
    if html:
        message.add_alternative(_sendable(html), subtype="html")
    _refuse_too_much(attachments)
    for attachment in attachments:
        _attach(message, attachment)
    return message


def _refuse_too_much(attachments: Sequence[Attachment]) -> None:
    size = sum(attachment.path.stat().st_size for attachment in attachments)
    if size > MAX_ATTACHED_BYTES:
        raise InputRefused(
            f"The attachments have {size:,} bytes; more than {MAX_ATTACHED_BYTES:,} cannot be mailed. "
            "Deliver them over SFTP, or choose less."
        )


def _attach(message: EmailMessage, attachment: Attachment) -> None:
    name = attachment.name
    if not name.strip() or name != _one_line(name) or "/" in name or "\\" in name:
        raise InputRefused(f"An attachment cannot be named {name!r}: give a plain file name.")
    kind = EmailMessage(policy=_POLICY)
    kind["Content-Type"] = attachment.mime_type
    message.add_attachment(
        attachment.path.read_bytes(),
        maintype=kind.get_content_maintype(),
        subtype=kind.get_content_subtype(),
        params=dict(kind["Content-Type"].params),
        filename=name,
    )


def _one_line(text: str) -> str:
    """Fit for a header: no line breaks, no control characters, single spaces."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in _sendable(text)).split())


def _sendable(text: str) -> str:
    """Without lone surrogates, which no encoding can carry."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _message_id(mail: MailDelivery, sender: str, subject: str) -> str:
    """The same for every attempt of the same run, and never that of another installation's run."""
    domain = sender.rpartition("@")[2]
    run = run_key()
    if run is None:
        return make_msgid(domain=domain)
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    installation = flow_run.deployment_id if flow_run else None  # drawn at random by each Prefect server
    facts = "\n".join([str(installation), run, subject, *mail.recipients()])
    return f"<headway.{hashlib.sha256(facts.encode()).hexdigest()[:40]}@{domain}>"


def _send(credentials: EmailServerCredentials, mail: MailDelivery, sender: str, content: bytes) -> dict[str, str]:
    """The recipients that were refused, with reasons; at least one was accepted."""
    with _explained(mail):
        with _patience():
            server = credentials.get_server()
        try:
            refused = server.sendmail(sender, mail.recipients(), content)
        finally:
            with suppress(smtplib.SMTPException, OSError):  # what counts was said before
                server.quit()
    return {address: f"{code} {_words(answer)}" for address, (code, answer) in refused.items()}


@contextmanager
def _patience() -> Iterator[None]:
    """Connections made here end after a silence; the block has no field for that, and smtplib would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def _explained(mail: MailDelivery) -> Iterator[None]:
    """Turn what smtplib raises into a sentence: TransferError where it may pass, else InputRefused."""
    through = f"through the block '{mail.block}'"
    to = ", ".join(mail.to)
    try:
        yield
    except smtplib.SMTPRecipientsRefused as error:
        answers = "; ".join(f"{who}: {code} {_words(said)}" for who, (code, said) in error.recipients.items())
        passing = any(code < 500 for code, _ in error.recipients.values())
        raise _refusal(f"The mail server refused every recipient {through}: {answers}", passing) from error
    except smtplib.SMTPAuthenticationError as error:
        answer = f"{error.smtp_code} {_words(error.smtp_error)}"
        message = f"The mail server refused the login of the block '{mail.block}' ({answer}); no mail to {to}"
        raise _refusal(message, error.smtp_code < 500) from error
    except smtplib.SMTPResponseException as error:
        answer = f"{error.smtp_code} {_words(error.smtp_error)}"
        message = f"The mail server refused the mail to {to} {through}: {answer}"
        raise _refusal(message, error.smtp_code < 500) from error
    except (smtplib.SMTPNotSupportedError, ssl.SSLError) as error:
        message = f"No mail to {to} {through}: the mail server does not offer what the block asks for ({cause(error)})"
        raise _refusal(message, passing=False) from error
    except (smtplib.SMTPException, OSError) as error:
        raise _refusal(f"The mail to {to} could not be sent {through}: {cause(error)}", passing=True) from error


def _refusal(message: str, passing: bool) -> Exception:
    if passing:
        return TransferError(f"{message}.")
    return InputRefused(f"{message}. Correct the recipients or the block, then run the task again.")


def _words(answer: bytes | str) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    return _one_line(text)
