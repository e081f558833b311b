"""Slots: cron expressions, time zones with their changes, and what becomes of missed slots."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st

from flask_abpjobs import ConfigError
from flask_abpjobs.model import Misfire, RecurringRecord
from flask_abpjobs.recurrence import MACROS, Schedule, find_zone, fire

MINUTE = timedelta(minutes=1)
CHANGES = {
    "America/New_York": (datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC)),
    "Europe/London": (datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "Australia/Lord_Howe": (datetime(2026, 10, 3, 15, 30, tzinfo=UTC), datetime(2026, 4, 4, 15, tzinfo=UTC)),
    "Africa/Cairo": (datetime(2026, 4, 23, 22, tzinfo=UTC), datetime(2026, 10, 29, 21, tzinfo=UTC)),
    "America/Sao_Paulo": (datetime(2018, 11, 4, 3, tzinfo=UTC), datetime(2018, 2, 18, 2, tzinfo=UTC)),
    "Africa/Casablanca": (datetime(2026, 3, 22, 2, tzinfo=UTC), datetime(2026, 2, 15, 2, tzinfo=UTC)),
}
"""Zones with half an hour, with a change at midnight, with a change backwards in spring."""


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def local(schedule: Schedule, after: str, count: int) -> list[str]:
    """Return the next slots as a clock of the zone shows them, with the zone's abbreviation."""
    zone = ZoneInfo(schedule.timezone)
    slots, slot = [], datetime.fromisoformat(after).replace(tzinfo=zone)
    for _ in range(count):
        slot = schedule.next_after(slot)
        slots.append(f"{slot.astimezone(zone):%d %H:%M %Z}")
    return slots


class TestExpressions:
    @pytest.mark.parametrize(
        ("cron", "same"),
        [
            *MACROS.items(),
            ("@Daily", "0 0 * * *"),
            (" 0   3 * * * ", "0 3 * * *"),
            ("0 0 ? * MON", "0 0 * * 1"),
            ("0 22-2 * * *", "0 22,23,0,1,2 * * *"),
            ("0 22-2/2 * * *", "0 22,0,2 * * *"),
            ("50-5 * * * *", "0-5,50-59 * * * *"),
            ("0 0 28-3 * *", "0 0 28,29,30,31,1,2,3 * *"),
            ("0 0 1 NOV-FEB *", "0 0 1 1,2,11,12 *"),
            ("0 0 * * FRI-MON", "0 0 * * 0,1,5,6"),
            ("0 0 * * SAT-SUN", "0 0 * * 6,7"),
            ("0 0 * * 5-7", "0 0 * * 5,6,0"),
            ("0 0 * * 7-2", "0 0 * * 0,1,2"),
            ("58-1 * * * * *", "0,1,58,59 * * * * *"),
        ],
    )
    def test_one_expression_may_be_written_in_several_ways(self, cron: str, same: str) -> None:
        start = at("2026-11-24T15:01:02+00:00")
        slots = itertools.islice(Schedule(cron).between(start, start + timedelta(days=4000)), 20)
        expected = itertools.islice(Schedule(same).between(start, start + timedelta(days=4000)), 20)
        assert list(slots) == list(expected)

    @pytest.mark.parametrize(
        ("cron", "why"),
        [
            ("", "it is empty; use five fields"),
            ("  ", "it is empty"),
            ("every day", "it has 2 fields; use five fields (minute, hour,"),
            ("0 0 0 1 1 * 2026", "it has 7 fields"),
            ("61 * * * *", "bad minute; use"),
            ("* 24 * * *", "bad hour"),
            ("* * 0 * *", "bad day-of-month"),
            ("* * * 13 *", "bad month"),
            ("* * * * 8", "bad day-of-week"),
            ("60 * * * * *", "bad second"),
            ("*/0 * * * *", "bad minute"),
            ("5-3/0 * * * *", "bad minute"),
            ("? * * * *", "bad minute"),
            ("0 0 15W * *", "bad day-of-month"),
            ("0 0 30 2 *", "bad day-of-month"),
            ("0 0 31 2,4,6,9,11 *", "bad day-of-month"),
            ("@dayly", "there is no such macro; use @daily"),
            ("@reboot", "there is no such macro; use"),
            ("1," * 150 + " * * * *", "it has 308 characters; use at most 200"),
            (None, "it is empty"),
        ],
    )
    def test_one_that_cannot_be_used_is_quoted_with_the_reason(self, cron: str, why: str) -> None:
        with pytest.raises(ConfigError) as caught:
            Schedule(cron)
        message = str(caught.value)
        assert message.startswith(f"The cron expression {cron!r:.220} cannot be used: {why}")
        assert message.endswith(".")

    @settings(max_examples=200, deadline=None)
    @given(st.text(alphabet="0123456789*/-,?#LW@ MONJAN", max_size=30))
    def test_any_text_is_used_or_refused_and_nothing_else(self, cron: str) -> None:
        try:
            schedule = Schedule(cron)
        except ConfigError:
            return
        start = at("2026-01-01T00:00:00+00:00")
        assert schedule.next_after(start) > start
        assert schedule.explain()

    def test_it_is_told_in_words(self) -> None:
        assert Schedule("0 0 LW * *").explain() == "At 00:00 on the last weekday of every month"
        assert Schedule("@hourly").explain() == "At the start of every hour"
        assert Schedule("30 3 ? * FRI-MON").explain() == "At 03:30 on Friday, Saturday, Sunday, and Monday"


