"""The ledger, made safe to use inside a run's process: one write at a time, repeated, never torn."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headway.scheduler.execution.ledger_port import ExitCode, RunLedger

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0


class LedgerDown(Exception):
    """The ledger's database could not be written."""


class RetryingLedger:
    """All writes of a run's process go through here, from whichever thread.

    A lost claim ends the process on the spot: whatever it would do next, it has no right to.
    """

    def __init__(self, ledger: RunLedger, leave: Callable[[int], object] = os._exit) -> None:
        self._ledger = ledger
        self._leave = leave
        self._one_at_a_time = threading.Lock()

    def write(self, call: Callable[[RunLedger], bool], patience_seconds: float = 15) -> None:
        """Raises LedgerDown if the database refuses for that long."""
        deadline = time.monotonic() + patience_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                with _uninterrupted(), self._one_at_a_time:
                    kept = call(self._ledger)
                break
            except Exception as error:
                # Which exceptions a database raises when it is busy or away is the store's affair.
                if time.monotonic() + pause > deadline:
                    raise LedgerDown(f"{type(error).__name__}: {error}") from error
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        if not kept:
            self._leave(ExitCode.CLAIM_LOST)

    def try_write(self, call: Callable[[RunLedger], bool], what: str) -> None:
        """The same for what a run can do without; a failure goes to stderr."""
        try:
            self.write(call, patience_seconds=3)
        except LedgerDown as down:
            print(f"{what} could not be written to the ledger: {down}", file=sys.stderr, flush=True)

    def close(self) -> None:
        with self._one_at_a_time:
            self._ledger.close()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Holds a TERM back until the write is done: its handler raises, in the middle of anything.

    By swapping the handler and not by a signal mask: a mask is one thread's, and the kernel would
    give the signal to another, whereupon Python runs the handler in this one all the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, frame: arrived.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
        if arrived:
            os.kill(os.getpid(), signal.SIGTERM)
