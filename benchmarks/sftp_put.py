"""Throughput of a delivery beside OpenSSH's `sftp` put: same machine, same server, same file, alternating.

    python -m benchmarks.sftp_put [--mb 512] [--repeat 3]

Each time is from before the connection to after it: a delivery connects, checks the host key, sends and
hashes the file, compares its size and renames it; `sftp` connects and puts. The peer is `sftp` as it comes.
With --same-cipher it also runs with the cipher that Headway chooses, for information.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.table import Row, show
from headway.blocks.sftp.connection import CIPHERS
from tests.support.openssh import OpenSsh, find_sshd

TARGET = 0.95
MEGABYTE = 2**20


def main() -> int:
    options = _options()
    sshd = find_sshd()
    if sshd is None:
        print("OpenSSH's sshd is not installed: nothing to compare with.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="sftp-put-", dir=options.dir) as folder:
        home = Path(folder)
        local = _make_file(home / "local.bin", options.mb)
        server = OpenSsh(home / "server", sshd)
        try:
            seconds = _measure(server, local, options.repeat, options.same_cipher)
        finally:
            server.stop()
    return _report(seconds, options.mb)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mb", type=int, default=512, help="size of the file in MiB (512)")
    parser.add_argument("--repeat", type=int, default=3, help="measured rounds, after one that is not (3)")
    parser.add_argument("--same-cipher", action="store_true", help="also measure sftp with Headway's cipher")
    parser.add_argument("--dir", default=None, help="where the files lie (the system's temporary folder)")
    return parser.parse_args()


def _make_file(path: Path, megabytes: int) -> Path:
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(MEGABYTE))
    return path


def _measure(server: OpenSsh, local: Path, rounds: int, same_cipher: bool) -> dict[str, list[float]]:
    """Seconds of each round by contestant; the order turns every round, and one round warms up."""
    contestants: dict[str, Callable[[], None]] = {
        "headway deliver": lambda: _deliver(server, local),
        "sftp put": lambda: _put(server, local),
    }
    if same_cipher:
        contestants[f"sftp put, {CIPHERS[0]}"] = lambda: _put(server, local, "-c", CIPHERS[0])
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        order = list(contestants)
        for name in order if number % 2 else reversed(order):
            server.reset()
            started = time.perf_counter()
            contestants[name]()
            took = time.perf_counter() - started
            _check(server.folder / "out.bin", local)
            if number:
                seconds[name].append(took)
                print(f"round {number}: {name:<40} {took:6.2f} s")
    return seconds


def _deliver(server: OpenSsh, local: Path) -> None:
    block = server.block()
    with block.connect() as session:
        session.deliver(local, block.importer_folder(), "out.bin")


def _put(server: OpenSsh, local: Path, *options: str) -> None:
    subprocess.run(
        [
            "sftp", *options, "-q", "-b", "-", "-P", str(server.port), "-i", str(server.key_file()), "-F", "none",
            "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", f"UserKnownHostsFile={server.known_hosts()}",
            f"{server.user}@127.0.0.1",
        ],
        input=f'put "{local}" "{server.folder / "out.bin"}"\n', text=True, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def _check(remote: Path, local: Path) -> None:
    if remote.stat().st_size != local.stat().st_size:
        raise AssertionError(f"{remote} is not as large as {local}")


def _report(seconds: dict[str, list[float]], megabytes: int) -> int:
    middle = {name: median(times) for name, times in seconds.items()}
    for name, took in middle.items():
        print(f"{name:<49} median {took:6.2f} s, {megabytes / took:7.1f} MiB/s")
    for name in list(middle)[1:]:
        print(f"headway deliver / {name}: {middle[name] / middle['headway deliver']:.2f} of its throughput")
    ratio = middle["sftp put"] / middle["headway deliver"]
    ours, peer = (f"{megabytes / middle[name]:.0f} MiB/s" for name in ("headway deliver", "sftp put"))
    what, target = f"a delivery of {megabytes} MiB over SFTP", f"{TARGET} of its throughput at least"
    return show([Row(what, ours, f"{peer}, `sftp put`", f"{ratio:.2f}", target, ratio >= TARGET)])


if __name__ == "__main__":
    sys.exit(main())
