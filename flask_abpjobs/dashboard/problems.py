"""What is wrong now, in words; and what to say when nothing is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from ..model import QueueRecord, ServerRecord
from . import words
from .glance import Glance

MAX_SERVERS: Final = 3
"""More lost servers than these are told in one sentence."""
_ON_OTHERS: Final = "The jobs it ran go back to their queues as soon as another server notices."


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong now, in words."""

    tone: str
    icon: str
    what: str
    why: str
    queue: str | None = None
    """The queue it is about; the notice leads to its jobs, otherwise to the servers."""
    queue_jobs: int = 0


def problems_of(glance: Glance, queues: Sequence[QueueRecord]) -> list[Problem]:
    """Return what needs a person: queues nobody serves, longest first, then servers that are lost."""
    problems = []
    for queue in _unserved(glance, queues):
        problems.append(
            Problem(
                tone="failed",
                icon="warning",
                what=f"{words.jobs_wait(queue.length)} in {queue.name} and no server listens.",
                why="Start a server that serves this queue."
                if queue.oldest_at is None
                else f"The oldest has waited for {words.span(glance.now - queue.oldest_at.timestamp())}.",
                queue=queue.name,
                queue_jobs=queue.length,
            )
        )
    problems += lost_servers(glance)
    if not glance.servers and not problems:
        problems.append(
            Problem(
                tone="warning",
                icon="warning",
                what="No server is running.",
                why="Jobs will wait until one starts: flask abpjobs worker.",
            )
        )
    return problems


def lost_servers(glance: Glance) -> list[Problem]:
    """Return what is wrong with servers that are lost: one sentence each, or one for many."""
    lost = glance.lost
    if len(lost) <= MAX_SERVERS:
        return [_lost_server(glance, server) for server in lost]
    silent = words.duration(glance.now - max(server.heartbeat_at for server in lost).timestamp())
    what = f"{words.count_of(len(lost), 'server')} have not answered for {silent} or longer."
    return [Problem(tone="failed", icon="warning", what=what, why=_ON_OTHERS)]


def _lost_server(glance: Glance, server: ServerRecord) -> Problem:
    silent = words.duration(glance.now - server.heartbeat_at.timestamp())
    return Problem(tone="failed", icon="warning", what=f"{server.id} has not answered for {silent}.", why=_ON_OTHERS)


def calm_words(glance: Glance, queues: Sequence[QueueRecord]) -> str:
    """Return why all is well."""
    oldest = [queue.oldest_at for queue in queues if queue.oldest_at is not None]
    number = len(glance.live)
    servers = f"{words.count_of(number, 'server')} {'answers' if number == 1 else 'answer'}"
    if not oldest:
        return f"{servers}, and no job waits."
    waits = words.span(glance.now - min(oldest).timestamp())
    return f"{servers}, every queue with jobs is served, and the oldest job has waited for {waits}."


def _unserved(glance: Glance, queues: Sequence[QueueRecord]) -> list[QueueRecord]:
    return sorted(
        (queue for queue in queues if queue.length and not glance.listeners(queue.name)),
        key=lambda queue: (-queue.length, queue.name),
    )
