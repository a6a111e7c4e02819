"""Maintenance windows: their occurrences, and what these mean for a run's start."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from headway.models.values.instant import FOREVER, LEAVES_AFTER
from headway.models.values.window import Window, WindowPolicy
from headway.models.values.zone import zone
from headway.scheduler.planning.local_time import plain_midnight, to_utc

_DAY = timedelta(days=1)
_TICK = timedelta(microseconds=1)
_FIRST_LOOK = timedelta(days=40)
_LAST_LOOK = timedelta(days=400)


class Occurrence(NamedTuple):
    """One occurrence of a window: `[start, end)` in UTC."""

    start: datetime
    end: datetime
    window: Window
    day: date
    """The local date of its start, by which operators release it."""

    @property
    def reserved(self) -> bool:
        return self.day not in self.window.released


class Span(NamedTuple):
    """Touching or overlapping occurrences as one `[start, end)`."""

    start: datetime
    end: datetime
    names: tuple[str, ...]
    """Of the windows."""
    timezone: str
    """Of the first window."""


def occurrences_of(window: Window, start: datetime, end: datetime) -> Iterator[Occurrence]:
    """The window's occurrences that touch `[start, end)`, in order. One that a DST gap swallows is left out."""
    where = zone(window.timezone)
    day = start.astimezone(where).date() - 2 * _DAY
    last = end.astimezone(where).date()
    overnight = _DAY if window.end <= window.start else timedelta(0)
    after_midnight = _time_of_day(window.start), overnight + _time_of_day(window.end)
    while day <= last:
        if day.weekday() in window.days:
            midnight = plain_midnight(where, day)
            if midnight is not None:
                begins, ends = midnight + after_midnight[0], midnight + after_midnight[1]
            else:
                begins = to_utc(datetime.combine(day, window.start), where)
                ends = to_utc(datetime.combine(day + overnight, window.end), where, later=True)
            if begins < ends and ends > start and begins < end:
                yield Occurrence(begins, ends, window, day)
        day += _DAY


def occurrence_on(window: Window, day: date) -> Occurrence | None:
    """The occurrence that begins on that local day, if there is one."""
    noon = to_utc(datetime.combine(day, time(12)), zone(window.timezone))
    return next((one for one in occurrences_of(window, noon - _DAY, noon + 2 * _DAY) if one.day == day), None)


def _time_of_day(wall: time) -> timedelta:
    return datetime.combine(date.min, wall) - datetime.min


class Spans:
    """Merged occurrences along time, computed as far ahead as they are asked for."""

    def __init__(self, windows: Sequence[Window], *, reserved_only: bool) -> None:
        self._windows = windows
        self._reserved_only = reserved_only
        self._from: datetime | None = None
        self._to = datetime.min.replace(tzinfo=UTC)
        self._low = self._high = self._to  # for an instant between these two there is nothing to compute
        self._spans: list[Span] = []
        self._starts: list[datetime] = []

    def at(self, now: datetime) -> Span | None:
        """The span that `now` is in. The `start` of one that has lasted for days may be later than its real start."""
        if not self._low <= now < self._high:
            self._look(now, now + _DAY)
        index = bisect_right(self._starts, now) - 1
        if index >= 0 and now < self._spans[index].end:
            return self._whole(index)
        return None

    def after(self, now: datetime) -> Span | None:
        """The first span that begins later than `now`."""
        if self._low <= now < self._high:
            index = bisect_right(self._starts, now)
            if index < len(self._starts) and self._spans[index].end < self._to:
                return self._spans[index]
        for span in self.between(now, now + _LAST_LOOK):
            return span
        return None

    def between(self, start: datetime, end: datetime) -> Iterator[Span]:
        """The spans that begin in `(start, end]`, in order."""
        if not self._windows:
            return
        self._look(start, start + _DAY)
        index = bisect_right(self._starts, start)
        while True:
            while index >= len(self._starts):
                if self._to > end + _DAY or not self._look_further():
                    return
                index = bisect_right(self._starts, start)
            if self._starts[index] > end:
                return
            span = self._whole(index)
            yield span
            start = span.start
            index = bisect_right(self._starts, start)

    def stretches(self, start: datetime, end: datetime) -> Iterator[tuple[datetime, timedelta]]:
        """The free stretches that begin in `(start, end]`: where each begins and how long it is."""
        inside = self.at(start)
        before = inside.end if inside else None
        for span in self.between(start, end + _LAST_LOOK):
            if before is not None:
                if before > end:
                    return
                yield before, span.start - before
            before = span.end
        if before is not None and start < before <= end:
            yield before, FOREVER - before

    def _whole(self, index: int) -> Span:
        """The span at `index`, after a look far enough ahead that its end is its real one."""
        start = self._starts[index]
        while self._spans[index].end >= self._to and self._look_further():
            index = bisect_left(self._starts, start)
        span = self._spans[index]
        return span if span.end < self._to else span._replace(end=FOREVER)

    def _look(self, start: datetime, end: datetime) -> None:
        if self._from is None or start < self._from + 2 * _DAY:
            self._build(start - 4 * _DAY, max(self._to, end + _FIRST_LOOK))
        elif end > self._to:
            self._build(self._from, end + (end - self._from))

    def _look_further(self) -> bool:
        """Look twice as far ahead; False if nothing more can come."""
        assert self._from is not None
        if not self._windows or self._to - self._from > 2 * _LAST_LOOK:
            return False
        self._build(self._from, self._to + max(self._to - self._from, _FIRST_LOOK))
        return True

    def _build(self, start: datetime, end: datetime) -> None:
        self._from, self._to = start, end
        self._low, self._high = start + 2 * _DAY, end - _DAY
        found = [
            occurrence
            for window in self._windows
            for occurrence in occurrences_of(window, start, end)
            if occurrence.reserved or not self._reserved_only
        ]
        found.sort(key=lambda occurrence: occurrence[:2])
        self._spans = merge(found)
        self._starts = [span.start for span in self._spans]


