"""SQLite connections that many threads and processes share without starving each other."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Final

from huey.storage import SqliteStorage

from ...errors import StorageError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows: SQLite's own lock, which is not fair
    fcntl = None  # type: ignore[assignment]

BUSY_TIMEOUT: Final = 30.0
"""Seconds to wait for a program that locks the file without our turn-taking."""
MAX_IDLE_READERS: Final = 8
_open_storages: weakref.WeakSet[SharedSqlite] = weakref.WeakSet()
_left_behind: list[Any] = []
"""Connections of the parent process: closing them in a child would damage the file."""


class SharedSqlite(SqliteStorage):  # type: ignore[misc]
    """Huey's SQLite storage with transactions that survive any exception, fair turns, and readers of their own.

    SQLite's busy handler sleeps and tries again, so under load an unlucky process can wait for seconds. Writers here
    queue at a file lock first; the kernel hands it on in turn and frees it when a process dies.
    """

    def __init__(self, name: str, filename: str) -> None:
        self.is_memory = filename == ":memory:"
        self._turn_file: int | None = None
        self._readers: list[sqlite3.Connection] = []
        self._closed_by_fork: list[Callable[[], None]] = []
        super().__init__(name, filename, timeout=BUSY_TIMEOUT, create_tables=False)
        _open_storages.add(self)

    @property
    def path(self) -> str:
        """The file's absolute path, or ``:memory:``."""
        return self.filename if self.is_memory else os.path.abspath(self.filename)

    @contextlib.contextmanager
    def db(self, commit: bool = False, close: bool = False) -> Iterator[sqlite3.Cursor]:
        """Huey's door to the database: a transaction of a writer, or of a reader that shares its connection."""
        with self.writing() if commit else self.reading() as cursor:
            yield cursor
        if close and not self.is_memory:
            self.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Cursor]:
        """One write transaction: committed whole, or rolled back whatever is raised inside or by the commit."""
        with self._translated(), self.lock, self._turn():
            connection = self.conn
            cursor = connection.cursor()
            try:
                cursor.execute("BEGIN IMMEDIATE")
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                self._roll_back(connection)
                raise
            finally:
                with contextlib.suppress(sqlite3.Error):
                    cursor.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Cursor]:
        """One reader, which sees a single moment of the database and never waits for writers."""
        if self.is_memory:
            with self._translated(), self.lock, contextlib.closing(self.conn.cursor()) as cursor:
                yield cursor
            return
        with self._translated():
            try:
                connection = self._readers.pop()
            except IndexError:
                connection = self._create_connection()
            try:
                with contextlib.closing(connection.cursor()) as cursor:
                    cursor.execute("BEGIN")
                    yield cursor
                    cursor.execute("COMMIT")
            except BaseException:
                connection.close()
                raise
            if len(self._readers) < MAX_IDLE_READERS:
                self._readers.append(connection)
            else:
                connection.close()

    def close(self) -> bool:
        """Give all connections back; the next use opens them again. A memory database is kept: it would be lost."""
        if self.is_memory:
            return False
        while self._readers:
            self._readers.pop().close()
        was_open: bool = super().close()
        return was_open

    def _create_connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection = super()._create_connection()
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        if self.is_memory or fcntl is None:
            yield
            return
        if self._turn_file is None:
            self._turn_file = os.open(f"{self.filename}-turn", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._turn_file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._turn_file, fcntl.LOCK_UN)

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.rollback()
        except sqlite3.Error:
            if not self.is_memory:
                connection.close()
                self._conn = None

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise  # a rule of ours or of Huey's, handled where it is made
        except (sqlite3.Error, OSError) as error:
            raise StorageError(_explain(error, self.path)) from error

    def _after_fork_in_child(self) -> None:
        _left_behind.extend([self._conn, *self._readers])
        self._conn = None
        self._readers = []
        self.lock = threading.Lock()
        if self._turn_file is not None:
            os.close(self._turn_file)  # the parent's lock is bound to it; the child needs one of its own
            self._turn_file = None


def _after_fork_in_child() -> None:
    for storage in list(_open_storages):
        storage._after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _explain(error: Exception, path: str) -> str:
    text = str(error)
    advice = ""
    if "locked" in text or "busy" in text:
        advice = " Another program holds the file: close it, or wait until it is done."
    elif "full" in text:
        advice = " Nothing was written. Free some disk space and try again."
    elif "malformed" in text or "not a database" in text:
        advice = " Restore the file from a backup, or move it away to start with an empty one."
    elif "unable to open" in text or "readonly" in text or isinstance(error, OSError):
        advice = " Does its folder exist, and may this user write to it?"
    return f"The SQLite file {path} failed: {text}.{advice}"
