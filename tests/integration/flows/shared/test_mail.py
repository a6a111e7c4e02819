"""Mail from flows, against a real SMTP server; each message that arrives is parsed."""

import email
import hashlib
import logging
import re
import socket
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from prefect import flow
from prefect.states import State
from prefect_email import EmailServerCredentials
from pydantic import ValidationError

from headway.flows.shared import mail
from headway.flows.shared.mail import Attachment, MailDelivery, send_mail
from headway.flows.shared.result import RunResult, completed
from tests.support.flow_world import Ran, run
from tests.support.mail_server import MailServer

pytest_plugins = ["tests.support.flow_world", "tests.support.mail_server"]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send_mail, "retry_delay_seconds", 0)


@flow(persist_result=False)
def mails(mail: MailDelivery, text: str = "Hello", html: str = "", files: dict[str, str] = {}) -> State[RunResult]:  # noqa: B006
    attachments = [Attachment(name, Path(path), "text/csv; charset=utf-8") for name, path in files.items()]
    receipt = send_mail(mail, text=text, html=html, attachments=attachments)
    return completed(RunResult(files=[receipt], bytes=receipt["bytes"], errors=len(receipt["refused"])))


def to(*addresses: str, **more: Any) -> MailDelivery:
    return MailDelivery.model_validate({"to": list(addresses), "subject": "Report", **more})


def parsed(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=default)
    assert isinstance(message, EmailMessage) and not message.defects
    return message


def test_text_html_and_attachments_arrive_whole(mail_server: MailServer, tmp_path: Path) -> None:
    data = "name,value\r\nÅse,1\r\n".encode()
    (tmp_path / "data").write_bytes(data)
    mail = to("a@example.com", cc=["b@example.com"], bcc=["c@example.com"], subject="Bericht für Åse")
    ran = run(
        mails,
        mail=mail,
        text="Grüße\n" + "x" * 2000,
        html="<p>Grüße</p>",
        files={"zahlen ä.csv": str(tmp_path / "data")},
    )
    (receipt,) = ran.done().files
    (got,) = mail_server.mails
    message = parsed(got.content)
    assert (message["Subject"], message["To"], message["Cc"]) == ("Bericht für Åse", "a@example.com", "b@example.com")
    assert got.recipients == ["a@example.com", "b@example.com", "c@example.com"]
    assert b"c@example.com" not in got.content
    assert message.get_body(("plain",)).get_content().splitlines() == ["Grüße", "x" * 2000]
    assert message.get_body(("html",)).get_content().strip() == "<p>Grüße</p>"
    (attachment,) = message.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content_type()) == ("zahlen ä.csv", "text/csv")
    assert attachment.get_payload(decode=True) == data
    assert max(map(len, got.content.split(b"\r\n"))) < 999 and got.content.isascii()
    assert message.get_content_type() == "multipart/mixed"
    assert (receipt["bytes"], receipt["sha256"]) == (len(got.content), hashlib.sha256(got.content).hexdigest())
    assert (receipt["name"], receipt["path"]) == ("Bericht für Åse", "mailto:a@example.com,b@example.com")
    assert receipt["message_id"] == message["Message-ID"] and message["Auto-Submitted"] == "auto-generated"
    assert ran.receipts == [receipt]


@pytest.mark.parametrize(
    "address",
    ["ops", "a@b c", "a@b\n", "a@b\r\nBcc: x@y", "Ann <a@b>", "a@b,c@d", "@b", "a@", "a@b.", "ä@b", "a" * 65 + "@b"],
)
def test_an_address_that_is_none_is_refused_when_the_task_is_saved(address: str) -> None:
    with pytest.raises(ValidationError, match="not a mail address"):
        to(address)
    schema = MailDelivery.model_json_schema()
    assert list(Draft202012Validator(schema).iter_errors({"to": [address]}))
    assert not list(
        Draft202012Validator(schema).iter_errors({"to": ["first.last+x@mail.example.com", "root@localhost"]})
    )


def test_nobody_to_mail_to_is_refused_when_the_task_is_saved() -> None:
    assert list(Draft202012Validator(MailDelivery.model_json_schema()).iter_errors({"to": []}))


def test_a_subject_cannot_add_a_header(mail_server: MailServer) -> None:
    mail = to("a@example.com", subject="Report\r\nBcc: spy@example.com\r\n\r\nBody\x00\u2028of mine")
    run(mails, mail=mail).done()
    (got,) = mail_server.mails
    message = parsed(got.content)
    assert message["Subject"] == "Report Bcc: spy@example.com Body of mine"
    assert message["Bcc"] is None and got.recipients == ["a@example.com"]
    assert message.get_body(("plain",)).get_content().strip() == "Hello"


