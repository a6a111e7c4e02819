"""What became of a file that was delivered to the importer path."""

from __future__ import annotations

import enum


class PickUp(enum.StrEnum):
    """What became of a file that was delivered to the importer path. The pick-up watch sets it."""

    LYING = "lying"
    """Still there; the watch looks at it every minute and moves it on."""
    CONSUMED = "consumed"
    """The watch found it gone. Final."""
    REPLACED = "replaced"
    """Another file has its name, and the watch had not found it gone before. Final."""
    LEFT = "left"
    """Still there when the watch ended. Final."""
