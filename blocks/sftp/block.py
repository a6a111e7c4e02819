"""The SFTP server as a Prefect block: where it is, how to log in, and where the importer looks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.blocks.core import Block
from pydantic import Field, HttpUrl, SecretStr, field_validator, model_validator

from headway.blocks.remote_names import check_root, join, remote_folder
from headway.blocks.sftp.connection import HostKey, Login, read_host_key
from headway.blocks.sftp.session import SftpSession
from headway.blocks.transfer import ConnectionLost, Receipt, RemoteFile, TransferError, Verify
from headway.models.values.importer_path import UncPath, parse_unc

__all__ = [
    "ConnectionLost",
    "HostKey",
    "Receipt",
    "RemoteFile",
    "SftpServer",
    "SftpSession",
    "TransferError",
    "Verify",
    "read_host_key",
]


class SftpServer(Block):
    r"""
    An SFTP server that files are fetched from and delivered to, and its importer's folder.

    Example:
        Deliver a file to the importer's folder:
        ```python
        from pathlib import Path
        from headway.blocks.sftp.block import SftpServer

        server = SftpServer.load("BLOCK_NAME")
        with server.connect() as session:
            receipt = session.deliver(Path("citations.csv"), server.importer_folder(), "citations.csv")
        ```
    """

    _block_type_name = "SFTP server"
    _block_type_slug = "sftp-server"
    _description = "An SFTP server that files are fetched from and delivered to, and its importer's folder."
    _documentation_url = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")

    host: str = Field(description="Name or address of the server.", min_length=1)
    port: int = Field(default=22, ge=1, le=65535, description="Port of its SSH service.")
    username: str = Field(description="User to log in as.", min_length=1)
    password: SecretStr | None = Field(default=None, description="Password of that user, if it has one.")
    private_key: SecretStr | None = Field(
        default=None, description="PEM text of an Ed25519, ECDSA or RSA private key, if the user logs in by key."
    )
    private_key_passphrase: SecretStr | None = Field(
        default=None, description="Passphrase of the private key, if it is encrypted."
    )
    known_host_key: str | None = Field(
        default=None,
        description="The server's public key ('ssh-ed25519 AAAA...'), stored with `headway host-key`. "
        "Without it no connection is made; with it, only to the server that proves it.",
    )
    importer_path: str | None = Field(
        default=None,
        description=r"Customer importer file path, \\server\share\folder with exactly two leading backslashes.",
    )
    path_server: str | None = Field(
        default=None,
        description="Name by which importer_path calls this server; left out, it is the host.",
    )
    root: str = Field(
        default="/",
        description=r"Remote folder below which \share\folder lies; nothing outside of it is touched.",
    )
    verify: Verify = Field(
        default="size",
        description="How an upload is checked before it gets its final name: by its size, "
        "or by reading every byte back.",
    )
    attempts: int = Field(default=3, ge=1, le=100, description="Connections to try before a transfer is given up.")
    retry_pause_seconds: float = Field(default=2.0, ge=0, description="Pause before a reconnect, in seconds.")
    connect_timeout_seconds: float = Field(
        default=15.0, gt=0, description="Longest wait for the connection and for the login, in seconds each."
    )
    idle_timeout_seconds: float = Field(
        default=60.0, gt=0, description="Silence after which a connection counts as lost, in seconds."
    )

    @field_validator("known_host_key")
    @classmethod
    def _host_key_is_readable(cls, value: str | None) -> str | None:
        return HostKey.parse(value).key if value else None

    @field_validator("root")
    @classmethod
    def _root_is_absolute(cls, value: str) -> str:
        try:
            return check_root(value)
        except TransferError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _importer_path_is_on_this_server(self) -> SftpServer:
        if self.importer_path:
            self._importer_unc(self.importer_path)
        return self

    @contextmanager
    def connect(self) -> Iterator[SftpSession]:
        """An open session. The host key is compared before any credential is sent.

        Raises `TransferError`: permanent for a missing or another host key and for refused credentials,
        else once `attempts` connections have failed.
        """
        session = SftpSession(
            self._login(),
            root=self.root,
            verify=self.verify,
            attempts=self.attempts,
            retry_pause_seconds=self.retry_pause_seconds,
        )
        try:
            session.open()
            yield session
        finally:
            session.close()

    def importer_folder(self) -> str:
        r"""Remote POSIX folder of the importer path: \\server\share\folder is root/share/folder.

        Raises a permanent `TransferError` where the path is missing, malformed or another server's.
        """
        if not self.importer_path:
            raise TransferError(
                f"SFTP server '{self.host}' has no importer path, and exports may go nowhere else: set the Customer "
                "Importer File Path (Configuration, or settings.customer_importer_file_path in a file for `headway "
                r"apply`) with two leading backslashes, for example \\flexftp\acme\import.",
                permanent=True,
            )
        try:
            unc = self._importer_unc(self.importer_path)
        except ValueError as error:
            raise TransferError(str(error), permanent=True) from error
        return remote_folder(self.root, join(self.root, unc.share, *unc.folders))

    def _importer_unc(self, path: str) -> UncPath:
        unc = parse_unc(path)
        name = self.path_server or self.host
        if not unc.is_on(name):
            raise ValueError(
                f"Importer path '{path}' names server '{unc.server}', but this block is '{name}': correct the "
                f"path, or set path_server to '{unc.server}' if that is this server's name in paths."
            )
        return unc

    def _login(self) -> Login:
        def revealed(secret: SecretStr | None) -> str | None:
            # A form hands over an empty text where nothing was entered.
            return secret.get_secret_value() or None if secret is not None else None

        return Login(
            host=self.host,
            port=self.port,
            username=self.username,
            password=revealed(self.password),
            private_key=revealed(self.private_key),
            passphrase=revealed(self.private_key_passphrase),
            known_host_key=self.known_host_key,
            connect_timeout_seconds=self.connect_timeout_seconds,
            idle_timeout_seconds=self.idle_timeout_seconds,
        )
