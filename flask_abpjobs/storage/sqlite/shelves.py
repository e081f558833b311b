"""Shelves: where a job lies in the lists, and the numbers that are kept of them.

A transaction sums its changes here and writes each shelf once, before it commits. So a number never differs from what
the same transaction did to the jobs, and a job that is finished while the next of its kind begins costs two writes.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from typing import Final

from ...errors import StorageError

_FIND: Final = (
    "SELECT id FROM abpjobs_shelf "
    "WHERE app = ? AND state = ? AND queue = ? AND name = ? AND is_tenanted = ? AND is_kept = ?"
)
_MAKE: Final = "INSERT INTO abpjobs_shelf (app, state, queue, name, is_tenanted, is_kept) VALUES (?, ?, ?, ?, ?, ?)"
_COUNT: Final = (
    "UPDATE abpjobs_shelf SET number = number + ?, retrying = retrying + ?, created = created + ?, "
    "expired = expired + ?, recovered = recovered + ? WHERE id = ?"
)
_COUNT_TENANT: Final = (
    "INSERT INTO abpjobs_count VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET number = number + excluded.number"
)
NUMBER, RETRYING, CREATED, EXPIRED, RECOVERED = range(5)
WORDS: Final = (None, "retrying", "created", "expired", "recovered")


class Shelves:
    """The shelves of one application in one process, and the changes of the transaction under way.

    Used under the writers' lock only.
    """

    def __init__(self, app: str) -> None:
        self._app = app
        self._known: dict[tuple[str, str, str, bool, bool], int] = {}
        self._changes: dict[int, list[int]] = {}
        self._tenants: defaultdict[tuple[str, str, str], int] = defaultdict(int)

    def find(
        self, cursor: sqlite3.Cursor, state: str, queue: str, name: str, *, is_tenanted: bool, is_kept: bool
    ) -> int:
        """Return the number of a shelf; a new one is made."""
        key = (state, queue, name, is_tenanted, is_kept)
        shelf = self._known.get(key)
        if shelf is None:
            row = cursor.execute(_FIND, (self._app, *key)).fetchone()
            shelf = cursor.execute(_MAKE, (self._app, *key)).lastrowid if row is None else row[0]
            assert shelf is not None
            self._known[key] = shelf
        return shelf

    def count(self, shelf: int, what: int, change: int, tenant: str | None, queue: str, state: str) -> None:
        """Note that one of a shelf's numbers changes, and with it that of a tenant."""
        changes = self._changes.get(shelf)
        if changes is None:
            changes = self._changes[shelf] = [0, 0, 0, 0, 0]
        changes[what] += change
        if tenant is not None:
            self._tenants[tenant, queue, WORDS[what] or state] += change

    def refuse(self) -> None:
        """Note that a late report was refused."""
        self._tenants["", "", "refused"] += 1

    def write(self, cursor: sqlite3.Cursor) -> None:
        """Write all that was noted. The transaction commits next, or is rolled back and :meth:`forget` called."""
        for shelf, changes in self._changes.items():
            if any(changes) and cursor.execute(_COUNT, (*changes, shelf)).rowcount != 1:
                raise StorageError(f"The SQLite file has lost shelf {shelf} of application {self._app}.")
        for (tenant, queue, what), change in self._tenants.items():
            if change:
                cursor.execute(_COUNT_TENANT, (self._app, tenant, queue, what, change))
        self._changes.clear()
        self._tenants.clear()

    def forget(self) -> None:
        """Drop what was noted, and what is known: a transaction that is rolled back may have made a shelf."""
        self._changes.clear()
        self._tenants.clear()
        self._known.clear()
