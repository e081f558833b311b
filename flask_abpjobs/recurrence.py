"""When a recurring job is due: cron expressions, time zones, and what becomes of slots that were missed.

A slot is a moment at which a cron expression asks for a run, always a whole second. Around changes of the clock the
rules are those of Debian's cron and of Cronos, which Hangfire uses:

* An expression that names its times, such as ``30 2 * * *``, runs once for each of them. A time that the clock jumps
  over comes at the end of the jump; of a time that comes twice the first counts.
* One whose second, minute or hour starts with ``*``, such as ``*/30 * * * *``, runs whenever the clock shows it: not
  within the jump, and in both passes of an hour that comes twice.
"""

from __future__ import annotations

import calendar
import difflib
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

import msgspec
from cronsim import CronSim, CronSimError

from .errors import ConfigError
from .model import Misfire, RecurringRecord

MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
    "@every_minute": "* * * * *",
    "@every_second": "* * * * * *",
}
MAX_LENGTH: Final = 200
"""Characters of an expression."""
MIN_GRACE: Final = timedelta(seconds=5)
MAX_GRACE: Final = timedelta(seconds=60)
"""A run that begins a quarter of the time to the following slot late, within these bounds, is late but not missed."""

_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)
_DAY_FIELDS: Final = (3, 5)
_MONTHS: Final = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if number}
_WEEKDAYS: Final = {name: number for number, name in enumerate("SUN MON TUE WED THU FRI SAT".split())}
_RANGES: Final[tuple[tuple[int, int, dict[str, int]], ...]] = (
    (0, 59, {}),
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, _MONTHS),
    (0, 6, _WEEKDAYS),
)
"""First and last value and the names of each field: second, minute, hour, day of month, month, day of week."""


class Schedule:
    """The slots of one cron expression in one time zone.

    :param cron: five fields, six with the second first, or a macro such as ``@daily``.
    :param timezone: an IANA name.
    :raises ConfigError: the expression or the zone cannot be used; the message says why.
    """

    def __init__(self, cron: str, timezone: str = "UTC") -> None:
        self.cron = cron
        self.timezone = timezone
        self._zone = find_zone(timezone)
        self._fields = _expanded(cron)
        self._expression = " ".join(self._fields)
        self._is_interval = any(field.startswith("*") for field in self._fields[:3])
        try:
            next(CronSim(self._expression, datetime(2000, 1, 1)))
        except CronSimError as error:
            raise _wrong(cron, f"{str(error).lower()}; {_ADVICE}") from error
        except StopIteration:
            raise _wrong(cron, "no such day comes within 50 years; choose another day or month") from None

    def next_after(self, moment: datetime) -> datetime:
        """Return the first slot after an aware moment, in UTC."""
        start = moment.astimezone(UTC).replace(microsecond=0)
        return self._next_of_interval(start) if self._is_interval else self._next_of_times(start)

    def first_at(self, moment: datetime) -> datetime:
        """Return the first slot at or after an aware moment, in UTC."""
        return self.next_after(moment.astimezone(UTC) - timedelta(microseconds=1))

    def between(self, first: datetime, last: datetime) -> Iterator[datetime]:
        """Yield the slots from ``first`` to ``last``, both included, in UTC. There may be very many."""
        slot = self.first_at(first)
        while slot <= last:
            yield slot
            slot = self.next_after(slot)

    def last_until(self, slot: datetime, until: datetime) -> datetime:
        """Return the last slot that is not after ``until``, by halving the time and not by counting.

        :param slot: one that is not after ``until``.
        """
        after = until + _SECOND
        while after - slot > _SECOND:
            middle = slot + (after - slot) / 2
            found = self.next_after(middle)
            if found <= until:
                slot = found
            else:
                after = middle
        following = self.next_after(slot)
        return following if following <= until else slot

    def explain(self) -> str:
        """Return the expression in English words."""
        words: str = CronSim(self._expression, datetime(2000, 1, 1)).explain()
        return words

    def _next_of_times(self, start: datetime) -> datetime:
        """The clock's readings in order, each at its first moment, or at the end of the jump that leaves it out."""
        for reading in _readings(self._expression, _clock(start, self._zone)):
            moment = _first_moment(reading, self._zone)
            if moment > start:
                return moment
        raise self._exhausted()

    def _next_of_interval(self, start: datetime) -> datetime:
        """Between two changes of the zone the clock runs evenly, so each such piece is walked by the clock."""
        while True:
            offset = _offset(start + _SECOND, self._zone)
            reading = next(_readings(self._expression, (start + offset).replace(tzinfo=None)), None)
            if reading is None:
                raise self._exhausted()
            slot = reading.replace(tzinfo=UTC) - offset
            change = _first_change(start + _SECOND, slot, self._zone)
            if change is None:
                return slot
            start = change - _SECOND

    def _exhausted(self) -> ConfigError:
        return _wrong(self.cron, "it has no further slot within 50 years; choose another day or month")


class Firing(msgspec.Struct, frozen=True):
    """What a recurring job that is due does now."""

    slots: tuple[datetime, ...]
    """Those to run, oldest first."""
    next_at: datetime
    """The slot to wait for. It may be in the past: then there are more to run."""


