"""Changes of jobs inside one SQLite transaction: what the verbs are made of."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
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
    ParentEnd,
    Retention,
    TenantScope,
)
from ..base import BATCH, MAX_CRASHES, MAX_HISTORY, MAX_LOG_LINES, SUSPECT_DELAYS
from . import rows
from .questions import SqliteQuestions

_ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.DELETED})


class SqliteTransitions(SqliteQuestions):
    """State changes as steps of a transaction that the caller has begun."""

    _retention: Retention

    def _insert(self, cursor: sqlite3.Cursor, record: JobRecord) -> bool:
        columns = rows.columns_of(record)
        columns |= {"app": self.name, "position": columns["state_at"], "entries": 1}
        if record.unique_key is not None and self._holder(cursor, record, columns["created_at"]) is not None:
            return False
        names = ", ".join(columns)
        marks = ", ".join("?" * len(columns))
        cursor.execute(f"INSERT OR IGNORE INTO abpjobs_job ({names}) VALUES ({marks})", tuple(columns.values()))
        if cursor.rowcount == 0:
            return False
        sequence = cursor.lastrowid
        if record.unique_key is not None:
            self._take_key(cursor, record.unique_key, record.id)
        data: dict[str, Any] = {"queue": record.queue}
        if record.due_at is not None:
            data["due_at"] = columns["due_at"]
        if record.enqueued_by is not None:
            data["by"] = record.enqueued_by
        entry = (sequence, 1, columns["state"], columns["state_at"], record.reason, rows.encode(data))
        cursor.execute("INSERT INTO abpjobs_entry VALUES (?, ?, ?, ?, ?, ?)", entry)
        if record.state is JobState.AWAITING and record.parent_id is not None:
            parent = self._row(cursor, record.parent_id)
            if parent["state"] in (JobState.SUCCEEDED, JobState.DELETED):
                child = self._row(cursor, record.id)
                self._let_go(cursor, child, parent["id"], JobState(parent["state"]), parent["state_at"])
        return True

    # Unique keys

    def _holder(self, cursor: sqlite3.Cursor, record: JobRecord, now: float) -> str | None:
        """Return the id of the job that holds a record's unique key."""
        row = cursor.execute(
            "SELECT job, until FROM abpjobs_unique WHERE app = ? AND key = ?", (self.name, record.unique_key)
        ).fetchone()
        if row is None or (row["until"] is not None and row["until"] <= self.now()):
            return None
        holder: str = row["job"]
        return holder

    def _take_key(self, cursor: sqlite3.Cursor, key: str, job_id: str) -> None:
        cursor.execute("INSERT OR REPLACE INTO abpjobs_unique VALUES (?, ?, ?, NULL)", (self.name, key, job_id))

    def _free_key(self, cursor: sqlite3.Cursor, row: sqlite3.Row, now: float) -> None:
        unique_for = rows.rare_of(row).unique_for
        key = (self.name, row["unique_key"], row["id"])
        if unique_for is not None and row["created_at"] + unique_for > now:
            until = row["created_at"] + unique_for
            cursor.execute("UPDATE abpjobs_unique SET until = ? WHERE app = ? AND key = ? AND job = ?", (until, *key))
        else:
            cursor.execute("DELETE FROM abpjobs_unique WHERE app = ? AND key = ? AND job = ?", key)

    # Continuations

    def _let_go(self, cursor: sqlite3.Cursor, child: sqlite3.Row, parent_id: str, state: JobState, at: float) -> None:
        """Let an awaiting job go on after its parent's end."""
        now, rare = self.now(), rows.rare_of(child)
        how = "succeeded" if state is JobState.SUCCEEDED else "was deleted"
        data = {"queue": child["queue"]}
        if rare.parent_on is not None and not rare.parent_on.is_met_by(state):
            wanted = "success" if rare.parent_on is ParentEnd.SUCCEEDED else "deletion"
            reason = f"Job {parent_id} {how}; this one awaited its {wanted}"
            self._move(cursor, child, JobState.DELETED, now, reason, {})
            return
        due_at = child["due_at"] if rare.delay is None else at + rare.delay
        if due_at is not None and due_at > now:
            columns = {"due_at": due_at, "first_due_at": due_at}
            self._move(
                cursor, child, JobState.SCHEDULED, now, f"Job {parent_id} {how}", {**data, "due_at": due_at}, **columns
            )
        else:
            columns = {"due_at": None, "first_due_at": now, "position": now}
            self._move(cursor, child, JobState.ENQUEUED, now, f"Job {parent_id} {how}", data, **columns)

    def _continue(self, cursor: sqlite3.Cursor, parent: sqlite3.Row, state: JobState, at: float, most: int) -> int:
        """Let up to ``most`` jobs go on that awaited a job, and mark it when there are more."""
        children = self._awaiting(cursor, parent["id"], most + 1)
        for child in children[:most]:
            self._let_go(cursor, child, parent["id"], state, at)
        self._mark(cursor, parent["sequence"], len(children) > most)
        return min(len(children), most)

    def _awaiting(self, cursor: sqlite3.Cursor, parent_id: str, most: int) -> list[sqlite3.Row]:
        return cursor.execute(
            "SELECT * FROM abpjobs_job INDEXED BY abpjobs_job_awaiting "
            "WHERE app = ? AND parent_id = ? AND state = 'awaiting' LIMIT ?",
            (self.name, parent_id, most),
        ).fetchall()

    def _mark(self, cursor: sqlite3.Cursor, sequence: int, continuing: int) -> None:
        cursor.execute(
            "UPDATE abpjobs_job SET continuing = ? WHERE sequence = ? AND continuing <> ?",
            (int(continuing), sequence, int(continuing)),
        )

    # Limits

    def _unpark(self, cursor: sqlite3.Cursor, key: str) -> None:
        """Let the first parked job of a key, in each queue that has one, be ready again."""
        queues = cursor.execute(
            "SELECT DISTINCT queue FROM abpjobs_job INDEXED BY abpjobs_job_parked "
            "WHERE app = ? AND concurrency_key = ? AND parked = 1",
            (self.name, key),
        ).fetchall()
        for (queue,) in queues:
            cursor.execute(
                "UPDATE abpjobs_job SET parked = 0, reason = NULL WHERE sequence = (SELECT sequence FROM abpjobs_job "
                "INDEXED BY abpjobs_job_parked WHERE app = ? AND concurrency_key = ? AND queue = ? AND parked = 1 "
                "ORDER BY priority DESC, position, sequence LIMIT 1)",
                (self.name, key, queue),
            )

    def _running(self, cursor: sqlite3.Cursor, key: str) -> int:
        (running,) = cursor.execute(
            "SELECT count(*) FROM abpjobs_job INDEXED BY abpjobs_job_running "
            "WHERE app = ? AND concurrency_key = ? AND state = 'processing'",
            (self.name, key),
        ).fetchone()
        return int(running)

    def _set_aside(self, cursor: sqlite3.Cursor, row: sqlite3.Row, now: float) -> bool:
        """Delete a ready job that has expired, or park one whose key has no free slot."""
        if row["begin_before"] is not None and row["begin_before"] <= now:
            by = datetime.fromtimestamp(row["begin_before"], UTC)
            reason = f"Expired: no worker began it by {by:%Y-%m-%d %H:%M:%S} UTC"
            self._move(cursor, row, JobState.DELETED, now, reason, {})
            return True
        if row["concurrency_key"] is None:
            return False
        running = self._running(cursor, row["concurrency_key"])
        if running < row["max_concurrent"]:
            return False
        reason = f"Waits: {running} of {row['max_concurrent']} jobs of {row['concurrency_key']} are running"
        cursor.execute("UPDATE abpjobs_job SET parked = 1, reason = ? WHERE sequence = ?", (reason, row["sequence"]))
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
        retention = rows.rare_of(row).retention or self._retention
        columns["expires_at"] = retention.expiry(state, at)
        if row["parked"]:
            columns["parked"] = 0
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
        self._follow_up(cursor, row, JobState(row["state"]), state, at)

    def _follow_up(
        self, cursor: sqlite3.Cursor, row: sqlite3.Row, before: JobState, state: JobState, at: float
    ) -> None:
        """Do what a job's change of state means for others."""
        if row["unique_key"] is not None and state in _ENDED:
            self._free_key(cursor, row, at)
        key = row["concurrency_key"]
        leaves = before is JobState.PROCESSING or (before is JobState.ENQUEUED and not row["parked"])
        if key is not None and leaves and state is not JobState.PROCESSING:
            self._unpark(cursor, key)
        if state in (JobState.SUCCEEDED, JobState.DELETED):
            if before is JobState.AWAITING:  # its own children wait for the next sweep: no depth is too deep for it
                self._mark(cursor, row["sequence"], bool(self._awaiting(cursor, row["id"], 1)))
            else:
                self._continue(cursor, row, state, at, BATCH)
        elif row["continuing"]:
            self._mark(cursor, row["sequence"], 0)

    def _claim(self, cursor: sqlite3.Cursor, claim: Claim) -> JobRecord | None:
        announced = "SELECT 1 FROM abpjobs_server WHERE app = ? AND id = ?"
        if cursor.execute(announced, (self.name, claim.server_id)).fetchone() is None:
            return None
        now = self.now()
        for _ in range(BATCH):
            row = self._first_ready(cursor, claim)
            if row is None:
                return None
            if not self._set_aside(cursor, row, now):
                break
        else:
            return None
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

    def _paused(self, cursor: sqlite3.Cursor) -> set[str]:
        found = cursor.execute("SELECT queue FROM abpjobs_paused WHERE app = ?", (self.name,))
        return {queue for (queue,) in found}

    def _first_ready(self, cursor: sqlite3.Cursor, claim: Claim) -> sqlite3.Row | None:
        paused = self._paused(cursor)
        for queue in claim.queues:
            if queue in paused:
                continue
            row: sqlite3.Row | None = cursor.execute(
                "SELECT * FROM abpjobs_job INDEXED BY abpjobs_job_ready WHERE app = ? AND queue = ? "
                "AND state = 'enqueued' AND parked = 0 ORDER BY priority DESC, position, sequence LIMIT 1",
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
        if not outcome.is_begun:
            columns["attempt"] = max(0, row["attempt"] - 1)
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
