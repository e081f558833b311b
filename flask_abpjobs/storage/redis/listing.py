"""Pages of jobs: each page costs the same however many jobs are kept."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, unquote

from ...cursors import decode_cursor, encode_cursor, no_cursor
from ...model import JobPage, JobQuery, JobRecord, JobState, Retention
from . import layout
from .connection import Wire
from .scope import scope_of

MAX_LIMIT: Final = 1000
LOOKS: Final = 1000
"""Jobs that one script looks at when a condition has no list of its own."""


class Listing:
    """One question for a page.

    :raises ValueError: the limit or a cursor is not of the right form.
    """

    def __init__(self, query: JobQuery) -> None:
        if not 1 <= query.limit <= MAX_LIMIT:
            raise ValueError(f"limit is {query.limit}: use 1 to {MAX_LIMIT}")
        if query.after is not None and query.before is not None:
            raise ValueError("give after or before, not both")
        cursor = query.after or query.before
        self._query = query
        self._place = None if cursor is None else _place(cursor)
        self._is_backward = query.before is not None
        self._is_descending = query.newest_first != self._is_backward

    def page(self, wire: Wire, retention: Retention) -> JobPage:
        """Return the page."""
        query = self._query
        some = [layout.record_of(row[1].decode(), row[2:], retention) for row in self._rows(wire, query.limit + 1)]
        has_more = len(some) > query.limit
        some = some[: query.limit]
        if self._is_backward:
            some.reverse()
        has_next = bool(some) and (self._is_backward or has_more)
        has_previous = bool(some) and (has_more if self._is_backward else self._place is not None)
        return JobPage(
            jobs=tuple(some),
            next=_cursor_of(some[-1]) if has_next else None,
            previous=_cursor_of(some[0]) if has_previous else None,
        )

    def _rows(self, wire: Wire, most: int) -> list[list[bytes]]:
        query = self._query
        states = [query.state] if query.state is not None else list(JobState)
        failures = None if query.retrying is None else "some" if query.retrying else "none"
        conditions = layout.pack([each or False for each in (query.queue, query.name, query.server_id, failures)])
        wanted = layout.pack([layout.CODES[state] for state in states])
        looks = LOOKS if self._has_filter() else most
        at, job_id = ("", "") if self._place is None else (repr(self._place[0]), self._place[1])
        rows: list[list[bytes]] = []
        while True:
            direction = "descending" if self._is_descending else "ascending"
            left = most - len(rows)
            answer: list[Any] = wire.call(
                "find", wanted, scope_of(query.tenant), direction, at, job_id, left, max(looks, left), conditions
            )
            rows += answer[1:]
            if len(rows) >= most or not answer[0]:
                return rows
            at, job_id = answer[0][0].decode(), answer[0][1].decode()

    def _has_filter(self) -> bool:
        query = self._query
        has_tenant = isinstance(query.tenant, str)
        is_split = query.state in {None, JobState.PROCESSING} or has_tenant
        return (
            query.server_id is not None
            or query.retrying is not None
            or (is_split and (query.queue is not None or query.name is not None or has_tenant))
        )


def _place(cursor: str) -> tuple[float, str]:
    at, quoted = decode_cursor(cursor)
    if quote(job_id := unquote(quoted), safe="") != quoted:
        raise no_cursor(cursor)
    return at, job_id


def _cursor_of(record: JobRecord) -> str:
    return encode_cursor(record.state_at.timestamp(), quote(record.id, safe=""))
