"""Unique keys: which job holds one, and until when."""

from __future__ import annotations

import sqlite3

from . import rows


def holder(cursor: sqlite3.Cursor, app: str, key: str, now: float) -> str | None:
    """Return the id of the job that holds a key; a key that has lapsed is free."""
    row = cursor.execute(
        "SELECT job FROM abpjobs_unique WHERE app = ? AND key = ? AND (ended = 0 OR until > ?)", (app, key, now)
    ).fetchone()
    return None if row is None else str(row["job"])


def take(cursor: sqlite3.Cursor, app: str, key: str, job_id: str, until: float | None) -> None:
    """Give a key that is free to a job."""
    cursor.execute("INSERT OR REPLACE INTO abpjobs_unique VALUES (?, ?, ?, ?, 0)", (app, key, job_id, until))


def take_again(cursor: sqlite3.Cursor, app: str, row: rows.JobRow, now: float) -> None:
    """Give a job that is requeued its key, unless another holds it."""
    key = row.unique_key
    if key is not None and holder(cursor, app, key, now) in (None, row.id):
        seconds = rows.rare_of(row).unique_for
        take(cursor, app, key, row.id, None if seconds is None else row.created_at + seconds)


def free(cursor: sqlite3.Cursor, app: str, row: rows.JobRow, now: float) -> None:
    """Take the key from a job that has ended; a key that was given for a time stays taken so long."""
    mine = (app, row.unique_key, row.id)
    cursor.execute("UPDATE abpjobs_unique SET ended = 1 WHERE app = ? AND key = ? AND job = ?", mine)
    cursor.execute(
        "DELETE FROM abpjobs_unique WHERE app = ? AND key = ? AND job = ? AND (until IS NULL OR until <= ?)",
        (*mine, now),
    )


def forget_lapsed(cursor: sqlite3.Cursor, app: str, now: float, limit: int) -> None:
    """Remove keys that were held by time alone, and are no more."""
    cursor.execute(
        "DELETE FROM abpjobs_unique WHERE (app, key) IN (SELECT app, key FROM abpjobs_unique "
        "INDEXED BY abpjobs_unique_lapsing WHERE app = ? AND ended = 1 AND until <= ? LIMIT ?)",
        (app, now, limit),
    )
