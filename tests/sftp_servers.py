"""Real SFTP servers for tests, as pytest fixtures: list "tests.sftp_servers" in `pytest_plugins`.

`fault_server`: asyncssh in a thread, fails on demand. `openssh`: OpenSSH's own sshd on loopback, skipped
where it is not installed. `any_sftp`: a test that takes it runs against both. All offer `block(**changes)`
(a ready `SftpServer`), `root` and `folder` (the importer's folder, as a local path).
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from blocks.sftp import SftpServer
from tests.sftp_fault_server import FaultServer

Mode = Literal["plain", "read_only", "no_posix_rename"]
# What the server runs for each key: one sshd serves all three behaviours.
COMMANDS: dict[Mode, str] = {
    "plain": "internal-sftp",
    "read_only": "internal-sftp -R",
    "no_posix_rename": "internal-sftp -P posix-rename",
}


def find_sshd() -> str | None:
    """Path of sshd, which lies outside of most users' PATH; None where it is not installed."""
    return shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")


class OpenSsh:
    """OpenSSH's sshd under the user who runs the tests, key logins only."""

    def __init__(self, home: Path, sshd: str) -> None:
        self.home = home
        self.root = home / "root"
        self.root.mkdir()
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.host_key = self._make_key("host")
        allowed = [f'command="{command}",restrict {self._make_key(mode)}' for mode, command in COMMANDS.items()]
        (home / "authorized_keys").write_text("\n".join(allowed) + "\n")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._process = self._start(sshd)

    @property
    def folder(self) -> Path:
        return self.root / "acme" / "import"

    def key_file(self, mode: Mode = "plain") -> Path:
        return self.home / mode

    def fingerprint(self) -> str:
        """The host key's, as ssh-keygen shows it."""
        shown = subprocess.run(
            ["ssh-keygen", "-lf", str(self.home / "host.pub")], check=True, capture_output=True, text=True
        )
        return shown.stdout.split()[1]

    def block(self, mode: Mode = "plain", **changes: Any) -> SftpServer:
        values: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.port,
            "username": self.user,
            "private_key": self.key_file(mode).read_text(),
            "known_host_key": self.host_key,
            "root": str(self.root),
            "importer_path": r"\\flexftp\acme\import",
            "path_server": "flexftp",
            "retry_pause_seconds": 0,
        }
        return SftpServer(**{**values, **changes})

    def reset(self) -> None:
        shutil.rmtree(self.root)
        self.folder.mkdir(parents=True)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def _make_key(self, name: str) -> str:
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(self.home / name)], check=True
        )
        return (self.home / f"{name}.pub").read_text().strip()

    def _start(self, sshd: str) -> subprocess.Popen[str]:
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd insists on it, as root
        config = self.home / "sshd_config"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.home / 'host'}\n"
            f"AuthorizedKeysFile {self.home / 'authorized_keys'}\nStrictModes no\nUsePAM no\nPidFile none\n"
            "PasswordAuthentication no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\nMaxStartups 100\n"
        )
        process = subprocess.Popen([sshd, "-D", "-e", "-f", str(config)], stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        said = []
        for line in process.stderr:  # ends where sshd does
            said.append(line)
            if "Server listening" in line:
                threading.Thread(target=process.stderr.read, daemon=True).start()
                return process
        raise RuntimeError(f"sshd did not start: {''.join(said)}")


@pytest.fixture(scope="session")
def fault_server_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultServer]:
    server = FaultServer(tmp_path_factory.mktemp("fault-sftp"))
    yield server
    server.stop()


@pytest.fixture
def fault_server(fault_server_process: FaultServer) -> FaultServer:
    """The asyncssh server, empty and without faults."""
    fault_server_process.reset()
    return fault_server_process


@pytest.fixture(scope="session")
def openssh_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSsh]:
    sshd = find_sshd()
    if sshd is None:
        pytest.skip("OpenSSH's sshd is not installed on this machine")
    server = OpenSsh(tmp_path_factory.mktemp("openssh"), sshd)
    yield server
    server.stop()


@pytest.fixture
def openssh(openssh_process: OpenSsh) -> OpenSsh:
    """OpenSSH's server, its root empty but for the importer's folder."""
    openssh_process.reset()
    return openssh_process


@pytest.fixture(params=["asyncssh", "openssh"])
def any_sftp(request: pytest.FixtureRequest) -> FaultServer | OpenSsh:
    """Either server, one after the other."""
    server: FaultServer | OpenSsh = request.getfixturevalue(
        "fault_server" if request.param == "asyncssh" else "openssh"
    )
    return server
