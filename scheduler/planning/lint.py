"""The lint: findings L1 to L8 over 35 days and the DST changes of the coming year."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from headway.models.values.finding import Finding, Level
from headway.models.values.instant import FOREVER
from headway.models.values.schedule import After
from headway.models.values.task import Task
from headway.models.values.window import WindowPolicy
from headway.models.values.zone import zone
from headway.scheduler.planning.definitions.resolved_definitions import ResolvedDefinitions
from headway.scheduler.planning.occurrences import occurrences
from headway.scheduler.planning.windows import Calendar
from headway.wording import clock_time, length_in_words

AHEAD = timedelta(days=35)
_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)
_MOST_PAIRS = 100
Dues = Mapping[int, list[datetime]]
Spans = list[tuple[datetime, datetime, int]]


def lint(resolved: ResolvedDefinitions, now: datetime, *, about: Collection[str] | None = None) -> list[Finding]:
    """Every finding, in the order of their ids, with those of `resolved`.

    about: names of tasks. Collisions and windows (L1, L3) are then looked for only where they concern these.
    """
    named = [task for task in resolved.tasks.values() if about is None or task.name in about]
    dues = _dues(resolved, _ranges(resolved, now), _concerned(resolved, named) if about is not None else None)
    findings = list(resolved.findings)
    findings += _collisions(resolved, dues, now, {task.uid for task in named} if about is not None else None)
    findings += _spacings(resolved)
    findings += _due_in_windows(resolved, dues)
    findings += _windows_needed(resolved, now)
    findings += _exporters(resolved)
    return sorted(findings, key=lambda finding: (finding.id, finding.level is Level.WARNING))


def _ranges(resolved: ResolvedDefinitions, now: datetime) -> list[tuple[datetime, datetime]]:
    """The stretches of time to look at, in order and disjoint."""
    spans = [(now, now + AHEAD)]
    tasks, windows = resolved.tasks.values(), resolved.calendar.windows
    for name in {task.timezone for task in tasks} | {window.timezone for window in windows}:
        spans += [(change - _DAY, change + _DAY) for change in _clock_changes(name, now.date())]
    merged: list[tuple[datetime, datetime]] = []
    for start, end in sorted((max(start, now), end) for start, end in spans if end > now):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


@lru_cache(maxsize=256)
def _clock_changes(timezone: str, today: date) -> tuple[datetime, ...]:
    """Noon of each day of the coming year on which the zone changes its clocks."""
    where = zone(timezone)
    noons = [datetime.combine(today + n * _DAY, time(12), tzinfo=where) for n in range(367)]
    return tuple(
        later.astimezone(UTC)
        for before, later in zip(noons, noons[1:], strict=False)
        if before.utcoffset() != later.utcoffset()
    )


def _dues(
    resolved: ResolvedDefinitions, ranges: list[tuple[datetime, datetime]], only: Collection[int] | None = None
) -> dict[int, list[datetime]]:
    """When each task comes due. For a chain's later step: as if only windows and spacing could delay its chain."""
    dues: dict[int, list[datetime]] = {}
    wanted = resolved.tasks.values() if only is None else [resolved.tasks[uid] for uid in only]
    for task in sorted(wanted, key=lambda task: task.step):
        if not isinstance(task.schedule, After):
            dues[task.uid] = [due for start, end in ranges for due in occurrences(task, start, end)]
        elif task.scheduled:
            before = resolved.tasks[task.schedule.predecessor]
            distance = max(task.schedule.spacing, before.estimate or timedelta(0))
            dues[task.uid] = [_start(before, due, resolved.calendar) + distance for due in dues.get(before.uid, ())]
    return dues


def _start(task: Task, due: datetime, calendar: Calendar) -> datetime:
    clears_at = calendar.clears_at(task.window, task.estimate, due)
    return due if clears_at is None or clears_at == FOREVER else clears_at


# L1


@dataclass
class _Pair:
    first: Task
    second: Task
    dates: list[datetime] = field(default_factory=list)


