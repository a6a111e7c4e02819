"""A process that ends with the one that started it, however that one ends."""

import os
import signal
import sys
import threading

VARIABLE = "HEADWAY_ENDS_WITH_INPUT"


def end_with_parent() -> None:
    """Stop, as on SIGTERM, when standard input ends, if the parent asked for that by `VARIABLE`."""
    if os.environ.get(VARIABLE):
        threading.Thread(target=_stop_at_end_of_input, name="parent", daemon=True).start()


def _stop_at_end_of_input() -> None:
    # The raw descriptor: a thread that waits in the buffered reader holds its lock, and the interpreter dies of that
    # at its end ("could not acquire lock for <_io.BufferedReader name='<stdin>'>", exit -6).
    while os.read(sys.stdin.fileno(), 1024):
        continue
    os.kill(os.getpid(), signal.SIGTERM)
