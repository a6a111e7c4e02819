"""`headway demo`: a small world to look at, with its own SFTP server and mail catcher on loopback."""

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from headway.clock import SystemClock
from headway.errors import InvalidInput, Refused, SchedulerError
from headway.models.ledger.database import home, reading, writing
from headway.privileges import OPERATOR
from headway.scheduler.installation.deploy import sync_importer_path
from headway.scheduler.installation.setup import open_database
from headway.scheduler.installation.starter_tasks import ERROR_REPORT, READY
from headway.scheduler.installation.status import no_database_yet
from headway.scheduler.planning.definitions.document import load_file
from headway.scheduler.planning.definitions.task_types import IMPORTER_BLOCK, SFTP_SLUG
from headway.scheduler.prefect_side.api import PrefectApi
from headway.scheduler.store.tasks import task_rows
from headway.scheduler.usecases.runs.run_now import run_now
from headway.scheduler.usecases.tasks.apply import apply
from headway.scheduler.usecases.tasks.find_task import find_task

log = logging.getLogger("headway.demo")
DEFINITIONS = Path(__file__).parent / "demo.yaml"
AT_ONCE = (
    "Citations export",
    "Customers export",
    "Violation codes import",
    "Old permits export",
    "Overdue list import",
    "Do-not-call import",
    "Reminder calls start",
    "Overdue results export",
    "Citations by lot report",
)
"""In this order: what starts first should be delivered first."""
FAILS = "Old permits export"


