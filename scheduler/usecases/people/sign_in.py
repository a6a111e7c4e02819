"""Signing in to the dashboard, staying signed in, signing out.

A session ends at sign-out, after 30 minutes without an act of a person, after 12 hours in any case, and as soon as
its user is locked or has another password or other privileges than at sign-in.
"""

import hashlib
import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine
from sqlmodel import Session

from headway.clock import Clock
from headway.errors import InvalidInput
from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import UserRow
from headway.models.values.actor import Actor, Privilege
from headway.models.values.zone import zone
from headway.privileges import require
from headway.scheduler.store import accounts, audit, sign_ins
from headway.scheduler.usecases.people.people import PASSWORDS
from headway.text import storable

IDLE = timedelta(minutes=30)
LONGEST = timedelta(hours=12)
SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 200
FREE_TRIES = {"user": 3, "address": 20}
LOCKED_OUT_AFTER = {"user": 10, "address": 50}
LOCK_OUT = timedelta(minutes=15)
_FORGET = timedelta(hours=1)
_RENEW_EVERY = timedelta(minutes=1)
_NOBODY = PASSWORDS.hash(secrets.token_urlsafe(16))
"""Verified against where there is no such user, so that the answer takes as long as for one that exists."""


@dataclass(frozen=True)
class SignedIn:
    """A live session: its user and the zone of its times. key: the hash of its token, which is no secret."""

    actor: Actor
    key: str
    must_change_password: bool
    timezone: str | None


@dataclass(frozen=True)
class Denied:
    """Why the sign-in was refused, for the form. wait: for how long every attempt is refused."""

    message: str
    wait: timedelta | None = None


@dataclass(frozen=True)
class ActiveSession:
    """A session as user managers see it."""

    user: str
    address: str
    created_at: datetime
    seen_at: datetime