@pytest.mark.parametrize("name", ["a\r\nX: y.csv", "", "../up.csv", "a\\b.csv"])
def test_an_attachment_has_a_plain_name(mail_server: MailServer, tmp_path: Path, name: str) -> None:
    (tmp_path / "data").touch()
    ran = run(mails, mail=to("a@example.com"), files={name: str(tmp_path / "data")})
    assert ran.ended == "FAILED" and "cannot be named" in ran.message
    assert mail_server.mails == []


def _flow_run(key: str) -> Any:
    return SimpleNamespace(idempotency_key=key, deployment_id="d", id="f")


def test_a_retry_bears_the_same_message_id_and_another_run_another(monkeypatch: pytest.MonkeyPatch) -> None:
    def message_id(key: str, **facts: Any) -> str:
        context = SimpleNamespace(flow_run=SimpleNamespace(**{**vars(_flow_run(key)), **facts}))
        monkeypatch.setattr("prefect.context.FlowRunContext.get", lambda: context)
        return str(mail.compose(to("a@example.com"), "ops@example.com", "x", "", ())["Message-ID"])

    first = message_id("17:1")
    assert first == message_id("17:2")
    assert len({first, message_id("18:1"), message_id("17:1", deployment_id="other")}) == 3
    assert first.startswith("<headway.") and first.endswith("@example.com>")


def test_one_recipient_refused_is_one_error_and_the_others_get_it(mail_server: MailServer) -> None:
    mail_server.refuse["gone@example.com"] = "550 No such mailbox"
    ran = run(mails, mail=to("gone@example.com", "a@example.com"))
    result = ran.done()
    assert result.errors == len(ran.lines(logging.ERROR)) == 1
    assert "gone@example.com: 550 No such mailbox" in ran.lines(logging.ERROR)[0]
    assert [got.recipients for got in mail_server.mails] == [["a@example.com"]]
    assert result.files[0]["accepted"] == 1


def test_all_recipients_refused_for_good_is_not_tried_again(mail_server: MailServer) -> None:
    mail_server.refuse["gone@example.com"] = "550 No such mailbox"
    ran = run(mails, mail=to("gone@example.com"))
    assert ran.ended == "FAILED"
    assert "'headway-mail'" in ran.message and "gone@example.com: 550 No such mailbox" in ran.message
    assert mail_server.asked == 1


def test_what_may_pass_is_tried_again(mail_server: MailServer) -> None:
    mail_server.answers = ["451 Come again later", "421 Too busy"]
    ran = run(mails, mail=to("a@example.com"))
    assert ran.done().errors == 0
    assert len(mail_server.mails) == 1 and mail_server.asked == 3


def test_a_mail_refused_for_good_is_not_tried_again(mail_server: MailServer) -> None:
    mail_server.answers = ["552 Too much mail"]
    ran = run(mails, mail=to("a@example.com"))
    assert ran.ended == "FAILED" and "552 Too much mail" in ran.message and "a@example.com" in ran.message
    assert mail_server.asked == 1


def _retries(ran: Ran) -> int:
    return sum("will retry" in line.lower() or "Retry" in line for line in ran.lines())


def test_a_server_that_is_away_is_tried_again_and_named_with_block_and_recipient(flow_prefect: None) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        save_block(probe.getsockname()[1])
        ran = run(mails, mail=to("a@example.com"))
    assert ran.ended == "FAILED" and re.search("a@example.com .*'headway-mail'.*refused", ran.message)
    assert _retries(ran) == 3


def test_a_server_that_says_nothing_is_given_up_on(flow_prefect: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "SILENCE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        save_block(silent.getsockname()[1])
        ran = run(mails, mail=to("a@example.com"))
    assert ran.ended == "FAILED" and "timed out" in ran.message
    assert socket.getdefaulttimeout() is None


def test_without_the_block_it_is_a_sentence(flow_prefect: None) -> None:
    ran = run(mails, mail=to("a@example.com", block="nowhere"))
    assert "There is no e-mail block 'nowhere'" in ran.message
    assert _retries(ran) == 0


def test_a_block_that_asks_for_encryption_is_not_served_without(mail_server: MailServer) -> None:
    save_block(mail_server.port, smtp_type="STARTTLS")
    ran = run(mails, mail=to("a@example.com"))
    assert ran.ended == "FAILED" and "does not offer" in ran.message
    assert mail_server.mails == []


def test_attachments_too_big_to_mail_are_refused_at_once(
    mail_server: MailServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "MAX_ATTACHED_BYTES", 10)
    (tmp_path / "data").write_bytes(b"x" * 11)
    ran = run(mails, mail=to("a@example.com"), files={"d.csv": str(tmp_path / "data")})
    assert ran.ended == "FAILED" and "11 bytes; more than 10" in ran.message
    assert mail_server.asked == 0


def save_block(port: int, **fields: Any) -> None:
    block = {"smtp_server": "127.0.0.1", "smtp_port": port, "smtp_type": "INSECURE", **fields}
    EmailServerCredentials(**block).save("headway-mail", overwrite=True)