def fire(record: RecurringRecord, now: datetime, limit: int) -> Firing:
    """Decide which slots of a due recurring job run.

    A slot counts as missed when more than a quarter of the time to the following slot has passed since, at least
    :data:`MIN_GRACE` and at most :data:`MAX_GRACE`. What becomes of missed slots is the record's ``misfire``: with
    ``once``, one run stands for all of them, and a run that is due now is that one.

    :param record: its ``next_at`` is not after ``now``.
    :param limit: the most slots to return; slots beyond it are left for the next time.
    :raises ConfigError: the cron expression or the time zone cannot be used.
    """
    schedule = Schedule(record.cron, record.timezone)
    due = record.next_at
    assert due is not None, "only a due record fires"
    if record.misfire is Misfire.ALL:
        slots = [due]
        following = schedule.next_after(due)
        while following <= now and len(slots) < limit:
            slots.append(following)
            following = schedule.next_after(following)
        return Firing(tuple(slots), following)
    last = schedule.last_until(due, now)
    following = schedule.next_after(last)
    if now - last > _grace(following - last):
        return Firing((last,) if record.misfire is Misfire.ONCE else (), following)
    # An earlier slot can only be within its grace when it is within the least: its following slot has come already
    fresh = [slot for slot in schedule.between(max(due, now - MIN_GRACE), last) if slot != last]
    return Firing((*fresh, last)[-limit:], following)


def find_zone(name: str) -> tzinfo:
    """Return a time zone by its IANA name.

    :raises ConfigError: there is none; the message names similar ones.
    """
    if name == "UTC":
        return UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError, TypeError) as error:
        near = _near_zones(str(name))
        hint = f"Did you mean {' or '.join(near)}?" if near else 'Use an IANA name, such as "Europe/Istanbul".'
        raise ConfigError(f"There is no time zone {name!r:.100}. {hint}") from error


def _near_zones(name: str) -> list[str]:
    known = {zone.lower(): zone for zone in sorted(zoneinfo.available_timezones())}
    wanted = name.lower().replace(" ", "_")
    if wanted in known:
        return [known[wanted]]
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.8)
    cities = difflib.get_close_matches(wanted, {zone.rpartition("/")[2] for zone in known}, n=1, cutoff=0.8)
    near += [zone for zone in known if zone.rpartition("/")[2] in cities]
    return [known[zone] for zone in dict.fromkeys(near)][:3]


_ADVICE: Final = (
    "use five fields (minute, hour, day of month, month, day of week), six with the second first, or one of "
    f"{', '.join(MACROS)}"
)


def _wrong(cron: object, why: str) -> ConfigError:
    return ConfigError(f"The cron expression {cron!r:.220} cannot be used: {why}.")


def _expanded(cron: str) -> list[str]:
    """Return six fields as CronSim reads them."""
    if not isinstance(cron, str) or not cron.strip():
        raise _wrong(cron, f"it is empty; {_ADVICE}")
    if len(cron) > MAX_LENGTH:
        raise _wrong(cron, f"it has {len(cron)} characters; use at most {MAX_LENGTH}")
    text = cron.strip()
    if text.startswith("@"):
        if text.lower() not in MACROS:
            near = difflib.get_close_matches(text.lower(), MACROS, n=1, cutoff=0.6)
            raise _wrong(cron, f"there is no such macro; {f'use {near[0]}' if near else _ADVICE}")
        text = MACROS[text.lower()]
    fields = text.upper().split()
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != 6:
        raise _wrong(cron, f"it has {len(fields)} fields; {_ADVICE}")
    return [_as_known(field, number) for number, field in enumerate(fields)]


def _as_known(field: str, number: int) -> str:
    """Write what CronSim does not know in its own terms: ``?``, and ranges that go over the end, such as ``22-2``."""
    if field == "?" and number in _DAY_FIELDS:
        return "*"
    return ",".join(_unwrapped(term, number) for term in field.split(","))


def _unwrapped(term: str, number: int) -> str:
    first, last, names = _RANGES[number]
    span, slash, step = term.partition("/")
    start, dash, end = (str(names.get(part, part)) for part in span.partition("-"))
    if not dash or not start.isdecimal() or not end.isdecimal():
        return term
    low, high = int(start), int(end)
    if low <= high:
        return term
    if number == 5 and low == 7:  # Sunday once more
        return f"0-{high}{slash}{step}"
    if low > last or high < first:
        return term  # CronSim says what is wrong with it
    values = [*range(low, last + 1), *range(first, high + 1)]
    if slash:
        return ",".join(map(str, values[:: int(step)])) if step.isdecimal() and int(step) else term
    return f"{low}-{last},{first}-{high}"


def _grace(interval: timedelta) -> timedelta:
    return min(max(interval / 4, MIN_GRACE), MAX_GRACE)


# The clock of a zone. All moments are aware UTC, all readings naive.


def _readings(expression: str, after: datetime) -> Iterator[datetime]:
    """Yield what a clock without changes shows at each slot after a reading."""
    return iter(CronSim(expression, after))


def _clock(moment: datetime, zone: tzinfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _offset(moment: datetime, zone: tzinfo) -> timedelta:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def _first_moment(reading: datetime, zone: tzinfo) -> datetime:
    moment = reading.replace(tzinfo=zone).astimezone(UTC)
    if _clock(moment, zone) == reading:
        return moment
    # The clock jumps over it. Read with the offset from before the jump, the moment lies after it; with the one from
    # after the jump, before it.
    early = reading.replace(tzinfo=zone, fold=1).astimezone(UTC)
    change = _first_change(early, moment, zone)
    return moment if change is None else change


def _first_change(start: datetime, end: datetime, zone: tzinfo) -> datetime | None:
    """Return the first moment after ``start`` and up to ``end`` with another offset than ``start``, a whole second.

    It looks once a day: no zone goes forth and back within one.
    """
    if zone is UTC:
        return None
    offset = _offset(start, zone)
    low = start
    while low < end:
        high = min(low + _DAY, end)
        if _offset(high, zone) != offset:
            while high - low > _SECOND:
                middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
                if _offset(middle, zone) == offset:
                    low = middle
                else:
                    high = middle
            return high
        low = high
    return None
