"""The dashboard's database and clock."""

from functools import lru_cache

from sqlalchemy import Engine

from headway.clock import SystemClock
from headway.scheduler.installation.setup import open_database
from headway.scheduler.prefect_side.api import PrefectApi

CLOCK = SystemClock()


@lru_cache(maxsize=1)
def engine() -> Engine:
    """One engine for the whole process. Unreachable (and asked again next time) while the database is away."""
    return open_database()


def block_names(type_slug: str) -> list[tuple[str, str]]:
    """The (ID, name) of each Prefect block of that type. Raises PrefectError where Prefect cannot be asked."""
    return PrefectApi.from_environment().block_names(type_slug)
