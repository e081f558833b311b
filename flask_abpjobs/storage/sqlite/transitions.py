"""Attempts inside one SQLite transaction: begun, finished, taken back."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from ...model import Claim, JobRecord, JobState, Outcome
from ..base import BATCH, MAX_CRASHES, SUSPECT_DELAYS
from . import limits, rows
from .continuations import SqliteContinuations
from .shelves import RECOVERED


class SqliteTransitions(SqliteContinuations):
    """Claiming, finishing and taking back as steps of a transaction that the caller has begun."""

    def _claim(self, cursor: sqlite3.Cursor, claim: Claim) -> JobRecord | None:
        now = self.now()
        ended = []
        record = None
        for _ in range(BATCH + 1):
            row = self._first_ready(cursor, claim)
            if row is None:
                break
            if row["begin_before"] is not None and row["begin_before"] <= now:
                by = datetime.fromtimestamp(row["begin_before"], UTC)
                why = f"Expired: no worker began it by {by:%Y-%m-%d %H:%M:%S} UTC"
                if self._move(cursor, row, JobState.DELETED, now, why, {}):
                    ended.append(row["sequence"])
            elif row["concurrency_key"] is None or not limits.park_if_full(cursor, self.name, row):
                record = self._begin(cursor, row, claim, now)
                break
        else:
            self._watch.notify()  # there may be more behind those that were set aside
        if ended:
            self._continue(cursor, now, ended)
        return record

    def _begin(self, cursor: sqlite3.Cursor, row: sqlite3.Row, claim: Claim, now: float) -> JobRecord:
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
        return msgspec.structs.replace(rows.record_of(row, self._retention), **changes)

    def _first_ready(self, cursor: sqlite3.Cursor, claim: Claim) -> sqlite3.Row | None:
        for queue in claim.queues:
            row: sqlite3.Row | None = cursor.execute(
                f"SELECT {rows.COLUMNS} FROM abpjobs_job INDEXED BY abpjobs_job_ready WHERE app = ?1 AND queue = ?2 "
                "AND state = 'enqueued' AND parked = 0 "
                "AND EXISTS (SELECT 1 FROM abpjobs_server WHERE app = ?1 AND id = ?3) "
                "AND NOT EXISTS (SELECT 1 FROM abpjobs_paused WHERE app = ?1 AND queue = ?2) "
                "ORDER BY priority DESC, position, sequence LIMIT 1",
                (self.name, queue, claim.server_id),
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
        has_children = self._move(cursor, row, state, now, outcome.reason, data, **columns)
        self._append_lines(cursor, row, outcome.log)
        for child in outcome.children:
            self._insert(cursor, child)
        if has_children:
            self._continue(cursor, now, [row["sequence"]])
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
            self._shelves.count(row["shelf"], RECOVERED, 1, row["tenant_id"], row["queue"], row["state"])
        return len(held)

    def _held_by(self, cursor: sqlite3.Cursor, server_id: str) -> list[sqlite3.Row]:
        return cursor.execute(
            f"SELECT {rows.COLUMNS} FROM abpjobs_job INDEXED BY abpjobs_job_held "
            "WHERE app = ? AND state = 'processing' AND server_id = ?",
            (self.name, server_id),
        ).fetchall()
