"""What a running job knows of itself, and whose tenant is current."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final, Protocol, cast

from flask import current_app, has_request_context
from werkzeug.local import LocalProxy

from .errors import AbpJobsError
from .model import JobProgress, JobRecord, storable

LEVELS: Final = ("debug", "info", "warning", "error")


class JobCancelledError(AbpJobsError):
    """Raised by :meth:`JobContext.raise_if_cancelled`: nobody waits for this attempt any more."""


class JobTimeoutError(JobCancelledError):
    """An attempt has run longer than its job's ``timeout``. It fails, and is tried again as the retry policy says."""


class Reporter(Protocol):
    """Where a running job's words go."""

    def progress(self, progress: JobProgress) -> None: ...

    def log(self, text: str, level: str) -> None: ...

    def is_cancelled(self) -> bool: ...

    def is_overdue(self) -> bool: ...


class JobContext:
    """The running job, as :data:`current_job` shows it."""

    def __init__(self, record: JobRecord, reporter: Reporter, *, captures_logs: bool = False) -> None:
        self._record = record
        self._reporter = reporter
        self.captures_logs = captures_logs

    @property
    def id(self) -> str:
        """The job's id."""
        return self._record.id

    @property
    def name(self) -> str:
        """The job's registered name."""
        return self._record.name

    @property
    def queue(self) -> str:
        """The queue it came from."""
        return self._record.queue

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1. Above 1 an earlier one failed or was lost: its work may be half done."""
        return self._record.attempt

    @property
    def tenant_id(self) -> str | None:
        """The tenant for whom it runs."""
        return self._record.tenant_id

    @property
    def enqueued_by(self) -> str | None:
        """The id of the user who enqueued it."""
        return self._record.enqueued_by

    @property
    def correlation_id(self) -> str | None:
        """The correlation id of the request or job that enqueued it."""
        return self._record.correlation_id

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Say how far the job is. Cheap: written at most once a second, and at the end.

        :param done: units of work done.
        :param total: all units, if known.
        :param message: what it is doing now, at most 200 characters.
        :raises ValueError: a number is NaN or infinite.
        """
        progress = JobProgress(float(done), None if total is None else float(total), storable(message[:200]))
        if not math.isfinite(progress.done) or not math.isfinite(progress.total or 0):
            raise ValueError(f"progress is {progress.done} of {progress.total}: use finite numbers")
        self._reporter.progress(progress)

    def log(self, text: str, level: str = "info") -> None:
        """Write a line to the job's log. Cheap: written at most once a second, and at the end.

        :param text: at most 4,000 characters are kept.
        :param level: ``debug``, ``info``, ``warning`` or ``error``.
        :raises ValueError: the level is another.
        """
        if level not in LEVELS:
            raise ValueError(f"level is {level!r}: use {', '.join(LEVELS)}")
        self._reporter.log(text, level)

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody waits for this attempt any more.

        The job was deleted or given to another worker, which is asked at most every two seconds; or the attempt has run
        longer than the job's timeout.
        """
        return self._reporter.is_overdue() or self._reporter.is_cancelled()

    def raise_if_cancelled(self) -> None:
        """Leave the job when it is cancelled.

        :raises JobTimeoutError: the attempt has run longer than the job's timeout.
        :raises JobCancelledError: the job was deleted or given to another worker.
        """
        if self._reporter.is_overdue():
            raise JobTimeoutError(f"Job {self.id} has run longer than its timeout.")
        if self._reporter.is_cancelled():
            raise JobCancelledError(f"Job {self.id} was cancelled.")


_job: ContextVar[JobContext] = ContextVar("abpjobs_job")
_tenant: ContextVar[str | None] = ContextVar("abpjobs_tenant")

current_job: JobContext = cast(
    JobContext,
    LocalProxy(_job, unbound_message="No job is running here: current_job is for code that a worker runs as a job."),
)
"""The running job."""


class CurrentTenant:
    """The tenant of the running job, of a :func:`tenant_scope`, or of the caller of this request."""

    @property
    def id(self) -> str | None:
        """The tenant's id; ``None`` for the host and where nobody said."""
        try:
            return _tenant.get()
        except LookupError:
            if has_request_context():
                return cast("str | None", current_app.extensions["abpjobs"].tenant_resolver())
            return None

    def __repr__(self) -> str:
        return f"<current_tenant {self.id!r}>"


current_tenant: Final = CurrentTenant()
"""Whose data the current code may touch; read ``current_tenant.id``."""


def find_current_job() -> JobContext | None:
    """Return the running job, ``None`` outside of one."""
    return _job.get(None)


@contextlib.contextmanager
def tenant_scope(tenant_id: str | None) -> Iterator[None]:
    """Make a tenant current, for scripts and jobs that act for another one.

    :param tenant_id: the tenant, ``None`` for the host.
    """
    token = _tenant.set(tenant_id)
    try:
        yield
    finally:
        _tenant.reset(token)


@contextlib.contextmanager
def job_scope(context: JobContext) -> Iterator[None]:
    """Make a job and its tenant current."""
    token = _job.set(context)
    try:
        with tenant_scope(context.tenant_id):
            yield
    finally:
        _job.reset(token)
