"""A process that ends with the one that started it, however that one ends."""

import os
import signal
import sys
import threading

VARIABLE = "HEADWAY_ENDS_WITH_INPUT"


def end_with_parent() -> None:
    """Where whoever started this process said so: stop, as on SIGTERM, when standard input ends."""
    if os.environ.get(VARIABLE):
        threading.Thread(target=_stop_at_end_of_input, name="parent", daemon=True).start()


def _stop_at_end_of_input() -> None:
    while sys.stdin.buffer.read(1):
        continue
    os.kill(os.getpid(), signal.SIGTERM)
