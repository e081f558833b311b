"""Moments: aware times in Python, epoch seconds in storage."""

from __future__ import annotations

from datetime import UTC, datetime


def moment_of(seconds: float) -> datetime:
    """Return epoch seconds as an aware time."""
    return datetime.fromtimestamp(seconds, UTC)


def time_of(seconds: float | None) -> datetime | None:
    """Return epoch seconds as an aware time, and ``None`` as it is."""
    return None if seconds is None else moment_of(seconds)


def seconds_of(time: datetime | None) -> float | None:
    """Return an aware time as epoch seconds, and ``None`` as it is."""
    return None if time is None else time.timestamp()
