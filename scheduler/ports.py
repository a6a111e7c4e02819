"""Ports, as the environment names them."""

import os
from collections.abc import Mapping

from scheduler.errors import InvalidInput


def port(variable: str, default: int, environ: Mapping[str, str] | None = None) -> int:
    """The port that the variable names, the default where it is empty. InvalidInput for what is no port."""
    given = ((os.environ if environ is None else environ).get(variable) or "").strip()
    if not given:
        return default
    if not given.isdecimal() or not given.isascii() or not 0 < int(given) < 65536:
        raise InvalidInput(f"{variable} is {given[:40]!r}: set it to a port, a whole number from 1 to 65535")
    return int(given)
