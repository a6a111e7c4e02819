"""A local file that is being sent."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from headway.blocks.transfer import TransferError
from headway.text import shown


class LocalSource:
    """The file, held to the size and date it had when the delivery began."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._identity = self._look()
        self.bytes = self._identity[0]

    def open(self) -> BinaryIO:
        try:
            # Unbuffered: pieces are large, and a buffer would only be one more copy.
            return open(self.path, "rb", buffering=0)
        except OSError as error:
            raise self._unreadable(error) from error

    def check_unchanged(self) -> None:
        """Raises `TransferError` where the file was written to meanwhile."""
        if self._look() != self._identity:
            raise TransferError(
                f"{shown(str(self.path))} changed while it was being sent; nothing was delivered. "
                "Let its writer finish first, then try again."
            )

    def _look(self) -> tuple[int, int, int]:
        try:
            status = self.path.stat()
        except OSError as error:
            raise self._unreadable(error) from error
        return status.st_size, status.st_mtime_ns, status.st_ino

    def _unreadable(self, error: OSError) -> TransferError:
        reason = error.strerror or str(error)
        return TransferError(f"{shown(str(self.path))} cannot be read here: {reason}.", permanent=True)
