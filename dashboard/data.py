"""The dashboard's database and clock."""

from functools import lru_cache

from sqlalchemy import Engine

from scheduler.clock import SystemClock
from scheduler.installation import open_database

CLOCK = SystemClock()


@lru_cache(maxsize=1)
def engine() -> Engine:
    """One engine for the whole process. Unreachable (and asked again next time) while the database is away."""
    return open_database()
