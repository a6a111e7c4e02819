"""Work that a thread does again and again until the worker stops, whatever one round stumbles over."""

import logging
import threading
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from headway.errors import PrefectError
from headway.text import first_line

log = logging.getLogger("headway.worker")


def repeat(work: Callable[[], object], seconds: float, stopping: threading.Event) -> None:
    """Do the work every so many seconds; the first time after one pause. An error costs one round."""
    while not stopping.wait(seconds):
        try:
            work()
        except Exception as error:
            name = threading.current_thread().name
            log.error("%s: %s", name, first_line(error), exc_info=not is_expected(error))


def is_expected(error: Exception) -> bool:
    """Whether database, Prefect or machine caused it, so that its first line is enough."""
    return isinstance(error, (SQLAlchemyError, PrefectError, OSError))
