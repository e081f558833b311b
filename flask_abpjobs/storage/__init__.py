"""Where jobs are kept, and how a storage is named by a URL."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from ..errors import ConfigError
from ..model import DEFAULT_RETENTION, Retention
from .base import JobStorage as JobStorage
from .sqlite import SqliteJobStorage


def open_storage(
    url: str,
    name: str,
    *,
    folder: str = "",
    retention: Retention = DEFAULT_RETENTION,
    clock: Callable[[], float] = time.time,
) -> JobStorage:
    """Open the storage that a URL names.

    :param url: ``sqlite:///file.db`` below ``folder``, ``sqlite:////absolute/file.db``, or ``memory://``,
        which lives as long as the returned object. Redis and Valkey: ``redis://[[user]:password@]host[:port][/db]``,
        ``rediss://`` for TLS, ``unix://[[user]:password@]/path/to/redis.sock[?db=0]``,
        ``redis+sentinel://[[user]:password@]host:port[,host:port ...]/service[/db]`` and
        ``redis+cluster://[[user]:password@]host:port[,host:port ...]``, both with ``rediss+`` for TLS.
    :param name: the application whose jobs these are.
    :param folder: where relative files lie; the working directory when empty. It is made when missing.
    :param retention: how long finished jobs are kept.
    :param clock: epoch seconds. A Redis server decides by its own.
    :raises ConfigError: the URL is none of these, or the file is of a newer version.
    :raises StorageError: the file cannot be opened.
    """
    parts = urlsplit(url)
    if parts.scheme == "memory":
        return SqliteJobStorage(":memory:", name, retention=retention, clock=clock)
    if parts.scheme.partition("+")[0] in {"redis", "rediss", "unix"}:
        from .redis import RedisJobStorage  # redis-py takes a while to import, and only these URLs need it

        return RedisJobStorage(url, name, retention=retention)
    if parts.scheme != "sqlite" or parts.netloc or len(parts.path) < 2:
        raise ConfigError(
            f"The storage URL {_without_password(url)!r} is not known. Use sqlite:///name.db (relative to the "
            "instance folder), sqlite:////absolute/path.db, memory://, redis://host:6379/0, rediss://, unix://, "
            "redis+sentinel:// or redis+cluster://."
        )
    path = os.path.join(folder, unquote(parts.path[1:]))
    if folder and not os.path.isabs(unquote(parts.path[1:])):
        os.makedirs(os.path.dirname(path), exist_ok=True)
    return SqliteJobStorage(path, name, retention=retention, clock=clock)


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://...@{tail}" if at else url
