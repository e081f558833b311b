"""Sweeps: each moves a batch of jobs whose time has come."""

from __future__ import annotations

import sqlite3
from typing import Final

from ...model import JobState
from ..base import BATCH
from . import rows, unique
from .rows import EntryData, JobRow
from .transitions import SqliteTransitions

_DUE: Final = (
    f"SELECT {rows.COLUMNS} FROM abpjobs_job INDEXED BY abpjobs_job_due "
    "WHERE app = ? AND state = 'scheduled' AND due_at <= ? ORDER BY due_at, sequence LIMIT ?"
)
_EXPIRED: Final = (
    "SELECT sequence FROM abpjobs_job INDEXED BY abpjobs_job_expiring "
    "WHERE app = ? AND expires_at IS NOT NULL AND expires_at <= ? ORDER BY expires_at LIMIT ?"
)
_LAPSED: Final = (
    "SELECT 1 FROM abpjobs_unique INDEXED BY abpjobs_unique_lapsing WHERE app = ? AND ended = 1 AND until <= ? LIMIT 1"
)
_BY_SEQUENCE: Final = f"SELECT {rows.COLUMNS} FROM abpjobs_job WHERE sequence = ?"
_SHELVES: Final = (
    "SELECT id, state, number, is_kept FROM abpjobs_shelf "
    "WHERE app = ? AND number > 0 AND state IN ('succeeded', 'deleted', 'failed')"
)
_OVER: Final = (
    "SELECT sequence FROM abpjobs_job INDEXED BY abpjobs_job_shelved "
    "WHERE shelf = ? AND state <> 'processing' AND state_at <= ? ORDER BY state_at, sequence LIMIT ?"
)
_OLDEST: Final = (
    "SELECT state_at, sequence FROM abpjobs_job INDEXED BY abpjobs_job_shelved "
    "WHERE shelf = ? AND state <> 'processing' ORDER BY state_at, sequence LIMIT ?"
)


class SqliteSweeps(SqliteTransitions):
    """The verbs that a server calls again and again."""

    def promote(self) -> int:
        with self.reading() as cursor:
            if not cursor.execute(_DUE, (self.name, self.now(), 1)).fetchall():
                return 0
        with self.writing() as cursor:
            now = self.now()
            found = cursor.execute(_DUE, (self.name, now, BATCH)).fetchall()
            for row in [JobRow(*row) for row in found]:
                data = EntryData(queue=row.queue)
                self._move(cursor, row, JobState.ENQUEUED, now, "Due", data, due_at=None, position=row.due_at)
        self._watch.notify()
        return len(found)

    def start_children(self) -> int:
        marked = "SELECT 1 FROM abpjobs_continuing WHERE app = ? LIMIT 1"
        with self.reading() as cursor:
            if cursor.execute(marked, (self.name,)).fetchone() is None:
                return 0
        with self.writing() as cursor:
            moved = self._continue(cursor, self.now())
        self._watch.notify()
        return moved

    def prune(self) -> int:
        with self.reading() as cursor:
            now = self.now()
            has_lapsed = cursor.execute(_LAPSED, (self.name, now)).fetchone() is not None
            if not (has_lapsed or self._removable(cursor, now, 1)):
                return 0
        with self.writing() as cursor:
            now = self.now()
            unique.forget_lapsed(cursor, self.name, now, BATCH)
            moved = 0
            for sequence in self._removable(cursor, now, BATCH):
                row = JobRow(*cursor.execute(_BY_SEQUENCE, (sequence,)).fetchone())
                moved += self._remove(cursor, row, now, BATCH - moved)
                if moved >= BATCH:
                    break
        self._watch.notify()
        return moved

    def _removable(self, cursor: sqlite3.Cursor, now: float, limit: int) -> list[int]:
        """Return the sequences of the first jobs that are kept no longer: by time, and by number."""
        shelves = cursor.execute(_SHELVES, (self.name,)).fetchall()
        found = dict.fromkeys(row["sequence"] for row in cursor.execute(_EXPIRED, (self.name, now, limit)))
        for state in (JobState.SUCCEEDED, JobState.DELETED, JobState.FAILED):
            these = [row for row in shelves if row["state"] == state and not row["is_kept"]]
            kept_for = self._retention.expiry(state, 0.0)
            if kept_for is not None:
                for shelf in these:
                    if len(found) < limit:
                        over = cursor.execute(_OVER, (shelf["id"], now - kept_for, limit)).fetchall()
                        found |= dict.fromkeys(row["sequence"] for row in over)
            most = self._retention.most(state)
            excess = 0 if most is None else min(sum(row["number"] for row in these) - most, limit)
            if excess > 0 and len(found) < limit:
                oldest = [tuple(row) for shelf in these for row in cursor.execute(_OLDEST, (shelf["id"], excess))]
                found |= dict.fromkeys(sequence for _, sequence in sorted(oldest)[:excess])
        return list(found)[:limit]

    def _remove(self, cursor: sqlite3.Cursor, row: JobRow, now: float, limit: int) -> int:
        """Remove a job, once no other awaits it, and return how many jobs that was in all."""
        marked = "SELECT 1 FROM abpjobs_continuing WHERE job = ?"
        if cursor.execute(marked, (row.sequence,)).fetchone() is not None:
            moved = self._continue(cursor, now, [row.sequence])
        else:
            moved = self._abandon(cursor, row, now, limit)
        if self._children(cursor, row.id, 1):
            return moved  # the next sweep goes on
        self._drop(cursor, row)
        return moved + 1

    def _drop_some(self, cursor: sqlite3.Cursor, state: str) -> int:
        """Remove a batch of the jobs of a state, as a flush does, and return how many."""
        if state == "processing":
            where, parameters = "INDEXED BY abpjobs_job_held WHERE app = ? AND state = 'processing'", [self.name]
        else:
            where = "INDEXED BY abpjobs_job_shelved WHERE state <> 'processing' AND shelf = ?"
            shelf = "SELECT id FROM abpjobs_shelf WHERE app = ? AND state = ? AND number > 0 LIMIT 1"
            parameters = cursor.execute(shelf, (self.name, state)).fetchone()
        if parameters is None:
            return 0
        some = f"SELECT {rows.COLUMNS} FROM abpjobs_job {where} LIMIT ?"
        found = cursor.execute(some, (*parameters, BATCH)).fetchall()
        for row in found:
            self._drop(cursor, JobRow(*row))
        return len(found)

    def _forget_removed(self, cursor: sqlite3.Cursor) -> None:
        """Let nothing point at jobs that were removed by a flush."""
        now = self.now()
        orphans = cursor.execute(
            f"SELECT {rows.COLUMNS} FROM abpjobs_job AS job "
            "WHERE app = ? AND state = 'awaiting' AND parent_id IS NOT NULL "
            "AND NOT EXISTS (SELECT 1 FROM abpjobs_job WHERE app = job.app AND id = job.parent_id)",
            (self.name,),
        ).fetchall()
        for row in [JobRow(*row) for row in orphans]:
            why = f"Job {row.parent_id} was removed before it succeeded"
            self._move(cursor, row, JobState.DELETED, now, why, EntryData())
        cursor.execute(
            "DELETE FROM abpjobs_unique WHERE app = ? AND ended = 0 "
            "AND NOT EXISTS (SELECT 1 FROM abpjobs_job WHERE app = abpjobs_unique.app AND id = abpjobs_unique.job)",
            (self.name,),
        )
