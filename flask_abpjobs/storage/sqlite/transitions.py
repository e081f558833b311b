"""Attempts inside one SQLite transaction: begun, finished, taken back."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from msgspec.structs import replace

from ...model import Claim, JobState, Outcome
from ...moments import seconds_of
from ..base import BATCH, MAX_CRASHES, SUSPECT_DELAYS
from . import limits, rows
from .continuations import SqliteContinuations
from .rows import EntryData, JobRow
from .shelves import RECOVERED

_READY: Final = (
    f"SELECT {rows.COLUMNS} FROM abpjobs_job INDEXED BY abpjobs_job_ready "
    "WHERE app = ?1 AND queue = ?2 AND state = 'enqueued' AND parked = 0 "
    "AND EXISTS (SELECT 1 FROM abpjobs_server WHERE app = ?1 AND id = ?3) "
    "AND NOT EXISTS (SELECT 1 FROM abpjobs_paused WHERE app = ?1 AND queue = ?2) "
    "ORDER BY priority DESC, position, sequence LIMIT 1"
)
"""One question instead of three: the first ready job, if the server is announced and the queue not paused."""


class SqliteTransitions(SqliteContinuations):
    """Claiming, finishing and taking back as steps of a transaction that the caller has begun."""

    def _claim(self, cursor: sqlite3.Cursor, claim: Claim) -> JobRow | None:
        now = self.now()
        begun, ended = None, []
        for _ in range(BATCH + 1):
            row = self._first_ready(cursor, claim)
            if row is None:
                break
            if row.begin_before is not None and row.begin_before <= now:
                by = datetime.fromtimestamp(row.begin_before, UTC)
                why = f"Expired: no worker began it by {by:%Y-%m-%d %H:%M:%S} UTC"
                if self._move(cursor, row, JobState.DELETED, now, why, EntryData()):
                    ended.append(row.sequence)
            elif row.concurrency_key is None or not limits.park_if_full(cursor, self.name, row):
                begun = self._begin(cursor, row, claim, now)
                break
        else:
            self._watch.notify()  # there may be more behind those that were set aside
        if ended:
            self._continue(cursor, now, ended)
            self._watch.notify()  # what awaited them may be ready
        return begun

    def _begin(self, cursor: sqlite3.Cursor, row: JobRow, claim: Claim, now: float) -> JobRow:
        latency = max(0.0, now - row.state_at)
        changes = {
            "attempt": row.attempt + 1,
            "fence": row.fence + 1,
            "server_id": claim.server_id,
            "worker": claim.worker,
            "started_at": now,
            "latency": latency,
            "progress": None,
        }
        data = EntryData(attempt=row.attempt + 1, server=claim.server_id, worker=claim.worker, latency=latency)
        self._move(cursor, row, JobState.PROCESSING, now, None, data, **changes)
        return replace(row, state="processing", state_at=now, reason=None, **changes)

    def _first_ready(self, cursor: sqlite3.Cursor, claim: Claim) -> JobRow | None:
        for queue in claim.queues:
            row = cursor.execute(_READY, (self.name, queue, claim.server_id)).fetchone()
            if row is not None:
                return JobRow(*row)
        return None

    def _finish(self, cursor: sqlite3.Cursor, row: JobRow, now: float, outcome: Outcome) -> None:
        state = outcome.state
        due_at = seconds_of(outcome.due_at)
        error = outcome.error
        goes_back = state in (JobState.SCHEDULED, JobState.ENQUEUED)
        data = EntryData(
            queue=row.queue if goes_back else None,
            attempt=row.attempt,
            server=row.server_id,
            worker=row.worker,
            latency=row.latency,
            duration=outcome.duration,
            due_at=due_at,
            error_type=None if error is None else error.type,
            error_message=None if error is None else error.message,
            traceback=None if error is None else error.traceback,
        )
        columns: dict[str, Any] = {"duration": outcome.duration, "due_at": due_at, "crashes": 0}
        if error is not None:
            columns |= {"error_type": error.type, "error_message": error.message}
            if goes_back:
                columns["failures"] = row.failures + 1
        elif state is JobState.SUCCEEDED:
            columns |= {"error_type": None, "error_message": None, "result": outcome.result}
        if not outcome.is_begun:
            columns["attempt"] = max(0, row.attempt - 1)
        if outcome.payload is not None:
            columns["payload"] = outcome.payload
        if outcome.progress is not None:
            columns["progress"] = rows.encode(outcome.progress)
        if goes_back:
            columns |= {"server_id": None, "worker": None, "position": now}
        has_children = self._move(cursor, row, state, now, outcome.reason, data, **columns)
        self._append_lines(cursor, row, outcome.log)
        for child in outcome.children:
            self._insert(cursor, child)
        if has_children:
            self._continue(cursor, now, [row.sequence])
        for key, value in outcome.put.items():
            cursor.execute("INSERT OR REPLACE INTO kv (queue, key, value) VALUES (?, ?, ?)", (self.name, key, value))
        for key in outcome.remove:
            cursor.execute("DELETE FROM kv WHERE queue = ? AND key = ?", (self.name, key))

    def _take_back(self, cursor: sqlite3.Cursor, row: JobRow, now: float, reason: str) -> None:
        data = EntryData(queue=row.queue, server=row.server_id, worker=row.worker)
        columns = {"server_id": None, "worker": None, "attempt": max(0, row.attempt - 1)}
        self._move(cursor, row, JobState.ENQUEUED, now, reason, data, **columns)

    def _recover(self, cursor: sqlite3.Cursor, held: Sequence[JobRow], reason: str) -> int:
        now = self.now()
        for row in held:
            crashes = row.crashes + 1
            data = EntryData(attempt=row.attempt, server=row.server_id, worker=row.worker, recovered=True)
            columns: dict[str, Any] = {"server_id": None, "worker": None, "crashes": crashes}
            if crashes < MAX_CRASHES - 1:
                data = replace(data, queue=row.queue)
                self._move(cursor, row, JobState.ENQUEUED, now, f"{reason}; the job goes back", data, **columns)
            elif crashes < MAX_CRASHES:
                due_at = now + SUSPECT_DELAYS[row.sequence % len(SUSPECT_DELAYS)]
                data = replace(data, due_at=due_at)
                why = f"{reason}; the job has a last chance, apart from its neighbours"
                self._move(cursor, row, JobState.SCHEDULED, now, why, data, due_at=due_at, **columns)
            else:
                message = f"The job's worker died {crashes} times in a row while running it. {reason}."
                error = {"error_type": "WorkerDied", "error_message": message}
                why = f"Killed its worker {crashes} times"
                self._move(cursor, row, JobState.FAILED, now, why, replace(data, **error), crashes=crashes, **error)
            self._shelves.count(row.shelf, RECOVERED, 1, row.tenant_id, row.queue, row.state)
        return len(held)

    def _held_by(self, cursor: sqlite3.Cursor, server_id: str) -> list[JobRow]:
        found = cursor.execute(
            f"SELECT {rows.COLUMNS} FROM abpjobs_job INDEXED BY abpjobs_job_held "
            "WHERE app = ? AND state = 'processing' AND server_id = ?",
            (self.name, server_id),
        ).fetchall()
        return [JobRow(*row) for row in found]
