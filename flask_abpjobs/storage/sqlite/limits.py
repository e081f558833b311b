"""Concurrency keys: jobs that find no free slot are parked, and made ready again when one is freed.

A job is parked only while as many run as its limit allows. Each slot that is freed makes the first parked job of each
queue ready, so that whichever worker is free next finds one; those that still find no slot are parked again by the
claim that meets them.
"""

from __future__ import annotations

import sqlite3

from .rows import JobRow


def running(cursor: sqlite3.Cursor, app: str, key: str) -> int:
    """Return how many jobs with a concurrency key run."""
    (number,) = cursor.execute(
        "SELECT count(*) FROM abpjobs_job INDEXED BY abpjobs_job_limited "
        "WHERE app = ? AND concurrency_key = ? AND state = 'processing'",
        (app, key),
    ).fetchone()
    return int(number)


def park_if_full(cursor: sqlite3.Cursor, app: str, row: JobRow) -> bool:
    """Park a ready job when its key has no free slot, and return whether it was parked."""
    key, limit = row.concurrency_key, row.max_concurrent
    assert key is not None
    assert limit is not None
    number = running(cursor, app, key)
    if number < limit:
        return False
    reason = f"Waits: {number} of {limit} jobs of {key} are running"
    cursor.execute("UPDATE abpjobs_job SET parked = 1, reason = ? WHERE sequence = ?", (reason, row.sequence))
    return True


def unpark(cursor: sqlite3.Cursor, app: str, key: str) -> None:
    """Make the first parked job of each queue ready, if there is a free slot.

    Jobs of one key may carry different limits, when the code was changed between; then the first of each limit.
    """
    parked = (
        "SELECT sequence, queue, max_concurrent FROM abpjobs_job INDEXED BY abpjobs_job_parked "
        "WHERE app = ? AND concurrency_key = ? AND parked = 1 AND (queue, max_concurrent) > (?, ?) "
        "ORDER BY queue, max_concurrent, priority DESC, position, sequence LIMIT 1"
    )
    row = cursor.execute(parked, (app, key, "", 0)).fetchone()
    number = 0 if row is None else running(cursor, app, key)
    while row is not None:
        if number < row["max_concurrent"]:
            cursor.execute("UPDATE abpjobs_job SET parked = 0, reason = NULL WHERE sequence = ?", (row["sequence"],))
        row = cursor.execute(parked, (app, key, row["queue"], row["max_concurrent"])).fetchone()
