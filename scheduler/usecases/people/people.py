"""Users and their privileges."""

import secrets

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlmodel import Session

from headway.clock import Clock
from headway.errors import InvalidInput, NobodyThere, Refused
from headway.models.ledger.tables import UserRow
from headway.models.values.actor import Actor, Privilege
from headway.privileges import require
from headway.scheduler.store import accounts, audit

PASSWORDS = PasswordHash((Argon2Hasher(time_cost=2, memory_cost=19_456, parallelism=1),))  # as OWASP advises


def actor_named(session: Session, name: str) -> Actor:
    """The user as an actor. NobodyThere for an unknown or locked one."""
    user = accounts.user_named(session, name)
    if user is None or user.locked_at is not None:
        raise NobodyThere(name, locked=user is not None)
    return Actor(user.name, frozenset(accounts.privileges_of(session, user)), user.id)


def add_user(session: Session, clock: Clock, actor: Actor, name: str) -> str:
    """A new user without privileges; the one-time password, told once and never stored."""
    require(actor, Privilege.USERS)
    if not name.strip() or name != name.strip() or not name.isprintable() or len(name) > 100:
        raise InvalidInput(f"user name {name!r}: give 1 to 100 printable characters without spaces around them")
    if accounts.user_named(session, name) is not None:
        raise Refused(f"there is a user '{name}' already")
    password = secrets.token_urlsafe(12)
    now = clock.now()
    accounts.add_user(session, name, PASSWORDS.hash(password), now)
    audit.record(session, now, actor, "add user", f"user '{name}'", after={"privileges": []})
    return password


def users(session: Session, actor: Actor) -> list[tuple[UserRow, list[Privilege]]]:
    """Every user with the privileges granted."""
    require(actor, Privilege.USERS)
    return [(row, sorted(accounts.privileges_of(session, row))) for row in accounts.all_users(session)]


def grant(session: Session, clock: Clock, actor: Actor, name: str, privilege: Privilege) -> bool:
    """Give a privilege; False if the user had it."""
    require(actor, Privilege.USERS)
    user = _user(session, name)
    before = sorted(accounts.privileges_of(session, user))
    if privilege in before:
        return False
    accounts.add_grant(session, user, privilege)
    _record(session, clock, actor, "grant privilege", name, before, sorted([*before, privilege]))
    return True


def revoke(session: Session, clock: Clock, actor: Actor, name: str, privilege: Privilege) -> bool:
    """Take a privilege; False if the user did not have it. Refused: removing the last user manager."""
    require(actor, Privilege.USERS)
    user = _user(session, name)
    before = sorted(accounts.privileges_of(session, user))
    if privilege not in before:
        return False
    if privilege is Privilege.USERS and not accounts.user_managers(session) - {user.id}:
        raise Refused(f"'{name}' is the last user manager; make somebody else one first")
    accounts.remove_grant(session, user, privilege)
    _record(session, clock, actor, "revoke privilege", name, before, [one for one in before if one != privilege])
    return True


def first_admin(session: Session, clock: Clock, actor: Actor) -> str | None:
    """On a new installation: the user `admin` with every privilege, and its one-time password; else None."""
    if not accounts.is_empty(session):
        return None
    password = add_user(session, clock, actor, "admin")
    for privilege in Privilege:
        grant(session, clock, actor, "admin", privilege)
    return password


def privilege_named(name: str) -> Privilege:
    """InvalidInput for a word that is no privilege."""
    try:
        return Privilege(name)
    except ValueError:
        raise InvalidInput(f"unknown privilege '{name}'; there are: {', '.join(Privilege)}") from None


def _record(
    session: Session,
    clock: Clock,
    actor: Actor,
    action: str,
    name: str,
    before: list[Privilege],
    after: list[Privilege],
) -> None:
    audit.record(session, clock.now(), actor, action, f"user '{name}'", before=before, after=after)


def _user(session: Session, name: str) -> UserRow:
    user = accounts.user_named(session, name)
    if user is None:
        raise InvalidInput(f"there is no user '{name}'; `headway user list` lists them")
    return user
