"""How long a worker lets its runs finish when it is told to stop."""

import math
import os

from scheduler.errors import InvalidInput

VARIABLE = "HEADWAY_STOP_GRACE_SECONDS"
_USUAL = 30.0


def stop_grace_seconds() -> float:
    """HEADWAY_STOP_GRACE_SECONDS, 30 where it is empty. InvalidInput for what is no length."""
    given = (os.environ.get(VARIABLE) or "").strip()
    try:
        seconds = float(given) if given else _USUAL
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InvalidInput(f"{VARIABLE} is {given[:40]!r}: set it to a number of seconds, 0 or more")
    return seconds
