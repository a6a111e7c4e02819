"""What a flow says while it runs, on its way to the ledger: log lines, progress, receipts.

Log records go in batches, from a thread. The same thread keeps the process's time limits, because it
goes on when the flow's own thread is stuck.
"""

import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from headway.scheduler.execution.ledger_port import LogLine
from headway.scheduler.execution.retrying_ledger import LedgerDown, RetryingLedger
from headway.scheduler.execution.run_outcome import is_expected, own_traceback

BATCH_SECONDS = 0.3
BATCH_LINES = 200
_LONGEST_MESSAGE = 32_000
_LOOK_AROUND_SECONDS = 2.0
# An ended process is killed ten seconds after its TERM; its last write has to come before.
_TERM_GRACE_SECONDS = 6.0


class RunOutput(logging.Handler):
    """Takes the records of a run's loggers; use as a context manager around the run.

    `gave_up` is called, on this object's thread, when a time limit passes; it should not return.
    `told_to_end` is asked now and then whether the process has lost those who started it.
    """

    def __init__(
        self,
        ledger: RetryingLedger,
        loggers: Sequence[str],
        gave_up: Callable[[], None],
        told_to_end: Callable[[], str | None],
    ) -> None:
        super().__init__(logging.NOTSET)
        self._ledger = ledger
        self._loggers = [logging.getLogger(name) for name in loggers]
        self._gave_up = gave_up
        self._told_to_end = told_to_end
        self._queue: list[LogLine] = []
        self._progress: tuple[float | None, int | None] | None = None
        self._queue_lock = threading.Lock()
        self._flushing = threading.Lock()
        self._limit_at: float | None = None
        self._term_seen = False
        self._done = False
        self._wakeup, self._bell = socket.socketpair()
        self._thread = threading.Thread(target=self._work, name="run-output", daemon=True)

    def __enter__(self) -> "RunOutput":
        for end in (self._wakeup, self._bell):
            end.setblocking(False)
        # The C part of Python's signal handling writes the number here at once, also while the main
        # thread is inside some library and runs no handler.
        signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False)
        for logger in self._loggers:
            logger.addHandler(self)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        for logger in self._loggers:
            logger.removeHandler(self)
        signal.set_wakeup_fd(-1)
        self._done = True
        self._ring()
        self._thread.join()
        self.flush()

    def limit(self, seconds: float) -> None:
        """From now on the process has so long to finish."""
        at = time.monotonic() + seconds
        self._limit_at = at if self._limit_at is None else min(at, self._limit_at)
        self._ring()

    # ------------------------------------------------------------------ records

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "only_with_claim", False):
            self._write_with_claim(record)  # the code that logged it must know if that fails
            return
        try:
            self._take(record)
        except Exception:
            self.handleError(record)

    def _take(self, record: logging.LogRecord) -> None:
        receipt = getattr(record, "receipt", None)
        if isinstance(receipt, dict):
            self._write_receipt(receipt)
        if not getattr(record, "send_to_api", True):
            return  # Prefect's own hints for a console
        with self._queue_lock:
            self._note_progress(record)
            self._queue.append(_line(record))
            waiting = len(self._queue)
        if waiting == 1 or waiting == BATCH_LINES:
            self._ring()

    def _write_with_claim(self, record: logging.LogRecord) -> None:
        """Before what cannot be undone: with its claim lost, the process ends here. Raises LedgerDown."""
        self.flush()
        line = _line(record)
        self._ledger.write(lambda ledger: ledger.log([line]))

    def _write_receipt(self, receipt: dict[str, Any]) -> None:
        # At once, and in the flow's thread: when the flow goes on, the delivery is on record.
        try:
            self._ledger.write(lambda ledger: ledger.receipt(receipt))
        except LedgerDown as down:
            with self._queue_lock:
                self._queue.append(_complaint(f"The receipt {receipt} could not be written: {down}"))

    def _note_progress(self, record: logging.LogRecord) -> None:
        percent = getattr(record, "progress", None)
        processed = getattr(record, "processed", None)
        if percent is not None or processed is not None:
            self._progress = (
                None if percent is None else float(percent),
                None if processed is None else int(processed),
            )

    # ------------------------------------------------------------------ the thread

    def _work(self) -> None:
        while not self._done:
            self._wait(_LOOK_AROUND_SECONDS)
            if self._queue and len(self._queue) < BATCH_LINES and not self._term_seen:
                self._wait(BATCH_SECONDS)
            self.flush()
            self._look_around()

    def _wait(self, seconds: float) -> None:
        if self._limit_at is not None:
            seconds = max(0.0, min(seconds, self._limit_at - time.monotonic()))
        if select.select([self._wakeup], [], [], seconds)[0] and signal.SIGTERM in self._wakeup.recv(4096):
            self._term_seen = True
            self.limit(_TERM_GRACE_SECONDS)

    def _look_around(self) -> None:
        if self._limit_at is not None and time.monotonic() >= self._limit_at and not self._done:
            self._gave_up()
        if not self._term_seen and not self._done and self._told_to_end() is not None:
            self._term_seen = True
            os.kill(os.getpid(), signal.SIGTERM)

    def _ring(self) -> None:
        try:
            self._bell.send(b"\0")
        except (BlockingIOError, OSError):
            pass  # full: it rings already

    def flush(self) -> None:
        """Everything said so far is in the ledger when this returns."""
        with self._flushing:
            with self._queue_lock:
                lines, self._queue = self._queue, []
                progress, self._progress = self._progress, None
            if lines:
                self._ledger.try_write(lambda ledger: ledger.log(lines), f"{len(lines)} log lines")
            if progress:
                self._ledger.try_write(lambda ledger: ledger.progress(*progress), "Progress")


def _line(record: logging.LogRecord) -> LogLine:
    message, error = record.getMessage(), record.exc_info[1] if record.exc_info else None
    if error is not None:
        message = str(error) if is_expected(error) else f"{message}\n{own_traceback(error)}"
    if len(message) > _LONGEST_MESSAGE:
        message = message[:_LONGEST_MESSAGE] + "… (cut)"
    at = datetime.fromtimestamp(record.created, UTC)
    return LogLine(at=at, level=record.levelno, logger=record.name, message=message)


def _complaint(message: str) -> LogLine:
    return LogLine(datetime.now(UTC), logging.ERROR, "headway", message)
