"""Eight planted secrets, and runs that fail over them: nowhere that anybody could come across them do they show up."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from sqlmodel import select

from headway.clock import SystemClock
from headway.models.ledger.database import writing
from headway.models.ledger.tables import UserRow
from headway.models.values.actor import Privilege
from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR
from headway.scheduler.prefect_side.server import read_or_make_keys
from headway.scheduler.usecases.people import people, sign_in
from tests.support.prefect_server import free_port
from tests.support.running_stack import RunningStack, export_yaml, processes_of

pytest_plugins = ["tests.support.stack"]

SFTP, PASSPHRASE, MAIL, DATABASE, PERSON = (
    f"canary-{kind}-5f1c9e" for kind in ("sftp", "passphrase", "mail", "database", "person")
)
TASKS = [
    export_yaml("Canary delivery"),
    "  - {name: Canary database, type: data_export, parameters: {database: canary-db, query: SELECT 1}}\n",
    "  - {name: Canary mail, type: task_error_report,"
    " parameters: {mail: {to: [ops@example.com], subject: Errors, block: canary-mail}}}\n",
]
NAMES = ("Canary delivery", "Canary database", "Canary mail")
KEPT_ON_PURPOSE = "prefect-keys.json"
"""Where the auth string and the encryption key are kept, 0600."""


class Refusing:
    """A mail server that lets nobody in, and remembers who tried with what."""

    def __init__(self) -> None:
        self.tried: list[bytes] = []
        self.controller = Controller(
            object(),
            hostname="127.0.0.1",
            port=free_port(),
            authenticator=self._refuse,
            auth_required=True,
            auth_require_tls=False,
        )

    def _refuse(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, login: Any) -> AuthResult:
        self.tried.append(login.password)
        return AuthResult(success=False, handled=False)


@pytest.fixture
def mail() -> Iterator[Refusing]:
    made = Refusing()
    made.controller.start()
    yield made
    made.controller.stop()


@pytest.fixture
def planted(stack: RunningStack, mail: Refusing) -> Iterator[dict[str, str]]:
    """Each secret by what it is; the importer block is as it was afterwards."""
    prefect = stack.server.api()
    importer = prefect.block("sftp-server", "importer", secrets=True)
    assert importer is not None
    key = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.BestAvailableEncryption(PASSPHRASE.encode()),
    )
    wrong = {"password": SFTP, "private_key": key.decode(), "private_key_passphrase": PASSPHRASE, "attempts": 1}
    prefect.save_block("sftp-server", "importer", {**importer, **wrong})
    url = f"postgresql://ops:{DATABASE}@2026@127.0.0.1:1/nowhere"  # as people write it: the @ should have been %40
    prefect.save_block("headway-database", "canary-db", {"url": url})
    prefect.save_block(
        "email-server-credentials",
        "canary-mail",
        {
            "smtp_server": "127.0.0.1",
            "smtp_port": mail.controller.port,
            "smtp_type": "INSECURE",
            "username": "ops@example.com",
            "password": MAIL,
        },
    )
    keys = read_or_make_keys(stack.headway.home)
    yield {
        "SFTP password": SFTP,
        "passphrase": PASSPHRASE,
        "mail password": MAIL,
        "database password": DATABASE,
        "Prefect's auth string": keys.auth_string.partition(":")[2],
        "encryption key": keys.encryption_key,
        "a person's password": PERSON,
        "session token": _signed_in(stack),
    }
    prefect.save_block("sftp-server", "importer", {**importer, "private_key": None, "private_key_passphrase": None})


def _signed_in(stack: RunningStack) -> str:
    engine = stack.ledger.engine
    with writing(engine) as session:
        people.add_user(session, SystemClock(), OPERATOR, "canary")
        session.flush()
        people.grant(session, SystemClock(), OPERATOR, "canary", Privilege.VIEW)
        user = session.exec(select(UserRow).where(UserRow.name == "canary")).one()
        user.password_hash, user.must_change_password = people.PASSWORDS.hash(PERSON), False
    denied = sign_in.sign_in(engine, SystemClock(), "canary", f"{PERSON} mistyped", "127.0.0.1")
    assert not isinstance(denied, str)
    token = sign_in.sign_in(engine, SystemClock(), "canary", PERSON, "127.0.0.1")
    assert isinstance(token, str)
    return token


def test_planted_secrets_show_up_nowhere(stack: RunningStack, planted: dict[str, str], mail: Refusing) -> None:
    assert len(planted) == 8 and all(len(secret) > 15 for secret in planted.values())
    stack.apply(*TASKS)
    seen: list[str] = []
    with _watched_processes(stack.headway.home, seen):
        for name in NAMES:
            stack.headway("run", name).ok()
            run = stack.ended(name, 120)
            assert run.status is RunStatus.FAILED, (name, run.status, run.message)
            seen.append(f"{run.error} {run.message} {run.parameters}")
    assert f"password {SFTP}" in stack.behaviour.credentials and MAIL.encode() in mail.tried, "never used"
    for command in (["export"], ["tasks", "--all", "--json"], ["log", "--json"], ["status", "--json"]):
        seen.append(stack.headway(*command).out)
    for name in NAMES:
        (row,) = stack.ledger.runs(name)
        seen += [_told(stack, "log", str(row.id)), stack.headway("why", name).out]
        assert json.loads(_told(stack, "log", str(row.id), "--json"))["lines"]
        seen.append(stack.headway("reset", name, "--yes").ok().out)
    rows = stack.ledger.contents()
    assert rows["audit"] and rows["run_log"]
    seen.append(repr(rows))
    for what, secret in planted.items():
        assert not [text for text in seen if secret in text], what
        assert not [str(path) for path in _files(stack) if secret.encode() in path.read_bytes()], what
    kept = (stack.headway.home / KEPT_ON_PURPOSE).stat()
    assert kept.st_mode & 0o077 == 0


def _told(stack: RunningStack, *args: str) -> str:
    """What the command prints; a run's log holds the traceback of its flow, which is no failure of the command."""
    headway = stack.headway
    return headway.forks.run(args, headway.environment, headway.folder, 60).out


def _files(stack: RunningStack) -> list[Path]:
    """Every file that the installation keeps, its logs and both databases among them."""
    found = [path for path in stack.headway.folder.rglob("*") if path.is_file() and path.name != KEPT_ON_PURPOSE]
    names = {path.name for path in found}
    assert {"headway.db", "worker.log"} <= names and any("prefect" in name and ".db" in name for name in names), names
    return found


class _watched_processes:  # it reads like a function
    """Within, the command line of every process of the installation is added to what was seen, again and again."""

    def __init__(self, home: Path, seen: list[str]) -> None:
        self._home, self._seen, self._stop = home, set[str](), threading.Event()
        self._into = seen
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._stop.wait(0.3):
            self._seen.update(processes_of(self._home).values())

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert len(self._seen) > 1
        self._into += self._seen
