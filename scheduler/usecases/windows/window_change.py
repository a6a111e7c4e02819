"""What a change of the maintenance windows would move: the forecast before and after it, side by side."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlmodel import Session

from headway.clock import Clock
from headway.errors import InvalidInput
from headway.models.values.actor import Actor, Privilege
from headway.models.values.rule import RuleId
from headway.models.values.run import Trigger
from headway.models.values.task import Task
from headway.privileges import require
from headway.scheduler.planning.board import next_steps
from headway.scheduler.planning.definitions.document import WindowSection
from headway.scheduler.planning.forecast.planned import Planned
from headway.scheduler.planning.windows import Calendar, Occurrence, occurrence_on
from headway.scheduler.store.boards import load_board
from headway.scheduler.store.settings import load_windows
from headway.scheduler.store.tasks import Catalog, load_catalog
from headway.scheduler.usecases.ahead.look_ahead import from_now, reach

_WEEK = timedelta(days=8)
_DAY = timedelta(days=1)
_SHARE = 1.5  # an operator who changes a window waits a moment for two forecasts rather than guess


@dataclass(kw_only=True, frozen=True)
class Moved:
    """One run whose start a change moves. before, after: None where the run does not start at all.

    reason: the window that holds it, without the change or with it; else whatever else does.
    """

    task: str
    uid: int
    type: str
    due_at: datetime
    before: datetime | None
    after: datetime | None
    reason: str


@dataclass(frozen=True)
class Preview:
    """What a change moves among the `runs` that are forecast until `until`.

    whole: False where that is short of what was asked for, so more runs may move than are listed.
    """

    moved: list[Moved]
    runs: int
    until: datetime
    whole: bool = True


def preview_windows(
    session: Session,
    clock: Clock,
    actor: Actor,
    windows: Sequence[WindowSection],
    *,
    until: datetime | None = None,
    catalog: Catalog | None = None,
) -> Preview:
    """What would move if these were all the windows. until: how far to look, some eight days if None.

    With very many tasks it looks less far: `Preview.whole` is False then.
    """
    require(actor, Privilege.MANAGE)
    now = clock.now()
    catalog = load_catalog(session, catalog)
    wanted = until or now + _WEEK
    until = min(wanted, now + reach(catalog, share=_SHARE))
    calendar = Calendar([section.window(catalog.resolved.settings.timezone) for section in windows])
    loaded = load_board(session, catalog, now, whole=True)
    before = _by_key(from_now(catalog, loaded, now, until), catalog.tasks)
    after = _by_key(from_now(catalog, loaded, now, until, calendar), catalog.tasks)
    moved = [
        _moved(before.get(key), after.get(key))
        for key in {**before, **after}
        if _start(before.get(key)) != _start(after.get(key))
    ]
    moved.sort(key=lambda one: (one.before or one.after or one.due_at, one.uid))
    return Preview(moved, len(before), until, until >= wanted)


def preview_release(
    session: Session, clock: Clock, actor: Actor, name: str, day: date, *, reserve: bool, catalog: Catalog | None = None
) -> Preview:
    """As `preview_windows`, for the release (or reserving) of the window's occurrence of that local day."""
    require(actor, Privilege.MANAGE)
    catalog = load_catalog(session, catalog)
    one = _occurrence(catalog, name, day)
    windows = []
    for section in load_windows(session):
        if section.name == name:
            days = set(section.released) - {day} if reserve else {*section.released, day}
            section = section.model_copy(update={"released": sorted(days)})
        windows.append(section)
    return preview_windows(session, clock, actor, windows, until=one.end + _DAY, catalog=catalog)


def _occurrence(catalog: Catalog, name: str, day: date) -> Occurrence:
    window = next((one for one in catalog.resolved.calendar.windows if one.name == name), None)
    if window is None:
        raise InvalidInput(f"there is no maintenance window '{name}' any more: reload the page")
    found = occurrence_on(window, day)
    if found is None:
        raise InvalidInput(f"'{name}' has no occurrence on {day:%a %Y-%m-%d}: reload the page to see those it has")
    return found


def _by_key(rows: Sequence[Planned], tasks: Mapping[int, Task]) -> dict[Hashable, Planned]:
    """The rows by what makes them the same run in two forecasts.

    A chain's step has no due of its own: it is known by the run that it follows.
    """
    made_by = {
        (step.task.uid, step.due_at): row
        for row in rows
        if row.task.successors and row.started_at is not None and row.outcome == "planned"
        for step in next_steps(row, tasks)
    }

    def key(row: Planned) -> Hashable:
        if row.id:
            return row.id
        before = made_by.get((row.task.uid, row.due_at)) if row.trigger is Trigger.CHAIN else None
        return row.task.uid, row.due_at if before is None else key(before)

    return {key(row): row for row in rows}


def _start(row: Planned | None) -> datetime | None:
    return row.started_at if row is not None and row.outcome == "planned" else None


def _moved(before: Planned | None, after: Planned | None) -> Moved:
    row = before or after
    assert row is not None
    told = [hold for one in (before, after) if one is not None for hold in one.holds if hold.rule is RuleId.WINDOW]
    others = [hold for one in (after, before) if one is not None for hold in one.holds]
    reasons = dict.fromkeys(hold.reason for hold in [*told, *others])
    return Moved(
        task=row.task.name,
        uid=row.task.uid,
        type=row.task.type,
        due_at=row.due_at,
        before=_start(before),
        after=_start(after),
        reason=next(iter(reasons), ""),
    )
