"""The states of jobs with their numbers: tiles of the overview, tabs of the lists."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec
from flask import url_for

from ..model import JobState, QueueRecord
from . import words
from .board import Board
from .glance import Glance
from .tenancy import Choice


class Tile(msgspec.Struct, frozen=True, kw_only=True):
    """A state with its number of jobs."""

    state: str
    url: str
    count: int
    note: str = ""


def tiles_of(board: Board, glance: Glance, choice: Choice, queues: Sequence[QueueRecord]) -> list[Tile]:
    """Return a tile for each state, with a word on what the number means."""
    oldest = min((queue.oldest_at for queue in queues if queue.oldest_at is not None), default=None)
    retrying = glance.counts["retrying"]
    notes = {
        "scheduled": f"{words.number(retrying)} to retry" if retrying else "",
        "enqueued": "" if oldest is None else f"oldest {words.span(glance.now - oldest.timestamp())}",
        "processing": f"of {words.count_of(glance.workers, 'worker')}",
        **{state: kept_words(board, state) for state in ("succeeded", "failed", "deleted")},
    }
    return [
        Tile(
            state=state.value,
            url=url_for(".jobs", state=state.value, **choice.arguments),
            count=glance.counts[state.value],
            note=notes.get(state.value, ""),
        )
        for state in JobState
    ]


def tabs_of(glance: Glance, choice: Choice) -> list[Tile]:
    """Return a tab for each state."""
    return [
        Tile(
            state=state.value,
            url=url_for(".jobs", state=state.value, **choice.arguments),
            count=glance.counts[state.value],
        )
        for state in JobState
    ]


def kept_words(board: Board, state: str) -> str:
    """Return how long jobs that ended in a state are kept."""
    retention: timedelta | None = getattr(board.services.config.retention, state)
    return "kept for ever" if retention is None else f"kept {words.span(retention.total_seconds())}"
