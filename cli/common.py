"""What every command needs: who acts, the database, times, and how things are printed."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any, NoReturn

from headway.errors import InvalidInput, MachineOnly
from headway.models.values.actor import Actor, Privilege
from headway.models.values.zone import zone
from headway.privileges import OPERATOR
from headway.scheduler.planning.definitions.document import YEARS
from headway.scheduler.planning.local_time import to_utc
from headway.text import printable
from headway.wording import in_zone, in_zone_briefly

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlmodel import Session

    from headway.models.ledger.tables import TaskRow


@dataclass
class _State:
    as_user: str | None = None


STATE = _State()
_MOST_LINES = 4


def fail(message: str, exit_code: int) -> NoReturn:
    """Say what is wrong on stderr and leave."""
    print(printable(message), file=sys.stderr)
    sys.exit(exit_code)


def print_json(document: Any) -> None:
    """One JSON document on stdout; what could steer a terminal is escaped in it, as JSON allows."""
    text = json.dumps(document, ensure_ascii=False, default=str)
    sys.stdout.write("".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text) + "\n")


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], empty: str, *, text: Sequence[str] = ()) -> None:
    """A table that fits the terminal; `empty` says what to do where there are no rows.

    text: the headers of columns that are wrapped where the terminal is wide, and cut where it is not.
    """
    if not rows:
        print(empty)
        return
    shown = [i for i in range(len(headers)) if headers[i] or any(row[i] for row in rows)]
    lines = [[printable(row[i]).replace("\n", " ") for i in shown] for row in [headers, *rows]]
    widths = _widths(lines, [headers[i] in text for i in shown])
    for line in lines:
        cells = [textwrap.wrap(cell, width) or [""] for cell, width in zip(line, widths, strict=True)]
        depth = min(max(len(cell) for cell in cells), _MOST_LINES if wide() else 1)
        for n in range(depth):
            parts = (_cut(cell, n, depth, width) for cell, width in zip(cells, widths, strict=True))
            print("  ".join(f"{part:{width}}" for part, width in zip(parts, widths, strict=True)).rstrip())


def _widths(lines: Sequence[Sequence[str]], wraps: Sequence[bool]) -> list[int]:
    """As wide as the longest cell; columns of text share what is left of the terminal, eight letters at least."""
    widths = [max(1, *(len(cell) for cell in column)) for column in zip(*lines, strict=True)]
    room = shutil.get_terminal_size((160, 50)).columns - 2 * (len(widths) - 1)
    room -= sum(width for width, wrap in zip(widths, wraps, strict=True) if not wrap)
    for count, index in enumerate(sorted((i for i, wrap in enumerate(wraps) if wrap), key=lambda i: widths[i])):
        widths[index] = max(8, min(widths[index], room // (sum(wraps) - count)))
        room -= widths[index]
    return widths


def _cut(lines: Sequence[str], n: int, depth: int, width: int) -> str:
    """The n-th of `depth` lines of a wrapped cell; the last is marked where more would follow."""
    if n >= len(lines):
        return ""
    return lines[n][: width - 1] + "…" if n == depth - 1 and len(lines) > depth else lines[n]


def wide() -> bool:
    """Whether the terminal (or COLUMNS) has room for every column."""
    return shutil.get_terminal_size((160, 50)).columns >= 140


def say(text: str) -> None:
    """A line on stdout, control characters made visible."""
    print(printable(text), flush=True)


def say_it_runs(task: str) -> None:
    say(f"note: '{task}' is running; that run keeps the parameters it started with")


def engine() -> "Engine":
    """The database, made ready if it is new. Unreachable if it is of another version."""
    from headway.scheduler.installation.setup import open_database

    return open_database()


@contextmanager
def write() -> "Iterator[tuple[Session, Actor]]":
    """A write transaction and who acts in it."""
    from headway.models.ledger.database import writing

    with writing(engine()) as session:
        yield session, actor(session)


@contextmanager
def read() -> "Iterator[tuple[Session, Actor]]":
    """A consistent picture and who looks at it."""
    from headway.models.ledger.database import reading

    with reading(engine()) as session:
        yield session, actor(session)


def actor(session: "Session") -> Actor:
    """The user of --as, else the operator of this machine."""
    if STATE.as_user is None:
        return OPERATOR
    from headway.scheduler.usecases.people.people import actor_named

    return actor_named(session, STATE.as_user)


def task_of(session: "Session", actor: Actor, name: str, privilege: Privilege) -> "TaskRow":
    """The task of that name or UID, for an actor with the privilege; without it not even whether there is one."""
    from headway.privileges import require
    from headway.scheduler.usecases.tasks.find_task import find_task

    require(actor, privilege)
    return find_task(session, name)


def machine_only() -> None:
    """Refuse what is for the operator of this machine to an actor with a user's privileges."""
    if STATE.as_user is not None:
        raise MachineOnly(STATE.as_user)


def instant(text: str, timezone: str, option: str) -> datetime:
    """An ISO date or time as an instant; without an offset it is in the zone. InvalidInput names the option."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"{option}: {text!r} is not a date or time; write it like 2026-11-23 or 2026-11-23T08:15 "
            "(with Z or an offset such as -05:00 for another zone)"
        ) from None
    if value.year not in YEARS:
        raise InvalidInput(f"{option}: {text!r}: a year from {YEARS[0]} to {YEARS[-1]} is expected")
    if value.tzinfo is None:
        return to_utc(value, zone(timezone))
    return value.astimezone(UTC)


def midnight(day: date, timezone: str) -> datetime:
    """The start of a local day."""
    return to_utc(datetime.combine(day, time()), zone(timezone))


def brief(moment: datetime | None, timezone: str) -> str:
    """An instant in the zone, as tables show it; short where the terminal is narrow. Empty for None."""
    return in_zone(moment, timezone) if wide() else in_zone_briefly(moment, timezone)
