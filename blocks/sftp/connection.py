"""A way to one SFTP server: the host key is checked before anything secret is sent.

paramiko's `Transport.connect(hostkey=None)` would verify nothing, and its `SSHClient` offers the agent's
and the machine's own keys. Here negotiation, comparison and authentication are three steps of ours.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from headway.blocks.sftp.private_keys import load_private_key
from headway.blocks.sftp.protocol import SftpProtocol
from headway.blocks.transfer import ConnectionLost, TransferError
from headway.text import cause, shown

# GCM first: about twice as fast as CTR with a MAC. CBC, 3DES and MD5 are left out altogether.
CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
)
MACS = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
)
# An RSA key signs by one of these; the name of the key itself stands for SHA-1, which no server accepts.
RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")
KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")

# What the server may send unasked; also the bound on bytes that wait here.
WINDOW_BYTES = 2**24
PACKET_BYTES = 2**18

# paramiko logs a traceback for every cut connection; each is reported as a TransferError instead.
LOG_CHANNEL = "paramiko.headway"
logging.getLogger(LOG_CHANNEL).setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class HostKey:
    """A server's public key: `key` is "type base64", `fingerprint` as OpenSSH shows it."""

    key: str
    fingerprint: str
    type: str

    @classmethod
    def parse(cls, text: str) -> HostKey:
        """From "ssh-ed25519 AAAA..." with or without a comment. Raises ValueError, in words."""
        parts = text.split()
        example = "give it as 'ssh-ed25519 AAAA...', the way `headway host-key` shows it"
        if len(parts) < 2 or parts[0] not in KEY_TYPES:
            raise ValueError(f"Host key {shown(text[:40])} has no known type in front: {example}.")
        try:
            blob = base64.b64decode(parts[1], validate=True)
        except binascii.Error as error:
            raise ValueError(f"Host key {shown(text[:40])} is no base64 after its type: {example}.") from error
        name_bytes = int.from_bytes(blob[:4], "big")
        if blob[4 : 4 + name_bytes] != parts[0].encode() or len(blob) <= 4 + name_bytes:
            raise ValueError(f"Host key {shown(text[:40])} does not hold a key of its type: {example}.")
        return cls(f"{parts[0]} {parts[1]}", fingerprint(blob), parts[0])

    @property
    def signatures(self) -> tuple[str, ...]:
        """What SSH may negotiate so that exactly this key is proven."""
        return RSA_SIGNATURES if self.type == "ssh-rsa" else (self.type,)


@dataclass(kw_only=True, frozen=True)
class Login:
    """Where to connect and as whom. Never shows its secrets."""

    host: str
    port: int
    username: str
    password: str | None = field(repr=False)
    private_key: str | None = field(repr=False)
    passphrase: str | None = field(repr=False)
    known_host_key: str | None
    connect_timeout_seconds: float
    idle_timeout_seconds: float

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


class LoginRefused(TransferError):
    """The server does not take this user's key or password."""


class Connection:
    """An authenticated connection with one SFTP conversation on it."""

    def __init__(self, login: Login, transport: paramiko.Transport, host_key: HostKey) -> None:
        self.address = login.address
        self._transport = transport
        self.protocol = _open_sftp(transport, login)
        self.host_key = host_key

    def is_alive(self) -> bool:
        """False once the connection is known to be cut."""
        return self._transport.is_active()

    def close(self) -> None:
        self._transport.close()


def fingerprint(blob: bytes) -> str:
    """SHA256:... as OpenSSH prints it."""
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode()
    return f"SHA256:{digest.rstrip('=')}"


def read_host_key(host: str, port: int, timeout: float) -> HostKey:
    """The key a server shows, for a person to compare and store; no credential is sent.

    `timeout` in seconds. Raises `TransferError` where no server answers.
    """
    transport = _dial(host, port, timeout, timeout)
    try:
        _negotiate(transport, f"{host}:{port}", timeout)
        return _shown_key(transport)
    except IncompatiblePeer as error:
        raise TransferError(_no_common_way(f"{host}:{port}", error), permanent=True) from error
    finally:
        transport.close()


def open_connection(login: Login) -> Connection:
    """Connects, compares the host key, and only then authenticates.

    Raises `ConnectionLost` for what may pass by itself, and a permanent `TransferError` for a host key
    that is missing or another, and for refused credentials.
    """
    known = _known_host_key(login)
    key = load_private_key(login.private_key, login.passphrase) if login.private_key else None
    if key is None and login.password is None:
        raise TransferError(
            f"SFTP server {login.address}: the block has neither password nor private key. Store one of them.",
            permanent=True,
        )
    if key is not None:
        try:
            return _connect(login, known, key)
        except LoginRefused:
            if login.password is None:
                raise
    return _connect(login, known, None)


def _connect(login: Login, known: HostKey, key: paramiko.PKey | None) -> Connection:
    """One connection for one way to log in: not every server hears a second one out."""
    transport = _dial(login.host, login.port, login.connect_timeout_seconds, login.idle_timeout_seconds)
    try:
        _negotiate_known(transport, login, known)
        with _explain_refusal(login):
            _authenticate(transport, login, key)
        return Connection(login, transport, known)
    except BaseException:
        transport.close()
        raise


