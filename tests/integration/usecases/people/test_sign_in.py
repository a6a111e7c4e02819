"""Signing in, staying signed in, being thrown out: on a real SQLite file, with a clock that the test moves."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import Engine, text
from sqlmodel import select

from headway.errors import NotAllowed
from headway.models.ledger.database import make_engine, migrate, reading, writing
from headway.models.ledger.tables import AuditRow, SignInRow, SignInThrottleRow, UserRow
from headway.models.values.actor import Privilege
from headway.privileges import OPERATOR
from headway.scheduler.usecases.people import people, sign_in
from headway.scheduler.usecases.people.sign_in import Denied, SignedIn
from tests.support.databases import waits_for_a_lock

NAME, ADDRESS = "ann", "192.0.2.7"
GOOD = "correct horse battery"


@dataclass
class MovedClock:
    at: datetime = datetime(2026, 11, 23, 11, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def move(self, **length: float) -> None:
        self.at += timedelta(**length)


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same code at a thousandth of the work: these tests are about when, not about how hard."""
    cheap = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
    monkeypatch.setattr(people, "PASSWORDS", cheap)
    monkeypatch.setattr(sign_in, "PASSWORDS", cheap)
    monkeypatch.setattr(sign_in, "_NOBODY", cheap.hash("nobody has this one"))


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def engine(tmp_path: Path, clock: MovedClock) -> Iterator[Engine]:
    engine = make_engine(f"sqlite:///{tmp_path / 'headway.db'}")
    migrate(engine)
    with writing(engine) as session:
        people.add_user(session, clock, OPERATOR, NAME)
        session.flush()
        people.grant(session, clock, OPERATOR, NAME, Privilege.MANAGE)
        user = session.exec(select(UserRow)).one()
        user.password_hash, user.must_change_password = people.PASSWORDS.hash(GOOD), False
        session.add(user)
    yield engine
    engine.dispose()


def signed_in(engine: Engine, clock: MovedClock, password: str = GOOD) -> str:
    token = sign_in.sign_in(engine, clock, NAME, password, ADDRESS)
    assert isinstance(token, str), token
    return token


def found(engine: Engine, clock: MovedClock, token: str) -> SignedIn | None:
    with reading(engine) as session:
        return sign_in.look_up(session, clock, sign_in.key_of(token))


def test_a_right_password_signs_in_and_only_a_hash_of_the_token_is_stored(engine: Engine, clock: MovedClock) -> None:
    token = signed_in(engine, clock)
    who = found(engine, clock, token)
    assert who is not None and who.actor.name == NAME and who.actor.privileges == {Privilege.MANAGE}
    with reading(engine) as session:
        stored = session.execute(text("SELECT * FROM sign_in_session")).all()
        actions = [row.action for row in session.exec(select(AuditRow)).all()]
    assert token not in repr(stored)
    assert actions[-1] == "sign in"


def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(engine: Engine, clock: MovedClock) -> None:
    wrong = sign_in.sign_in(engine, clock, NAME, "no", ADDRESS)
    unknown = sign_in.sign_in(engine, clock, "nobody", GOOD, ADDRESS)
    assert isinstance(wrong, Denied) and wrong == unknown


def test_an_unknown_name_costs_as_much_work_as_a_known_one(
    engine: Engine, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[str] = []
    real = people.PASSWORDS.verify

    def verify(password: str, hashed: str) -> bool:
        verified.append(hashed.split("$")[3])  # the cost parameters
        return bool(real(password, hashed))

    monkeypatch.setattr(sign_in.PASSWORDS, "verify", verify)
    sign_in.sign_in(engine, clock, NAME, "no", ADDRESS)
    sign_in.sign_in(engine, clock, "nobody", "no", ADDRESS)
    assert len(verified) == 2 and verified[0] == verified[1]


@pytest.mark.parametrize("name", [NAME, "nobody"])  # no tell: an unknown name slows down and locks out alike
def test_failures_slow_down_and_then_lock_out(engine: Engine, clock: MovedClock, name: str) -> None:
    waits: list[timedelta | None] = []
    for _ in range(sign_in.LOCKED_OUT_AFTER["user"]):
        assert sign_in.sign_in(engine, clock, name, "no", ADDRESS) == Denied("The user name or the password is wrong.")
        at_once = sign_in.sign_in(engine, clock, name, "no", ADDRESS) if len(waits) >= 3 else None
        waits.append(at_once.wait if isinstance(at_once, Denied) else None)
        clock.at += waits[-1] or timedelta(0)
    assert [wait.total_seconds() for wait in waits if wait] == [1, 2, 4, 8, 16, 32, 900]


def test_a_locked_out_user_is_not_even_looked_at_until_the_time_is_over(engine: Engine, clock: MovedClock) -> None:
    for _ in range(sign_in.LOCKED_OUT_AFTER["user"]):
        sign_in.sign_in(engine, clock, NAME, "no", ADDRESS)
        clock.move(seconds=61)
    locked = sign_in.sign_in(engine, clock, NAME, GOOD, "198.51.100.1")
    assert isinstance(locked, Denied) and "14 minutes" in locked.message
    clock.move(minutes=15)
    signed_in(engine, clock)
    with reading(engine) as session:
        told = [row for row in session.exec(select(AuditRow)).all() if row.action == "lock out"]
    assert len(told) == 1 and told[0].subject == "user 'ann'"


def test_an_address_that_tries_many_names_is_locked_out(engine: Engine, clock: MovedClock) -> None:
    for number in range(sign_in.LOCKED_OUT_AFTER["address"]):
        sign_in.sign_in(engine, clock, f"name {number}", "no", ADDRESS)
        clock.move(seconds=61)
    assert isinstance(sign_in.sign_in(engine, clock, NAME, GOOD, ADDRESS), Denied)
    assert isinstance(sign_in.sign_in(engine, clock, NAME, GOOD, "198.51.100.1"), str)


def test_guesses_made_at_once_do_not_slip_past_the_slow_down(engine: Engine, clock: MovedClock) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: sign_in.sign_in(engine, clock, NAME, "no", ADDRESS), range(12)))
    looked_at = [answer for answer in answers if isinstance(answer, Denied) and answer.wait is None]
    assert len(looked_at) == sign_in.FREE_TRIES["user"] + 1  # the one that begins the slow-down is still looked at


