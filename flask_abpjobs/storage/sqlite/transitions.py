"""Changes of jobs inside one SQLite transaction: what the verbs are made of."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from ...errors import StateChangedError
from ...model import (
    TRANSITIONS,
    Claim,
    JobRecord,
    JobState,
    LogLine,
    Outcome,
    Retention,
    TenantScope,
)
from ..base import MAX_CRASHES, MAX_HISTORY, MAX_LOG_LINES, SUSPECT_DELAYS
from . import rows
from .questions import SqliteQuestions


class SqliteTransitions(SqliteQuestions):
    """State changes as steps of a transaction that the caller has begun."""

    _retention: Retention

    def _insert(self, cursor: sqlite3.Cursor, record: JobRecord) -> bool:
        columns = rows.columns_of(record)
        columns |= {"app": self.name, "position": columns["state_at"], "entries": 1}
        names = ", ".join(columns)
        marks = ", ".join("?" * len(columns))
        cursor.execute(f"INSERT OR IGNORE INTO abpjobs_job ({names}) VALUES ({marks})", tuple(columns.values()))
        if cursor.rowcount == 0:
            return False
        data: dict[str, Any] = {"queue": record.queue}
        if record.due_at is not None:
            data["due_at"] = columns["due_at"]
        if record.enqueued_by is not None:
            data["by"] = record.enqueued_by
        entry = (cursor.lastrowid, 1, columns["state"], columns["state_at"], record.reason, rows.encode(data))
        cursor.execute("INSERT INTO abpjobs_entry VALUES (?, ?, ?, ?, ?, ?)", entry)
        return True

    def _move(
        self,
        cursor: sqlite3.Cursor,
        row: sqlite3.Row,
        state: JobState,
        at: float,
        reason: str | None,
        data: Mapping[str, Any],
        **columns: Any,
    ) -> None:
        """Bring a job into another state: the only place that does."""
        if state not in TRANSITIONS[JobState(row["state"])]:
            raise StateChangedError(row["id"], row["state"], state)
        entry = row["entries"] + 1
        columns |= {"state": state.value, "state_at": at, "reason": reason, "entries": entry}
        columns["expires_at"] = self._retention.expiry(state, at)
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

    def _claim(self, cursor: sqlite3.Cursor, claim: Claim) -> JobRecord | None:
        announced = "SELECT 1 FROM abpjobs_server WHERE app = ? AND id = ?"
        if cursor.execute(announced, (self.name, claim.server_id)).fetchone() is None:
            return None
        row = self._first_ready(cursor, claim)
        if row is None:
            return None
        now = self.now()
        changes = {
            "attempt": row["attempt"] + 1,
            "fence": row["fence"] + 1,
            "server_id": claim.server_id,
            "worker": claim.worker,
            "started_at": now,
            "latency": max(0.0, now - row["state_at"]),
            "progress": None,
        }
        data = {
            "attempt": changes["attempt"],
            "server": claim.server_id,
            "worker": claim.worker,
            "latency": changes["latency"],
        }
        self._move(cursor, row, JobState.PROCESSING, now, None, data, **changes)
        started_at = rows.time_of(now)
        changes |= {"state": JobState.PROCESSING, "state_at": started_at, "started_at": started_at, "reason": None}
        return msgspec.structs.replace(rows.record_of(row), **changes)

    def _first_ready(self, cursor: sqlite3.Cursor, claim: Claim) -> sqlite3.Row | None:
        for queue in claim.queues:
            row: sqlite3.Row | None = cursor.execute(
                "SELECT * FROM abpjobs_job INDEXED BY abpjobs_job_ready WHERE app = ? AND queue = ? "
                "AND state = 'enqueued' ORDER BY priority DESC, position, sequence LIMIT 1",
                (self.name, queue),
            ).fetchone()
            if row is not None:
                return row
        return None

    def _finish(self, cursor: sqlite3.Cursor, row: sqlite3.Row, now: float, outcome: Outcome) -> None:
        state = outcome.state
        due_at = rows.seconds_of(outcome.due_at)
        data: dict[str, Any] = {"attempt": row["attempt"], "server": row["server_id"], "worker": row["worker"]}
        data |= {"duration": outcome.duration, "latency": row["latency"], "due_at": due_at}
        columns: dict[str, Any] = {"duration": outcome.duration, "due_at": due_at, "crashes": 0}
        if outcome.error is not None:
            error = outcome.error
            data |= {"error_type": error.type, "error_message": error.message, "traceback": error.traceback}
            columns |= {"error_type": error.type, "error_message": error.message}
            if state in (JobState.SCHEDULED, JobState.ENQUEUED):
                columns["failures"] = row["failures"] + 1
        elif state is JobState.SUCCEEDED:
            columns |= {"error_type": None, "error_message": None, "result": outcome.result}
        if outcome.payload is not None:
            columns["payload"] = outcome.payload
        if outcome.progress is not None:
            columns["progress"] = rows.encode(outcome.progress)
        if state in (JobState.SCHEDULED, JobState.ENQUEUED):
            columns |= {"server_id": None, "worker": None, "position": now}
            data["queue"] = row["queue"]
        self._move(cursor, row, state, now, outcome.reason, data, **columns)
        self._append_lines(cursor, row, outcome.log)
        for child in outcome.children:
            self._insert(cursor, child)
        for key, value in outcome.put.items():
            cursor.execute("INSERT OR REPLACE INTO kv (queue, key, value) VALUES (?, ?, ?)", (self.name, key, value))
        for key in outcome.remove:
            cursor.execute("DELETE FROM kv WHERE queue = ? AND key = ?", (self.name, key))

    def _take_back(self, cursor: sqlite3.Cursor, row: sqlite3.Row, now: float, reason: str) -> None:
        data = {"queue": row["queue"], "server": row["server_id"], "worker": row["worker"]}
        columns = {"server_id": None, "worker": None, "attempt": max(0, row["attempt"] - 1)}
        self._move(cursor, row, JobState.ENQUEUED, now, reason, data, **columns)

    def _recover(self, cursor: sqlite3.Cursor, held: Sequence[sqlite3.Row], reason: str) -> int:
        now = self.now()
        for row in held:
            crashes = row["crashes"] + 1
            data = {"server": row["server_id"], "worker": row["worker"], "attempt": row["attempt"], "recovered": True}
            columns: dict[str, Any] = {"server_id": None, "worker": None, "crashes": crashes}
            if crashes < MAX_CRASHES - 1:
                data["queue"] = row["queue"]
                self._move(cursor, row, JobState.ENQUEUED, now, f"{reason}; the job goes back", data, **columns)
            elif crashes < MAX_CRASHES:
                data["due_at"] = due_at = now + SUSPECT_DELAYS[row["sequence"] % len(SUSPECT_DELAYS)]
                why = f"{reason}; the job has a last chance, apart from its neighbours"
                self._move(cursor, row, JobState.SCHEDULED, now, why, data, due_at=due_at, **columns)
            else:
                message = f"The job's worker died {crashes} times in a row while running it. {reason}."
                error = {"error_type": "WorkerDied", "error_message": message}
                why = f"Killed its worker {crashes} times"
                columns = {**error, "crashes": crashes}
                self._move(cursor, row, JobState.FAILED, now, why, {**data, **error}, **columns)
            self._count(cursor, row["tenant_id"], row["queue"], "recovered")
        return len(held)

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

    def _held_by(self, cursor: sqlite3.Cursor, server_id: str) -> list[sqlite3.Row]:
        return cursor.execute(
            "SELECT * FROM abpjobs_job INDEXED BY abpjobs_job_held "
            "WHERE app = ? AND state = 'processing' AND server_id = ?",
            (self.name, server_id),
        ).fetchall()

    def _count(self, cursor: sqlite3.Cursor, tenant: str | None, queue: str, what: str) -> None:
        cursor.execute(
            "INSERT INTO abpjobs_count VALUES (?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET number = number + 1",
            (self.name, tenant or "", queue, what),
        )
