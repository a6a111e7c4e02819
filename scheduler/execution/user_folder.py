"""Modules of a user's folder: found as Prefect's own process worker finds them, never before Headway's own.

Prefect starts a run as `python -m ...` in the run's folder, so that folder comes first on sys.path. Headway's processes
start without it (-P) and put it there only while a user's module is imported, and in the process of a user's flow.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PACKAGE = "headway"


def is_own(module: str) -> bool:
    """Whether the module, or the entrypoint's module, is Headway's own."""
    return module.partition(".")[0] == PACKAGE


def put_user_folder_first() -> None:
    """The working directory comes first from now on, whatever it is then: pull steps may change it."""
    sys.path.insert(0, "")


@contextmanager
def user_folder_first() -> Iterator[None]:
    """The present working directory comes first within the block."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)
