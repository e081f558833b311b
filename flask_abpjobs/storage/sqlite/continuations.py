"""Jobs that await another: added, and sent on when it has ended."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

from ...errors import JobNotFoundError
from ...model import JobRecord, JobState, ParentEnd
from ...moments import seconds_of
from ..base import BATCH
from . import rows, unique
from .moves import SqliteMoves
from .rows import NO_ENTRY, EntryData, JobRow
from .shelves import CREATED, NUMBER

_WORDS: Final = {JobState.SUCCEEDED: "succeeded", JobState.DELETED: "was deleted"}
_WISHES: Final = {ParentEnd.SUCCEEDED: "success", ParentEnd.DELETED: "deletion", ParentEnd.FINISHED: "end"}


class SqliteContinuations(SqliteMoves):
    """Adding jobs, and letting children go on, as steps of a transaction that the caller has begun."""

    def _insert(self, cursor: sqlite3.Cursor, record: JobRecord) -> str | None:
        """Add a job, and return ``None``; or the id of the job that is there already.

        :raises JobNotFoundError: the parent of an awaiting job does not exist. The transaction must be rolled back.
        """
        if record.unique_key is not None:
            known = "SELECT id FROM abpjobs_job WHERE app = ? AND id = ?"
            if cursor.execute(known, (self.name, record.id)).fetchone() is not None:
                return record.id
            holder = unique.holder(cursor, self.name, record.unique_key, self.now())
            if holder is not None:
                return holder
            until = None if record.unique_for is None else record.created_at.timestamp() + record.unique_for
            unique.take(cursor, self.name, record.unique_key, record.id, until)
        state, state_at = str(record.state), record.state_at.timestamp()
        shelf = self._shelves.find(
            cursor,
            state,
            record.queue,
            record.name,
            is_tenanted=record.tenant_id is not None,
            is_kept=record.retention is not None,
        )
        entry = NO_ENTRY
        if record.state is not JobState.ENQUEUED or record.reason is not None or record.state_at != record.created_at:
            data = EntryData(queue=record.queue, due_at=seconds_of(record.due_at), by=record.enqueued_by)
            entry = self._append_entry(cursor, None, state, state_at, record.reason, data)
        if cursor.execute(rows.INSERT, rows.values_of(record, self.name, shelf, entry)).rowcount == 0:
            cursor.execute("DELETE FROM abpjobs_entry WHERE number = ?", (entry,))
            return record.id
        for what in (NUMBER, CREATED):
            self._shelves.count(shelf, what, 1, record.tenant_id, record.queue, state)
        if record.state is JobState.AWAITING and record.parent_id is not None:
            self._follow(cursor, record)
        return None

    def _follow(self, cursor: sqlite3.Cursor, record: JobRecord) -> None:
        """Let a new job go on whose parent has ended already."""
        assert record.parent_id is not None
        parent = cursor.execute(
            "SELECT id, state, state_at FROM abpjobs_job WHERE app = ? AND id = ?", (self.name, record.parent_id)
        ).fetchone()
        if parent is None:
            raise JobNotFoundError(record.parent_id)
        state = JobState(parent["state"])
        if state in _WORDS:
            self._go_on(cursor, self._row(cursor, record.id), state, parent["state_at"], self.now())

    def _go_on(self, cursor: sqlite3.Cursor, row: JobRow, end: JobState, ended_at: float, now: float) -> None:
        """Let one awaiting job go on after its parent has come into ``end``."""
        what = f"Job {row.parent_id} {_WORDS[end]}"
        rare = rows.rare_of(row)
        wish = rare.parent_on or ParentEnd.SUCCEEDED
        if not wish.is_met_by(end):
            self._move(cursor, row, JobState.DELETED, now, f"{what}; this one awaited its {_WISHES[wish]}", EntryData())
            return
        due_at = row.due_at if rare.delay is None else ended_at + rare.delay
        data = EntryData(queue=row.queue)
        if due_at is not None and due_at > now:
            data = EntryData(queue=row.queue, due_at=due_at)
            self._move(cursor, row, JobState.SCHEDULED, now, what, data, due_at=due_at, first_due_at=due_at)
        else:
            self._move(cursor, row, JobState.ENQUEUED, now, what, data, due_at=None, first_due_at=now, position=now)

    def _continue(self, cursor: sqlite3.Cursor, now: float, parents: Iterable[int] = ()) -> int:
        """Let up to :data:`BATCH` children of marked jobs go on, and take the mark off where none is left.

        :param parents: sequences of the jobs; without any, those that were marked first.
        """
        moved = 0
        marks = (
            "SELECT mark.job, mark.state, mark.at, job.id FROM abpjobs_continuing AS mark "
            "JOIN abpjobs_job AS job ON job.sequence = mark.job WHERE mark.app = ?"
        )
        some = [cursor.execute(f"{marks} AND mark.job = ?", (self.name, job)).fetchone() for job in parents]
        for mark in some or cursor.execute(f"{marks} ORDER BY mark.job LIMIT ?", (self.name, BATCH)).fetchall():
            children = self._children(cursor, mark["id"], BATCH - moved + 1)
            for child in children[: BATCH - moved]:
                self._go_on(cursor, child, JobState(mark["state"]), mark["at"], now)
            if len(children) > BATCH - moved:
                return BATCH
            moved += len(children)
            cursor.execute("DELETE FROM abpjobs_continuing WHERE job = ?", (mark["job"],))
        return moved

    def _abandon(self, cursor: sqlite3.Cursor, row: JobRow, now: float, limit: int) -> int:
        """Delete up to ``limit`` jobs that await one that is to be removed without having ended."""
        children = self._children(cursor, row.id, limit)
        for child in children:
            self._move(
                cursor, child, JobState.DELETED, now, f"Job {row.id} was removed before it succeeded", EntryData()
            )
        return len(children)

    def _children(self, cursor: sqlite3.Cursor, job_id: str, limit: int) -> list[JobRow]:
        found = cursor.execute(
            f"SELECT {rows.COLUMNS} FROM abpjobs_job INDEXED BY abpjobs_job_awaiting "
            "WHERE app = ? AND parent_id = ? AND state = 'awaiting' ORDER BY sequence LIMIT ?",
            (self.name, job_id, limit),
        ).fetchall()
        return [JobRow(*row) for row in found]
