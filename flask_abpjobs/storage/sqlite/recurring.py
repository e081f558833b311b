"""Recurring jobs: written with their jobs in one step, compared by version."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from ...model import ANY_TENANT, AnyTenant, JobRecord, RecurringRecord, TenantScope
from ...moments import seconds_of
from ..base import BATCH
from . import rows
from .continuations import SqliteContinuations


class SqliteRecurring(SqliteContinuations):
    """The verbs on recurring jobs."""

    def put_recurring(self, record: RecurringRecord, jobs: Sequence[JobRecord] = ()) -> bool:
        if len(jobs) > BATCH:
            raise ValueError(f"{len(jobs)} jobs are too many for one step: add up to {BATCH} at once.")
        version = "SELECT version FROM abpjobs_recurring WHERE app = ? AND id = ?"
        with self.writing() as cursor:
            row = cursor.execute(version, (self.name, record.id)).fetchone()
            if (0 if row is None else row["version"]) != record.version:
                return False
            stored = msgspec.structs.replace(record, version=record.version + 1)
            next_at = None if record.is_paused else seconds_of(record.next_at)
            cursor.execute(
                "INSERT OR REPLACE INTO abpjobs_recurring VALUES (?, ?, ?, ?, ?, ?)",
                (self.name, record.id, record.tenant_id, next_at, stored.version, rows.encode(stored)),
            )
            for job in jobs:
                self._insert(cursor, job)
        self._watch.notify()
        return True

    def remove_recurring(self, recurring_id: str, *, tenant: TenantScope = ANY_TENANT) -> bool:
        condition, parameters = _of_tenant(tenant)
        sql = f"DELETE FROM abpjobs_recurring WHERE app = ? AND id = ?{condition}"
        with self.writing() as cursor:
            return cursor.execute(sql, (self.name, recurring_id, *parameters)).rowcount == 1

    def find_recurring(self, recurring_id: str, *, tenant: TenantScope = ANY_TENANT) -> RecurringRecord | None:
        condition, parameters = _of_tenant(tenant)
        sql = f"SELECT * FROM abpjobs_recurring WHERE app = ? AND id = ?{condition}"
        with self.reading() as cursor:
            row: sqlite3.Row | None = cursor.execute(sql, (self.name, recurring_id, *parameters)).fetchone()
        return None if row is None else rows.recurring_of(row)

    def list_recurring(self, *, tenant: TenantScope = ANY_TENANT) -> list[RecurringRecord]:
        condition, parameters = _of_tenant(tenant)
        sql = f"SELECT * FROM abpjobs_recurring WHERE app = ?{condition} ORDER BY id"
        with self.reading() as cursor:
            return [rows.recurring_of(row) for row in cursor.execute(sql, (self.name, *parameters))]

    def due_recurring(self) -> list[RecurringRecord]:
        sql = (
            "SELECT * FROM abpjobs_recurring INDEXED BY abpjobs_recurring_due WHERE app = ? "
            "AND next_at IS NOT NULL AND next_at <= ? ORDER BY next_at, id LIMIT ?"
        )
        with self.reading() as cursor:
            return [rows.recurring_of(row) for row in cursor.execute(sql, (self.name, self.now(), BATCH))]


def _of_tenant(tenant: TenantScope) -> tuple[str, tuple[str | None, ...]]:
    """Return a condition and its parameters."""
    return ("", ()) if isinstance(tenant, AnyTenant) else (" AND tenant_id IS ?", (tenant,))
