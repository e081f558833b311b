"""One job at a time comes into another state: record, history, unique key, slot and children in one step."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

from ...errors import StateChangedError
from ...model import FINISHED, TRANSITIONS, JobState, LogLine, TenantScope
from ..base import MAX_HISTORY, MAX_LOG_LINES
from . import limits, rows, unique
from .questions import SqliteQuestions
from .rows import EntryData, JobRow
from .shelves import EXPIRED, NUMBER, RETRYING
from .wakeup import ChangeWatch

_APPEND = "INSERT INTO abpjobs_entry (previous, state, at, reason, data) VALUES (?, ?, ?, ?, ?)"
_UPDATES: dict[tuple[str, ...], str] = {}
"""Statements by the columns they set: SQLite keeps those ready whose text it has seen."""

_ALLOWED = frozenset((str(before), str(after)) for before, following in TRANSITIONS.items() for after in following)
_ENDING = frozenset({"succeeded", "deleted"})
_FREEING = frozenset(
    (before, after) for before, after in _ALLOWED if before in ("processing", "enqueued") and after != "processing"
)
"""Moves after which another job of the concurrency key may find a slot, or must be ready in this one's stead."""


class SqliteMoves(SqliteQuestions):
    """State changes as steps of a transaction that the caller has begun."""

    _watch: ChangeWatch

    def _move(
        self,
        cursor: sqlite3.Cursor,
        row: JobRow,
        state: JobState,
        at: float,
        reason: str | None,
        data: EntryData,
        **columns: Any,
    ) -> bool:
        """Bring a job into another state: the only place that does.

        :returns: whether other jobs awaited this. They are marked to go on.
        """
        before, after = row.state, str(state)
        if (before, after) not in _ALLOWED:
            raise StateChangedError(row.id, before, after)
        retention = None if row.rare is None else rows.rare_of(row).retention
        shelf = self._shelves.find(
            cursor,
            after,
            row.queue,
            row.name,
            is_tenanted=row.tenant_id is not None,
            is_kept=retention is not None,
        )
        columns["shelf"] = shelf
        columns["state"] = after
        columns["state_at"] = at
        columns["reason"] = reason
        columns["entry"] = entry = self._append_entry(cursor, row.entry, after, at, reason, data)
        columns["entries"] = self._trim(cursor, entry, row.entries + 1)
        if row.parked:
            columns["parked"] = 0
        if retention is not None:
            columns["expires_at"] = retention.expiry(state, at)
        names = tuple(columns)
        sql = _UPDATES.get(names)
        if sql is None:
            assignments = ", ".join(f"{name} = ?" for name in names)
            sql = _UPDATES[names] = f"UPDATE abpjobs_job SET {assignments} WHERE sequence = ?"
        cursor.execute(sql, (*columns.values(), row.sequence))
        self._count_move(row, after, shelf, columns.get("failures", row.failures))
        if row.unique_key is not None and state in FINISHED:
            unique.free(cursor, self.name, row, at)
        if row.concurrency_key is not None and (before, after) in _FREEING and not row.parked:
            limits.unpark(cursor, self.name, row.concurrency_key)
        return after in _ENDING and self._mark_parent(cursor, row, after, at)

    def _count_move(self, row: JobRow, after: str, shelf: int, failures: int) -> None:
        before, queue, tenant, count = row.state, row.queue, row.tenant_id, self._shelves.count
        count(row.shelf, NUMBER, -1, tenant, queue, before)
        count(shelf, NUMBER, 1, tenant, queue, after)
        if before == "scheduled" and row.failures:
            count(row.shelf, RETRYING, -1, tenant, queue, before)
        if after == "scheduled" and failures:
            count(shelf, RETRYING, 1, tenant, queue, after)

    def _append_entry(
        self,
        cursor: sqlite3.Cursor,
        previous: int | None,
        state: str,
        at: float,
        reason: str | None,
        data: EntryData,
    ) -> int:
        number = cursor.execute(_APPEND, (previous, state, at, reason, rows.encode(data))).lastrowid
        assert number is not None
        return number

    def _trim(self, cursor: sqlite3.Cursor, entry: int, entries: int) -> int:
        """Remove a job's oldest entries when there are twice as many as are kept, and return how many there are."""
        if entries < 2 * MAX_HISTORY:
            return entries
        numbers = [each["number"] for each in self._entries(cursor, entry, entries)]
        cursor.execute("UPDATE abpjobs_entry SET previous = NULL WHERE number = ?", (numbers[MAX_HISTORY - 1],))
        old = [(number,) for number in numbers[MAX_HISTORY:]]
        cursor.executemany("DELETE FROM abpjobs_entry WHERE number = ?", old)
        return MAX_HISTORY

    def _drop(self, cursor: sqlite3.Cursor, row: JobRow) -> None:
        """Remove a job with all that is its own."""
        numbers = [(each["number"],) for each in self._entries(cursor, row.entry, row.entries)]
        cursor.executemany("DELETE FROM abpjobs_entry WHERE number = ?", numbers)
        if row.lines:
            cursor.execute("DELETE FROM abpjobs_log WHERE job = ?", (row.sequence,))
        cursor.execute("DELETE FROM abpjobs_continuing WHERE job = ?", (row.sequence,))
        cursor.execute("DELETE FROM abpjobs_job WHERE sequence = ?", (row.sequence,))
        place = (row.tenant_id, row.queue, row.state)
        self._shelves.count(row.shelf, NUMBER, -1, *place)
        self._shelves.count(row.shelf, EXPIRED, 1, *place)
        if row.state == "scheduled" and row.failures:
            self._shelves.count(row.shelf, RETRYING, -1, *place)

    def _settle(self, cursor: sqlite3.Cursor) -> None:
        self._shelves.write(cursor)

    def _forget(self) -> None:
        self._shelves.forget()

    def _mark_parent(self, cursor: sqlite3.Cursor, row: JobRow, state: str, at: float) -> bool:
        # One that was marked at an earlier end keeps that mark: its children go on as they would have gone on then
        cursor.execute(
            "INSERT OR IGNORE INTO abpjobs_continuing SELECT ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM abpjobs_job "
            "INDEXED BY abpjobs_job_awaiting WHERE app = ? AND parent_id = ? AND state = 'awaiting')",
            (row.sequence, self.name, state, at, self.name, row.id),
        )
        return cursor.rowcount == 1

    def _append_lines(self, cursor: sqlite3.Cursor, row: JobRow, lines: Sequence[LogLine]) -> None:
        if not lines:
            return
        job, last = row.sequence, row.lines
        values = [
            (job, last + number, line.at.timestamp(), line.attempt, line.level, line.text)
            for number, line in enumerate(lines, start=1)
        ]
        cursor.executemany("INSERT INTO abpjobs_log VALUES (?, ?, ?, ?, ?, ?)", values)
        last += len(lines)
        cursor.execute("UPDATE abpjobs_job SET lines = ? WHERE sequence = ?", (last, job))
        if last > MAX_LOG_LINES:
            cursor.execute("DELETE FROM abpjobs_log WHERE job = ? AND sequence <= ?", (job, last - MAX_LOG_LINES))

    def _expect(
        self, cursor: sqlite3.Cursor, job_id: str, expected: Collection[JobState], tenant: TenantScope, action: str
    ) -> JobRow:
        row = self._row(cursor, job_id, tenant)
        if row.state not in expected:
            raise StateChangedError(job_id, row.state, action)
        return row
