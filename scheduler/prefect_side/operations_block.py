"""The Database block `operations`: the database that exports read and imports load into."""

import logging
import os
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from headway.errors import InvalidInput, Unreachable
from headway.models.ledger.database import home, read_url, shown_url, with_driver
from headway.models.operations.database import VERSION_TABLE, operations_engine, upgrade_operations
from headway.scheduler.prefect_side.ledger_block import SLUG, Blocks
from headway.text import first_line

log = logging.getLogger("headway.deploy")

OPERATIONS_BLOCK = "operations"
VARIABLE = "HEADWAY_OPERATIONS_DATABASE_URL"


def keep_operations_block(prefect: Blocks) -> None:
    """Make the block where there is none, and bring the database to the newest version if its tables are ours.

    The variable's URL goes before the block's. A block that an operator has pointed at a database of another kind stays
    as it is, and nothing is made there. Unreachable: a database that is to be migrated does not answer.
    """
    known = prefect.block(SLUG, OPERATIONS_BLOCK, secrets=True)
    stored = str(known["url"]) if known and known.get("url") else None
    url = _wanted(stored)
    if url != stored or _is_ours(url):
        try:
            upgrade_operations(url)
        except SQLAlchemyError as error:
            raise Unreachable(f"the operations database {shown_url(url)} cannot be used: {first_line(error)}") from None
        _keep_private(url)
        warn_of_a_superuser(url)
    if url != stored:
        prefect.save_block(SLUG, OPERATIONS_BLOCK, {**(known or {}), "url": url})


def _wanted(stored: str | None) -> str:
    if named := os.environ.get(VARIABLE):
        try:
            read_url(named)
        except ValueError as error:
            raise InvalidInput(
                f"{VARIABLE} cannot be used: {first_line(error)}; write it like postgresql://user:password@host/name"
            ) from None
        return with_driver(named)
    own = home() / "operations.db"
    if stored is None or _was_moved(stored, own):
        return f"sqlite:///{own}"
    return stored


def _was_moved(stored: str, own: Path) -> bool:
    """The block names this installation's own file where it used to lie: HEADWAY_HOME has been moved or restored."""
    try:
        url = read_url(stored)
    except ValueError:
        return False  # its user gets the error
    if url.get_backend_name() != "sqlite" or not url.database:
        return False
    before = Path(url.database)
    return before.name == own.name and before != own and not before.exists() and own.exists()


def _is_ours(url: str) -> bool:
    """Whether the tables there are made by our migrations."""
    try:
        place = read_url(url)
    except ValueError:
        return False
    if place.get_backend_name() == "sqlite" and not Path(place.database or "").is_file():
        return False
    engine = operations_engine(url)
    try:
        with engine.connect() as connection:
            return sa.inspect(connection).has_table(VERSION_TABLE)
    except SQLAlchemyError:
        return False  # away just now: its own users will say so
    finally:
        engine.dispose()


def _keep_private(url: str) -> None:
    place = make_url(url)
    if place.get_backend_name() == "sqlite" and place.database:
        Path(place.database).chmod(0o600)


def warn_of_a_superuser(url: str) -> None:
    """What keeps a query from writing does not keep a superuser from reading the whole server's files."""
    engine = operations_engine(url)
    if engine.dialect.name != "postgresql":
        return
    try:
        with engine.connect() as connection:
            rights = sa.text("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user")
            if connection.execute(rights).scalar():
                log.warning(
                    "the login of the operations database %s is a superuser of PostgreSQL: SQL that people write could "
                    "read everything on that server. Give it a login of its own: see docs/howto/deployment.md",
                    shown_url(url),
                )
    finally:
        engine.dispose()