def _known_host_key(login: Login) -> HostKey:
    if not login.known_host_key:
        raise TransferError(
            f"SFTP server {login.address}: no host key is stored, so it could not be told from an impostor. "
            f"Compare and store it: `headway host-key {login.host} --port {login.port} --block NAME`.",
            permanent=True,
        )
    try:
        return HostKey.parse(login.known_host_key)
    except ValueError as error:
        raise TransferError(str(error), permanent=True) from error


def _dial(host: str, port: int, timeout_seconds: float, idle_timeout_seconds: float) -> paramiko.Transport:
    try:
        sock = socket.create_connection((host, port), timeout_seconds)
    except OSError as error:
        reason = "it did not answer in time" if isinstance(error, TimeoutError) else error.strerror or cause(error)
        raise ConnectionLost(f"SFTP server {host}:{port} cannot be reached: {reason}.") from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # paramiko retries a blocked send for ever; the kernel gives it up instead.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(idle_timeout_seconds * 1000))
    transport = paramiko.Transport(sock, default_window_size=WINDOW_BYTES, default_max_packet_size=PACKET_BYTES)
    transport.set_log_channel(LOG_CHANNEL)
    transport.banner_timeout = transport.handshake_timeout = timeout_seconds
    transport.auth_timeout = transport.channel_timeout = timeout_seconds
    options = transport.get_security_options()
    options.ciphers, options.digests = CIPHERS, MACS
    return transport


def _negotiate(transport: paramiko.Transport, address: str, timeout_seconds: float) -> None:
    negotiated = threading.Event()
    try:
        transport.start_client(event=negotiated)
        # paramiko's own wait returns silently when its time is over.
        if not negotiated.wait(timeout_seconds) or not transport.is_active():
            raise transport.get_exception() or TimeoutError("no answer in time")
    except IncompatiblePeer:
        raise
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise ConnectionLost(
            f"SFTP server {address} did not get as far as showing its host key: {cause(error)}."
        ) from error


def _negotiate_known(transport: paramiko.Transport, login: Login, known: HostKey) -> None:
    transport.get_security_options().key_types = known.signatures
    try:
        _negotiate(transport, login.address, login.connect_timeout_seconds)
    except IncompatiblePeer as error:
        if "host key" not in str(error):
            raise TransferError(_no_common_way(login.address, error), permanent=True) from error
        raise TransferError(
            f"SFTP server {login.address} has no way to prove the stored {known.type} host key "
            f"{known.fingerprint} ({cause(error)}). No credential was sent. {_KEY_REMEDY}",
            permanent=True,
        ) from error
    shows = _shown_key(transport)
    if shows.key != known.key:
        raise TransferError(
            f"SFTP server {login.address} shows another host key than the stored one: {shows.fingerprint}, "
            f"stored is {known.fingerprint}. No credential was sent. {_KEY_REMEDY}",
            permanent=True,
        )


_KEY_REMEDY = (
    "It may be another machine that answers: ask the server's owner, "
    "and store the new key with `headway host-key` only if the owner announced the change."
)


def _no_common_way(address: str, error: IncompatiblePeer) -> str:
    return (
        f"SFTP server {address} offers no encryption that is safe enough to use ({cause(error)}). "
        "Ask its owner to allow AES-GCM or AES-CTR and a SHA-2 key exchange."
    )


def _shown_key(transport: paramiko.Transport) -> HostKey:
    blob = transport.get_remote_server_key().asbytes()
    name = transport.get_remote_server_key().get_name()
    return HostKey(f"{name} {base64.b64encode(blob).decode()}", fingerprint(blob), name)


def _authenticate(transport: paramiko.Transport, login: Login, key: paramiko.PKey | None) -> None:
    """By key or by password; by one after the other where the server wants both."""
    if key is not None and not transport.auth_publickey(login.username, key):
        return
    if login.password is None or transport.auth_password(login.username, login.password):
        raise paramiko.AuthenticationException("it wants more proof than the block holds")


@contextmanager
def _explain_refusal(login: Login) -> Iterator[None]:
    try:
        yield
    except paramiko.BadAuthenticationType as error:
        wanted = ", ".join(error.allowed_types)
        raise LoginRefused(
            f"SFTP server {login.address} takes only {wanted} from {shown(login.username)}. "
            "Store what it takes in the block.",
            permanent=True,
        ) from error
    except paramiko.AuthenticationException as error:
        # paramiko has one class for "wrong password" and for "gone before it answered".
        if "timeout" in str(error) or "EOF" in str(error):
            raise ConnectionLost(f"SFTP server {login.address} did not finish the login: {cause(error)}.") from error
        raise LoginRefused(
            f"SFTP server {login.address} refuses the login of {shown(login.username)}: {cause(error)}. "
            "Check user name, password and key in the block.",
            permanent=True,
        ) from error
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise ConnectionLost(f"SFTP server {login.address} broke off the login: {cause(error)}.") from error


def _open_sftp(transport: paramiko.Transport, login: Login) -> SftpProtocol:
    try:
        channel = transport.open_session(timeout=login.connect_timeout_seconds)
        channel.settimeout(login.idle_timeout_seconds)
        channel.invoke_subsystem("sftp")
        return SftpProtocol(channel)
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise ConnectionLost(
            f"SFTP server {login.address} accepts the login but opens no SFTP session: {cause(error)}."
        ) from error
