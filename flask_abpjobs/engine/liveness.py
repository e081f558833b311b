"""Which servers are dead: by their heartbeat, or at once when their process is gone from this host."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ..model import ServerRecord


def process_key(pid: int) -> str:
    """Return what tells a process from all others, before and after it; empty where the system cannot tell.

    It is the boot, the process namespace, and the moment the process started. A key of another host, container or boot
    is never compared with a process of this one.
    """
    scope, started = _scope(), _started(pid)
    return f"{scope}/{started}" if scope and started else ""


def is_gone(server: ServerRecord) -> bool:
    """Return whether the server's process surely runs no more: it was one of this host, and is not there."""
    scope = _scope()
    if not scope or not server.process_key.startswith(f"{scope}/"):
        return False
    return process_key(server.pid) != server.process_key


class Watch:
    """Looks at servers again and again, and tells which have died.

    A heartbeat counts as missing only when two looks, at least ``interval`` apart, found the same old one; so a step of
    the clock, which makes all heartbeats look old at once, kills nobody.

    :param timeout: seconds without a heartbeat after which a server is dead.
    :param interval: seconds between heartbeats.
    """

    def __init__(self, timeout: float, interval: float, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._timeout = timeout
        self._interval = interval
        self._monotonic = monotonic
        self._seen: dict[str, tuple[float, float]] = {}
        """Heartbeat by server, and when it was first seen here."""

    def look(self, servers: Sequence[ServerRecord], now: float) -> list[ServerRecord]:
        """Return the dead ones.

        :param now: the storage's clock, which the heartbeats were taken from.
        """
        here = self._monotonic()
        seen: dict[str, tuple[float, float]] = {}
        dead = []
        for server in servers:
            heartbeat = server.heartbeat_at.timestamp()
            known, since = self._seen.get(server.id, (heartbeat, here))
            if known != heartbeat:
                since = here
            seen[server.id] = (heartbeat, since)
            unchanged = here - since
            is_silent = now - heartbeat > self._timeout and unchanged >= self._interval
            if is_gone(server) or is_silent or unchanged > self._timeout:
                dead.append(server)
        self._seen = seen
        return dead


def _scope() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return ""
    state, start = fields[0], fields[19]
    return "" if state in "ZX" else start
