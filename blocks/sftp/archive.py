"""Moving a processed file into a subfolder without ever overwriting one that lies there."""

from __future__ import annotations

from itertools import count
from pathlib import PurePosixPath

from headway.blocks.remote_names import join
from headway.blocks.sftp.connection import Connection
from headway.blocks.sftp.protocol import NO_SUCH_FILE, SftpProtocol, SftpStatus
from headway.blocks.sftp.refusals import explained, refusal
from headway.blocks.transfer import TransferError
from headway.text import shown


class Move:
    """Moves `folder`/`name` into `target_folder`, which lies below `folder`.

    `attempt` is called again after a reconnect: the answer to a rename may be lost although it was
    carried out.
    """

    def __init__(self, folder: str, name: str, target_folder: str) -> None:
        if target_folder == folder:
            raise TransferError(
                f"Archiving {shown(name)} needs a subfolder of {shown(folder)}: name one, for example 'done'.",
                permanent=True,
            )
        self._folder = folder
        self._name = name
        self._source = join(folder, name)
        self._target_folder = target_folder
        self._unanswered: str | None = None  # where a rename without an answer was to lead

    def attempt(self, connection: Connection) -> str:
        """The path where the file lies now."""
        protocol, address = connection.protocol, connection.address
        with explained("look at", self._source, address):
            if self._lost_rename_took_place(protocol) and self._unanswered is not None:
                return self._unanswered
            protocol.stat(self._source)
        with explained("make", self._target_folder, address):
            self._make_folders(protocol)
        return self._rename_to_free_name(protocol, address)

    def _rename_to_free_name(self, protocol: SftpProtocol, address: str) -> str:
        for number in count():
            candidate = join(self._target_folder, numbered(self._name, number))
            if protocol.stat_or_none(candidate) is not None:
                continue
            self._unanswered = candidate
            try:
                protocol.rename(self._source, candidate)
            except SftpStatus as status:
                self._unanswered = None
                if protocol.stat_or_none(candidate) is None:
                    raise refusal(status, "move to", candidate, address) from status
                continue  # another program took that name just now
            return candidate
        raise AssertionError("unreachable")

    def _lost_rename_took_place(self, protocol: SftpProtocol) -> bool:
        if self._unanswered is None or protocol.stat_or_none(self._source) is not None:
            return False
        return protocol.stat_or_none(self._unanswered) is not None

    def _make_folders(self, protocol: SftpProtocol) -> None:
        missing = PurePosixPath(self._target_folder).relative_to(self._folder).parts
        path = self._folder
        for part in missing:
            path = join(path, part)
            if protocol.stat_or_none(path) is None:
                self._make_folder(protocol, path)

    @staticmethod
    def _make_folder(protocol: SftpProtocol, path: str) -> None:
        try:
            protocol.make_folder(path)
        except SftpStatus as status:
            # Another run may have made it in between.
            if status.code == NO_SUCH_FILE or protocol.stat_or_none(path) is None:
                raise


def numbered(name: str, number: int) -> str:
    """`name` itself for 0, else with the number before its last suffix: "list.csv" -> "list-2.csv"."""
    if number == 0:
        return name
    path = PurePosixPath(name)
    return f"{path.stem}-{number}{path.suffix}"
