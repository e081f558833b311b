"""Whole queues: paused, resumed, emptied."""

from __future__ import annotations

from ...model import JobState
from ..base import BATCH
from .transitions import SqliteTransitions


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
        waiting = (
            "SELECT * FROM abpjobs_job INDEXED BY abpjobs_job_by_queue WHERE app = ? AND state = 'enqueued' "
            "AND state <> 'processing' AND queue = ? ORDER BY state_at, sequence LIMIT ?"
        )
        with self.writing() as cursor:
            now = self.now()
            found = cursor.execute(waiting, (self.name, queue, BATCH)).fetchall()
            parents = []
            for stale in found:
                row = self._row(cursor, stale["id"])  # the one before may have freed it from being parked
                if self._move(cursor, row, JobState.DELETED, now, reason, {"by": by}):
                    parents.append(row["sequence"])
            if parents:
                self._continue(cursor, now, parents)
        self._watch.notify()
        return len(found)
