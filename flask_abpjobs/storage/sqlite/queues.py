"""Paused queues and recurring jobs of a SQLite storage."""

from __future__ import annotations

from collections.abc import Sequence

from ...model import ANY_TENANT, JobRecord, RecurringRecord, TenantScope
from . import rows
from .transitions import SqliteTransitions
from .wakeup import ChangeWatch


class SqliteQueues(SqliteTransitions):
    """The verbs that change queues and recurring jobs."""

    _watch: ChangeWatch

    # Queues

    def pause(self, queue: str) -> None:
        with self.writing() as cursor:
            cursor.execute("INSERT OR IGNORE INTO abpjobs_paused VALUES (?, ?)", (self.name, queue))

    def resume(self, queue: str) -> None:
        with self.writing() as cursor:
            cursor.execute("DELETE FROM abpjobs_paused WHERE app = ? AND queue = ?", (self.name, queue))
        self._watch.notify()

    # Recurring jobs

    def put_recurring(self, record: RecurringRecord, jobs: Sequence[JobRecord] = ()) -> bool:
        due_at = None if record.is_paused else rows.seconds_of(record.next_at)
        values = (record.tenant_id, due_at, rows.encode(record))
        with self.writing() as cursor:
            if record.version == 0:
                cursor.execute(
                    "INSERT OR IGNORE INTO abpjobs_recurring VALUES (?, ?, 1, ?, ?, ?)", (self.name, record.id, *values)
                )
            else:
                cursor.execute(
                    "UPDATE abpjobs_recurring SET version = version + 1, tenant_id = ?, due_at = ?, record = ? "
                    "WHERE app = ? AND id = ? AND version = ?",
                    (*values, self.name, record.id, record.version),
                )
            if cursor.rowcount == 0:
                return False
            for job in jobs:
                self._insert(cursor, job)
        self._watch.notify()
        return True

    def remove_recurring(self, recurring_id: str, *, tenant: TenantScope = ANY_TENANT) -> bool:
        condition, values = rows.of_tenant(tenant)
        with self.writing() as cursor:
            cursor.execute(
                f"DELETE FROM abpjobs_recurring WHERE app = ? AND id = ?{condition}", (self.name, recurring_id, *values)
            )
            return cursor.rowcount == 1
