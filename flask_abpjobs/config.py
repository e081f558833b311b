"""The ``ABPJOBS_`` settings, read and checked once."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import msgspec

from .errors import ConfigError
from .model import Retention
from .retry import RetryPolicy

PREFIX: Final = "ABPJOBS_"
NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}\Z")
QUEUE_PATTERN: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
MAX_RETENTION: Final = timedelta(days=36_525).total_seconds()
WORKER_TYPES: Final = ("thread", "process", "greenlet")


def default_workers() -> int:
    """Return Hangfire's rule: five per processor, at most 20."""
    return min(5 * (os.cpu_count() or 1), 20)


class JobsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of one app. Field ``x`` is the key ``ABPJOBS_X``."""

    storage_url: str = "sqlite:///abpjobs.db"
    name: str
    execution_enabled: bool = True
    embedded_worker: bool = False
    queues: tuple[str, ...] = ("default",)
    default_queue: str = "default"
    queue_prefix: str = ""
    manager: str = ""
    default_retry: RetryPolicy | None = None
    capture_logs: bool = False
    workers: int = msgspec.field(default_factory=default_workers)
    worker_type: str = "thread"
    heartbeat_seconds: float = 5.0
    server_timeout_seconds: float = 30.0
    shutdown_timeout_seconds: float = 15.0
    succeeded_retention_seconds: float | None = 86_400.0
    deleted_retention_seconds: float | None = 86_400.0
    failed_retention_seconds: float | None = None
    succeeded_retention_count: int | None = None
    deleted_retention_count: int | None = None
    failed_retention_count: int | None = None
    dashboard_path: str = "/jobs"
    dashboard_title: str = "Background jobs"
    dashboard_poll_seconds: float = 2.0
    dashboard_page_size: int = 20
    dashboard_read_only: bool = False
    testing: bool = False

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any], *, import_name: str = "abpjobs") -> JobsConfig:
        """Read the ``ABPJOBS_`` keys of a Flask configuration.

        :param config: ``app.config`` or any mapping; other keys are ignored, except ``TESTING``.
        :param import_name: the default of ``ABPJOBS_NAME``.
        :raises ConfigError: an unknown key, or a value of the wrong type or out of range.
        """
        values: dict[str, Any] = {"name": _as_name(import_name), "testing": bool(config.get("TESTING", False))}
        for key, value in config.items():
            if key.startswith(PREFIX):
                field = key.removeprefix(PREFIX).lower()
                if field not in cls.__struct_fields__ or key != key.upper():
                    raise ConfigError(_unknown_key(key, cls.__struct_fields__))
                values[field] = value
        if isinstance(values.get("queues"), str):  # of an environment variable
            values["queues"] = [queue.strip() for queue in values["queues"].split(",") if queue.strip()]
        try:
            settings = msgspec.convert(values, cls, strict=False)
        except msgspec.ValidationError as error:
            field = str(error).partition("`$.")[2].partition("`")[0].partition("[")[0]
            key = PREFIX + field.upper() if field else "an ABPJOBS_ key"
            raise ConfigError(f"{key} is {values.get(field)!r}: {str(error).partition(' - at')[0]}.") from error
        settings._check()
        return settings

    @property
    def retention(self) -> Retention:
        """How long finished jobs are kept."""

        def kept(seconds: float | None) -> timedelta | None:
            return None if seconds is None else timedelta(seconds=seconds)

        return Retention(
            succeeded=kept(self.succeeded_retention_seconds),
            deleted=kept(self.deleted_retention_seconds),
            failed=kept(self.failed_retention_seconds),
            max_succeeded=self.succeeded_retention_count,
            max_deleted=self.deleted_retention_count,
            max_failed=self.failed_retention_count,
        )

    @property
    def served_queues(self) -> tuple[str, ...]:
        """The queues to serve by their full names, with the prefix."""
        return tuple(self.queue_prefix + queue for queue in self.queues)

    def _check(self) -> None:
        def require(is_right: bool, field: str, advice: str) -> None:
            if not is_right:
                raise ConfigError(f"{PREFIX}{field.upper()} is {getattr(self, field)!r}: {advice}.")

        require(bool(NAME_PATTERN.match(self.name)), "name", "use 1 to 128 letters, digits and _ . : -")
        require(self.worker_type in WORKER_TYPES, "worker_type", f"use one of {', '.join(WORKER_TYPES)}")
        require(1 <= self.workers <= 1000, "workers", "use a number from 1 to 1000")
        require(bool(self.queues), "queues", "name at least one queue, first served first")
        require(len(set(self.queues)) == len(self.queues), "queues", "name each queue once")
        for queue in self.queues:
            require(bool(QUEUE_PATTERN.match(queue)), "queues", "a queue name has 1 to 64 letters, digits and _ . -")
        require(bool(QUEUE_PATTERN.match(self.default_queue)), "default_queue", "use 1 to 64 letters, digits and _ . -")
        is_prefix = not self.queue_prefix or (
            bool(QUEUE_PATTERN.match(self.queue_prefix)) and len(self.queue_prefix) <= 32
        )
        require(is_prefix, "queue_prefix", "use at most 32 letters, digits and _ . -")
        for name in (*self.served_queues, self.queue_prefix + self.default_queue):
            require(len(name) <= 64, "queue_prefix", f"the queue {name} has more than 64 characters with it")
        module, colon, name = self.manager.partition(":")
        is_class = not self.manager or bool(module and colon and name.isidentifier())
        require(is_class, "manager", 'name a class as "package.module:Class"')
        require(0.1 <= self.heartbeat_seconds <= 3600, "heartbeat_seconds", "use 0.1 to 3600 seconds")
        require(
            self.server_timeout_seconds >= 2 * self.heartbeat_seconds,
            "server_timeout_seconds",
            f"use at least two heartbeats of {self.heartbeat_seconds:g} s",
        )
        require(0 <= self.shutdown_timeout_seconds <= 3600, "shutdown_timeout_seconds", "use 0 to 3600 seconds")
        for state in ("succeeded", "deleted", "failed"):
            seconds = getattr(self, f"{state}_retention_seconds")
            is_time = seconds is None or 0 <= seconds <= MAX_RETENTION
            require(is_time, f"{state}_retention_seconds", "use seconds, or None for ever")
            most = getattr(self, f"{state}_retention_count")
            require(most is None or most >= 0, f"{state}_retention_count", "use a number of jobs, or None for no limit")
        require(
            is_mount(self.dashboard_path),
            "dashboard_path",
            'start with one slash and name a place below it, like "/jobs"',
        )
        require(1 <= self.dashboard_page_size <= 100, "dashboard_page_size", "use 1 to 100")
        require(0.5 <= self.dashboard_poll_seconds <= 3600, "dashboard_poll_seconds", "use 0.5 to 3600 seconds")


def is_mount(path: str) -> bool:
    """Return whether a dashboard can be mounted at a path."""
    return (
        path.startswith("/") and not path.startswith("//") and bool(path.strip("/")) and not set(path) & set("<>?#\\ ")
    )


def _unknown_key(key: str, fields: tuple[str, ...]) -> str:
    known = [PREFIX + field.upper() for field in fields]
    near = difflib.get_close_matches(key.upper(), known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]}?" if near else f" Known keys: {', '.join(sorted(known))}."
    return f"There is no setting {key}.{hint}"


def _as_name(import_name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.:-]", "_", import_name)[:128] or "abpjobs"
