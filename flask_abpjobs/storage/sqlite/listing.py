"""Pages of jobs by keyset: each page costs the same however many jobs are kept."""

from __future__ import annotations

import contextlib
import heapq
import sqlite3
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from ...cursors import decode_cursor, encode_cursor, no_cursor
from ...model import AnyTenant, JobPage, JobQuery, JobState, Retention
from . import rows

MAX_LIMIT: Final = 1000


class Listing:
    """One question for a page.

    The page is merged from sorted sources: the shelves that match, and for what shelves do not tell apart (a tenant,
    retries, running jobs) an index of its own. A source is read only as far as the page needs it.

    :param retention: of the storage.
    :raises ValueError: the limit or a cursor is not of the right form.
    """

    def __init__(self, app: str, query: JobQuery, retention: Retention) -> None:
        if not 1 <= query.limit <= MAX_LIMIT:
            raise ValueError(f"limit is {query.limit}: use 1 to {MAX_LIMIT}")
        if query.after is not None and query.before is not None:
            raise ValueError("give after or before, not both")
        self._app = app
        self._query = query
        self._retention = retention
        cursor = query.after or query.before
        self._place = None if cursor is None else _place(cursor)
        self._is_backward = query.before is not None
        self._is_descending = query.newest_first != self._is_backward

    def page(self, cursor: sqlite3.Cursor) -> JobPage:
        """Return the page."""
        query = self._query
        with contextlib.ExitStack() as opened:
            sources = self._sources(opened, cursor.connection)
            found = list(islice(heapq.merge(*sources, reverse=self._is_descending), query.limit + 1))
        has_more = len(found) > query.limit
        found = found[: query.limit]
        if self._is_backward:
            found.reverse()
        has_next = bool(found) and (self._is_backward or has_more)
        has_previous = bool(found) and (has_more if self._is_backward else self._place is not None)
        job = f"SELECT {rows.COLUMNS} FROM abpjobs_job WHERE sequence = ?"
        some = [rows.JobRow(*cursor.execute(job, (sequence,)).fetchone()) for _, sequence in found]
        return JobPage(
            jobs=tuple(rows.record_of(row, self._retention) for row in some),
            next=_cursor_of(found[-1]) if has_next else None,
            previous=_cursor_of(found[0]) if has_previous else None,
        )

    def _sources(
        self, opened: contextlib.ExitStack, connection: sqlite3.Connection
    ) -> Iterator[Iterator[tuple[float, int]]]:
        states = [self._query.state] if self._query.state is not None else list(JobState)
        for state in states:
            for index, equal in self._places(connection, state):
                # closed at the end: one that is open would keep this moment of the database alive
                source = opened.enter_context(contextlib.closing(self._source(connection, index, equal)))
                yield map(tuple, source)

    def _places(self, connection: sqlite3.Connection, state: JobState) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each index to read, and the values by which it is entered or filtered."""
        query, of_state = self._query, {"app": self._app, "state": state.value}
        if state is JobState.PROCESSING:
            yield "held", of_state | self._asked("queue", "name", "tenant")
        elif isinstance(query.tenant, str):
            yield "tenanted", of_state | self._asked("queue", "name", "tenant")
        elif query.retrying and state is JobState.SCHEDULED:
            yield "retrying", of_state | self._asked("queue", "name", "tenant")
        else:
            for shelf in self._shelves(connection, of_state | self._asked("queue", "name")):
                yield "shelved", {"shelf": shelf}

    def _asked(self, *names: str) -> dict[str, Any]:
        """Return the query's conditions of these names, by column."""
        query = self._query
        asked: dict[str, Any] = {name: getattr(query, name) for name in names if name != "tenant"}
        asked = {name: value for name, value in asked.items() if value is not None}
        if "tenant" in names and not isinstance(query.tenant, AnyTenant):
            asked["tenant_id"] = query.tenant
        return asked

    def _shelves(self, connection: sqlite3.Connection, equal: dict[str, Any]) -> list[int]:
        """Return the shelves that match and have jobs: their numbers are those of this moment, as all that is read."""
        if self._query.tenant is None:
            equal["is_tenanted"] = 0
        conditions = " AND ".join(f"{name} = ?" for name in equal)
        sql = f"SELECT id FROM abpjobs_shelf WHERE {conditions} AND number > 0"
        return [row["id"] for row in connection.execute(sql, tuple(equal.values()))]

    def _source(self, connection: sqlite3.Connection, index: str, equal: dict[str, Any]) -> sqlite3.Cursor:
        """Return time and sequence of the jobs after the cursor, read one by one from an index."""
        query, parameters = self._query, list(equal.values())
        conditions = [f"{name} IS ?" if name == "tenant_id" else f"{name} = ?" for name in equal]
        conditions.append(_FITTING[index])
        if query.server_id is not None:
            conditions.append("server_id = ?")
            parameters.append(query.server_id)
        if query.retrying is not None:
            conditions.append("failures > 0" if query.retrying else "failures = 0")
        if self._place is not None:
            conditions.append(f"(state_at, sequence) {'<' if self._is_descending else '>'} (?, ?)")
            parameters.extend(self._place)
        direction = "DESC" if self._is_descending else "ASC"
        sql = (
            f"SELECT state_at, sequence FROM abpjobs_job INDEXED BY abpjobs_job_{index} "
            f"WHERE {' AND '.join(conditions)} ORDER BY state_at {direction}, sequence {direction} LIMIT ?"
        )
        return connection.execute(sql, (*parameters, query.limit + 1))


_FITTING: Final = {
    "shelved": "state <> 'processing'",
    "tenanted": "tenant_id IS NOT NULL",
    "retrying": "state = 'scheduled' AND failures > 0",
    "held": "state = 'processing'",
}
"""The words by which SQLite knows that a partial index fits."""


def _place(cursor: str) -> tuple[float, int]:
    at, sequence = decode_cursor(cursor)
    if not sequence.isdecimal() or len(sequence) > 18:
        raise no_cursor(cursor)
    return at, int(sequence)


def _cursor_of(place: tuple[float, int]) -> str:
    return encode_cursor(place[0], str(place[1]))
