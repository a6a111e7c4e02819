"""OpenSSH's own sshd on loopback: generated keys, a high port, a temporary root. Also what benchmarks compare with."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any, Literal

from headway.blocks.sftp.block import SftpServer

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
        home.mkdir(exist_ok=True)
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

    def known_hosts(self) -> Path:
        """A known_hosts file with this server, for OpenSSH's clients."""
        path = self.home / "known_hosts"
        path.write_text(f"[127.0.0.1]:{self.port} {self.host_key}\n")
        return path

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
