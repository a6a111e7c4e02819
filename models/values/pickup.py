"""What became of a file that was delivered to the importer path."""

from __future__ import annotations

import enum


class PickUp(enum.StrEnum):
    """What became of a file that was delivered to the importer path. The pick-up watch moves the first one on."""

    LYING = "lying"  # not seen taken so far; looked at every minute
    CONSUMED = "consumed"  # seen gone; final
    REPLACED = "replaced"  # another file has its name now, and nobody saw it taken before; final
    LEFT = "left"  # still there when the watch gave it up; final
