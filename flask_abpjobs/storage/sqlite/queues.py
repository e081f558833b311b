"""Whole queues: paused, resumed, emptied."""

from __future__ import annotations

import sqlite3
from typing import Final

from ...model import JobState
from ..base import BATCH
from .rows import EntryData
from .transitions import SqliteTransitions

_SHELVES: Final = "SELECT id FROM abpjobs_shelf WHERE app = ? AND state = 'enqueued' AND queue = ? AND number > 0"
_WAITING: Final = (
    "SELECT id FROM abpjobs_job INDEXED BY abpjobs_job_shelved "
    "WHERE shelf = ? AND state <> 'processing' ORDER BY state_at, sequence LIMIT ?"
)


class SqliteQueues(SqliteTransitions):
    """The verbs on queues."""

    def pause(self, queue: str) -> None:
        with self.writing() as cursor:
            cursor.execute("INSERT OR IGNORE INTO abpjobs_paused VALUES (?, ?)", (self.name, queue))

    def resume(self, queue: str) -> None:
        with self.writing() as cursor:
            cursor.execute("DELETE FROM abpjobs_paused WHERE app = ? AND queue = ?", (self.name, queue))
        self._watch.notify()

    def purge(self, queue: str, *, reason: str, by: str | None = None) -> int:
        with self.writing() as cursor:
            now = self.now()
            found: list[sqlite3.Row] = []
            for (shelf,) in cursor.execute(_SHELVES, (self.name, queue)).fetchall():
                found += cursor.execute(_WAITING, (shelf, BATCH - len(found))).fetchall()
            parents = []
            for stale in found:
                row = self._row(cursor, stale["id"])  # it may have been parked until the one before went
                if self._move(cursor, row, JobState.DELETED, now, reason, EntryData(by=by)):
                    parents.append(row.sequence)
            if parents:
                self._continue(cursor, now, parents)
        self._watch.notify()
        return len(found)
