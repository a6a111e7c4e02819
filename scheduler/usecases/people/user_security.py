"""What user managers do about a user's access: another one-time password, lock, unlock."""

import secrets

from sqlmodel import Session

from headway.clock import Clock
from headway.errors import InvalidInput, Refused
from headway.models.ledger.tables import UserRow
from headway.models.values.actor import Actor, Privilege
from headway.privileges import require
from headway.scheduler.store import accounts, audit
from headway.scheduler.usecases.people.people import PASSWORDS


def reset_password(session: Session, clock: Clock, actor: Actor, user_id: int) -> str:
    """A new one-time password, told once and never stored; every session of the user is over with it."""
    require(actor, Privilege.USERS)
    user = _user(session, user_id)
    before = {"must_change_password": user.must_change_password}
    password = secrets.token_urlsafe(12)
    user.password_hash, user.must_change_password = PASSWORDS.hash(password), True
    session.add(user)
    after = {"must_change_password": True, "password": "a new one"}
    audit.record(session, clock.now(), actor, "reset password", f"user '{user.name}'", before=before, after=after)
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
    if locked and accounts.user_managers(session) == {user_id}:
        raise Refused(f"'{user.name}' is the last user manager; make somebody else one first")
    now = clock.now()
    user.locked_at = now if locked else None
    session.add(user)
    action = "lock user" if locked else "unlock user"
    subject, before, after = f"user '{user.name}'", {"locked": not locked}, {"locked": locked}
    audit.record(session, now, actor, action, subject, before=before, after=after)
    return True


def _user(session: Session, user_id: int) -> UserRow:
    user = accounts.user_of_id(session, user_id)
    if user is None:
        raise InvalidInput(f"there is no user with the ID {user_id}")
    return user
