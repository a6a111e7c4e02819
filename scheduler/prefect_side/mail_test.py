"""Tries the mail connection step by step: a mail that the operator can look for in an inbox."""

import smtplib
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

from headway.models.values.mail_address import sender_of
from headway.text import first_line

_PORTS = {"SSL": 465, "STARTTLS": 587, "INSECURE": 25}
_PATIENCE_SECONDS = 15


@dataclass(frozen=True)
class MailStep:
    """One step of the trial. said: what was seen, or what is wrong and what to do."""

    name: str
    ok: bool
    said: str


def try_mail(fields: Mapping[str, Any], recipient: str) -> Iterator[MailStep]:
    """The steps as they are taken, given the fields of the mail block; the first that fails is the last."""
    name = "Reach the server"
    kind = str(fields.get("smtp_type") or "SSL")
    host, port = str(fields.get("smtp_server")), int(fields.get("smtp_port") or _PORTS.get(kind, 25))
    username = fields.get("username")
    try:
        with _connect(kind, host, port, verify=fields.get("verify") is not False) as server:
            yield MailStep(name, True, f"{host}:{port} answers ({kind})")
            name = "Sign in"
            if username:
                server.login(username, str(fields.get("password") or ""))
            yield MailStep(name, True, f"as {username}" if username else "not asked for: no user name is stored")
            name = "Send"
            server.send_message(_message(sender_of(username), recipient))
            yield MailStep(name, True, f"accepted for {recipient}: look for 'Headway: test mail' in that inbox")
    except (OSError, ValueError) as error:  # smtplib's and ssl's own errors are OSErrors
        yield MailStep(name, False, _remedy(error, host, port, kind))


def _connect(kind: str, host: str, port: int, *, verify: bool) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if kind == "SSL":
        return smtplib.SMTP_SSL(host, port, timeout=_PATIENCE_SECONDS, context=context)
    server = smtplib.SMTP(host, port, timeout=_PATIENCE_SECONDS)
    if kind == "STARTTLS":
        server.starttls(context=context)
    return server


def _message(sender: str, recipient: str) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "Headway: test mail"
    message["From"], message["To"] = sender, recipient
    message.set_content(
        "Somebody pressed *Send test mail* on Headway's configuration page. Alerts come this way too.\n"
    )
    return message


def _remedy(error: Exception, host: str, port: int, kind: str) -> str:
    """What is wrong, and what an operator can do about it."""
    there = f"{host}:{port}"
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return "user name or password has characters that mail servers do not take: enter them again"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"{there} shows a certificate that cannot be trusted ({error.verify_message}): ask its owner for a good one"
        )
    if isinstance(error, ssl.SSLError):
        return f"{there} does not speak {kind} on this port: try another encryption, or another port"
    if isinstance(error, socket.gaierror):
        return f"there is no machine named '{host}': check the server's name"
    if isinstance(error, TimeoutError) or "timed out" in str(error):  # smtplib wraps some of its own
        return f"{there} did not answer within {_PATIENCE_SECONDS} s: check server, port and firewall"
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"{there} refuses user name and password ({_said(error)}): enter them again"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return f"{there} refuses the address: use another, or ask its owner to let this user send there"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return (
            f"{there} does not offer that ({first_line(error)}): try another encryption, or leave the user name empty"
        )
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{there} refuses ({_said(error)}): ask its owner"
    if isinstance(error, smtplib.SMTPException):
        return f"{there} broke off ({first_line(error)}): try another encryption or port"
    why = getattr(error, "strerror", None) or first_line(error)
    return f"{there} cannot be reached ({why}): check server, port and firewall"


def _said(error: smtplib.SMTPResponseException) -> str:
    text = error.smtp_error.decode(errors="replace") if isinstance(error.smtp_error, bytes) else str(error.smtp_error)
    return f"{error.smtp_code} {' '.join(text.split())}"
