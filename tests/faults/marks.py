"""What the flows of `marking.py` have written: each beginning and each end, whatever the ledger says."""

from __future__ import annotations

from dataclasses import dataclass

WHAT = ("began", "ended")


@dataclass(frozen=True)
class Mark:
    """One line of the file. key: `run:attempt`. at: epoch seconds."""

    key: str
    what: str
    at: float

    @classmethod
    def read(cls, line: str) -> Mark:
        key, what, at = line.split()
        return cls(key, what, float(at))

    @property
    def run_id(self) -> int:
        return int(self.key.split(":")[0])