def _concerned(resolved: ResolvedDefinitions, named: list[Task]) -> set[int]:
    """The UIDs of the tasks whose dues are needed to find what these tasks collide with."""
    groups = {task.group for task in named}
    return _with_predecessors(resolved, [task for task in resolved.tasks.values() if task.group in groups])


def _collisions(
    resolved: ResolvedDefinitions, dues: Dues, now: datetime, only: Collection[int] | None = None
) -> Iterator[Finding]:
    groups: dict[str, list[Task]] = defaultdict(list)
    for task in resolved.tasks.values():
        if dues.get(task.uid):
            groups[task.group].append(task)
    for name, members in groups.items():
        if len(members) < 2:
            continue
        pairs, complete = _pairs(members, dues, only)
        busy = _busy(members, dues) if pairs else []
        for pair in pairs:
            yield _collision(pair, busy, resolved.calendar, now)
        if not complete:
            message = (
                f"group '{name}': more than {_MOST_PAIRS} pairs of its {len(members)} tasks collide; these are the "
                "first of them. Spread the tasks over the day"
            )
            yield Finding("L1", Level.WARNING, (), message)


def _pairs(members: list[Task], dues: Dues, only: Collection[int] | None) -> tuple[list[_Pair], bool]:
    """The pairs that are due in one minute or overlap by estimate, and whether these are all of them.

    only: look for pairs with one of these UIDs.
    """
    near = _nearness(members, dues, only)
    by_due = sorted(
        ((due, task) for task in members for due in dues[task.uid] if near is None or near(due, task)),
        key=lambda one: one[0],
    )
    found: dict[tuple[int, int], _Pair] = {}
    active: list[tuple[datetime, datetime, Task]] = []
    for due, task in by_due:
        minute = due.replace(second=0, microsecond=0)
        active = [one for one in active if one[1] > due or one[0] == minute]
        for _, _, other in active:
            if other.uid == task.uid or (only is not None and task.uid not in only and other.uid not in only):
                continue
            first, second = sorted((other, task), key=lambda one: one.uid)
            pair = found.setdefault((first.uid, second.uid), _Pair(first, second))
            pair.dates.append(due)
            if len(found) > _MOST_PAIRS:
                found.popitem()
                return list(found.values()), False
        active.append((minute, due + (task.estimate or timedelta(0)), task))
    return list(found.values()), True


def _nearness(members: list[Task], dues: Dues, only: Collection[int] | None) -> Callable[[datetime, Task], bool] | None:
    """Whether a due is near enough to one of the tasks `only` to collide; None if `only` is."""
    if only is None:
        return None
    named = [task for task in members if task.uid in only]
    own = sorted(due for task in named for due in dues[task.uid])
    reach = max((task.estimate or _MINUTE for task in named), default=_MINUTE) + _MINUTE

    def near(due: datetime, task: Task) -> bool:
        index = bisect_left(own, due - reach)
        return index < len(own) and own[index] <= due + (task.estimate or _MINUTE) + _MINUTE

    return near


def _busy(members: list[Task], dues: Dues) -> Spans:
    """When each of the group's tasks would be in progress, for a minute at least, in order of the starts."""
    return sorted(
        (due, due + max(one.estimate or _MINUTE, _MINUTE), one.uid) for one in members for due in dues[one.uid]
    )


def _collision(pair: _Pair, busy: Spans, calendar: Calendar, now: datetime) -> Finding:
    task = pair.second
    shown = [clock_time(due, task.timezone) for due in pair.dates[:3]]
    more = f" and {len(pair.dates) - 3} more" if len(pair.dates) > 3 else ""
    slot = _free_slot(task, pair.dates[0], busy, calendar, now)
    advice = f"the nearest free slot is {clock_time(slot, task.timezone)}" if slot else "that day has no free slot"
    message = (
        f"'{pair.first.name}' and '{task.name}' share the group '{task.group}' and would run at the same time on "
        f"{', '.join(shown)}{more}: one waits for the other; {advice}"
    )
    return Finding("L1", Level.WARNING, (pair.first.name, task.name), message)


