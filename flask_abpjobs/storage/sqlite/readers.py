"""A few connections for readers, which can all be closed for a moment while the process forks."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from typing import Final

MAX_IDLE: Final = 8


class ReaderPool:
    """Lends connections, and opens new ones when all are lent.

    :param connect: opens a connection.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._idle: list[sqlite3.Connection] = []
        self._lent = 0
        self._is_shut = False
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def lend(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection; one that an exception passed through is closed."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_shut)
            self._lent += 1
            connection = self._idle.pop() if self._idle else None
        try:
            if connection is None:
                connection = self._connect()
            yield connection
        except BaseException:
            if connection is not None:
                connection.close()
            connection = None
            raise
        finally:
            with self._changed:
                self._lent -= 1
                if connection is not None and len(self._idle) < MAX_IDLE:
                    self._idle.append(connection)
                elif connection is not None:
                    connection.close()
                self._changed.notify_all()

    def close(self) -> None:
        """Close what is not lent."""
        with self._changed:
            while self._idle:
                self._idle.pop().close()

    def shut(self) -> None:
        """Wait until nothing is lent, close all, and lend nothing until :meth:`reopen`."""
        with self._changed:
            self._is_shut = True
            self._changed.wait_for(lambda: self._lent == 0)
        self.close()

    def reopen(self) -> None:
        """Lend again."""
        with self._changed:
            self._is_shut = False
            self._changed.notify_all()
