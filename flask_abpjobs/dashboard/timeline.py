"""How a job's time was spent: the legs between its states."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from ..model import FINISHED, JobState, StateEntry
from . import words

MAX_SHOWN: Final = 40
_WIDTH: Final = 1000
_AT_ONCE: Final = 0.05


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A state a job came into, and how long it stayed."""

    state: JobState
    tone: str
    at: datetime
    note: str
    leg: str
    """How long it stayed, in words; empty where it has ended."""
    since: datetime | None
    """When a leg that still goes on began."""


class Bar(msgspec.Struct, frozen=True):
    """A piece of the share bar."""

    tone: str
    start: int
    width: int


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """All legs, and what they add up to."""

    steps: tuple[Step, ...]
    older: int
    """Steps before those."""
    bars: tuple[Bar, ...]
    summary: str
    total: str
    width: int = _WIDTH


def timeline_of(history: Sequence[StateEntry], now: float) -> Timeline:
    """Return the timeline of a job.

    :param history: oldest first.
    :param now: epoch seconds.
    """
    ends = [*(entry.at for entry in history[1:]), datetime.fromtimestamp(now, UTC)]
    steps: list[Step] = []
    shares: list[tuple[str, float]] = []
    ran = waited = 0.0
    for index, (entry, end) in enumerate(zip(history, ends, strict=False)):
        is_last = index == len(history) - 1
        seconds = max(0.0, (end - entry.at).total_seconds())
        following = None if is_last else history[index + 1]
        if entry.state is JobState.PROCESSING:
            ran += seconds
        elif entry.state not in FINISHED:
            waited += seconds
        if entry.state not in FINISHED and seconds > 0:
            shares.append((_share_tone(entry, following), seconds))
        goes_on = is_last and entry.state not in FINISHED
        steps.append(
            Step(
                state=entry.state,
                tone=_step_tone(entry),
                at=entry.at,
                note=_note(entry),
                leg="" if is_last and not goes_on else _leg(entry.state, seconds, goes_on=goes_on),
                since=entry.at if goes_on else None,
            )
        )
    is_over = bool(history) and history[-1].state in FINISHED
    return Timeline(
        steps=tuple(steps[-MAX_SHOWN:]),
        older=max(0, len(steps) - MAX_SHOWN),
        bars=_bars(shares),
        summary=f"Ran {words.duration(ran)}, waited {words.duration(waited)}",
        total=f"{words.duration(ran + waited)}{'' if is_over else ' so far'}",
    )


def _leg(state: JobState, seconds: float, *, goes_on: bool) -> str:
    doing = "running" if state is JobState.PROCESSING else "waiting"
    if goes_on:
        return f"{words.duration(seconds)} and {doing}"
    if seconds < _AT_ONCE:
        return "at once"
    return f"{words.duration(seconds)} {'later' if state in FINISHED else doing}"


def _step_tone(entry: StateEntry) -> str:
    return "retrying" if entry.state is JobState.SCHEDULED and entry.data.get("error_type") else entry.state.value


def _share_tone(entry: StateEntry, following: StateEntry | None) -> str:
    if entry.state is not JobState.PROCESSING or following is None:
        return entry.state.value
    if following.state is JobState.SUCCEEDED:
        return "succeeded"
    return "failed" if following.data.get("error_type") else "processing"


def _note(entry: StateEntry) -> str:
    data = entry.data
    by = f" by {data['by']}" if data.get("by") else ""
    match entry.state:
        case JobState.ENQUEUED:
            place = f"in {data['queue']}{by}" if data.get("queue") else by.strip()
            return f"{entry.reason}, {place}" if entry.reason and place else entry.reason or _sentence(place)
        case JobState.PROCESSING:
            server = f" on {data['server']}" if data.get("server") else ""
            return f"Attempt {data['attempt']}{server}" if data.get("attempt") else server.strip()
        case JobState.SCHEDULED:
            due = data.get("due_at")
            text = "" if due is None else _due(datetime.fromtimestamp(float(due), UTC), entry.at)
            why = words.short_type(str(data.get("error_type") or "")) or entry.reason or ""
            return ", ".join(part for part in (why, text) if part) if why else _sentence(text)
        case JobState.FAILED:
            return words.short_type(str(data.get("error_type") or "")) or entry.reason or ""
        case _:
            return f"{entry.reason or ''}{f', {by.strip()}' if entry.reason and by else by.strip()}"


def _due(due: datetime, at: datetime) -> str:
    return f"due {words.clock(due) if due.date() == at.astimezone(UTC).date() else words.exact(due)}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _bars(shares: Sequence[tuple[str, float]]) -> tuple[Bar, ...]:
    total = sum(seconds for _, seconds in shares)
    bars: list[Bar] = []
    place = 0.0
    for tone, seconds in shares:
        width = seconds / total * _WIDTH
        if width >= 4:  # thinner than a hair on the screen
            bars.append(Bar(tone, round(place), max(3, round(width) - 4)))
        place += width
    return tuple(bars)
