"""User management: pick a user, then Privileges -> Task Scheduler; password, lock, active sessions."""

import pandas as pd
import streamlit as st

from headway import wording as words
from headway.dashboard import ui
from headway.dashboard.data import CLOCK
from headway.models.ledger.tables import UserRow, id_of
from headway.models.values.actor import Privilege
from headway.scheduler.usecases.people.people import add_user, grant, revoke, users
from headway.scheduler.usecases.people.sign_in import active_sessions, end_sessions
from headway.scheduler.usecases.people.user_security import reset_password, set_locked

_PRIVILEGES = {
    Privilege.VIEW: ("View", "Read-only: tasks, runs, logs, forecast"),
    Privilege.MANAGE: ("Task management", "Create, edit, run and reset tasks; windows and settings. Implies View"),
    Privilege.PURGE: ("System Purge", "Delete old logs; it won't delete everything. Implies View"),
    Privilege.USERS: ("User management", "Users, their privileges, passwords and sessions"),
}
_ONE_TIME = "users_one_time"


def one_time_password() -> None:
    """Shown once, right after it was made."""
    if told := st.session_state.pop(_ONE_TIME, None):
        name, password = told
        st.warning(f"One-time password of {words.plain(name)}. It is shown this once; hand it over safely.")
        st.code(password, language=None)


def new_user() -> None:
    with st.popover("New user", icon=":material/person_add:"):
        name = st.text_input("User name", key="users_new", max_chars=100)
        if st.button("Add", key="users_add", type="primary"):
            ui.act(lambda session, actor: _remember(name, add_user(session, CLOCK, actor, name)), f"'{name}' is added.")


def _remember(name: str, password: str) -> None:
    st.session_state[_ONE_TIME] = (name, password)


def privileges(user: UserRow, granted: list[Privilege]) -> None:
    st.markdown("#### Privileges: Task Scheduler")
    for privilege, (label, meaning) in _PRIVILEGES.items():
        had = privilege in granted
        wanted = st.checkbox(label, value=had, key=f"users_{user.id}_{privilege.value}_{had}", help=meaning)
        if wanted is not had:
            change_privilege(user.name, privilege, wanted)


def change_privilege(name: str, privilege: Privilege, wanted: bool) -> None:
    change = grant if wanted else revoke
    done = "given to" if wanted else "taken from"
    ui.act(
        lambda session, actor: change(session, CLOCK, actor, name, privilege),
        f"{_PRIVILEGES[privilege][0]} {done} '{name}', who has to sign in again.",
    )


def access(user: UserRow) -> None:
    st.markdown("#### Access")
    uid = id_of(user)
    reset, lock, end = st.columns(3)
    if reset.button("Reset password", key="users_reset", width="stretch"):
        ui.act(
            lambda session, actor: _remember(user.name, reset_password(session, CLOCK, actor, uid)),
            f"'{user.name}' has a one-time password now.",
        )
    locked = user.locked_at is not None
    if lock.button("Unlock" if locked else "Lock", key="users_lock", width="stretch"):
        ui.act(
            lambda session, actor: set_locked(session, CLOCK, actor, uid, not locked),
            f"'{user.name}' is {'unlocked' if locked else 'locked'}.",
        )
    if end.button("End its sessions", key="users_end", width="stretch"):
        ui.act(lambda session, actor: end_sessions(session, CLOCK, actor, uid), lambda n: f"{n} sessions ended.")


def sessions(zone: str) -> None:
    st.markdown("#### Active sessions")
    live = ui.fetch_now(active_sessions)
    rows = [
        [one.user, one.address, words.in_zone(one.created_at, zone), words.in_zone(one.seen_at, zone)] for one in live
    ]
    st.dataframe(pd.DataFrame(rows, columns=["User", "Address", "Signed in", "Last seen"]), hide_index=True)


st.markdown("## User management")
zone = ui.zone()
one_time_password()
everybody = ui.fetch(users)
by_name = {row.name: (row, granted) for row, granted in everybody}
picked, new = st.columns([4, 1], vertical_alignment="bottom")
name = picked.selectbox("User", list(by_name), key="users_picked")
with new:
    new_user()
if name:
    user, granted = by_name[name]
    notes = ["has to change the password at the next sign-in"] if user.must_change_password else []
    notes += [f"locked since {words.in_zone(user.locked_at, zone)}"] if user.locked_at else []
    if notes:
        st.text(f"{user.name}: {', '.join(notes)}")
    left, right = st.columns(2)
    with left:
        privileges(user, granted)
    with right:
        access(user)
sessions(zone)