def test_a_right_password_takes_the_failures_back(engine: Engine, clock: MovedClock) -> None:
    for _ in range(3):
        for _ in range(sign_in.FREE_TRIES["user"] - 1):
            sign_in.sign_in(engine, clock, NAME, "no", ADDRESS)
        signed_in(engine, clock)


def test_idle_for_half_an_hour_ends_it_unless_somebody_does_something(engine: Engine, clock: MovedClock) -> None:
    token = signed_in(engine, clock)
    clock.move(minutes=29)
    assert found(engine, clock, token)  # looking, as a refresh does, renews nothing
    sign_in.renew(engine, clock, sign_in.key_of(token))
    clock.move(minutes=29)
    assert found(engine, clock, token)
    clock.move(minutes=2)
    assert found(engine, clock, token) is None
    sign_in.renew(engine, clock, sign_in.key_of(token))
    assert found(engine, clock, token) is None  # what is over stays over


def test_twelve_hours_end_it_however_busy(engine: Engine, clock: MovedClock) -> None:
    token = signed_in(engine, clock)
    for _ in range(36):
        clock.move(minutes=20)
        sign_in.renew(engine, clock, sign_in.key_of(token))
        assert found(engine, clock, token)
    clock.move(seconds=1)
    assert found(engine, clock, token) is None


def _lock(engine: Engine, clock: MovedClock) -> None:
    with writing(engine) as session:
        user = session.exec(select(UserRow)).one()
        user.locked_at = clock.now()
        session.add(user)


def _grant(engine: Engine, clock: MovedClock) -> None:
    with writing(engine) as session:
        people.grant(session, clock, OPERATOR, NAME, Privilege.PURGE)


def _revoke(engine: Engine, clock: MovedClock) -> None:
    with writing(engine) as session:
        people.revoke(session, clock, OPERATOR, NAME, Privilege.MANAGE)


def _other_password(engine: Engine, clock: MovedClock) -> None:
    with writing(engine) as session:
        user = session.exec(select(UserRow)).one()
        user.password_hash = people.PASSWORDS.hash("set by somebody else")
        session.add(user)


def _end(engine: Engine, clock: MovedClock) -> None:
    with writing(engine) as session:
        assert sign_in.end_sessions(session, clock, OPERATOR, 1) == 1


@pytest.mark.parametrize("event", [_lock, _grant, _revoke, _other_password, _end])
def test_a_live_session_ends_when(event, engine: Engine, clock: MovedClock) -> None:
    token = signed_in(engine, clock)
    event(engine, clock)
    assert found(engine, clock, token) is None


def test_signing_out_ends_that_session_only_and_only_once(engine: Engine, clock: MovedClock) -> None:
    first, second = signed_in(engine, clock), signed_in(engine, clock)
    assert sign_in.sign_out(engine, clock, sign_in.key_of(first)) is True
    assert sign_in.sign_out(engine, clock, sign_in.key_of(first)) is False
    assert found(engine, clock, first) is None and found(engine, clock, second)


def test_a_locked_user_cannot_sign_in(engine: Engine, clock: MovedClock) -> None:
    _lock(engine, clock)
    denied = sign_in.sign_in(engine, clock, NAME, GOOD, ADDRESS)
    assert isinstance(denied, Denied) and "locked" in denied.message