class TestZones:
    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("europe/istanbul", "Did you mean Europe/Istanbul?"),
            ("Istanbul", "Did you mean Asia/Istanbul or Europe/Istanbul?"),
            ("New York", "Did you mean America/New_York?"),
            ("utc", "Did you mean UTC?"),
            ("Foo/Bar", 'Use an IANA name, such as "Europe/Istanbul".'),
            ("../etc/passwd", 'Use an IANA name, such as "Europe/Istanbul".'),
            ("America", "Use an IANA name"),
            ("", "Use an IANA name"),
            ("\x00", "Use an IANA name"),
            ("/etc/localtime", ""),
        ],
    )
    def test_an_unknown_one_is_refused_with_near_names(self, name: str, hint: str) -> None:
        with pytest.raises(ConfigError) as caught:
            find_zone(name)
        message = str(caught.value)
        assert message.startswith(f"There is no time zone {name!r}. ")
        assert hint in message

    def test_a_time_that_the_clock_jumps_over_comes_once_at_the_end_of_the_jump(self) -> None:
        for cron in ("30 2 * * *", "15 30 2 * * *", "0,15,30,45 2 * * *"):
            schedule = Schedule(cron, "America/New_York")
            assert local(schedule, "2026-03-07 12:00", 1) == ["08 03:00 EDT"]
            assert local(schedule, "2026-03-08 03:00", 1)[0].startswith("09 02:")

    def test_a_time_that_comes_twice_counts_once_the_first_time(self) -> None:
        for cron in ("30 1 * * *", "0 30 1 * * *"):
            schedule = Schedule(cron, "America/New_York")
            assert local(schedule, "2026-10-31 12:00", 3) == ["01 01:30 EDT", "02 01:30 EST", "03 01:30 EST"]

    def test_from_within_the_second_pass_the_first_is_not_due_again(self) -> None:
        schedule = Schedule("30 1 * * *", "America/New_York")
        second_pass = at("2026-11-01T01:10:00-05:00")
        assert schedule.next_after(second_pass) == at("2026-11-02T01:30:00-05:00")

    def test_an_interval_runs_in_both_passes_and_not_within_the_jump(self) -> None:
        schedule = Schedule("*/30 * * * *", "America/New_York")
        assert local(schedule, "2026-11-01 00:45", 5) == [
            *("01 01:00 EDT", "01 01:30 EDT", "01 01:00 EST", "01 01:30 EST", "01 02:00 EST")
        ]
        assert local(schedule, "2026-03-08 01:15", 2) == ["08 01:30 EST", "08 03:00 EDT"]

    def test_an_hourly_job_stays_hourly(self) -> None:
        start = datetime(2026, 1, 1, tzinfo=UTC)
        slots = list(Schedule("@hourly", "America/New_York").between(start, start + timedelta(days=365)))
        assert {after - before for before, after in itertools.pairwise(slots)} == {timedelta(hours=1)}

    def test_a_yearly_interval_passes_changes_of_the_zone(self) -> None:
        schedule = Schedule("*/20 12 1 6 *", "America/New_York")
        assert local(schedule, "2026-06-01 12:40", 2) == ["01 12:00 EDT", "01 12:20 EDT"]

    @pytest.mark.parametrize("zone", CHANGES)
    @pytest.mark.parametrize(
        "cron",
        [
            *(
                "* * * * *",
                "*/7 * * * *",
                "*/30 0 * * *",
                "* 2 * * *",
                "15 */2 * * *",
                "*/45 1-2 * * *",
                "5,35 * * * *",
            ),
            *("30 2 * * *", "0 0 * * *", "15 0-3 * * *", "0,30 0,1,2,3 * * *", "59 23 * * SUN", "45 1 1,8,25,29 * *"),
            *("*/20 1 * * * *", "40 30 1 * * *", "0 15 */3 * * *"),
        ],
    )
    def test_slots_are_those_of_a_walk_over_every_minute_around_a_change(self, zone: str, cron: str) -> None:
        for change in CHANGES[zone]:
            assert ZoneInfo(zone).utcoffset((change - MINUTE).astimezone(ZoneInfo(zone))) != ZoneInfo(zone).utcoffset(
                change.astimezone(ZoneInfo(zone))
            )
            start, end = change - timedelta(hours=30), change + timedelta(hours=30)
            assert list(Schedule(cron, zone).between(start, end)) == list(walked(cron, zone, start, end))

    @settings(max_examples=40, deadline=None)
    @given(
        zone=st.sampled_from(sorted(CHANGES)),
        minute=st.sampled_from(["*", "*/15", "0", "30", "10-50/20", "0,59"]),
        hour=st.sampled_from(["*", "*/6", "0", "1", "2", "3", "0-3", "23", "22-2"]),
        start=st.datetimes(datetime(2020, 1, 1), datetime(2037, 1, 1)),
    )
    def test_and_anywhere_else(self, zone: str, minute: str, hour: str, start: datetime) -> None:
        cron = f"{minute} {hour} * * *"
        first = start.replace(tzinfo=UTC, second=0, microsecond=0)
        last = first + timedelta(days=2)
        assert list(Schedule(cron, zone).between(first, last)) == list(walked(cron, zone, first, last))

    def test_the_last_slot_until_a_moment_is_found_without_counting(self) -> None:
        schedule = Schedule("@every_second")
        start = at("2020-01-01T00:00:00+00:00")
        for seconds in (0, 0.4, 1, 1.999, 86_400 * 365):
            until = start + timedelta(seconds=seconds)
            assert schedule.last_until(start, until) == until.replace(microsecond=0)
        schedule = Schedule("30 1 * * *", "America/New_York")
        slots = list(schedule.between(start, start + timedelta(days=400)))
        for before, after in itertools.pairwise(slots):
            assert schedule.last_until(slots[0], after - timedelta(seconds=1)) == before
            assert schedule.last_until(slots[0], after) == after


