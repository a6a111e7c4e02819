"""Nobody gets a credential before having proven the stored host key."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import paramiko
import pytest

from headway.blocks.sftp.block import SftpServer, TransferError, read_host_key
from tests.support.openssh import OpenSsh
from tests.support.sftp_faults import PASSWORD, FaultServer
from tests.support.tcp_relay import Switchboard

# Keys are encrypted with few rounds, to be quick.
pytestmark = pytest.mark.filterwarnings("ignore:.*bcrypt.kdf")

Server = FaultServer | OpenSsh


def new_key(key_type: str) -> str:
    return " ".join(asyncssh.generate_private_key(key_type).export_public_key().decode().split()[:2])


def refused(block: SftpServer) -> TransferError:
    with pytest.raises(TransferError) as error, block.connect():
        pass
    return error.value


@pytest.fixture(scope="module", params=["ssh-rsa", "ecdsa-sha2-nistp256", "ssh-ed25519"])
def server_of_each_type(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FaultServer]:
    server = FaultServer(tmp_path_factory.mktemp("typed"), request.param)
    yield server
    server.stop()


def test_the_host_key_is_read_without_a_credential(fault_server: FaultServer) -> None:
    key = read_host_key("127.0.0.1", fault_server.port, 10)
    assert key.key == fault_server.host_key
    assert key.type == "ssh-ed25519"
    assert key.fingerprint.startswith("SHA256:")
    assert fault_server.behaviour.credentials == []


def test_opensshs_host_key_has_the_fingerprint_ssh_keygen_shows(openssh: OpenSsh) -> None:
    key = read_host_key("127.0.0.1", openssh.port, 10)
    assert openssh.host_key.startswith(key.key)
    assert key.fingerprint == openssh.fingerprint()


def test_each_key_type_can_be_read_stored_and_proven(server_of_each_type: FaultServer) -> None:
    key = read_host_key("127.0.0.1", server_of_each_type.port, 10)
    with server_of_each_type.block(known_host_key=key.key).connect() as session:
        assert session.list("/") == []


def test_a_server_with_several_keys_is_known_by_any_of_them(tmp_path: Path) -> None:
    server = FaultServer(tmp_path, "ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")
    try:
        for key in server.host_keys:
            with server.block(known_host_key=key).connect() as session:
                assert session.list("/") == []
    finally:
        server.stop()


def test_without_a_stored_key_nobody_is_called(fault_server: FaultServer) -> None:
    error = refused(fault_server.block(known_host_key=None))
    assert error.permanent
    assert f"`headway host-key 127.0.0.1 --port {fault_server.port} --block NAME`" in str(error)
    assert fault_server.behaviour.connections == 0


@pytest.mark.parametrize("login", ["password", "key"])
@pytest.mark.parametrize("key_type", ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256"])
def test_a_changed_host_key_gets_no_credential(fault_server: FaultServer, key_type: str, login: str) -> None:
    secrets = {"password": None, "private_key": fault_server.user_key_pem} if login == "key" else {}
    stored = new_key(key_type)
    error = refused(fault_server.block(known_host_key=stored, **secrets))
    assert error.permanent
    assert "No credential was sent" in str(error)
    assert fault_server.behaviour.connections == 1
    assert fault_server.behaviour.credentials == []


def test_a_changed_host_key_shows_both_fingerprints(fault_server: FaultServer) -> None:
    shown = read_host_key("127.0.0.1", fault_server.port, 10).fingerprint
    message = str(refused(fault_server.block(known_host_key=new_key("ssh-ed25519"))))
    assert shown in message
    assert message.count("SHA256:") == 2


def test_a_host_key_that_changes_between_two_attempts_gets_no_credential(
    fault_server: FaultServer, server_of_each_type: FaultServer
) -> None:
    """The reconnect after a cut checks again: here the port leads to another machine by then."""
    with Switchboard(fault_server.port) as switchboard:
        block = fault_server.block(port=switchboard.port)
        with block.connect() as session:
            switchboard.leads_to = server_of_each_type.port
            server_of_each_type.behaviour.credentials.clear()
            fault_server.inject("stat")
            with pytest.raises(TransferError, match="No credential was sent") as error:
                session.exists("acme/import", "list.csv")
    assert error.value.permanent
    assert server_of_each_type.behaviour.credentials == []


def test_a_wrong_password_is_tried_once(fault_server: FaultServer) -> None:
    error = refused(fault_server.block(password="wrong"))
    assert error.permanent
    assert "refuses the login of 'ops'" in str(error)
    assert "wrong" not in str(error)
    assert fault_server.behaviour.credentials.count("password wrong") == 1


def test_a_strange_key_is_refused(any_sftp: Server) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    error = refused(any_sftp.block(password=None, private_key=key))
    assert error.permanent
    assert "refuses the login" in str(error)


def test_a_password_where_only_keys_are_taken_says_what_is_taken(openssh: OpenSsh) -> None:
    error = refused(openssh.block(private_key=None, password=PASSWORD))
    assert error.permanent
    assert "takes only publickey" in str(error)


@pytest.mark.parametrize("key_type", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
@pytest.mark.parametrize("text_format", ["openssh", "pkcs8-pem", "pkcs1-pem"])
@pytest.mark.parametrize("passphrase", [None, "open sesame"])
def test_keys_of_each_type_and_format_log_in(
    fault_server: FaultServer, key_type: str, text_format: str, passphrase: str | None
) -> None:
    if key_type == "ssh-ed25519" and text_format == "pkcs1-pem":
        text_format = "openssh"  # PKCS#1 knows no Ed25519

    key = asyncssh.generate_private_key(key_type)
    previous, fault_server.user_key = fault_server.user_key, key
    try:
        pem = key.export_private_key(text_format, passphrase=passphrase, rounds=16).decode()
        block = fault_server.block(password=None, private_key=pem, private_key_passphrase=passphrase)
        with block.connect() as session:
            assert session.list("acme/import") == []
    finally:
        fault_server.user_key = previous
    assert "key" in fault_server.behaviour.credentials
    assert not any(offered.startswith("password") for offered in fault_server.behaviour.credentials)


def test_a_key_pasted_with_other_line_ends_still_works(fault_server: FaultServer) -> None:
    pem = "\r\n" + fault_server.user_key_pem.replace("\n", "\r\n") + "  "
    with fault_server.block(password=None, private_key=pem).connect() as session:
        assert session.list("acme/import") == []


@pytest.fixture
def keys_lying_about(fault_server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The key that the server takes lies in ~/.ssh, and a live agent has it too."""
    file = tmp_path / ".ssh" / "id_ed25519"
    file.parent.mkdir(mode=0o700)
    file.touch(0o600)
    file.write_text(fault_server.user_key_pem)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.PIPE)
    try:
        assert agent.stdout is not None and agent.stdout.readline()  # it says where it listens once it does
        subprocess.run(["ssh-add", str(file)], check=True, capture_output=True)
        yield
    finally:
        agent.terminate()
        agent.wait()


