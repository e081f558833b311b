"""Counters, indexes and records of a SQLite storage held against each other by a full scan."""

from __future__ import annotations

import sqlite3
from collections import Counter


def inconsistencies(cursor: sqlite3.Cursor, app: str) -> list[str]:
    """Return each inconsistency in words; an empty list is a sound storage."""
    return [
        *_damage(cursor),
        *_wrong_shelves(cursor, app),
        *_wrong_tenants(cursor, app),
        *_wrong_records(cursor, app),
        *_wrong_limits(cursor, app),
        *_wrong_awaiting(cursor, app),
        *_wrong_keys(cursor, app),
    ]


def _damage(cursor: sqlite3.Cursor) -> list[str]:
    return [f"SQLite: {row[0]}" for row in cursor.execute("PRAGMA quick_check(20)") if row[0] != "ok"]


_SHELVED = (
    "SELECT job.shelf, job.state, count(*) AS number, sum(job.state = 'scheduled' AND job.failures > 0) AS retrying, "
    "sum(shelf.id IS NULL OR (shelf.app, shelf.state, shelf.queue, shelf.name, shelf.is_tenanted) "
    "<> (job.app, job.state, job.queue, job.name, job.tenant_id IS NOT NULL)) AS strange "
    "FROM abpjobs_job AS job LEFT JOIN abpjobs_shelf AS shelf ON shelf.id = job.shelf WHERE job.app = ? GROUP BY 1, 2"
)
_OF_TENANTS = (
    "SELECT tenant_id AS tenant, queue, state AS what, count(*) AS number FROM abpjobs_job "
    "WHERE app = :app AND tenant_id IS NOT NULL GROUP BY 1, 2, 3 UNION ALL "
    "SELECT tenant_id, queue, 'retrying', count(*) FROM abpjobs_job "
    "WHERE app = :app AND tenant_id IS NOT NULL AND state = 'scheduled' AND failures > 0 GROUP BY 1, 2"
)


def _wrong_shelves(cursor: sqlite3.Cursor, app: str) -> list[str]:
    found = []
    scanned: Counter[tuple[int, str]] = Counter()
    for row in cursor.execute(_SHELVED, (app,)).fetchall():
        scanned[row["shelf"], "number"] += row["number"]
        scanned[row["shelf"], "retrying"] += row["retrying"]
        if row["strange"]:
            found.append(f"{row['strange']} {row['state']} jobs lie on shelf {row['shelf']}, which is not theirs.")
    shelves = cursor.execute("SELECT * FROM abpjobs_shelf WHERE app = ?", (app,)).fetchall()
    for shelf in shelves:
        for what in ("number", "retrying"):
            number = scanned[shelf["id"], what]
            if shelf[what] != number:
                kind = shelf["state"] if what == "number" else what
                found.append(
                    f"The counter says {shelf[what]} {kind} jobs {shelf['name']!r} in queue {shelf['queue']!r}, "
                    f"a scan finds {number}."
                )
    created, expired = (sum(shelf[what] for shelf in shelves) for what in ("created", "expired"))
    present = sum(number for (_, what), number in scanned.items() if what == "number")
    if created != present + expired:
        found.append(f"{created} jobs were created, but {present} are present and {expired} expired.")
    return found


def _wrong_tenants(cursor: sqlite3.Cursor, app: str) -> list[str]:
    actual = cursor.execute(_OF_TENANTS, {"app": app}).fetchall()
    kept = cursor.execute(
        "SELECT * FROM abpjobs_count WHERE app = ? AND tenant <> '' AND number <> 0", (app,)
    ).fetchall()
    scanned = {(row["tenant"], row["queue"], row["what"]): row["number"] for row in actual}
    counted = {(row["tenant"], row["queue"], row["what"]): row["number"] for row in kept}
    found = [
        f"The counter says {counted.get(key, 0)} {key[2]} jobs in queue {key[1]!r} of tenant {key[0]}, "
        f"a scan finds {scanned.get(key, 0)}."
        for key in sorted(scanned.keys() | counted.keys())
        if key[2] not in ("created", "expired", "recovered") and scanned.get(key, 0) != counted.get(key, 0)
    ]
    balance: Counter[str] = Counter()
    for (tenant, _, what), number in counted.items():
        balance[tenant] += {"created": -number, "expired": number, "recovered": 0, "retrying": 0}.get(what, number)
    found += [f"{off} jobs of tenant {tenant} were not created." for tenant, off in balance.items() if off]
    return found


