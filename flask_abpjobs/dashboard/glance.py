"""What every page shows beside its own matter: the clock, the counts and the servers."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ..model import ServerRecord, TenantScope
from .board import Board


class Glance(msgspec.Struct, frozen=True, kw_only=True):
    """One look at the storage."""

    now: float
    """The storage's clock, epoch seconds."""
    counts: Mapping[str, int]
    servers: tuple[ServerRecord, ...]
    timeout: float
    """Seconds of silence after which a server counts as lost."""

    def is_live(self, server: ServerRecord) -> bool:
        """Return whether a server has given a sign of life lately."""
        return self.now - server.heartbeat_at.timestamp() <= self.timeout

    @property
    def live(self) -> tuple[ServerRecord, ...]:
        """Servers that answer."""
        return tuple(server for server in self.servers if self.is_live(server))

    @property
    def lost(self) -> tuple[ServerRecord, ...]:
        """Servers that have not answered for too long and are not recovered yet."""
        return tuple(server for server in self.servers if not self.is_live(server))

    def listeners(self, queue: str) -> int:
        """Return how many live servers listen to a queue."""
        return sum(queue in server.queues for server in self.live)

    @property
    def workers(self) -> int:
        """Workers of the live servers."""
        return sum(server.workers for server in self.live)


def look(board: Board, scope: TenantScope) -> Glance:
    """Ask the storage: three questions, each of constant cost."""
    storage = board.services.storage
    return Glance(
        now=storage.now(),
        counts=storage.counts(tenant=scope),
        servers=tuple(storage.servers()),
        timeout=board.services.config.server_timeout_seconds,
    )