def key_of(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def sign_in(engine: Engine, clock: Clock, name: str, password: str, address: str) -> str | Denied:
    """A new session's token for a right name and password, else why not.

    The attempt is counted before the password is looked at, so that many at once cannot slip through; a right
    password takes that count back. No transaction is open while the hash is computed.
    """
    now, name = clock.now(), storable(name)
    keys = _throttle_keys(name, address)
    with writing(engine) as session:
        wait = _admit(session, now, keys, name, address)
    if wait is not None:
        return _too_many(wait)
    with reading(engine) as session:
        user = accounts.user_named(session, name)
    right = _matches(password, user)
    if user is None or not right:
        return Denied("The user name or the password is wrong.")
    if user.locked_at is not None:
        return Denied("This user is locked. A user manager can unlock it.")
    with writing(engine) as session:
        _take_back(session, keys)
        token = _open(session, now, user, address)
        audit.record(session, now, Actor(user.name), "sign in", f"user '{user.name}'", after={"address": address})
    return token


def sign_in_known(engine: Engine, clock: Clock, name: str, address: str, by: str) -> str | Denied:
    """A new session's token for a user that another system, `by`, has recognised; Denied for an unknown user.

    An unused one-time password becomes void: a user who signs in elsewhere needs none here.
    """
    now, name = clock.now(), storable(name)
    with writing(engine) as session:
        user = accounts.user_named(session, name)
        if user is None:
            return Denied(f"You are '{name}' at the provider, but there is no such user here. A user manager adds it.")
        if user.locked_at is not None:
            return Denied("This user is locked. A user manager can unlock it.")
        if user.must_change_password:
            user.password_hash, user.must_change_password = None, False
            session.add(user)
            session.flush()
        token = _open(session, now, user, address)
        after = {"address": address, "by": by}
        audit.record(session, now, Actor(user.name), "sign in", f"user '{user.name}'", after=after)
    return token


def look_up(session: Session, clock: Clock, key: str) -> SignedIn | None:
    """The live session of that key, with its user's privileges as they are now; None if it is over."""
    found = sign_ins.session_of_key(session, key)
    if found is None:
        return None
    row, user = found
    now = clock.now()
    privileges = accounts.privileges_of(session, user)
    over = row.ended_at is not None or now - row.seen_at > IDLE or now - row.created_at > LONGEST
    if over or user.locked_at is not None or row.stamp != _stamp(user, privileges):
        return None
    actor = Actor(user.name, frozenset(privileges), user.id)
    return SignedIn(actor, key, user.must_change_password, row.timezone)


def renew(engine: Engine, clock: Clock, key: str) -> None:
    """Restart the session's idle time after an act of its user; written at most once a minute."""
    now = clock.now()
    with reading(engine) as session:
        seen_at = sign_ins.seen_at(session, key)
    if seen_at is None or now - seen_at < _RENEW_EVERY:
        return
    with writing(engine) as session:
        sign_ins.renew_session(session, key, now, idle_since=now - IDLE)


def sign_out(engine: Engine, clock: Clock, key: str) -> bool:
    """End the session; False if it was over already."""
    now = clock.now()
    with writing(engine) as session:
        signed_in = look_up(session, clock, key)
        if signed_in is None:
            return False
        sign_ins.end_sessions(session, now, key=key)
        name = signed_in.actor.name
        audit.record(session, now, signed_in.actor, "sign out", f"user '{name}'")
    return True


def change_password(engine: Engine, clock: Clock, key: str, old: str, new: str, address: str) -> str | Denied:
    """Set the user's own password and end every session of the user; the token of a new session, or why not."""
    now = clock.now()
    with writing(engine) as session:
        signed_in = look_up(session, clock, key)
        if signed_in is None:
            return Denied("You are signed out. Sign in again.")
        name = signed_in.actor.name
        keys = _throttle_keys(name, address)
        wait = _admit(session, now, keys, name, address)
        user = accounts.user_of_id(session, signed_in.actor.user_id)
    if wait is not None:
        return _too_many(wait)
    if not _matches(old, user):
        return Denied("The present password is wrong.")
    if problem := password_problem(name, old, new):
        with writing(engine) as session:
            _take_back(session, keys)
        return Denied(problem)
    hashed = PASSWORDS.hash(new)
    with writing(engine) as session:
        _take_back(session, keys)
        user = accounts.user_of_id(session, signed_in.actor.user_id)
        if user is None or look_up(session, clock, key) is None:
            return Denied("You are signed out. Sign in again.")
        user.password_hash, user.must_change_password = hashed, False
        session.add(user)
        sign_ins.end_sessions(session, now, user_id=user.id)
        session.flush()
        audit.record(session, now, signed_in.actor, "change password", f"user '{name}'")
        return _open(session, now, user, address)


def password_problem(name: str, old: str, new: str) -> str | None:
    """What is wrong with a new password, in words for the form; None for a good one."""
    if not SHORTEST_PASSWORD <= len(new) <= LONGEST_PASSWORD:
        return f"The new password must have {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters; this has {len(new)}."
    if new == old:
        return "The new password is the present one. Choose another."
    if name.casefold() in new.casefold() or len(set(new)) < 5:
        return "The new password is too easy to guess. Do not build it from the user name or a few letters repeated."
    return None


def set_timezone(session: Session, key: str, timezone: str) -> None:
    """The zone in which this viewer reads times. InvalidInput for an unknown one."""
    try:
        zone(timezone)
    except ValueError as error:
        raise InvalidInput(str(error)) from None
    sign_ins.set_zone(session, key, timezone)


def active_sessions(session: Session, clock: Clock, actor: Actor) -> list[ActiveSession]:
    """Every live session, the newest first."""
    require(actor, Privilege.USERS)
    rows = sign_ins.sessions_since(session, clock.now() - IDLE)
    live = [(row, name) for row, name in rows if look_up(session, clock, row.token_hash) is not None]
    return [ActiveSession(name, row.address, row.created_at, row.seen_at) for row, name in live]


def end_sessions(session: Session, clock: Clock, actor: Actor, user_id: int) -> int:
    """Sign a user out everywhere; how many sessions that ended."""
    require(actor, Privilege.USERS)
    user = accounts.user_of_id(session, user_id)
    if user is None:
        raise InvalidInput(f"there is no user with the ID {user_id}")
    now = clock.now()
    count = sign_ins.end_sessions(session, now, user_id=user_id)
    if count:
        audit.record(session, now, actor, "end sessions", f"user '{user.name}'", after={"sessions": count})
    return count


def _matches(password: str, user: UserRow | None) -> bool:
    """Whether the password is the user's; the same work is done where there is no user, or none with a password."""
    hashed = (user.password_hash if user is not None else None) or _NOBODY
    too_long = len(password) > LONGEST_PASSWORD
    right = PASSWORDS.verify(password[:LONGEST_PASSWORD], hashed)
    return right and not too_long and user is not None and user.password_hash is not None


def _open(session: Session, now: datetime, user: UserRow, address: str) -> str:
    assert user.id is not None
    token = secrets.token_urlsafe(32)
    stamp = _stamp(user, accounts.privileges_of(session, user))
    sign_ins.add_session(session, token_hash=key_of(token), user_id=user.id, stamp=stamp, address=address, now=now)
    return token


def _stamp(user: UserRow, privileges: list[Privilege]) -> str:
    facts = [user.id, user.password_hash, sorted(privilege.value for privilege in privileges)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


# Slow-down and lock-out


def _throttle_keys(name: str, address: str) -> dict[str, str]:
    """Where failures are counted; hashed, for a mistyped name may be a password."""
    return {
        kind: f"{kind}:{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()}"
        for kind, value in (("address", address), ("user", name))
    }


def _admit(session: Session, now: datetime, keys: dict[str, str], name: str, address: str) -> timedelta | None:
    """Count an attempt as failed in advance; or how long to wait, where too many failed before it."""
    rows = {}
    for kind, key in keys.items():
        rows[kind] = row = sign_ins.counted_attempts(session, now, key)
        if row.blocked_until > now:  # an address that has to wait gets no more names counted
            return row.blocked_until - now
    for kind, row in rows.items():
        failures = 1 if row.last_at < now - _FORGET else row.failures + 1
        row.failures, row.last_at, row.blocked_until = failures, now, now + _delay(kind, failures)
        if failures == LOCKED_OUT_AFTER[kind]:
            known = accounts.user_named(session, name) is not None
            who = f"user '{name}'" if known else "an unknown user name"  # which may be a password
            subject = who if kind == "user" else f"address {address}"
            audit.record(session, now, Actor("sign-in"), "lock out", subject, after={"failures": failures})
    sign_ins.forget_attempts(session, now - _FORGET)
    return None


def _delay(kind: str, failures: int) -> timedelta:
    """None for the first few, then doubling from a second, then locked out for a while."""
    if failures >= LOCKED_OUT_AFTER[kind]:
        return LOCK_OUT
    if failures <= FREE_TRIES[kind]:
        return timedelta(0)
    return timedelta(seconds=min(2 ** (failures - FREE_TRIES[kind] - 1), 60))


def _take_back(session: Session, keys: dict[str, str]) -> None:
    """The password was right: this attempt was no failure."""
    sign_ins.take_attempt_back(session, address_key=keys["address"], user_key=keys["user"])


def _too_many(wait: timedelta) -> Denied:
    seconds = int(wait.total_seconds()) + 1
    length = f"{seconds} seconds" if seconds < 120 else f"{-(-seconds // 60)} minutes"
    return Denied(f"Too many failed attempts. Try again in {length}.", wait)
