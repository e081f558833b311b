"""Pages of jobs by keyset: each page costs the same however many jobs are kept."""

from __future__ import annotations

import heapq
import sqlite3
from itertools import islice
from typing import Any, Final

from ...cursors import decode_cursor, encode_cursor, no_cursor
from ...model import AnyTenant, JobPage, JobQuery, JobState
from . import rows

MAX_LIMIT: Final = 1000


class Listing:
    """One question for a page.

    :raises ValueError: the limit or a cursor is not of the right form.
    """

    def __init__(self, app: str, query: JobQuery) -> None:
        if not 1 <= query.limit <= MAX_LIMIT:
            raise ValueError(f"limit is {query.limit}: use 1 to {MAX_LIMIT}")
        if query.after is not None and query.before is not None:
            raise ValueError("give after or before, not both")
        self._app = app
        self._query = query
        cursor = query.after or query.before
        self._place = None if cursor is None else _place(cursor)
        self._is_backward = query.before is not None
        self._is_descending = query.newest_first != self._is_backward

    def page(self, cursor: sqlite3.Cursor) -> JobPage:
        """Return the page."""
        query = self._query
        states = [query.state] if query.state is not None else list(JobState)
        found = heapq.merge(
            *(self._rows(cursor, state) for state in states),
            key=lambda row: (row["state_at"], row["sequence"]),
            reverse=self._is_descending,
        )
        some = list(islice(found, query.limit + 1))
        has_more = len(some) > query.limit
        some = some[: query.limit]
        if self._is_backward:
            some.reverse()
        has_next = bool(some) and (self._is_backward or has_more)
        has_previous = bool(some) and (has_more if self._is_backward else self._place is not None)
        return JobPage(
            jobs=tuple(rows.record_of(row) for row in some),
            next=_cursor_of(some[-1]) if has_next else None,
            previous=_cursor_of(some[0]) if has_previous else None,
        )

    def _rows(self, cursor: sqlite3.Cursor, state: JobState) -> list[sqlite3.Row]:
        query = self._query
        conditions = ["app = ?", f"state = '{state.value}'"]
        parameters: list[Any] = [self._app]
        index = "abpjobs_job_by_state"
        for name, value in (("queue", query.queue), ("name", query.name)):
            if value is not None:
                index = f"abpjobs_job_by_{name}"
                conditions.append(f"{name} = ?")
                parameters.append(value)
        if not isinstance(query.tenant, AnyTenant):
            index = "abpjobs_job_by_tenant"
            conditions.append("tenant_id IS ?")
            parameters.append(query.tenant)
        if state is JobState.PROCESSING:
            index = "abpjobs_job_held"
        else:
            conditions.append("state <> 'processing'")  # the words by which SQLite knows that the index fits
        if query.server_id is not None:
            conditions.append("server_id = ?")
            parameters.append(query.server_id)
        if query.retrying is not None:
            conditions.append("failures > 0" if query.retrying else "failures = 0")
            if query.retrying and state is JobState.SCHEDULED:
                index = "abpjobs_job_retrying"
        if self._place is not None:
            conditions.append(f"(state_at, sequence) {'<' if self._is_descending else '>'} (?, ?)")
            parameters.extend(self._place)
        direction = "DESC" if self._is_descending else "ASC"
        sql = (
            f"SELECT * FROM abpjobs_job INDEXED BY {index} WHERE {' AND '.join(conditions)} "
            f"ORDER BY state_at {direction}, sequence {direction} LIMIT ?"
        )
        return cursor.execute(sql, (*parameters, query.limit + 1)).fetchall()


def _place(cursor: str) -> tuple[float, int]:
    at, sequence = decode_cursor(cursor)
    if not sequence.isdecimal() or len(sequence) > 18:
        raise no_cursor(cursor)
    return at, int(sequence)


def _cursor_of(row: sqlite3.Row) -> str:
    return encode_cursor(row["state_at"], str(row["sequence"]))
