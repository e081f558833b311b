"""Numbers, times and states as the pages say them. ``abpjobs.js`` says ages and durations in the same words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from ..model import JobPriority

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_PRIORITIES: Final = {
    JobPriority.LOW: "low",
    JobPriority.BELOW_NORMAL: "below normal",
    JobPriority.NORMAL: "normal",
    JobPriority.ABOVE_NORMAL: "above normal",
    JobPriority.HIGH: "high",
}


def number(value: float) -> str:
    """Return a number with its thousands grouped: ``1,204``, ``7.5``."""
    return f"{int(value):,}" if float(value).is_integer() else f"{value:,.10g}"


def count_of(value: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: ``1 job``, ``1,204 jobs``."""
    return f"{number(value)} {one if value == 1 else many or one + 's'}"


def jobs_wait(value: int) -> str:
    """Return a number of waiting jobs as the beginning of a sentence."""
    return f"{count_of(value, 'job')} {'waits' if value == 1 else 'wait'}"


def duration(seconds: float | None) -> str:
    """Return a span of time in its two largest units: ``80 ms``, ``41.3 s``, ``4 min 12 s``."""
    if seconds is None:
        return "unknown"
    seconds = max(0.0, seconds)
    if seconds < 0.1:
        milliseconds = seconds * 1000
        return f"{milliseconds:.0f} ms" if milliseconds >= 1 else f"{milliseconds:.1f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = int(seconds + 0.5)
    for index, (size, unit) in enumerate(_UNITS[:-1]):
        if whole >= size:
            small, small_unit = _UNITS[index + 1]
            rest = whole % size // small
            return f"{whole // size} {unit} {rest} {small_unit}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def span(seconds: float) -> str:
    """Return a span of time in its largest unit: ``14 min``."""
    whole = int(abs(seconds))
    for size, unit in _UNITS:
        if whole >= size:
            return f"{whole // size} {unit}"
    return "0 s"


def age(at: datetime, now: float) -> str:
    """Return how long ago or how far ahead a moment is: ``48 s ago``, ``in 4 min``, ``now``."""
    ahead = at.timestamp() - now
    if abs(ahead) < 1:
        return "now"
    return f"in {span(ahead)}" if ahead > 0 else f"{span(ahead)} ago"


def exact(at: datetime) -> str:
    """Return a moment to the second, for the title of a relative one."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def iso(at: datetime) -> str:
    """Return a moment for a machine, to the millisecond."""
    return f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def clock(at: datetime) -> str:
    """Return the time of day of a moment."""
    return f"{at.astimezone(UTC):%H:%M:%S}"


def size(length: int) -> str:
    """Return a number of bytes."""
    return count_of(length, "byte")


def priority(value: int) -> str:
    """Return a priority by its name, else by its number."""
    try:
        return _PRIORITIES[JobPriority(value)]
    except ValueError:
        return str(value)


def short_id(job_id: str) -> str:
    """Return the end of a job's id, its random part: jobs made in the same moment share the beginning."""
    return job_id if len(job_id) <= 12 else f"…{job_id[-8:]}"


def short_type(name: str) -> str:
    """Return the name of an exception without its module."""
    return name.rpartition(".")[2] or name


def cut(text: str, limit: int) -> str:
    """Return a text of at most ``limit`` characters, marked where it was cut."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