def _wrong_records(cursor: sqlite3.Cursor, app: str) -> list[str]:
    found = []
    for (job_id,) in cursor.execute(
        "SELECT id FROM abpjobs_job WHERE app = ? AND state = 'processing' AND NOT EXISTS "
        "(SELECT 1 FROM abpjobs_server WHERE app = abpjobs_job.app AND id = server_id)",
        (app,),
    ):
        found.append(f"Job {job_id} is processing on a server that is not announced.")
    for (job_id,) in cursor.execute(
        "SELECT id FROM abpjobs_job WHERE app = ? AND state = 'scheduled' AND due_at IS NULL", (app,)
    ):
        found.append(f"Job {job_id} is scheduled without a time.")
    for (job_id,) in cursor.execute(
        "SELECT job.id FROM abpjobs_job AS job LEFT JOIN abpjobs_entry AS entry ON entry.number = job.entry "
        "WHERE job.app = ? AND CASE WHEN job.entry = 0 THEN job.state <> 'enqueued' "
        "ELSE entry.state IS NULL OR entry.state <> job.state END",
        (app,),
    ):
        found.append(f"The newest history entry of job {job_id} does not tell its state.")
    return found


def _wrong_limits(cursor: sqlite3.Cursor, app: str) -> list[str]:
    keys = cursor.execute(
        "SELECT concurrency_key AS key, sum(state = 'processing') AS running, max(max_concurrent) AS most, "
        "coalesce(sum(state = 'enqueued' AND parked = 0), 0) AS ready, "
        "min(max_concurrent) FILTER (WHERE parked) AS least, max(max_concurrent) FILTER (WHERE parked) AS highest "
        "FROM abpjobs_job WHERE app = ? AND concurrency_key IS NOT NULL "
        "AND state IN ('processing', 'enqueued') GROUP BY 1",
        (app,),
    ).fetchall()
    found = []
    for row in keys:
        if row["running"] > row["most"]:
            found.append(f"{row['running']} jobs of {row['key']!r} run, but at most {row['most']} may.")
        if row["highest"] is not None and row["running"] < row["highest"] and not row["ready"]:
            found.append(f"Jobs of {row['key']!r} are parked, though only {row['running']} run and none is ready.")
    for (job_id,) in cursor.execute(
        "SELECT id FROM abpjobs_job WHERE app = ? AND parked AND state <> 'enqueued'", (app,)
    ):
        found.append(f"Job {job_id} is parked, but does not wait in a queue.")
    return found


def _wrong_awaiting(cursor: sqlite3.Cursor, app: str) -> list[str]:
    waiting = cursor.execute(
        "SELECT job.id, parent.id AS parent, parent.state AS state FROM abpjobs_job AS job "
        "LEFT JOIN abpjobs_job AS parent ON parent.app = job.app AND parent.id = job.parent_id "
        "LEFT JOIN abpjobs_continuing AS mark ON mark.job = parent.sequence "
        "WHERE job.app = ? AND job.state = 'awaiting' AND job.parent_id IS NOT NULL AND mark.job IS NULL "
        "AND (parent.id IS NULL OR parent.state IN ('succeeded', 'deleted'))",
        (app,),
    )
    return [
        f"Job {row['id']} awaits a job that is not there."
        if row["parent"] is None
        else f"Job {row['id']} awaits job {row['parent']}, which is {row['state']} already."
        for row in waiting
    ]


def _wrong_keys(cursor: sqlite3.Cursor, app: str) -> list[str]:
    held = cursor.execute(
        "SELECT held.key FROM abpjobs_unique AS held LEFT JOIN abpjobs_job AS job "
        "ON job.app = held.app AND job.id = held.job AND job.unique_key = held.key "
        "AND job.state NOT IN ('succeeded', 'failed', 'deleted') "
        "WHERE held.app = ? AND ((held.ended = 0 AND job.id IS NULL) OR (held.ended = 1 AND held.until IS NULL))",
        (app,),
    )
    return [f"The unique key {row['key']!r} is held by no job." for row in held]
