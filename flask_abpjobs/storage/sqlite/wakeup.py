"""Idle workers of one process wait here until some process writes to the SQLite file."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable

INTERVAL = 0.02
"""Seconds between two looks at the file. One look is a read of shared memory, about ten microseconds."""


class ChangeWatch:
    """Tells when the file has changed.

    SQLite has no notification between processes, but a connection's ``data_version`` changes with every commit of any
    other connection. One waiting thread looks at it for all of the process; the others sleep until it sees a change.
    Without a file (``connect`` is ``None``) only :meth:`notify` wakes.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection] | None) -> None:
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._version = -1
        self._changes = 0
        self._changed = threading.Condition()
        self._looking = threading.Lock()
        self._is_pausing = False

    def mark(self) -> int:
        """Return a mark of the present moment for :meth:`wait`: take it before looking for work."""
        return self._changes

    def notify(self) -> None:
        """Wake all waiting threads of this process."""
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    def wait(self, mark: int, timeout: float) -> None:
        """Return when something changed since ``mark``, at the latest after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while self._changes == mark and (left := deadline - time.monotonic()) > 0:
            if self._connect is None or not self._looking.acquire(blocking=False):
                with self._changed:
                    if self._changes == mark:
                        self._changed.wait(min(left, 1.0))
                continue
            try:
                self._look(mark, deadline)
            finally:
                self._looking.release()
                with self._changed:
                    self._changed.notify()  # another waiter takes over the looking

    def close(self) -> None:
        """Give the watching connection back; the next wait opens it again."""
        self.pause()
        self.resume()

    def pause(self) -> None:
        """Close the watching connection and look no more until :meth:`resume`."""
        self._is_pausing = True
        self._looking.acquire()
        connection, self._connection, self._version = self._connection, None, -1
        if connection is not None:
            connection.close()

    def resume(self) -> None:
        """Look again."""
        self._is_pausing = False
        self._looking.release()
        self.notify()

    def _look(self, mark: int, deadline: float) -> None:
        assert self._connect is not None
        if self._connection is None:
            self._connection = self._connect()
        while self._changes == mark and not self._is_pausing and time.monotonic() < deadline:
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            if version != self._version:
                self._version = version
                self.notify()
                return
            time.sleep(INTERVAL)
