"""Huey's raw queue and schedule: bytes that somebody hands to the storage himself. Jobs are elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime

from .keyvalue import RedisKeyValues

DIGITS = 16
"""Of the number before each item, which keeps equal ones apart and in their order."""


class RedisRawQueue(RedisKeyValues):
    """Huey's storage methods for a queue with priorities and a schedule, as Huey's own storages have them."""

    def enqueue(self, data: bytes, priority: float | None = None) -> None:
        self._wire.command(b"ZADD", self._key(b"queue"), -(priority or 0), self._numbered(data))

    def dequeue(self) -> bytes | None:
        popped = self._wire.command(b"ZPOPMIN", self._key(b"queue"))
        return popped[0][DIGITS:] if popped else None

    def queue_size(self) -> int:
        return int(self._wire.command(b"ZCARD", self._key(b"queue")))

    def enqueued_items(self, limit: int | None = None) -> list[bytes]:
        return self._items(b"queue", limit)

    def flush_queue(self) -> None:
        self._wire.command(b"UNLINK", self._key(b"queue"))

    def add_to_schedule(self, data: bytes, ts: datetime) -> None:
        self._wire.command(b"ZADD", self._key(b"schedule"), _seconds(ts), self._numbered(data))

    def read_schedule(self, ts: datetime) -> list[bytes]:
        return [item[DIGITS:] for item in self._wire.call("raw_due", _seconds(ts))]

    def schedule_size(self) -> int:
        return int(self._wire.command(b"ZCARD", self._key(b"schedule")))

    def scheduled_items(self, limit: int | None = None) -> list[bytes]:
        return self._items(b"schedule", limit)

    def flush_schedule(self) -> None:
        self._wire.command(b"UNLINK", self._key(b"schedule"))

    def _items(self, what: bytes, limit: int | None) -> list[bytes]:
        last = -1 if limit is None else limit - 1
        return [item[DIGITS:] for item in self._wire.command(b"ZRANGE", self._key(what), 0, last)]

    def _numbered(self, data: bytes) -> bytes:
        number = self._wire.command(b"INCR", self._key(b"number"))
        return b"%0*d%b" % (DIGITS, number, data)

    def _key(self, what: bytes) -> bytes:
        return self._wire.prefix + b"raw:" + what


def _seconds(ts: datetime) -> float:
    return (ts if ts.tzinfo is not None else ts.replace(tzinfo=UTC)).timestamp()
