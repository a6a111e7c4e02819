"""Real SFTP servers for tests, as pytest fixtures: list "tests.support.sftp_servers" in `pytest_plugins`.

`fault_server`: asyncssh in a thread, fails on demand. `openssh`: OpenSSH's own sshd on loopback, skipped
where it is not installed. `any_sftp`: a test that takes it runs against both. All offer `block(**changes)`
(a ready `SftpServer`), `root` and `folder` (the importer's folder, as a local path).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.openssh import OpenSsh, find_sshd
from tests.support.sftp_faults import FaultServer


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