def _free_slot(task: Task, near: datetime, busy: Spans, calendar: Calendar, now: datetime) -> datetime | None:
    """The start nearest to `near`, within half a day, at which no other task of the group is due or in progress."""
    length = max(task.estimate or _MINUTE, _MINUTE)
    low, high = max(near - _DAY / 2, now), near + _DAY / 2
    near_by = busy[bisect_left(busy, (low - _DAY,)) : bisect_left(busy, (high,))]
    around = [(start, end) for start, end, uid in near_by if uid != task.uid]
    best: datetime | None = None
    free_from = low
    for start, end in [*sorted(around + _closed(task.window, calendar, low, high)), (high, high)]:
        if start - free_from >= length:
            slot = min(max(near, free_from), start - length)
            if best is None or abs(slot - near) < abs(best - near):
                best = slot
        free_from = max(free_from, end)
    return best


def _closed(policy: WindowPolicy, calendar: Calendar, low: datetime, high: datetime) -> list[tuple[datetime, datetime]]:
    """The stretches in which windows keep a task of that policy from running."""
    spans = calendar.every if policy is WindowPolicy.REQUIRE else calendar.reserved
    open_ = [spans.at(low), *spans.between(low, high)]
    windows = [(span.start, span.end) for span in open_ if span is not None]
    if policy is WindowPolicy.AVOID:
        return windows
    if policy is WindowPolicy.ALLOW:
        return []
    edges = [low, *(edge for window in windows for edge in window), high]
    return [(edges[i], edges[i + 1]) for i in range(0, len(edges), 2)]


def nearest_free(
    resolved: ResolvedDefinitions, task: Task, now: datetime, moved: Callable[[timedelta], Task | None]
) -> Task | None:
    """The task, moved by as little as possible, so that it neither collides in its group nor waits for a window.

    moved: makes the task that comes due later or earlier by a length, None if there is none. Tried in steps of five
    minutes, up to half a day either way. None if no step is free on all the days that the lint looks at.
    """
    ranges = _ranges(resolved, now)
    dues = _dues(resolved, ranges, _concerned(resolved, [task]))
    busy = _busy(
        [resolved.tasks[uid] for uid in dues if uid != task.uid and resolved.tasks[uid].group == task.group], dues
    )
    for shift in _free_shifts(dues.get(task.uid, []), task, busy, resolved.calendar):
        other = moved(shift)
        if other is not None and _is_free(other, ranges, busy, resolved.calendar):
            return other
    return None


