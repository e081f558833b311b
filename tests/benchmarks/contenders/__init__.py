"""Who is compared, and what each of them must be able to do."""

from __future__ import annotations

import enum
import importlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from ..place import Place


class Kind(enum.Enum):
    """How a worker runs jobs."""

    ONE = "1 worker"
    THREADS = "4 threads"
    PROCESSES = "2 processes"


class Contender(ABC):
    """One library with one job, :func:`tests.benchmarks.stamps.stamp`, and its default settings.

    :param place: is empty.
    """

    def __init__(self, place: Place) -> None:
        self.place = place

    @abstractmethod
    def put(self, number: int) -> None:
        """Enqueue the job with one argument."""

    def put_many(self, numbers: Sequence[int]) -> None:
        """Enqueue many jobs, by the library's own call for that if it has one."""
        for number in numbers:
            self.put(number)

    def put_due(self, numbers: Sequence[int], at: datetime) -> None:
        """Schedule jobs that all become due at one time."""
        raise NotImplementedError

    @abstractmethod
    def serve(self, kind: Kind) -> None:
        """Run jobs until this process is killed."""


class Entry(NamedTuple):
    """A line of the tables."""

    key: str
    title: str
    module: str
    """Of this package, followed by the class."""
    library: str
    """What must be importable."""
    requirement: str
    storage: str
    """``redis`` or ``sqlite``."""
    kinds: frozenset[Kind] = frozenset(Kind)

    @property
    def is_ours(self) -> bool:
        return self.key.startswith("ours")

    @property
    def is_missing(self) -> bool:
        return importlib.util.find_spec(self.library) is None


_NO_THREADS = frozenset({Kind.ONE, Kind.PROCESSES})
_HUEY, _RQ, _DRAMATIQ, _CELERY, _FLEXIQ = (
    "huey==3.5.4",
    "rq==3.0.0",
    "dramatiq[redis]==2.2.1",
    "celery[redis]==5.7.0",
    "flexiq[redis]==2.1.0",
)

ENTRIES = (
    Entry("huey-redis", "Huey, RedisHuey", "huey:OnRedis", "huey", _HUEY, "redis"),
    Entry("huey-priority", "Huey, PriorityRedisHuey", "huey:OnPriorityRedis", "huey", _HUEY, "redis"),
    Entry("ours-redis", "Flask-AbpJobs, Redis", "ours:OnRedis", "flask_abpjobs", "Flask-AbpJobs", "redis"),
    Entry("rq", "RQ", "rq:Forking", "rq", _RQ, "redis", _NO_THREADS),
    Entry("rq-simple", "RQ, SimpleWorker", "rq:Simple", "rq", _RQ, "redis", _NO_THREADS),
    Entry("dramatiq", "Dramatiq", "dramatiq:Dramatiq", "dramatiq", _DRAMATIQ, "redis"),
    Entry("celery", "Celery", "celery:Early", "celery", _CELERY, "redis"),
    Entry("celery-late", "Celery, acks_late", "celery:Late", "celery", _CELERY, "redis"),
    Entry("flexiq-redis", "FlexiQ, Redis", "flexiq:OnRedis", "flexiq", _FLEXIQ, "redis"),
    Entry("huey-sqlite", "Huey, SqliteHuey", "huey:OnSqlite", "huey", _HUEY, "sqlite"),
    Entry("ours-sqlite", "Flask-AbpJobs, SQLite", "ours:OnSqlite", "flask_abpjobs", "Flask-AbpJobs", "sqlite"),
    Entry("flexiq-sqlite", "FlexiQ, SQLite", "flexiq:OnSqlite", "flexiq", _FLEXIQ, "sqlite"),
)

BASELINES = {"redis": "huey-redis", "sqlite": "huey-sqlite"}
"""What the ratios are to, for each kind of storage."""


def entry_of(key: str) -> Entry:
    """Return a line by its key."""
    return {entry.key: entry for entry in ENTRIES}[key]


def load(entry: Entry) -> type[Contender]:
    """Import a contender's adapter, and with it the library."""
    module, _, name = entry.module.partition(":")
    contender: type[Contender] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    return contender