def walked(cron: str, zone: str, start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the slots by looking at the clock at every minute, from ``start`` to ``end``, both included."""
    fields = cron.split()
    seconds = matching(fields.pop(0), 0, 59) if len(fields) == 6 else {0}
    minutes, hours = matching(fields[0], 0, 59), matching(fields[1], 0, 23)
    days = matching(fields[2], 1, 31)
    weekdays = {"SUN": {6}, "*": set(range(7))}[fields[4]]
    is_interval = any(field.startswith("*") for field in cron.split()[:-3])
    place = ZoneInfo(zone)

    def matches(reading: datetime) -> bool:
        is_day = reading.day in days and reading.weekday() in weekdays
        return is_day and reading.hour in hours and reading.minute in minutes

    def clock(moment: datetime) -> datetime:
        return moment.astimezone(place).replace(tzinfo=None, fold=0)

    found = set()
    moment = start.replace(second=0, microsecond=0) - timedelta(hours=26)
    seen: set[datetime] = set()
    while moment <= end:
        reading = clock(moment)
        if is_interval or reading not in seen:
            found |= {moment + timedelta(seconds=second) for second in seconds if matches(reading)}
        if not is_interval:
            skipped = clock(moment - MINUTE) + MINUTE
            while skipped < reading:
                if matches(skipped):
                    found.add(moment)
                skipped += MINUTE
        seen.add(reading)
        moment += MINUTE
    yield from sorted(slot for slot in found if start <= slot <= end)


def matching(field: str, first: int, last: int) -> set[int]:
    values: set[int] = set()
    for term in field.split(","):
        span, _, step = term.partition("/")
        low, _, high = span.partition("-")
        if span == "*":
            cycle = list(range(first, last + 1))
        elif not high:
            cycle = [int(low)]
        elif int(low) <= int(high):
            cycle = list(range(int(low), int(high) + 1))
        else:
            cycle = [*range(int(low), last + 1), *range(first, int(high) + 1)]
        values |= set(cycle[:: int(step or 1)])
    return values


class TestMisfires:
    START = at("2026-11-24T12:00:00+00:00")

    def record(self, cron: str, misfire: Misfire, next_at: datetime | None = None) -> RecurringRecord:
        return RecurringRecord(
            id="r",
            name="job",
            cron=cron,
            misfire=misfire,
            payload=b"{}",
            created_at=self.START,
            next_at=next_at or self.START,
        )

    @pytest.mark.parametrize(
        ("cron", "late", "once", "every", "skip"),
        [
            ("* * * * *", 0, 1, 1, 1),  # exactly due
            ("* * * * *", 15, 1, 1, 1),  # a quarter of a minute late
            ("* * * * *", 15.1, 1, 1, 0),
            ("* * * * *", 59.9, 1, 1, 0),
            ("* * * * *", 60, 1, 2, 1),  # the following slot is exactly due, and stands for the missed one
            ("* * * * *", 585, 1, 10, 0),
            ("0 12 * * *", 60, 1, 1, 1),
            ("0 12 * * *", 61, 1, 1, 0),
            ("0 12 * * *", 3 * 86_400 - 1, 1, 3, 0),
            ("* * * * * *", 0.9, 1, 1, 1),
            ("* * * * * *", 3, 4, 4, 4),  # a slow tick is no misfire
            ("* * * * * *", 600, 6, 100, 6),
            ("*/20 * * * * *", 64, 1, 4, 1),
            ("*/20 * * * * *", 66, 1, 4, 0),
        ],
    )
    def test_so_many_runs_of_a_job_that_is_so_late(
        self, cron: str, late: float, once: int, every: int, skip: int
    ) -> None:
        now = self.START + timedelta(seconds=late)
        for misfire, count in ((Misfire.ONCE, once), (Misfire.ALL, every), (Misfire.SKIP, skip)):
            firing = fire(self.record(cron, misfire), now, 100)
            assert len(firing.slots) == count, misfire
            assert list(firing.slots) == sorted(set(firing.slots))
            assert all(self.START <= slot <= now for slot in firing.slots)
            assert firing.next_at == Schedule(cron).next_after(firing.slots[-1] if misfire is Misfire.ALL else now)

    def test_the_one_run_for_all_is_that_of_the_last_slot(self) -> None:
        firing = fire(self.record("0 3 * * *", Misfire.ONCE), self.START + timedelta(days=30), 100)
        assert firing.slots == (at("2026-12-24T03:00:00+00:00"),)

    def test_all_missed_slots_come_in_batches_none_left_out(self) -> None:
        record, now = self.record("* * * * * *", Misfire.ALL), self.START + timedelta(seconds=250)
        slots: list[datetime] = []
        while record.next_at is not None and record.next_at <= now:
            firing = fire(record, now, 100)
            slots += firing.slots
            record = self.record("* * * * * *", Misfire.ALL, firing.next_at)
        assert slots == [self.START + timedelta(seconds=second) for second in range(251)]

    def test_years_of_missed_seconds_are_decided_at_once(self) -> None:
        now = self.START + timedelta(days=4000)
        for misfire in (Misfire.ONCE, Misfire.SKIP):
            assert len(fire(self.record("@every_second", misfire), now, 100).slots) == 6

    def test_a_minute_of_ten_thousand_with_slow_looks_is_neither_missed_nor_doubled(self) -> None:
        record, now = self.record("* * * * *", Misfire.SKIP), self.START
        slots: list[datetime] = []
        for look in range(20_000):
            now += timedelta(seconds=13.7 if look % 50 == 0 else 1.013)
            if record.next_at is not None and record.next_at <= now:
                firing = fire(record, now, 100)
                slots += firing.slots
                record = self.record("* * * * *", Misfire.SKIP, firing.next_at)
        assert slots == [self.START + number * MINUTE for number in range(len(slots))]
        assert len(slots) > 300