def test_changing_the_password_ends_every_session_and_opens_a_new_one(engine: Engine, clock: MovedClock) -> None:
    first, second = signed_in(engine, clock), signed_in(engine, clock)
    new = sign_in.change_password(engine, clock, sign_in.key_of(first), GOOD, "another fine phrase", ADDRESS)
    assert isinstance(new, str) and found(engine, clock, new)
    assert found(engine, clock, first) is None and found(engine, clock, second) is None
    assert isinstance(sign_in.sign_in(engine, clock, NAME, GOOD, ADDRESS), Denied)
    signed_in(engine, clock, "another fine phrase")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("not it", "another fine phrase", "present password is wrong"),
        (GOOD, "short", "12 to 200"),
        (GOOD, GOOD, "present one"),
        (GOOD, "xxANNxx-1234567", "easy to guess"),
        (GOOD, "ababababababab", "easy to guess"),
    ],
)
def test_a_password_that_will_not_do_is_refused(
    old: str, new: str, said: str, engine: Engine, clock: MovedClock
) -> None:
    token = signed_in(engine, clock)
    denied = sign_in.change_password(engine, clock, sign_in.key_of(token), old, new, ADDRESS)
    assert isinstance(denied, Denied) and said in denied.message
    assert found(engine, clock, token)


def test_whoever_holds_a_session_cannot_guess_the_password_through_it(engine: Engine, clock: MovedClock) -> None:
    key = sign_in.key_of(signed_in(engine, clock))
    answers = [sign_in.change_password(engine, clock, key, "no", "another fine phrase", ADDRESS) for _ in range(6)]
    assert [answer.wait is not None for answer in answers if isinstance(answer, Denied)] == [False] * 4 + [True] * 2


def test_the_zone_is_kept_for_the_next_sign_in(engine: Engine, clock: MovedClock) -> None:
    token = signed_in(engine, clock)
    with writing(engine) as session:
        sign_in.set_timezone(session, sign_in.key_of(token), "Europe/Berlin")
    again = found(engine, clock, signed_in(engine, clock))
    assert again is not None and again.timezone == "Europe/Berlin"


def test_only_user_managers_see_and_end_sessions(engine: Engine, clock: MovedClock) -> None:
    who = found(engine, clock, signed_in(engine, clock))
    assert who is not None
    with writing(engine) as session:
        assert [one.user for one in sign_in.active_sessions(session, clock, OPERATOR)] == [NAME]
        with pytest.raises(NotAllowed):
            sign_in.active_sessions(session, clock, who.actor)
        with pytest.raises(NotAllowed):
            sign_in.end_sessions(session, clock, who.actor, 1)
        assert session.exec(select(SignInRow.ended_at)).one() is None


@pytest.mark.parametrize("others", [NAME, "nobody"])  # the same name from the same address, and another name from it
def test_two_first_attempts_at_once_are_both_counted(others: str, postgres: Engine, clock: MovedClock) -> None:
    """The second begins while the first is not committed, and has to wait for it."""
    now, keys = clock.now(), sign_in._throttle_keys(NAME, ADDRESS)
    with ThreadPoolExecutor(1) as pool:
        with writing(postgres) as session:
            assert sign_in._admit(session, now, keys, NAME, ADDRESS) is None
            session.flush()
            second = pool.submit(sign_in.sign_in, postgres, clock, others, "no", ADDRESS)
            assert waits_for_a_lock(postgres, lambda: not second.done())
        assert second.result(60) == Denied("The user name or the password is wrong.")
    with reading(postgres) as session:
        counts = {row.key: row.failures for row in session.exec(select(SignInThrottleRow)).all()}
    assert counts[keys["address"]] == 2 and counts[keys["user"]] == (2 if others == NAME else 1)


def test_guesses_made_at_once_do_not_slip_past_the_slow_down_on_postgresql(postgres: Engine, clock: MovedClock) -> None:
    """Nor does what was counted long ago, which each attempt clears away, keep two from ending."""
    for number in range(8):
        sign_in.sign_in(postgres, clock, f"name {number}", "no", f"192.0.2.{number}")
    clock.move(hours=2)
    with ThreadPoolExecutor(8) as pool:
        guesses = [pool.submit(sign_in.sign_in, postgres, clock, NAME, "no", ADDRESS) for _ in range(12)]
        old = [
            pool.submit(sign_in.sign_in, postgres, clock, f"name {number}", "no", f"192.0.2.{number}")
            for number in range(8)
        ]
        answers = [one.result(60) for one in guesses]
        assert all(isinstance(one.result(60), Denied) for one in old)
    looked_at = [answer for answer in answers if isinstance(answer, Denied) and answer.wait is None]
    assert len(looked_at) == sign_in.FREE_TRIES["user"] + 1


def test_a_name_that_no_database_takes_is_a_wrong_one(postgres: Engine, clock: MovedClock) -> None:
    for name in ("a\0b", "a\udce9"):
        answer = sign_in.sign_in(postgres, clock, name, "x", "10.0.0.1")
        assert isinstance(answer, Denied) and answer.message == "The user name or the password is wrong."
