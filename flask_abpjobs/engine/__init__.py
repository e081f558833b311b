"""The engine: Huey with records, leases and recovery. It needs no Flask."""

from __future__ import annotations

from typing import Any

from ..config import QUEUE_PATTERN
from ..errors import ConfigError
from ..model import DEFAULT_RETENTION, Retention
from ..storage import open_storage
from .huey import JobHuey as JobHuey


def open_huey(
    url: str,
    *,
    name: str,
    queues: tuple[str, ...] = ("default",),
    retention: Retention = DEFAULT_RETENTION,
    **options: Any,
) -> JobHuey:
    """Return a tracked Huey without Flask: every task has a record, a lease and a history.

    :param url: see :func:`flask_abpjobs.storage.open_storage`; relative files are below the working directory.
    :param name: the application: Hueys of one name and one storage share their jobs.
    :param queues: the queues to serve, in this order.
    :param retention: how long finished jobs are kept.
    :param options: of :class:`JobHuey` and of Huey itself.
    :raises ConfigError: the URL or a queue name is not usable.
    :raises StorageError: the storage cannot be opened.
    """
    for queue in queues:
        if not QUEUE_PATTERN.match(queue):
            raise ConfigError(f"queue is {queue!r:.100}: use 1 to 64 letters, digits and _ . -")
    return JobHuey(name, open_storage(url, name, retention=retention), queues=queues, **options)
