"""SQLite connections that many threads and processes share without starving each other."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from huey.storage import SqliteStorage

from ...errors import StorageError
from .readers import ReaderPool
from .writes import Write

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows: SQLite's own lock, which is not fair
    fcntl = None  # type: ignore[assignment]

BUSY_TIMEOUT: Final = 30.0
"""Seconds to wait for a program that locks the file without our turn-taking."""
PAGE_SIZE: Final = 2048
"""Bytes. A step changes a few bytes on each of seven or eight pages and writes them whole: with half of SQLite's usual
size it takes a tenth less time."""
LOG_SIZE: Final = 4096 * 1000
"""Bytes of write-ahead log after which its pages go into the file: SQLite's usual number."""
PATIENCE: Final = 5.0
"""Seconds after which a thread that waits for a leader looks whether there is one."""
MAX_TOGETHER: Final = 50
"""The most operations of waiting threads that one transaction carries."""
Result = TypeVar("Result")
_open_storages: weakref.WeakSet[SharedSqlite] = weakref.WeakSet()


class SharedSqlite(SqliteStorage):  # type: ignore[misc]
    """Huey's SQLite storage with transactions that survive any exception, fair turns, and readers of their own.

    SQLite's busy handler sleeps and tries again, so under load an unlucky process can wait for seconds. Writers here
    queue at a file lock first; the kernel hands it on in turn and frees it when a process dies.
    """

    def __init__(self, name: str, filename: str) -> None:
        self.is_memory = filename == ":memory:"
        self._turn_file: int | None = None
        self._waiting: deque[Write] = deque()
        self._is_led = False
        self._order = threading.Lock()
        self._readers = ReaderPool(self._create_connection)
        super().__init__(name, filename, timeout=BUSY_TIMEOUT, create_tables=False)
        _open_storages.add(self)

    @property
    def path(self) -> str:
        """The file's absolute path, or ``:memory:``."""
        filename: str = self.filename
        return filename if self.is_memory else os.path.abspath(filename)

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
        with self._translated(), self.lock:
            self._take_turn()
            try:
                connection = self.conn
                try:
                    with contextlib.closing(connection.cursor()) as cursor:
                        cursor.execute("BEGIN IMMEDIATE")
                        yield cursor
                        self._settle(cursor)
                        cursor.execute("COMMIT")
                except BaseException:
                    self._roll_back(connection)
                    raise
            finally:
                self._give_turn()

    def write(self, operation: Callable[[sqlite3.Cursor], Result]) -> Result:
        """Do an operation in a write transaction, together with those of other threads that wait at this moment.

        One thread does the operations of all and commits once; nobody's call returns before that commit. The operation
        may be tried twice, and so changes nothing but the database.

        :raises StorageError: of the operation or of its commit; nothing of it was written.
        """
        write = Write(operation)
        try:
            with self._order:
                self._waiting.append(write)
                write.leads = not self._is_led
                self._is_led = True
            while not (write.leads or write.woken.acquire(timeout=PATIENCE)):
                write.leads = not self.lock.locked()  # the leader was stopped before it could name another
            if write.leads and not write.is_done:
                with self.lock:
                    while not write.is_done:
                        self._write_waiting()
        except BaseException:
            with self._order, contextlib.suppress(ValueError):
                self._waiting.remove(write)
            raise
        finally:
            if write.leads:
                self._pass_on()
        if write.error is not None:
            with self._translated():
                raise write.error
        result: Result = write.result
        return result

    def _pass_on(self) -> None:
        """Let the thread that has waited longest lead, if there is one."""
        with self._order:
            following = self._waiting[0] if self._waiting else None
            self._is_led = following is not None
            if following is not None and not following.leads:
                following.leads = True
                following.woken.release()

    def _write_waiting(self) -> None:
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_TOGETHER))]
        try:
            self._take_turn()
            try:
                if not self._commit(group):
                    for write in group:  # one must not fail because of another
                        self._commit([write])
            finally:
                self._give_turn()
        except Exception as error:
            for write in group:
                if not write.is_done:
                    write.end(error=error)
        except BaseException:
            # this thread is told to stop: the others do theirs themselves
            self._waiting.extendleft(write for write in reversed(group) if not write.is_done)
            raise

    def _commit(self, group: Sequence[Write]) -> bool:
        """Write a group in one transaction, and return whether all of it has an end, good or bad."""
        connection = self.conn
        results, has_begun = None, False
        try:
            cursor = connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            has_begun = True
            results = [write.operation(cursor) for write in group]
            self._settle(cursor)
            cursor.execute("COMMIT")
        except Exception as error:
            self._roll_back(connection)
            if has_begun and len(group) > 1:
                return False
            for write in group:
                write.end(error=error)
            return True
        except BaseException:
            if results is None or connection.in_transaction:
                self._roll_back(connection)
                raise
            _end_all(group, results)  # told to stop between the commit and this line
            raise
        _end_all(group, results)
        return True

    def _settle(self, cursor: sqlite3.Cursor) -> None:
        """Write what a transaction has put off until its end."""

    def _forget(self) -> None:
        """Drop what a transaction that is rolled back has put off."""

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Cursor]:
        """One reader, which sees a single moment of the database and never waits for writers."""
        if self.is_memory:
            with self._translated(), self.lock, contextlib.closing(self.conn.cursor()) as cursor:
                yield cursor
            return
        with (
            self._translated(),
            self._readers.lend() as connection,
            contextlib.closing(connection.cursor()) as cursor,
        ):
            cursor.execute("BEGIN")
            yield cursor
            cursor.execute("COMMIT")

    def close(self) -> None:
        """Give all connections back; the next use opens them again. A memory database is kept: it would be lost."""
        if not self.is_memory:
            self._readers.close()
            super().close()

    def _create_connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection = super()._create_connection()
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_SIZE // PAGE_SIZE}")
        return connection

    def _set_journal_mode(self, conn: sqlite3.Connection) -> None:
        conn.execute(f"PRAGMA page_size = {PAGE_SIZE}")  # of a new file, before its first page is written
        super()._set_journal_mode(conn)

    def _take_turn(self) -> None:
        if self.is_memory or fcntl is None:
            return
        if self._turn_file is None:
            self._turn_file = os.open(f"{self.filename}-turn", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
        fcntl.flock(self._turn_file, fcntl.LOCK_EX)

    def _give_turn(self) -> None:
        if self._turn_file is not None and fcntl is not None:
            fcntl.flock(self._turn_file, fcntl.LOCK_UN)

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        self._forget()
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

    # Forking. SQLite keeps locks in the memory of the process; a child that inherits those of a transaction under way
    # waits for them for ever. So no connection is open while the process forks.

    def _before_fork(self) -> None:
        self.lock.acquire()
        if self.is_memory:
            return
        self._readers.shut()
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _after_fork_in_parent(self) -> None:
        self._readers.reopen()
        self.lock.release()

    def _after_fork_in_child(self) -> None:
        self.lock = threading.Lock()
        self._waiting.clear()  # of threads that are not in this process
        self._is_led = False
        self._order = threading.Lock()
        self._forget()
        self._readers = ReaderPool(self._create_connection)
        if self._turn_file is not None:
            os.close(self._turn_file)  # a lock taken through it would be the parent's lock
            self._turn_file = None


class _Forking:
    """Brings all storages of the process through a fork."""

    def __init__(self) -> None:
        self._held: list[SharedSqlite] = []

    def before(self) -> None:
        self._held = sorted(_open_storages, key=id)
        for storage in self._held:
            storage._before_fork()

    def after_in_parent(self) -> None:
        while self._held:
            self._held.pop()._after_fork_in_parent()

    def after_in_child(self) -> None:
        while self._held:
            self._held.pop()._after_fork_in_child()


if hasattr(os, "register_at_fork"):
    _forking = _Forking()
    os.register_at_fork(
        before=_forking.before, after_in_parent=_forking.after_in_parent, after_in_child=_forking.after_in_child
    )


def _end_all(group: Sequence[Write], results: Sequence[object]) -> None:
    for write, result in zip(group, results, strict=True):
        write.end(result)


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
