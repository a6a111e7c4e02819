"""What the environment says: ports, how long a worker lets its runs finish, how a module of ours is started."""

import math
import os
import sys
from collections.abc import Mapping

from headway.errors import InvalidInput


def port(variable: str, default: int, environ: Mapping[str, str] | None = None) -> int:
    """The port that the variable names, the default where it is empty. InvalidInput for what is no port."""
    given = ((os.environ if environ is None else environ).get(variable) or "").strip()
    if not given:
        return default
    if not given.isdecimal() or not given.isascii() or not 0 < int(given) < 65536:
        raise InvalidInput(f"{variable} is {given[:40]!r}: set it to a port, a whole number from 1 to 65535")
    return int(given)


STOP_GRACE_VARIABLE = "HEADWAY_STOP_GRACE_SECONDS"
_USUAL_STOP_GRACE = 30.0


def stop_grace_seconds() -> float:
    """HEADWAY_STOP_GRACE_SECONDS, 30 where it is empty. InvalidInput for what is no length."""
    given = (os.environ.get(STOP_GRACE_VARIABLE) or "").strip()
    try:
        seconds = float(given) if given else _USUAL_STOP_GRACE
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InvalidInput(f"{STOP_GRACE_VARIABLE} is {given[:40]!r}: set it to a number of seconds, 0 or more")
    return seconds


def python_module(name: str, *arguments: str) -> list[str]:
    """The command that runs one of Headway's own modules in a process of its own.

    Without the working directory on sys.path (-P): it may be a user's folder, whose modules are not ours to import.
    """
    return [sys.executable, "-P", "-m", name, *arguments]
