"""What user managers do about a user's access: another one-time password, lock, unlock."""

import secrets

from sqlmodel import Session

from models.domain import Actor, Privilege
from models.tables import UserRow
from scheduler.clock import Clock
from scheduler.errors import InvalidInput, Refused
from scheduler.privileges import require
from scheduler.store import audit
from scheduler.usecases.people import PASSWORDS, users


def reset_password(session: Session, clock: Clock, actor: Actor, user_id: int) -> str:
    """A new one-time password, told once and never stored; every session of the user is over with it."""
    require(actor, Privilege.USERS)
    user = _user(session, user_id)
    password = secrets.token_urlsafe(12)
    user.password_hash, user.must_change_password = PASSWORDS.hash(password), True
    session.add(user)
    audit.record(session, clock.now(), actor, "reset password", f"user '{user.name}'")
    return password


def set_locked(session: Session, clock: Clock, actor: Actor, user_id: int, locked: bool) -> bool:
    """Lock a user out, at once and everywhere, or let in again; False if it was so already.

    Refused for oneself, and for the last user manager who is not locked.
    """
    require(actor, Privilege.USERS)
    user = _user(session, user_id)
    if (user.locked_at is not None) is locked:
        return False
    if locked and user.id == actor.user_id:
        raise Refused("you cannot lock yourself; another user manager can")
    if locked and not _another_manager(session, actor, user_id):
        raise Refused(f"'{user.name}' is the last user manager; make somebody else one first")
    now = clock.now()
    user.locked_at = now if locked else None
    session.add(user)
    audit.record(session, now, actor, "lock user" if locked else "unlock user", f"user '{user.name}'")
    return True


def _another_manager(session: Session, actor: Actor, user_id: int) -> bool:
    return any(
        Privilege.USERS in privileges and row.id != user_id and row.locked_at is None
        for row, privileges in users(session, actor)
    )


def _user(session: Session, user_id: int) -> UserRow:
    user = session.get(UserRow, user_id)
    if user is None:
        raise InvalidInput(f"there is no user with the ID {user_id}")
    return user