def _free_shifts(dues: list[datetime], task: Task, busy: Spans, calendar: Calendar) -> list[timedelta]:
    """Shifts that are free if they move every due by the same length, the smallest first.

    They are candidates: over a clock change a moved task does not move every due alike.
    """
    length, half = max(task.estimate or _MINUTE, _MINUTE), int(_DAY / 2 / _MINUTE)
    taken = bytearray(2 * half + 1)
    for due in dues:
        low, high = due - _DAY / 2, due + _DAY / 2 + length
        near_by = [(start, end) for start, end, _ in _near(busy, low, high)]
        for start, end in [*near_by, *_closed(task.window, calendar, low, high)]:
            first = max((start - due - length) // _MINUTE + 1, -half)
            last = min(-((due - end) // _MINUTE) - 1, half)
            if last >= first:
                taken[first + half : last + half + 1] = b"\1" * (last - first + 1)
    return [step * _MINUTE for step in sorted(range(-half, half + 1, 5), key=abs) if step and not taken[step + half]]


def _is_free(task: Task, ranges: list[tuple[datetime, datetime]], busy: Spans, calendar: Calendar) -> bool:
    length = max(task.estimate or _MINUTE, _MINUTE)
    dues = [due for start, end in ranges for due in occurrences(task, start, end)]
    return bool(dues) and not any(
        calendar.clears_at(task.window, task.estimate, due) or any(_near(busy, due, due + length)) for due in dues
    )


def _near(busy: Spans, low: datetime, high: datetime) -> Spans:
    """The spans that overlap `[low, high)`; of a span longer than a day only its first day counts."""
    found = busy[bisect_left(busy, (low - _DAY,)) : bisect_left(busy, (high,))]
    return [one for one in found if one[1] > low]


def _with_predecessors(resolved: ResolvedDefinitions, tasks: list[Task]) -> set[int]:
    """The UIDs of these tasks and of all steps before them."""
    found: set[int] = set()
    for task in tasks:
        at: Task | None = task
        while at is not None and at.uid not in found:
            found.add(at.uid)
            at = resolved.tasks[at.schedule.predecessor] if isinstance(at.schedule, After) else None
    return found


# L2 to L5, L7


def _spacings(resolved: ResolvedDefinitions) -> Iterator[Finding]:
    limits = resolved.limits
    for task in resolved.tasks.values():
        if task.historical or not isinstance(task.schedule, After):
            continue
        spacing, before = task.schedule.spacing, resolved.tasks[task.schedule.predecessor]
        between = f"step {task.step} '{task.name}' starts {length_in_words(spacing)} after '{before.name}'"
        if spacing < limits.min_spacing:
            message = (
                f"{between}: under the minimum of {length_in_words(limits.min_spacing)}; lengthen schedule.spacing"
            )
            yield Finding("L2", Level.ERROR, (task.name,), message)
        elif spacing < limits.recommended_spacing:
            message = f"{between}: {length_in_words(limits.recommended_spacing)} are recommended"
            yield Finding("L2", Level.WARNING, (task.name,), message)


def _due_in_windows(resolved: ResolvedDefinitions, dues: Dues) -> Iterator[Finding]:
    reserved = resolved.calendar.reserved
    for task in resolved.tasks.values():
        if task.window is not WindowPolicy.AVOID:
            continue
        inside = [due for due in dues.get(task.uid, ()) if reserved.at(due) is not None]
        if not inside:
            continue
        first = inside[0]
        window = reserved.at(first)
        clears_at = resolved.calendar.clears_at(task.window, task.estimate, first)
        assert window is not None and clears_at is not None
        often = f" ({len(inside)} times in the days looked at)" if len(inside) > 1 else ""
        if clears_at == FOREVER:
            instead = "it will never start: there is no end of it in sight"
        else:
            instead = f"it will start {clock_time(clears_at, task.timezone)} instead"
        message = (
            f"'{task.name}' comes due {clock_time(first, task.timezone)}, inside the maintenance window "
            f"'{' + '.join(window.names)}'{often}: {instead}"
        )
        yield Finding("L3", Level.WARNING, (task.name,), message)


def _windows_needed(resolved: ResolvedDefinitions, now: datetime) -> Iterator[Finding]:
    for task in resolved.tasks.values():
        if task.historical:
            continue
        if task.window is WindowPolicy.REQUIRE and not resolved.calendar.windows:
            message = f"'{task.name}' must run in a maintenance window, and there is none; define one"
            yield Finding("L4", Level.ERROR, (task.name,), message)
        elif task.estimate is not None and not resolved.calendar.can_ever_fit(task.window, task.estimate, now):
            where = "no maintenance window" if task.window is WindowPolicy.REQUIRE else "no time between windows"
            message = f"'{task.name}' takes about {length_in_words(task.estimate)}: {where} is that long"
            yield Finding("L5", Level.WARNING, (task.name,), message)


def _exporters(resolved: ResolvedDefinitions) -> Iterator[Finding]:
    if resolved.settings.customer_importer_file_path is not None:
        return
    for task in resolved.tasks.values():
        if resolved.types[task.type].exporter and not task.historical:
            message = (
                f"'{task.name}' is an exporter, and no importer path is configured: set "
                r"settings.customer_importer_file_path, with two leading backslashes, such as '\\flexftp\acme\import'"
            )
            yield Finding("L7", Level.ERROR, (task.name,), message)
