"""Sessions of people who are signed in, and the counts of failed attempts."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from headway.models.ledger.database import count_changed
from headway.models.ledger.tables import SignInRow, SignInThrottleRow, UserRow

_KEEP_ENDED = timedelta(days=30)


def session_of_key(session: Session, key: str) -> tuple[SignInRow, UserRow] | None:
    """The session of that key and its user, whether it is over or not."""
    both = select(SignInRow, UserRow).join(UserRow, col(UserRow.id) == SignInRow.user_id)
    found = session.exec(both.where(SignInRow.token_hash == key)).first()
    return None if found is None else (found[0], found[1])


def seen_at(session: Session, key: str) -> datetime | None:
    """When the session's user was last seen to act."""
    return session.exec(select(SignInRow.seen_at).where(SignInRow.token_hash == key)).first()


def renew_session(session: Session, key: str, now: datetime, *, idle_since: datetime) -> None:
    """The session's user has acted now, if it was not over by then."""
    live = update(SignInRow).where(
        col(SignInRow.token_hash) == key, col(SignInRow.ended_at).is_(None), col(SignInRow.seen_at) > idle_since
    )
    session.execute(live.values(seen_at=now))


def set_zone(session: Session, key: str, timezone: str) -> None:
    """The zone in which this session's user reads times."""
    session.execute(update(SignInRow).where(col(SignInRow.token_hash) == key).values(timezone=timezone))


def sessions_since(session: Session, since: datetime) -> list[tuple[SignInRow, str]]:
    """Sessions not ended and seen since then, with their user's name, the newest first."""
    named = select(SignInRow, UserRow.name).join(UserRow, col(UserRow.id) == SignInRow.user_id)
    live = named.where(col(SignInRow.ended_at).is_(None), col(SignInRow.seen_at) > since)
    return list(session.exec(live.order_by(col(SignInRow.id).desc())).all())


def add_session(session: Session, *, token_hash: str, user_id: int, stamp: str, address: str, now: datetime) -> None:
    """A new session, in the zone of the user's last one. Sessions that ended a month ago go."""
    session.execute(delete(SignInRow).where(col(SignInRow.seen_at) < now - _KEEP_ENDED))
    zones = select(SignInRow.timezone).where(SignInRow.user_id == user_id)
    last = session.exec(zones.order_by(col(SignInRow.id).desc())).first()
    session.add(
        SignInRow(
            token_hash=token_hash,
            user_id=user_id,
            stamp=stamp,
            address=address,
            timezone=last,
            created_at=now,
            seen_at=now,
        )
    )


def end_sessions(session: Session, now: datetime, *, key: str | None = None, user_id: int | None = None) -> int:
    """End the session of the key, or all of the user; how many were live."""
    statement = update(SignInRow).where(col(SignInRow.ended_at).is_(None)).values(ended_at=now)
    which = col(SignInRow.token_hash) == key if key is not None else col(SignInRow.user_id) == user_id
    return count_changed(session, statement.where(which))


def delete_all_sessions(session: Session) -> None:
    """End every sign-in: the ledger is a restored one."""
    session.execute(delete(SignInRow))


def counted_attempts(session: Session, now: datetime, key: str) -> SignInThrottleRow:
    """The row of that key, made where there is none, and locked until the transaction ends.

    In one statement: of two first attempts at once, on PostgreSQL both would find no row to lock.
    """
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    made = dialect.insert(SignInThrottleRow).values(key=key, failures=0, last_at=now, blocked_until=now)
    kept = made.on_conflict_do_update(index_elements=["key"], set_={"failures": col(SignInThrottleRow.failures)})
    found = kept.returning(SignInThrottleRow)
    row: SignInThrottleRow = session.execute(found, execution_options={"populate_existing": True}).scalar_one()
    return row


def forget_attempts(session: Session, before: datetime) -> None:
    """Counts that old go. Locked ones stay: two attempts that wait for each other's old rows would end in an error."""
    session.flush()
    old = select(SignInThrottleRow.key).where(SignInThrottleRow.last_at < before)
    unused = old.with_for_update(skip_locked=True)
    session.execute(delete(SignInThrottleRow).where(col(SignInThrottleRow.key).in_(unused)))


def take_attempt_back(session: Session, *, address_key: str, user_key: str) -> None:
    """The password was right: the user's count goes, the address loses only this attempt.

    The rows in the same order as where they are counted, or each of two attempts could wait for the other.
    """
    key, failures = col(SignInThrottleRow.key), col(SignInThrottleRow.failures)
    forgiven: dict[str, Any] = {"failures": failures - 1, "blocked_until": SignInThrottleRow.last_at}
    session.execute(update(SignInThrottleRow).where(key == address_key).values(forgiven))
    session.execute(delete(SignInThrottleRow).where(key == user_key))
