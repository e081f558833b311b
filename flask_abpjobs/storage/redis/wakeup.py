"""Idle workers wait here for a token that a new job leaves in Redis."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable
from typing import Final

from ...errors import StorageError
from .connection import Wire

SLICE: Final = 1.0
"""Seconds of one blocking pop: less than the socket's timeout."""
INTERVAL: Final = 0.05
"""Seconds that one waits who waits for no queue in particular."""
PRIVATE_LIFE: Final = 10
"""Seconds after which an unread token of a process goes."""


class Wakeup:
    """The waiting threads of one process.

    :param wire: the Redis.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._lanes: dict[tuple[str, ...], Lane] = {}
        self._making = threading.Lock()
        self._wakes = 0

    def mark(self) -> int:
        """Return a mark of the present moment for :meth:`wait`: take it before looking for work."""
        return self._wakes

    def wait(self, queues: tuple[str, ...], mark: int, timeout: float) -> None:
        """Return when a job may have come into one of the queues or :meth:`wake` was called since ``mark``."""
        with self._making:
            lane = self._lanes.get(queues)
            if lane is None:
                lane = self._lanes[queues] = Lane(self._wire, queues)
        lane.wait(lambda: self._wakes != mark, timeout)

    def wake(self) -> None:
        """Let every wait of this process return."""
        self._wakes += 1
        for lane in list(self._lanes.values()):
            lane.wake()


class Lane:
    """The threads that wait for the same queues. One of them waits at Redis for all; the others wait for it.

    Each token lets one thread go, and the next takes its place: as many wake as jobs came.
    """

    def __init__(self, wire: Wire, queues: tuple[str, ...]) -> None:
        self._wire = wire
        self._private = f"wake:{uuid.uuid4().hex}"
        self._keys = [wire.prefix + key.encode() for key in (*(f"wake:{queue}" for queue in queues), self._private)]
        self._is_for_any = not queues
        self._changed = threading.Condition()
        self._popping = threading.Lock()

    def wait(self, is_woken: Callable[[], bool], timeout: float) -> None:
        """Wait for a token, until ``is_woken`` says so, or for ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        if self._is_for_any:
            with self._changed:
                if not is_woken():
                    self._changed.wait(min(timeout, INTERVAL))
            return
        while not is_woken() and (left := deadline - time.monotonic()) > 0:
            if not self._popping.acquire(blocking=False):
                with self._changed:
                    self._changed.wait(min(left, SLICE))
                continue
            try:
                if not is_woken() and self._pop(min(left, SLICE)):
                    return
            finally:
                self._popping.release()
                with self._changed:
                    self._changed.notify()  # the next one takes over

    def wake(self) -> None:
        """Let the waiting threads look at ``is_woken``."""
        with self._changed:
            self._changed.notify_all()
        if self._popping.locked():
            with contextlib.suppress(StorageError):  # whoever waits there sees the same error, or the end of its slice
                self._wire.call("nudge", self._private, PRIVATE_LIFE)

    def _pop(self, seconds: float) -> bool:
        return self._wire.command(b"BLPOP", *self._keys, f"{max(seconds, 0.01):.3f}") is not None
