"""A run ledger in a file: what a run's process wrote, in order, as the tests read it."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from headway.scheduler.execution.fork_server import serve
from headway.scheduler.execution.ledger_port import LogLine, Outcome
from headway.scheduler.execution.process_identity import ProcessIdentity


class FileLedger:
    """One JSON array a line: call, then its value. A claim is lost when a file `<path>.lost` exists."""

    def __init__(self, path: str, run_id: int, claim: str) -> None:
        self.path = Path(path)
        self._key = f"{run_id}/{claim}"

    def began(self, process: ProcessIdentity) -> bool:
        # Like the store: the second process of one claim is refused.
        taken = any(call == "began" for call, _ in self.entries())
        return not taken and self._write("began", asdict(process))

    def bind(self, flow_run_id: str) -> bool:
        return self._write("bind", flow_run_id)

    def running(self) -> bool:
        return self._write("running", None)

    def log(self, lines: Sequence[LogLine]) -> bool:
        return self._write("log", [[line.level, line.logger, line.message] for line in lines])

    def progress(self, percent: float | None, processed: int | None) -> bool:
        return self._write("progress", [percent, processed])

    def receipt(self, receipt: dict[str, Any]) -> bool:
        return self._write("receipt", receipt)

    def ended(self, outcome: Outcome) -> bool:
        return self._write("ended", asdict(outcome))

    def not_started(self, reason: str) -> bool:
        return self._write("not_started", reason)

    def close(self) -> None:
        """Nothing is open between two writes."""

    def _write(self, call: str, value: Any) -> bool:
        if self.path.with_suffix(".lost").exists():
            return False
        line = json.dumps([self._key, call, value]) + "\n"
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)
        return True

    def entries(self) -> list[tuple[str, Any]]:
        """(call, value) of this run and claim, oldest first."""
        if not self.path.exists():
            return []
        rows = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [(call, value) for key, call, value in rows if key == self._key]


def open_file_ledger(database_url: str, run_id: int, claim: str) -> FileLedger:
    return FileLedger(database_url, run_id, claim)


if __name__ == "__main__":
    serve(int(sys.argv[1]), open_file_ledger)
