"""A new installation made ready, and an old one recognised."""

from contextlib import suppress

from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import ArgumentError, DatabaseError

from headway.clock import SystemClock
from headway.errors import InvalidInput, Unreachable
from headway.models.ledger.database import home, make_engine, migrate, shown_url, writing
from headway.scheduler.installation.home_lock import refuse_half_restored
from headway.scheduler.planning.definitions.task_types import TaskType, known_types
from headway.scheduler.store import settings
from headway.scheduler.store.tasks import load_types, save_types

SCHEMA = "0005"
"""The newest migration; models/ledger/migrations/versions holds it."""


def open_database() -> Engine:
    """The scheduler's database; an empty one is made ready. Unreachable: it is away, or of another version."""
    refuse_half_restored(home())
    engine = _engine()
    with suppress(OSError):  # others' homes are theirs to keep private
        home().chmod(0o700)
    try:
        with engine.connect() as connection:
            version = None
            if inspect(connection).has_table("alembic_version"):
                version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except DatabaseError as error:
        raise Unreachable(
            f"the database {shown_url(engine.url)} cannot be reached: {str(error.orig).splitlines()[0]}"
        ) from None
    if version is None:
        install(engine)
    elif version != SCHEMA:
        raise Unreachable(f"the database has version {version}, this Headway needs {SCHEMA}; `headway up` migrates it")
    return engine


def _engine() -> Engine:
    try:
        return make_engine()
    except (ArgumentError, ValueError, ModuleNotFoundError):  # the URL itself may hold a password: it is not repeated
        raise InvalidInput(
            "HEADWAY_DATABASE_URL is not the address of a PostgreSQL or SQLite database; write it like "
            "postgresql://user:password@host:5432/headway (an @ in the password as %40), or leave it out for the file "
            "in HEADWAY_HOME"
        ) from None
    except OSError as error:
        raise Unreachable(f"HEADWAY_HOME cannot be used: {error}") from None


def install(engine: Engine) -> None:
    """Bring the database up to date; a new one gets its defaults and the task types of prefect.yaml."""
    migrate(engine)
    with writing(engine) as session:
        settings.install(session)
        if not load_types(session):
            types = [with_schema(one) for one in known_types().values()]
            save_types(session, types, SystemClock().now())


def with_schema(task_type: TaskType) -> TaskType:
    """The type with its flow's parameter schema, read from the flow's source; as it is where that cannot be."""
    from dataclasses import replace

    try:
        from prefect.utilities.callables import parameter_schema_from_entrypoint

        found = parameter_schema_from_entrypoint(task_type.entrypoint)
        return replace(task_type, parameter_schema=found.model_dump_for_openapi())
    except Exception:
        return task_type
