"""A write that a thread has asked for, and that perhaps another thread does."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Any


class Write:
    """One operation and how it ended.

    :param operation: works on a cursor inside a transaction. It may be tried again after a rollback.
    """

    __slots__ = ("error", "is_done", "leads", "operation", "result", "woken")

    def __init__(self, operation: Callable[[sqlite3.Cursor], Any]) -> None:
        self.operation = operation
        self.leads = False
        """Whether its thread is to write for all that wait."""
        self.woken = threading.Lock()
        """Held until the operation has an end, or its thread leads."""
        self.woken.acquire()
        self.is_done = False
        self.result: Any = None
        self.error: Exception | None = None

    def end(self, result: Any = None, *, error: Exception | None = None) -> None:
        """Note the end. It is committed, or rolled back with ``error``."""
        self.result = result
        self.error = error
        self.is_done = True
        if self.woken.locked():
            self.woken.release()
