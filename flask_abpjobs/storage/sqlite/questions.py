"""Questions to a SQLite storage: nothing here writes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from typing import Final

from ...errors import JobNotFoundError
from ...model import (
    ANY_TENANT,
    AnyTenant,
    JobPage,
    JobQuery,
    JobRecord,
    JobState,
    Lease,
    LogLine,
    QueueRecord,
    ServerRecord,
    StateEntry,
    TenantScope,
)
from ..base import JobStorage
from . import rows
from .connection import SharedSqlite
from .consistency import inconsistencies
from .filesystem import network_kind
from .listing import Listing

TOTALS: Final = ("retrying", "created", "expired", "recovered", "refused")


class SqliteQuestions(SharedSqlite, JobStorage):
    """The part of the storage contract that only reads."""

    def __init__(self, filename: str, name: str, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(name, filename)
        self._clock = clock

    def get(self, job_id: str, *, tenant: TenantScope = ANY_TENANT) -> JobRecord:
        with self.reading() as cursor:
            return rows.record_of(self._row(cursor, job_id, tenant))

    def history(self, job_id: str) -> list[StateEntry]:
        with self.reading() as cursor:
            found = self._belonging(cursor, "abpjobs_entry", job_id)
            return [rows.entry_of(row) for row in found]

    def log(self, job_id: str) -> list[LogLine]:
        with self.reading() as cursor:
            found = self._belonging(cursor, "abpjobs_log", job_id)
            return [rows.line_of(row) for row in found]

    def find(self, query: JobQuery) -> JobPage:
        listing = Listing(self.name, query)
        with self.reading() as cursor:
            return listing.page(cursor)

    def counts(self, *, tenant: TenantScope = ANY_TENANT) -> Mapping[str, int]:
        totals = dict.fromkeys([state.value for state in JobState] + list(TOTALS), 0)
        condition, parameters = _counted_for(tenant)
        sql = f"SELECT what, sum(number) FROM abpjobs_count WHERE app = ?{condition} GROUP BY what"
        with self.reading() as cursor:
            totals.update(dict(map(tuple, cursor.execute(sql, (self.name, *parameters)))))
        return totals

    def queues(self, *, tenant: TenantScope = ANY_TENANT) -> list[QueueRecord]:
        listening = [queue for server in self.servers() for queue in server.queues]
        condition, parameters = _counted_for(tenant)
        sql = (
            f"SELECT queue, sum(number) FROM abpjobs_count WHERE app = ? AND what = 'enqueued'{condition} "
            "GROUP BY queue HAVING sum(number) > 0"
        )
        with self.reading() as cursor:
            lengths = dict(map(tuple, cursor.execute(sql, (self.name, *parameters)).fetchall()))
            held = cursor.execute("SELECT queue FROM abpjobs_paused WHERE app = ?", (self.name,)).fetchall()
        paused = {row["queue"] for row in held}
        found = []
        for queue in sorted({*listening, *lengths, *paused}):
            waiting = JobQuery(state=JobState.ENQUEUED, queue=queue, tenant=tenant, limit=1)
            first = self.find(waiting).jobs if queue in lengths else ()
            found.append(
                QueueRecord(
                    name=queue,
                    length=lengths.get(queue, 0),
                    oldest_at=first[0].state_at if first else None,
                    servers=listening.count(queue),
                    is_paused=queue in paused,
                )
            )
        return found

    def servers(self) -> list[ServerRecord]:
        sql = (
            "SELECT server.*, (SELECT count(*) FROM abpjobs_job WHERE app = server.app AND state = 'processing' "
            "AND server_id = server.id) AS running FROM abpjobs_server AS server WHERE app = ? ORDER BY started_at, id"
        )
        with self.reading() as cursor:
            return [rows.server_of(row) for row in cursor.execute(sql, (self.name,))]

    def holds(self, lease: Lease) -> bool:
        with self.reading() as cursor:
            return self._find_held(cursor, lease) is not None

    def now(self) -> float:
        return self._clock()

    def describe(self) -> str:
        where = "in memory" if self.is_memory else self.path
        return f"SQLite {sqlite3.sqlite_version}, {where}"

    def warnings(self) -> list[str]:
        kind = None if self.is_memory else network_kind(self.path)
        if kind is None:
            return []
        return [
            f"The SQLite file {self.path} lies on a network file system ({kind}), where programs cannot see each "
            "other's locks: jobs may be lost. Put it on a local disk."
        ]

    def check(self) -> list[str]:
        with self.reading() as cursor:
            return inconsistencies(cursor, self.name)

    def _row(self, cursor: sqlite3.Cursor, job_id: str, tenant: TenantScope = ANY_TENANT) -> sqlite3.Row:
        sql, parameters = "SELECT * FROM abpjobs_job WHERE app = ? AND id = ?", [self.name, job_id]
        if not isinstance(tenant, AnyTenant):
            sql, parameters = sql + " AND tenant_id IS ?", [*parameters, tenant]  # type: ignore[list-item]
        row: sqlite3.Row | None = cursor.execute(sql, parameters).fetchone()
        if row is None:
            raise JobNotFoundError(job_id)
        return row

    def _find_held(self, cursor: sqlite3.Cursor, lease: Lease) -> sqlite3.Row | None:
        row: sqlite3.Row | None = cursor.execute(
            "SELECT * FROM abpjobs_job WHERE app = ? AND id = ? AND state = 'processing' AND fence = ?",
            (self.name, lease.job_id, lease.fence),
        ).fetchone()
        return row

    def _belonging(self, cursor: sqlite3.Cursor, table: str, job_id: str) -> list[sqlite3.Row]:
        job = self._row(cursor, job_id)["sequence"]
        return cursor.execute(f"SELECT * FROM {table} WHERE job = ? ORDER BY sequence", (job,)).fetchall()


def _counted_for(tenant: TenantScope) -> tuple[str, tuple[str, ...]]:
    """Return a condition on counters and its parameters."""
    return ("", ()) if isinstance(tenant, AnyTenant) else (" AND tenant = ?", (tenant or "",))
