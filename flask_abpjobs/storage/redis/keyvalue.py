"""Huey's key/value data: results, locks, revocations and counters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from huey.constants import EmptyData
from huey.storage import BaseStorage

from ...errors import StorageError
from .connection import Wire


class RedisKeyValues(BaseStorage):  # type: ignore[misc]
    """Huey's storage as far as it is not about jobs: Huey's own queue and schedule do not exist here.

    :param name: the application, by which all its keys begin: ``abpjobs:{name}:``.
    """

    def __init__(self, name: str, wire: Wire) -> None:
        super().__init__(name)
        self._wire = wire
        self._kv = wire.prefix + b"kv"
        self._kv_counters = wire.prefix + b"kv:counters"

    def put_data(self, key: bytes | str, value: bytes, is_result: bool = False) -> None:
        self._wire.command(b"HSET", self._kv, key, value)

    def peek_data(self, key: bytes | str) -> Any:
        value = self._wire.command(b"HGET", self._kv, key)
        return EmptyData if value is None else value

    def peek_many(self, keys: Iterable[bytes | str]) -> dict[bytes | str, bytes]:
        keys = list(keys)
        values = self._wire.command(b"HMGET", self._kv, *keys) if keys else []
        return {key: value for key, value in zip(keys, values, strict=True) if value is not None}

    def pop_data(self, key: bytes | str) -> Any:
        value = self._wire.call("pop", key)
        return EmptyData if value is None else value

    def delete_data(self, key: bytes | str) -> bool:
        return bool(self._wire.command(b"HDEL", self._kv, key))

    def has_data_for_key(self, key: bytes | str) -> bool:
        return bool(self._wire.command(b"HEXISTS", self._kv, key))

    def put_if_empty(self, key: bytes | str, value: bytes, ttl: int | None = None) -> bool:
        if ttl is None:
            return bool(self._wire.command(b"HSETNX", self._kv, key, value))
        try:
            return bool(self._wire.call("put_for", key, value, int(ttl)))
        except StorageError as error:
            if "Unknown Redis command" in str(error):
                raise NotImplementedError("ttl needs Redis 7.4 or Valkey 9") from error
            raise

    def incr(self, key: bytes | str, amount: int = 1) -> int:
        return int(self._wire.command(b"HINCRBY", self._kv_counters, key, amount))

    def delete_counter(self, key: bytes | str) -> None:
        self._wire.command(b"HDEL", self._kv_counters, key)

    def result_store_size(self) -> int:
        return int(self._wire.command(b"HLEN", self._kv))

    def result_items(self) -> dict[str, bytes]:
        found = self._wire.command(b"HGETALL", self._kv)
        return {key.decode(): value for key, value in zip(found[::2], found[1::2], strict=True)}

    def flush_results(self) -> None:
        self._wire.command(b"UNLINK", self._kv)

    def flush_counters(self) -> None:
        self._wire.command(b"UNLINK", self._kv_counters)