def merge(occurrences: Sequence[Occurrence]) -> list[Span]:
    """The spans of occurrences given in order of their starts."""
    spans: list[Span] = []
    for one in occurrences:
        if spans and one.start <= spans[-1].end:
            last = spans[-1]
            names = last.names if one.window.name in last.names else (*last.names, one.window.name)
            spans[-1] = last._replace(end=max(last.end, one.end), names=names)
        else:
            spans.append(Span(one.start, one.end, (one.window.name,), one.window.timezone))
    return spans


class Calendar:
    """All maintenance windows, with the answers that the `window` rule needs. Immutable but for its caches."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self.windows = tuple(windows)
        self.reserved = Spans(self.windows, reserved_only=True)
        self.every = Spans(self.windows, reserved_only=False)
        self._verdicts: tuple[datetime, dict[tuple[bool, timedelta | None], datetime | None]] = FOREVER, {}

    def next_edge(self, now: datetime) -> datetime | None:
        """The first instant after `now` at which any span, reserved or not, begins or ends."""
        edges = []
        for spans in (self.reserved, self.every):
            inside = spans.at(now)
            if inside is not None:
                edges.append(inside.end)
            following = spans.after(now)
            if following is not None:
                edges.append(following.start)
        return min((edge for edge in edges if edge != FOREVER), default=None)

    def clears_at(self, policy: WindowPolicy, estimate: timedelta | None, now: datetime) -> datetime | None:
        """The first instant at which the policy lets a run start, or FOREVER; None if that is now."""
        if policy is WindowPolicy.ALLOW:
            return None
        at, verdicts = self._verdicts  # many runs are judged at one instant
        if at != now:
            verdicts = {}
            self._verdicts = now, verdicts
        avoids = policy is WindowPolicy.AVOID
        try:
            return verdicts[avoids, estimate]
        except KeyError:
            judge = self._avoid_clears_at if avoids else self._require_clears_at
            verdict = verdicts[avoids, estimate] = judge(estimate, now)
            return verdict

    def _avoid_clears_at(self, estimate: timedelta | None, now: datetime) -> datetime | None:
        inside = self.reserved.at(now)
        start = now
        if inside is not None:
            start = inside.end
            if start == FOREVER:
                return FOREVER
        elif estimate is None:
            return None
        if estimate is not None:
            following = self.reserved.after(start)
            if following is not None and start + estimate > following.start:
                long = self._long_stretch(estimate, start)
                start = long if long is not None else start
        return start if start != now else None

    def _require_clears_at(self, estimate: timedelta | None, now: datetime) -> datetime | None:
        span = self.every.at(now)
        start = now
        if span is None:
            span = self.every.after(now)
            if span is None:
                return FOREVER
            start = span.start
        if estimate is not None and start + estimate > span.end:
            long = self._long_span(estimate, start)
            start = long if long is not None else start
        return start if start != now else None

    def _long_stretch(self, estimate: timedelta, now: datetime) -> datetime | None:
        for begins, length in self.reserved.stretches(now, now + LEAVES_AFTER):
            if length >= estimate:
                return begins
        return None

    def _long_span(self, estimate: timedelta, now: datetime) -> datetime | None:
        for span in self.every.between(now, now + LEAVES_AFTER):
            if span.end - span.start >= estimate:
                return span.start
        return None

    def look_again_at(self, policy: WindowPolicy, estimate: timedelta | None, now: datetime) -> datetime:
        """For a run that the policy lets start now: the first instant at which it may not."""
        if policy is WindowPolicy.ALLOW:
            return FOREVER
        if policy is WindowPolicy.AVOID:
            following = self.reserved.after(now)
            edge = following.start if following else FOREVER
        else:
            span = self.every.at(now)
            edge = span.end if span else now
        if estimate is None or edge == FOREVER:
            return edge
        if now + estimate <= edge:
            return edge - estimate + _TICK
        return min(edge, self._waiver_ends_at(policy, estimate, now, edge))

    def _waiver_ends_at(self, policy: WindowPolicy, estimate: timedelta, now: datetime, edge: datetime) -> datetime:
        """When a long enough stretch or window comes within the 192 hours that the rule looks ahead.

        Until then the rule lets the run start although it is too long.
        """
        start, end = now + LEAVES_AFTER, edge + LEAVES_AFTER
        if policy is WindowPolicy.AVOID:
            begins = (at for at, length in self.reserved.stretches(start, end) if length >= estimate)
        else:
            begins = (s.start for s in self.every.between(start, end) if s.end - s.start >= estimate)
        first = next(begins, None)
        return FOREVER if first is None else first - LEAVES_AFTER

    def can_ever_fit(self, policy: WindowPolicy, estimate: timedelta, now: datetime) -> bool:
        """Whether any free stretch (avoid) or window (require) of the next 192 hours is that long."""
        if policy is WindowPolicy.ALLOW:
            return True
        if policy is WindowPolicy.REQUIRE:
            span = self.every.at(now)
            fits_now = span is not None and now + estimate <= span.end
            return fits_now or self._long_span(estimate, now) is not None
        if self.reserved.at(now) is None:
            following = self.reserved.after(now)
            if following is None or now + estimate <= following.start:
                return True
        return self._long_stretch(estimate, now) is not None
