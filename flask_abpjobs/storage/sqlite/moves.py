"""One job at a time comes into another state: record, history, unique key, slot and children in one step."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ...errors import StateChangedError
from ...model import TRANSITIONS, JobState, LogLine, Retention, TenantScope
from ..base import MAX_HISTORY, MAX_LOG_LINES
from . import limits, rows, unique
from .questions import SqliteQuestions
from .wakeup import ChangeWatch

_ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.DELETED})

_FREEING = frozenset(
    (before, after)
    for before in (JobState.PROCESSING, JobState.ENQUEUED)
    for after in TRANSITIONS[before]
    if after is not JobState.PROCESSING
)
"""Moves after which another job of the concurrency key may find a slot, or must be ready in this one's stead."""


class SqliteMoves(SqliteQuestions):
    """State changes as steps of a transaction that the caller has begun."""

    _retention: Retention
    _watch: ChangeWatch

    def _move(
        self,
        cursor: sqlite3.Cursor,
        row: sqlite3.Row,
        state: JobState,
        at: float,
        reason: str | None,
        data: Mapping[str, Any],
        **columns: Any,
    ) -> bool:
        """Bring a job into another state: the only place that does.

        :returns: whether other jobs awaited this. They are marked to go on.
        """
        before = JobState(row["state"])
        if state not in TRANSITIONS[before]:
            raise StateChangedError(row["id"], row["state"], state)
        entry = row["entries"] + 1
        columns |= {"state": state.value, "state_at": at, "reason": reason, "entries": entry, "parked": 0}
        columns["expires_at"] = (rows.retention_of(row) or self._retention).expiry(state, at)
        assignments = ", ".join(f"{name} = ?" for name in columns)
        cursor.execute(f"UPDATE abpjobs_job SET {assignments} WHERE sequence = ?", (*columns.values(), row["sequence"]))
        kept = {name: value for name, value in data.items() if value is not None}
        cursor.execute(
            "INSERT INTO abpjobs_entry VALUES (?, ?, ?, ?, ?, ?)",
            (row["sequence"], entry, state.value, at, reason, rows.encode(kept)),
        )
        if entry > MAX_HISTORY:
            cursor.execute(
                "DELETE FROM abpjobs_entry WHERE job = ? AND sequence <= ?", (row["sequence"], entry - MAX_HISTORY)
            )
        if row["unique_key"] is not None and state in _ENDED:
            unique.free(cursor, self.name, row, at)
        if row["concurrency_key"] is not None and (before, state) in _FREEING and not row["parked"]:
            limits.unpark(cursor, self.name, row["concurrency_key"])
        return state in (JobState.SUCCEEDED, JobState.DELETED) and self._mark_parent(cursor, row, state, at)

    def _mark_parent(self, cursor: sqlite3.Cursor, row: sqlite3.Row, state: JobState, at: float) -> bool:
        # One that was marked at an earlier end keeps that mark: its children go on as they would have gone on then
        cursor.execute(
            "INSERT OR IGNORE INTO abpjobs_continuing SELECT ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM abpjobs_job "
            "INDEXED BY abpjobs_job_awaiting WHERE app = ? AND parent_id = ? AND state = 'awaiting')",
            (row["sequence"], self.name, state.value, at, self.name, row["id"]),
        )
        return cursor.rowcount == 1

    def _append_lines(self, cursor: sqlite3.Cursor, row: sqlite3.Row, lines: Sequence[LogLine]) -> None:
        if not lines:
            return
        job, last = row["sequence"], row["lines"]
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
    ) -> sqlite3.Row:
        row = self._row(cursor, job_id, tenant)
        if row["state"] not in expected:
            raise StateChangedError(job_id, row["state"], action)
        return row

    def _count(self, cursor: sqlite3.Cursor, tenant: str | None, queue: str, what: str) -> None:
        cursor.execute(
            "INSERT INTO abpjobs_count VALUES (?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET number = number + 1",
            (self.name, tenant or "", queue, what),
        )
