"""Users and their privileges."""

import secrets

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlmodel import Session, col, select

from headway.clock import Clock
from headway.errors import InvalidInput, NobodyThere, Refused
from headway.models.ledger.tables import GrantRow, UserRow, id_of
from headway.models.values.actor import Actor, Privilege
from headway.privileges import require
from headway.scheduler.store import audit

PASSWORDS = PasswordHash((Argon2Hasher(time_cost=2, memory_cost=19_456, parallelism=1),))  # as OWASP advises


def actor_named(session: Session, name: str) -> Actor:
    """The user as somebody who acts. NobodyThere for an unknown or locked one."""
    user = session.exec(select(UserRow).where(UserRow.name == name)).first()
    if user is None or user.locked_at is not None:
        raise NobodyThere(name, locked=user is not None)
    return Actor(user.name, frozenset(_privileges(session, user)), user.id)


def add_user(session: Session, clock: Clock, actor: Actor, name: str) -> str:
    """A new user without privileges; the one-time password, told once and never stored."""
    require(actor, Privilege.USERS)
    if not name.strip() or name != name.strip() or not name.isprintable() or len(name) > 100:
        raise InvalidInput(f"user name {name!r}: give 1 to 100 printable characters without spaces around them")
    if session.exec(select(UserRow).where(UserRow.name == name)).first() is not None:
        raise Refused(f"there is a user '{name}' already")
    password = secrets.token_urlsafe(12)
    now = clock.now()
    session.add(UserRow(name=name, password_hash=PASSWORDS.hash(password), created_at=now))
    audit.record(session, now, actor, "add user", f"user '{name}'", after={"privileges": []})
    return password


def users(session: Session, actor: Actor) -> list[tuple[UserRow, list[Privilege]]]:
    """Every user with the privileges granted."""
    require(actor, Privilege.USERS)
    rows = session.exec(select(UserRow).order_by(col(UserRow.name))).all()
    return [(row, sorted(_privileges(session, row))) for row in rows]


def grant(session: Session, clock: Clock, actor: Actor, name: str, privilege: Privilege) -> bool:
    """Give a privilege; False if the user had it."""
    require(actor, Privilege.USERS)
    user = _user(session, name)
    before = sorted(_privileges(session, user))
    if privilege in before:
        return False
    session.add(GrantRow(user_id=id_of(user), privilege=privilege))
    _record(session, clock, actor, "grant privilege", name, before, sorted([*before, privilege]))
    return True


def revoke(session: Session, clock: Clock, actor: Actor, name: str, privilege: Privilege) -> bool:
    """Take a privilege; False if the user did not have it. Refused: removing the last user manager."""
    require(actor, Privilege.USERS)
    user = _user(session, name)
    before = sorted(_privileges(session, user))
    if privilege not in before:
        return False
    if privilege is Privilege.USERS and not user_managers(session) - {user.id}:
        raise Refused(f"'{name}' is the last user manager; make somebody else one first")
    session.delete(session.get(GrantRow, (user.id, privilege)))
    _record(session, clock, actor, "revoke privilege", name, before, [one for one in before if one != privilege])
    return True


def user_managers(session: Session) -> set[int | None]:
    """The IDs of the user managers who can sign in.

    All managers' rows are locked for the transaction, so that two who disempower each other at once do not both see
    the other one left.
    """
    held = select(GrantRow.user_id).where(GrantRow.privilege == Privilege.USERS).with_for_update()
    managers = set(session.exec(held).all())
    able = select(UserRow.id).where(col(UserRow.id).in_(managers), col(UserRow.locked_at).is_(None)).with_for_update()
    return set(session.exec(able).all())


def first_admin(session: Session, clock: Clock, actor: Actor) -> str | None:
    """On a new installation: the user `admin` with every privilege, and its one-time password; else None."""
    if session.exec(select(UserRow)).first() is not None:
        return None
    password = add_user(session, clock, actor, "admin")
    session.flush()
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
    user = session.exec(select(UserRow).where(UserRow.name == name)).first()
    if user is None:
        raise InvalidInput(f"there is no user '{name}'; `headway user list` lists them")
    return user


def _privileges(session: Session, user: UserRow) -> list[Privilege]:
    rows = session.exec(select(GrantRow).where(GrantRow.user_id == user.id)).all()
    return [row.privilege for row in rows]