class Demo:
    """The demo's own servers and data. before -> furnish -> begin -> close."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self.root = home() / "demo"
        self.inbox = self.root / "mail"
        self.importer = self.root / "sftp" / "acme" / "import"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="demo servers", daemon=True)
        self._password = secrets.token_urlsafe(16)
        self._sftp_port = 0
        self._mail: Any = None
        self._host_key = ""
        self._closing = threading.Event()

    @staticmethod
    def was_here() -> bool:
        """Whether this installation is the demo's: its files are in the home."""
        return (home() / "demo").is_dir()

    @classmethod
    def refuse_an_installation(cls) -> None:
        """Refused where there are tasks: the demo would change settings, blocks and tasks of the same names."""
        if cls.was_here() or no_database_yet():
            return
        with reading(open_database()) as session:
            own = [row.name for row in task_rows(session) if row.name not in {one.name for one in READY}]
        if own:
            raise Refused(
                f"{home()} is an installation with tasks of its own ('{own[0]}'), which the demo would change; "
                "give the demo another HEADWAY_HOME"
            )

    def before(self) -> None:
        """Start the SFTP server and the mail catcher."""
        self.importer.mkdir(parents=True, exist_ok=True)
        self.inbox.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve_sftp(), self._loop).result(30)
        self._serve_mail()
        self.tell(f"Demo SFTP server on 127.0.0.1:{self._sftp_port}, files in {self.importer}.")
        self.tell(f"Demo mail catcher on 127.0.0.1:{self._mail.port}, mail in {self.inbox}.")

    async def _serve_sftp(self) -> None:
        import asyncssh

        key_file = home() / "keys" / "demo_host_key"
        key_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if key_file.exists():
            key = asyncssh.read_private_key(str(key_file))
        else:
            key = asyncssh.generate_private_key("ssh-ed25519")
            key_file.touch(mode=0o600)
            key.write_private_key(str(key_file))
        self._host_key = " ".join(key.export_public_key().decode().split()[:2])
        password, root = self._password, str(self.root / "sftp")

        class Login(asyncssh.SSHServer):
            def password_auth_supported(self) -> bool:
                return True

            def validate_password(self, username: str, given: str) -> bool:
                return username == "headway" and secrets.compare_digest(given, password)

        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[key],
            server_factory=Login,
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=root.encode()),
        )
        self._sftp_port = server.get_port()

    def _serve_mail(self) -> None:
        from aiosmtpd.controller import Controller

        inbox = self.inbox

        class Keep:
            async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
                number = len(list(inbox.glob("*.eml"))) + 1
                (inbox / f"{number:04d}.eml").write_bytes(envelope.content)
                message_from_bytes(envelope.content)
                return "250 Kept"

        self._mail = Controller(Keep(), hostname="127.0.0.1", port=_free_port())
        self._mail.start()

    def furnish(self, prefect: PrefectApi) -> None:
        """The sample world, the blocks that reach the demo's servers, and the demo's tasks."""
        from headway.models.operations.database import operations_engine
        from headway.models.operations.sample_data import build

        build(operations_engine(f"sqlite:///{home() / 'operations.db'}"))
        self._drop_files()
        prefect.save_block(
            SFTP_SLUG,
            IMPORTER_BLOCK,
            {
                "host": "127.0.0.1",
                "port": self._sftp_port,
                "username": "headway",
                "password": self._password,
                "known_host_key": self._host_key,
                "path_server": "flexftp",
            },
        )
        prefect.save_block(
            "email-server-credentials",
            "headway-mail",
            {"smtp_server": "127.0.0.1", "smtp_port": self._mail.port, "smtp_type": "INSECURE"},
        )
        with writing(open_database()) as session:
            applied = apply(session, SystemClock(), OPERATOR, load_file(DEFINITIONS))
        if applied.errors:
            raise InvalidInput([finding.message for finding in applied.errors])
        sync_importer_path(prefect)

    def _drop_files(self) -> None:
        rows = [
            "code,description,fine",
            "P01,Expired meter,25.00",
            "P02,No permit,40.00",
            "P03,Fire lane,90.00",
            "P04,,15.00",
        ]
        self._drop("violation_codes.csv", rows)
        self._drop("overdue_november.csv", _overdue_list())
        self._drop("disputes.csv", ["account,comment", "C000003,In dispute", "C000011,Asked not to be called"])

    def _drop(self, name: str, rows: list[str]) -> None:
        (self.importer / name).write_text("\n".join(rows) + "\n", encoding="utf-8")

    def begin(self) -> None:
        """Ask for the first runs, so that there is something to see at once; for the error report after an error."""
        engine = open_database()
        with writing(engine) as session:
            for name in AT_ONCE:
                _ask(session, name)
        threading.Thread(target=self._report_the_failure, args=(engine,), name="demo report", daemon=True).start()
        self.tell("The demo's spacing between steps is short (half a minute); the default is an hour.")
        self.tell("Look: headway tasks; headway log; headway why 'Customers reload'")
        self.tell(f"A report and the error report come by mail: {self.inbox}")

    def _report_the_failure(self, engine: Engine) -> None:
        """Wait until the task that fails has failed, then ask for the error report."""
        while not self._closing.wait(0.5):
            try:
                with reading(engine) as session:
                    failed = find_task(session, FAILS).failed_run_id is not None
                if failed:
                    with writing(engine) as session:
                        _ask(session, ERROR_REPORT)
                    return
            except (SchedulerError, SQLAlchemyError) as error:
                log.warning("the demo's error report was not asked for yet: %s", error)

    def close(self) -> None:
        self._closing.set()
        if self._mail is not None:
            self._mail.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread.is_alive():
            self._thread.join(5)


def _ask(session: Session, name: str) -> None:
    task = find_task(session, name)
    if not task.failed_run_id:
        run_now(session, SystemClock(), OPERATOR, task, follow=True)


def _overdue_list() -> list[str]:
    """A file for the calling list: most of its records are known there, some are new, two rows are bad."""
    names = ["Ada,Alvarez", "Ben,Brandt", "Carla,Chen", "Diego,Dube", "Elena,Ellis"]
    numbers = [*range(1, 26), *range(7001, 7011)]
    rows = [f"C{n:06d},{names[n % 5]},{n % 90 + 10}.00,2025550{n % 100 + 100}" for n in numbers]
    bad = [",No,Account,10.00,2025550142", "C009999,No,Number,10.00,12"]
    return ["account,first_name,last_name,balance,phone", *rows, *bad]


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
