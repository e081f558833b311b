"""The attempts of a job, put together from its history and its log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

import msgspec

from ..model import JobState, LogLine, StateEntry
from .tracebacks import Traceback, read_traceback

MAX_SHOWN: Final = 20
MAX_LINES: Final = 200


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to run a job."""

    title: str
    state: str
    """How it ended, or ``processing``; the tone of its badge."""
    word: str
    began_at: datetime | None
    """``None`` when the job failed before a worker began it."""
    ended_at: datetime | None
    duration: float | None
    place: str
    """Server and worker, as far as known."""
    note: str | None
    error_type: str | None
    error_message: str | None
    traceback: Traceback | None
    lines: tuple[LogLine, ...]
    lines_hidden: int

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.began_at is not None and self.ended_at is None


class _Span(msgspec.Struct, frozen=True):
    number: int
    begun: StateEntry | None
    end: StateEntry | None

    def holds(self, line: LogLine) -> bool:
        return self.begun is not None and self.number == line.attempt and self.begun.at <= line.at


def attempts_of(history: Sequence[StateEntry], lines: Sequence[LogLine]) -> tuple[list[Attempt], int]:
    """Return a job's newest attempts, newest first, and how many older ones are not shown.

    :param history: oldest first; it may have lost its beginning.
    :param lines: oldest first. An attempt that was given back has its number again; its lines are told by their time.
    """
    spans = list(_spans(history))
    by_span: list[list[LogLine]] = [[] for _ in spans]
    for line in lines:
        holders = [index for index, span in enumerate(spans) if span.holds(line)]
        same = [index for index, span in enumerate(spans) if span.begun is not None and span.number == line.attempt]
        if holders or same:
            by_span[holders[-1] if holders else same[0]].append(line)
    attempts = [_attempt(span, its_lines) for span, its_lines in zip(spans, by_span, strict=True)]
    attempts.reverse()
    return attempts[:MAX_SHOWN], max(0, len(attempts) - MAX_SHOWN)


def _spans(history: Sequence[StateEntry]) -> Iterator[_Span]:
    begun: StateEntry | None = None
    number = 0
    for entry in history:
        if begun is not None:
            yield _Span(number, begun, entry)
            begun = None
        elif entry.state is JobState.FAILED:
            yield _Span(number, None, entry)
        if entry.state is JobState.PROCESSING:
            begun, number = entry, int(entry.data.get("attempt") or number + 1)
    if begun is not None:
        yield _Span(number, begun, None)


def _attempt(span: _Span, lines: Sequence[LogLine]) -> Attempt:
    begun, end = span.begun, span.end
    state, word = _ending(end)
    data = end.data if end is not None else {}
    where = begun.data if begun is not None else data
    duration = data.get("duration")
    if duration is None and begun is not None and end is not None:
        duration = (end.at - begun.at).total_seconds()
    has_error = bool(data.get("error_type"))
    return Attempt(
        title=f"Attempt {span.number}" if begun is not None else "Before an attempt",
        state=state,
        word=word,
        began_at=begun.at if begun is not None else None,
        ended_at=end.at if end is not None else None,
        duration=duration,
        place=", ".join(
            text for text in (where.get("server"), f"worker {where['worker']}" if where.get("worker") else None) if text
        ),
        note=end.reason if end is not None and not has_error else None,
        error_type=data.get("error_type"),
        error_message=data.get("error_message"),
        traceback=read_traceback(str(data.get("traceback") or "")),
        lines=tuple(lines[-MAX_LINES:]),
        lines_hidden=max(0, len(lines) - MAX_LINES),
    )


def _ending(end: StateEntry | None) -> tuple[str, str]:
    if end is None:
        return "processing", "Processing"
    if end.state is JobState.FAILED or end.data.get("error_type"):
        return "failed", "Failed"
    if end.state is JobState.ENQUEUED:
        return ("warning", "Lost") if end.data.get("recovered") else ("paused", "Given back")
    return end.state.value, end.state.value.capitalize()
