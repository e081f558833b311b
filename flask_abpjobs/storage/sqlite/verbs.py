"""The verbs of the storage contract that write, each one SQLite transaction."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from importlib.resources import files
from typing import Any, Final

from ...errors import ConfigError, LeaseLostError
from ...model import (
    ANY_TENANT,
    DEFAULT_RETENTION,
    Claim,
    JobProgress,
    JobRecord,
    JobState,
    Lease,
    LogLine,
    Outcome,
    Retention,
    ServerRecord,
    TenantScope,
)
from ..base import BATCH
from . import rows, unique
from .connection import Result
from .queues import SqliteQueues
from .recurring import SqliteRecurring
from .sweeps import SqliteSweeps
from .wakeup import ChangeWatch

SCHEMA_VERSION: Final = 1


class SqliteJobStorage(SqliteSweeps, SqliteQueues, SqliteRecurring):
    """The storage contract on SQLite: WAL, synchronous FULL, every verb one ``BEGIN IMMEDIATE`` transaction.

    :param filename: path of the file, made when missing; ``:memory:`` keeps jobs as long as this object lives.
    :param name: the application whose jobs these are; several may share a file.
    :param retention: how long finished jobs are kept.
    :param clock: epoch seconds.
    :raises ConfigError: the file is of a newer version of this package.
    """

    def __init__(
        self,
        filename: str,
        name: str,
        *,
        retention: Retention = DEFAULT_RETENTION,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(filename, name, retention=retention, clock=clock)
        self._local = threading.local()
        self._watch = self._new_watch()
        self._prepare()

    # Jobs

    def add(self, record: JobRecord) -> bool:
        known = self.write(lambda cursor: self._insert(cursor, record))
        self._watch.notify()
        return known is None

    def add_many(self, records: Sequence[JobRecord]) -> list[str]:
        if len(records) > BATCH:
            raise ValueError(f"{len(records)} jobs are too many for one step: add up to {BATCH} at once.")
        kept = self.write(lambda cursor: [self._insert(cursor, record) or record.id for record in records])
        self._watch.notify()
        return kept

    def claim(self, claim: Claim) -> JobRecord | None:
        self._local.mark = self._watch.mark()
        with self.reading() as cursor:
            if self._first_ready(cursor, claim) is None:
                return None
        row = self.write(lambda cursor: self._claim(cursor, claim))
        return None if row is None else rows.record_of(row, self._retention)

    def finish(self, lease: Lease, outcome: Outcome, claim: Claim | None = None) -> JobRecord | None:
        self._local.mark = self._watch.mark()

        def end(cursor: sqlite3.Cursor, row: rows.JobRow, now: float) -> tuple[rows.JobRow | None, bool]:
            self._finish(cursor, row, now, outcome)
            follows = bool(outcome.children) or row.concurrency_key is not None
            return (None if claim is None else self._claim(cursor, claim)), follows

        claimed, follows = self._with_lease(lease, "finish", end)
        if self.is_memory or follows or outcome.state in (JobState.ENQUEUED, JobState.SCHEDULED):
            self._watch.notify()  # in memory nothing else tells those who wait for the job's end
        return None if claimed is None else rows.record_of(claimed, self._retention)

    def release(self, lease: Lease, reason: str) -> None:
        self._with_lease(lease, "release", lambda cursor, row, now: self._take_back(cursor, row, now, reason))
        self._watch.notify()

    def report(self, lease: Lease, progress: JobProgress | None, lines: Sequence[LogLine]) -> None:
        def keep(cursor: sqlite3.Cursor, row: rows.JobRow, _: float) -> None:
            if progress is not None:
                cursor.execute(
                    "UPDATE abpjobs_job SET progress = ? WHERE sequence = ?", (rows.encode(progress), row.sequence)
                )
            self._append_lines(cursor, row, lines)

        self._with_lease(lease, "report", keep)

    def requeue(
        self,
        job_id: str,
        *,
        expected: Collection[JobState],
        reason: str,
        by: str | None = None,
        tenant: TenantScope = ANY_TENANT,
    ) -> JobRecord:
        with self.writing() as cursor:
            row, now = self._expect(cursor, job_id, expected, tenant, "requeued"), self.now()
            fresh: dict[str, Any] = dict.fromkeys(
                ("due_at", "result", "progress", "server_id", "worker", "begin_before")
            )
            fresh |= {"failures": 0, "crashes": 0, "position": now}
            data = rows.EntryData(queue=row.queue, by=by)
            self._move(cursor, row, JobState.ENQUEUED, now, reason, data, **fresh)
            unique.take_again(cursor, self.name, row, now)
            record = rows.record_of(self._row(cursor, job_id), self._retention)
        self._watch.notify()
        return record

    def delete(
        self,
        job_id: str,
        *,
        expected: Collection[JobState],
        reason: str,
        by: str | None = None,
        tenant: TenantScope = ANY_TENANT,
    ) -> JobRecord:
        with self.writing() as cursor:
            row, now = self._expect(cursor, job_id, expected, tenant, "deleted"), self.now()
            if self._move(cursor, row, JobState.DELETED, now, reason, rows.EntryData(by=by), due_at=None):
                self._continue(cursor, now, [row.sequence])
            record = rows.record_of(self._row(cursor, job_id), self._retention)
        self._watch.notify()
        return record

    # Servers

    def announce(self, server: ServerRecord) -> None:
        queues = rows.encode(server.queues).decode()
        process = (server.host, server.pid, server.process_key, server.worker_type, server.workers)
        values = (self.name, server.id, *process, queues, server.started_at.timestamp(), self.now())
        with self.writing() as cursor:
            cursor.execute("INSERT OR REPLACE INTO abpjobs_server VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def heartbeat(self, server_id: str) -> bool:
        with self.writing() as cursor:
            cursor.execute(
                "UPDATE abpjobs_server SET heartbeat_at = ? WHERE app = ? AND id = ?",
                (self.now(), self.name, server_id),
            )
            return cursor.rowcount == 1

    def retire(self, server_id: str) -> int:
        with self.writing() as cursor:
            held, now = self._held_by(cursor, server_id), self.now()
            for row in held:
                self._take_back(cursor, row, now, "The server stopped before the job ended")
            cursor.execute("DELETE FROM abpjobs_server WHERE app = ? AND id = ?", (self.name, server_id))
        self._watch.notify()
        return len(held)

    def recover_server(self, server_id: str, seen: ServerRecord) -> int | None:
        with self.writing() as cursor:
            cursor.execute(
                "DELETE FROM abpjobs_server WHERE app = ? AND id = ? AND abs(heartbeat_at - ?) < 0.00001",
                (self.name, server_id, seen.heartbeat_at.timestamp()),
            )
            if cursor.rowcount == 0:
                return None
            recovered = self._recover(cursor, self._held_by(cursor, server_id), f"Server {server_id} stopped answering")
        self._watch.notify()
        return recovered

    def recover_worker(self, server_id: str, worker: str) -> int:
        with self.writing() as cursor:
            held = [row for row in self._held_by(cursor, server_id) if row.worker == worker]
            recovered = self._recover(cursor, held, f"Worker {worker} of server {server_id} died")
        self._watch.notify()
        return recovered

    # Waiting

    def wait(self, timeout: float) -> None:
        with self._translated():
            self._watch.wait(getattr(self._local, "mark", -1), timeout)
            self._local.mark = self._watch.mark()

    def wake(self) -> None:
        self._watch.notify()

    def close(self) -> None:
        self._watch.close()
        super().close()

    def _before_fork(self) -> None:
        self._watch.pause()
        super()._before_fork()

    def _after_fork_in_parent(self) -> None:
        super()._after_fork_in_parent()
        self._watch.resume()

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        self._local = threading.local()
        self._watch = self._new_watch()

    def _new_watch(self) -> ChangeWatch:
        return ChangeWatch(None if self.is_memory else self._create_connection)

    # Huey's own ways to empty a storage

    def flush_queue(self) -> None:
        super().flush_queue()
        self._remove_all("enqueued", "awaiting", "processing", "succeeded", "failed", "deleted")

    def flush_schedule(self) -> None:
        super().flush_schedule()
        self._remove_all("scheduled")

    def _remove_all(self, *states: str) -> None:
        for state in states:
            while self.write(partial(self._drop_some, state=state)):
                pass
        with self.writing() as cursor:
            self._forget_removed(cursor)

    def _prepare(self) -> None:
        """Make the tables, or check that they are of a version this package knows."""
        with self.writing() as cursor:
            for sql in self.ddl:
                cursor.execute(sql)
            known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'abpjobs_schema'"
            if cursor.execute(known).fetchone() is None:
                for statement in _statements(files(__package__).joinpath("schema.sql").read_text("utf-8")):
                    cursor.execute(statement)
                cursor.execute("INSERT INTO abpjobs_schema VALUES (?)", (SCHEMA_VERSION,))
            (version,) = cursor.execute("SELECT version FROM abpjobs_schema").fetchone()
        if version > SCHEMA_VERSION:
            raise ConfigError(
                f"The SQLite file {self.path} has schema version {version}; this version of Flask-AbpJobs knows "
                f"versions up to {SCHEMA_VERSION}. Update the package, or name another file."
            )

    def _with_lease(
        self, lease: Lease, action: str, change: Callable[[sqlite3.Cursor, rows.JobRow, float], Result]
    ) -> Result:
        def operation(cursor: sqlite3.Cursor) -> tuple[Result] | None:
            row = self._find_held(cursor, lease)
            if row is None:
                self._shelves.refuse()
                return None
            return (change(cursor, row, self.now()),)

        done = self.write(operation)
        if done is None:
            raise LeaseLostError(f"Job {lease.job_id} is not held by lease {lease.fence} any more: cannot {action} it.")
        return done[0]


def _statements(script: str) -> Iterator[str]:
    """Split a script, since ``executescript`` would end the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
