"""Looks whether delivered files still lie where they were put, one connection a call.

`python -m headway.blocks.sftp.pickup_probe`

In: one JSON document on stdin, {"block": fields of the SFTP block, "paths": [absolute remote path, ...]}.
Out: one on stdout, {"files": {path: bytes, or null where it is gone}} or {"error": "a sentence"}.

A process of its own, without Prefect: the watch knows nothing of SFTP, and waits for no server.
"""

from __future__ import annotations

import json
import posixpath
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from headway.blocks.sftp.connection import Login
from headway.blocks.sftp.session import SftpSession
from headway.blocks.transfer import TransferError

_CONNECT_SECONDS, _IDLE_SECONDS = 10.0, 20.0


def bytes_at(block: Mapping[str, Any], paths: Iterable[str]) -> dict[str, int | None]:
    """Size of the file at each path; None where there is none. Raises TransferError.

    A folder that is not there is an error: of its files it is not known whether they were picked up.
    """
    by_folder: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        folder, name = posixpath.split(path)
        by_folder[folder].append(name)
    found: dict[str, int | None] = {}
    session = SftpSession(
        _login(block), root=block.get("root") or "/", verify="size", attempts=1, retry_pause_seconds=0
    )
    try:
        for folder, names in by_folder.items():
            for name, file in session.look(folder, names).items():
                found[posixpath.join(folder, name)] = None if file is None else file.bytes
    finally:
        session.close()
    return found


def _login(block: Mapping[str, Any]) -> Login:
    return Login(
        host=block["host"],
        port=block.get("port") or 22,
        username=block["username"],
        password=block.get("password") or None,
        private_key=block.get("private_key") or None,
        passphrase=block.get("private_key_passphrase") or None,
        known_host_key=block.get("known_host_key"),
        connect_timeout_seconds=min(block.get("connect_timeout_seconds") or _CONNECT_SECONDS, _CONNECT_SECONDS),
        idle_timeout_seconds=min(block.get("idle_timeout_seconds") or _IDLE_SECONDS, _IDLE_SECONDS),
    )


def main() -> None:
    asked = json.load(sys.stdin)
    try:
        answer: dict[str, Any] = {"files": bytes_at(asked["block"], asked["paths"])}
    except TransferError as error:
        answer = {"error": str(error)}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