@pytest.mark.usefixtures("keys_lying_about")
def test_only_the_blocks_own_key_is_offered(fault_server: FaultServer) -> None:
    """No agent, no key from the home folder: a password login offers a password and nothing else."""
    with fault_server.block().connect():
        pass
    assert fault_server.behaviour.credentials == ["user ops", f"password {PASSWORD}"]
    with paramiko.SSHClient() as careless:  # as paramiko does it by itself: so both could have been offered
        careless.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        for where in ("agent", "folder"):
            del fault_server.behaviour.credentials[:]
            looks = {"allow_agent": where == "agent", "look_for_keys": where == "folder"}
            careless.connect("127.0.0.1", fault_server.port, "ops", PASSWORD, **looks)
            assert fault_server.behaviour.credentials[1] == "key"


def test_a_key_the_server_forgot_falls_back_to_the_password(fault_server: FaultServer) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    with fault_server.block(private_key=key).connect() as session:
        assert session.list("acme/import") == []


@pytest.mark.parametrize(
    ("secrets", "words"),
    [
        ({"password": None}, "neither password nor private key"),
        ({"password": ""}, "neither password nor private key"),
        ({"private_key": "no key at all"}, "The private key cannot be read"),
        ({"private_key": "ENCRYPTED"}, "store its passphrase"),
        ({"private_key": "ENCRYPTED", "private_key_passphrase": "wrong"}, "private_key_passphrase must be its own"),
    ],
)
def test_unusable_credentials_are_found_before_calling(
    fault_server: FaultServer, secrets: dict[str, str | None], words: str
) -> None:
    if secrets.get("private_key") == "ENCRYPTED":
        secrets = {
            **secrets,
            "private_key": fault_server.user_key.export_private_key(passphrase="right", rounds=16).decode(),
        }
    error = refused(fault_server.block(**secrets))
    assert error.permanent
    assert words in str(error)
    assert fault_server.behaviour.connections == 0


def test_nobody_listening_may_pass(fault_server: FaultServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = refused(fault_server.block(port=port, attempts=2))
    assert not error.permanent
    assert f"127.0.0.1:{port} cannot be reached: Connection refused. Given up after 2 attempts." in str(error)


def test_somebody_who_never_speaks_is_not_waited_for(fault_server: FaultServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        error = refused(fault_server.block(port=port, attempts=1, connect_timeout_seconds=0.3))
        with pytest.raises(TransferError, match="did not get as far as showing its host key"):
            read_host_key("127.0.0.1", port, 0.3)
    assert not error.permanent


def test_no_secret_shows_in_an_error_or_a_repr(fault_server: FaultServer) -> None:
    block = fault_server.block(password="hunter2", private_key=fault_server.user_key_pem)
    error = refused(fault_server.block(password="hunter2"))
    for text in (repr(block), str(block), repr(block._login()), str(error), repr(error)):
        assert "hunter2" not in text
        assert "PRIVATE KEY" not in text
