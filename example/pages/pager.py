"""Pages of a long list."""

from __future__ import annotations

from dataclasses import dataclass

from flask import request


@dataclass(frozen=True)
class Pager:
    """Which page of a list is shown."""

    count: int
    size: int
    page: int

    @classmethod
    def of_request(cls, count: int, size: int) -> Pager:
        """Return the page that the address asks for, or the nearest one there is."""
        asked = request.args.get("page", 1, type=int)
        last = max(1, -(-count // size))
        return cls(count, size, min(max(asked, 1), last))

    @property
    def first(self) -> int:
        """The number of the first entry shown."""
        return (self.page - 1) * self.size + 1 if self.count else 0

    @property
    def last(self) -> int:
        """The number of the last entry shown."""
        return min(self.page * self.size, self.count)

    @property
    def previous(self) -> int | None:
        """The page before."""
        return self.page - 1 if self.page > 1 else None

    @property
    def next(self) -> int | None:
        """The page after."""
        return self.page + 1 if self.last < self.count else None
