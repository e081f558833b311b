"""Questions to a SQLite storage: nothing here writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
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
    Retention,
    ServerRecord,
    StateEntry,
    TenantScope,
)
from ..base import MAX_HISTORY, TOTALS, JobStorage
from . import rows
from .connection import SharedSqlite
from .consistency import inconsistencies
from .filesystem import network_kind
from .listing import Listing
from .shelves import WORDS, Shelves

_ROW: Final = f"SELECT {rows.COLUMNS} FROM abpjobs_job WHERE app = ? AND id = ?"
_HELD: Final = f"{_ROW} AND state = 'processing' AND fence = ?"
_ENTRIES: Final = (
    "WITH RECURSIVE chain (number, previous, state, at, reason, data) AS ("
    "SELECT * FROM abpjobs_entry WHERE number = ? UNION ALL "
    "SELECT entry.* FROM chain JOIN abpjobs_entry AS entry ON entry.number = chain.previous"
    ") SELECT * FROM chain LIMIT ?"
)


class SqliteQuestions(SharedSqlite, JobStorage):
    """The part of the storage contract that only reads."""

    def __init__(self, filename: str, name: str, *, retention: Retention, clock: Callable[[], float]) -> None:
        self._retention = retention
        self._shelves = Shelves(name)
        self._clock = clock
        super().__init__(name, filename)

    def get(self, job_id: str, *, tenant: TenantScope = ANY_TENANT) -> JobRecord:
        with self.reading() as cursor:
            return rows.record_of(self._row(cursor, job_id, tenant), self._retention)

    def history(self, job_id: str) -> list[StateEntry]:
        with self.reading() as cursor:
            job = self._row(cursor, job_id)
            found = self._entries(cursor, job.entry, MAX_HISTORY)
        entries = [rows.entry_of(row) for row in reversed(found)]
        oldest = found[-1]["previous"] if found else job.entry
        if oldest == rows.NO_ENTRY and len(entries) < MAX_HISTORY:
            entries.insert(0, rows.first_entry_of(job))
        return entries

    def log(self, job_id: str) -> list[LogLine]:
        with self.reading() as cursor:
            job = self._row(cursor, job_id)
            found = cursor.execute("SELECT * FROM abpjobs_log WHERE job = ? ORDER BY sequence", (job.sequence,))
            return [rows.line_of(row) for row in found]

    def find(self, query: JobQuery) -> JobPage:
        listing = Listing(self.name, query, self._retention)
        with self.reading() as cursor:
            return listing.page(cursor)

    def counts(self, *, tenant: TenantScope = ANY_TENANT) -> Mapping[str, int]:
        totals = dict.fromkeys([state.value for state in JobState] + list(TOTALS), 0)
        with self.reading() as cursor:
            for what, number in self._numbers(cursor, tenant):
                totals[what] += number
        return totals

    def _numbers(self, cursor: sqlite3.Cursor, tenant: TenantScope) -> Iterator[tuple[str, int]]:
        """Yield what is counted, and a number to add to it."""
        if isinstance(tenant, str):
            yield from cursor.execute(
                "SELECT what, sum(number) FROM abpjobs_count WHERE app = ? AND tenant = ? GROUP BY what",
                (self.name, tenant),
            )
            return
        sql, parameters = _of_shelves(self.name, tenant)
        numbers = "sum(number) AS number, " + ", ".join(f"sum({word}) AS {word}" for word in WORDS if word)
        for row in cursor.execute(f"SELECT state, {numbers} FROM abpjobs_shelf WHERE {sql} GROUP BY state", parameters):
            yield row["state"], row["number"]
            for word in filter(None, WORDS):
                yield word, row[word]
        yield from cursor.execute(
            "SELECT what, number FROM abpjobs_count WHERE app = ? AND tenant = '' AND what = 'refused'", (self.name,)
        )

    def queues(self, *, tenant: TenantScope = ANY_TENANT) -> list[QueueRecord]:
        servers = self.servers()
        with self.reading() as cursor:
            lengths = self._lengths(cursor, tenant)
            held = cursor.execute("SELECT queue FROM abpjobs_paused WHERE app = ?", (self.name,)).fetchall()
        return self._queue_records(lengths, servers, {row["queue"] for row in held}, tenant)

    def _lengths(self, cursor: sqlite3.Cursor, tenant: TenantScope) -> dict[str, int]:
        if isinstance(tenant, str):
            table, sql, parameters = "count", "app = ? AND tenant = ? AND what = 'enqueued'", [self.name, tenant]
        else:
            table, (sql, parameters) = "shelf", _of_shelves(self.name, tenant)
            sql += " AND state = 'enqueued'"
        select = f"SELECT queue, sum(number) FROM abpjobs_{table} WHERE {sql} AND number > 0 GROUP BY queue"
        return dict(map(tuple, cursor.execute(select, parameters)))

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

    def _row(self, cursor: sqlite3.Cursor, job_id: str, tenant: TenantScope = ANY_TENANT) -> rows.JobRow:
        sql, parameters = _ROW, [self.name, job_id]
        if not isinstance(tenant, AnyTenant):
            sql, parameters = sql + " AND tenant_id IS ?", [*parameters, tenant]  # type: ignore[list-item]
        row = cursor.execute(sql, parameters).fetchone()
        if row is None:
            raise JobNotFoundError(job_id)
        return rows.JobRow(*row)

    def _find_held(self, cursor: sqlite3.Cursor, lease: Lease) -> rows.JobRow | None:
        row = cursor.execute(_HELD, (self.name, lease.job_id, lease.fence)).fetchone()
        return None if row is None else rows.JobRow(*row)

    def _entries(self, cursor: sqlite3.Cursor, newest: int, limit: int) -> list[sqlite3.Row]:
        """Return history entries, newest first."""
        return cursor.execute(_ENTRIES, (newest, limit)).fetchall()


def _of_shelves(app: str, tenant: TenantScope) -> tuple[str, list[str]]:
    """Return a condition on shelves and its parameters."""
    return ("app = ?" if isinstance(tenant, AnyTenant) else "app = ? AND is_tenanted = 0"), [app]
