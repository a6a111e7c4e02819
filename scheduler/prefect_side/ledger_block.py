"""The Database block `ledger`: the scheduler's own database for reports, to read only, without people and sessions."""

import logging
import secrets
from typing import Any, Protocol

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from headway.models.ledger.database import database_url, make_engine
from headway.models.ledger.tables import metadata

log = logging.getLogger("headway.deploy")

SLUG, LEDGER_BLOCK = "headway-database", "ledger"
DENIED_TABLES = ("sign_in_session", "sign_in_throttle", "user_account", "user_grant")
"""What holds hashes of passwords and sessions, and who may do what."""


class Blocks(Protocol):
    """What is needed of Prefect."""

    def block(self, type_slug: str, name: str, *, secrets: bool = False) -> dict[str, Any] | None: ...

    def save_block(self, type_slug: str, name: str, fields: dict[str, Any]) -> str: ...


def keep_ledger_block(prefect: Blocks) -> bool:
    """Make the block, or let it follow HEADWAY_DATABASE_URL; whether anything about it had to change.

    On PostgreSQL it gets a login of its own that can read the other tables and nothing else. Where the scheduler's
    login may not make one, the block has the scheduler's, and refuses SQL that a person wrote; a log line says so. A
    login that an operator has put into the block stays as long as the database is the same.
    """
    known = prefect.block(SLUG, LEDGER_BLOCK, secrets=True)
    own = make_url(database_url())
    url = own if own.get_backend_name() == "sqlite" else _reading_url(own, known)
    denied = sorted({*DENIED_TABLES, *((known or {}).get("denied_tables") or [])})
    fields = {"url": url.render_as_string(hide_password=False), "read_only": True, "denied_tables": denied}
    if known is not None and {name: known.get(name) for name in fields} == fields:
        return False
    prefect.save_block(SLUG, LEDGER_BLOCK, fields)
    return True


def _reading_url(own: URL, known: dict[str, Any] | None) -> URL:
    role = f"headway_ledger_{own.database}"[:63]
    engine = make_engine(own.render_as_string(hide_password=False))
    try:
        stored = make_url(str(known["url"])) if known and known.get("url") else None
        if stored is not None and _place(stored) == _place(own) and stored.username != own.username:
            if stored.username != role:
                return stored  # an operator's own
            if _let_read(engine, role, None) and _answers(stored):
                return stored
        password = secrets.token_urlsafe(32)
        made = own.set(username=role, password=password)
        if _let_read(engine, role, password) and _answers(made):
            return made
    finally:
        engine.dispose()
    log.warning(
        "the block `%s` has no database login of its own: %s may not create roles, or the server lets no new one in. "
        "Reports that somebody wrote about the ledger are refused until it has one: see "
        "docs/reference/settings.md",
        LEDGER_BLOCK,
        own.username,
    )
    return own


def _place(url: URL) -> tuple[object, ...]:
    return url.host, url.port or 5432, url.database, url.query.get("host")


def _let_read(engine: Engine, role: str, password: str | None) -> bool:
    """Give the role what it may read; with a password it is made, or gets that. False: that is not allowed."""
    try:
        with engine.begin() as connection:
            if password is not None:
                _make_login(connection, role, password)
            _grant(connection, role)
    except DBAPIError as error:
        log.info("no login for the block `%s`: %s", LEDGER_BLOCK, error.orig)
        return False
    return True


def _make_login(connection: Connection, role: str, password: str) -> None:
    quoted = connection.dialect.identifier_preparer.quote(role)
    found = connection.execute(text("SELECT FROM pg_catalog.pg_roles WHERE rolname = :role"), {"role": role}).first()
    driver: Any = connection.connection.driver_connection
    # What the statement holds can get into the server's log: that is a hash.
    verifier = driver.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    verb = "CREATE" if found is None else "ALTER"
    connection.exec_driver_sql(f"{verb} ROLE {quoted} LOGIN PASSWORD '{verifier}'")
    connection.exec_driver_sql(f"ALTER ROLE {quoted} SET default_transaction_read_only = on")


def _grant(connection: Connection, role: str) -> None:
    """SELECT on every table but the denied ones, which the role loses."""
    quote = connection.dialect.identifier_preparer.quote
    schema = connection.execute(text("SELECT current_schema()")).scalar_one()
    connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {quote(schema)} TO {quote(role)}")
    for name in sorted(metadata.tables):
        words = ("REVOKE ALL", "FROM") if name in DENIED_TABLES else ("GRANT SELECT", "TO")
        verb = f"{words[0]} ON {quote(schema)}.{quote(name)} {words[1]} {quote(role)}"
        connection.exec_driver_sql(verb)


def _answers(url: URL) -> bool:
    engine = create_engine(url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT count(*) FROM run WHERE false"))
        return True
    except DBAPIError as error:
        log.info("the login of the block `%s` gets no answer: %s", LEDGER_BLOCK, error.orig)
        return False
    finally:
        engine.dispose()
