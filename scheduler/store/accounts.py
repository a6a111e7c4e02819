"""Users and what was granted to them."""

from datetime import datetime

from sqlmodel import Session, col, select

from headway.models.ledger.tables import GrantRow, UserRow, id_of
from headway.models.values.actor import Privilege


def user_named(session: Session, name: str) -> UserRow | None:
    """The user of that name."""
    return session.exec(select(UserRow).where(UserRow.name == name)).first()


def user_of_id(session: Session, user_id: int | None) -> UserRow | None:
    """The user of that ID."""
    return session.get(UserRow, user_id)


def all_users(session: Session) -> list[UserRow]:
    """Every user, by name."""
    return list(session.exec(select(UserRow).order_by(col(UserRow.name))).all())


def is_empty(session: Session) -> bool:
    """Whether there is no user yet."""
    return session.exec(select(UserRow.id).limit(1)).first() is None


def add_user(session: Session, name: str, password_hash: str, now: datetime) -> None:
    """A new user, who must change the password at first sign-in."""
    session.add(UserRow(name=name, password_hash=password_hash, created_at=now))
    session.flush()


def privileges_of(session: Session, user: UserRow) -> list[Privilege]:
    """What was granted to the user, in no order."""
    rows = session.exec(select(GrantRow.privilege).where(GrantRow.user_id == user.id)).all()
    return [Privilege(one) for one in rows]


def add_grant(session: Session, user: UserRow, privilege: Privilege) -> None:
    """Grant a privilege that the user does not have."""
    session.add(GrantRow(user_id=id_of(user), privilege=privilege))


def remove_grant(session: Session, user: UserRow, privilege: Privilege) -> None:
    """Take a privilege that the user has."""
    session.delete(session.get_one(GrantRow, (user.id, privilege)))


def user_managers(session: Session) -> set[int | None]:
    """The IDs of the user managers who can sign in.

    All managers' rows are locked for the transaction, so that two who disempower each other at once do not both see
    the other one left.
    """
    held = select(GrantRow.user_id).where(GrantRow.privilege == Privilege.USERS).with_for_update()
    managers = set(session.exec(held).all())
    able = select(UserRow.id).where(col(UserRow.id).in_(managers), col(UserRow.locked_at).is_(None)).with_for_update()
    return set(session.exec(able).all())
