"""The provider-independent interface to enqueue jobs, and its provider on Huey."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from .arguments import NO_NAN, holds_nan
from .engine import JobHuey
from .errors import ArgumentsError, ConfigError
from .jobs import JobDefinition
from .model import (
    ANY_TENANT,
    DELETABLE,
    REQUEUABLE,
    JobPriority,
    JobRecord,
    JobState,
    TenantScope,
    new_job_id,
)
from .options import DEFAULT_OPTIONS, JobOptions
from .registry import JobRegistry
from .retry import encode_policy


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """On whose behalf a job is enqueued."""

    tenant_id: str | None = None
    user_id: str | None = None
    correlation_id: str | None = None


class BackgroundJobManager(ABC):
    """Enqueues jobs, whatever runs them: ABP's ``IBackgroundJobManager``."""

    @abstractmethod
    def enqueue(
        self,
        args: object,
        *,
        priority: JobPriority = JobPriority.NORMAL,
        delay: timedelta | float | None = None,
        **options: Any,
    ) -> str:
        """Put the job that takes ``args`` into its queue.

        :param args: the argument of a job class; its type names the job.
        :param priority: higher runs first inside a queue. ``NORMAL`` leaves it to the job's definition.
        :param delay: a time, or seconds, before which the job does not run.
        :param options: see :meth:`flask_abpjobs.jobs.JobCall.using`.
        :returns: the new job's id.
        :raises UnknownJobError: no job takes arguments of this type.
        :raises ArgumentsError: the arguments cannot be stored.
        :raises ConfigError: an unknown option.
        :raises StorageError: the storage did not take the job.
        """

    @abstractmethod
    def enqueue_by_name(
        self,
        name: str,
        payload: Mapping[str, Any],
        *,
        priority: JobPriority = JobPriority.NORMAL,
        delay: timedelta | float | None = None,
        **options: Any,
    ) -> str:
        """Put the job of a name into its queue.

        :param name: the job's registered name.
        :param payload: its arguments by name, as JSON has them.

        The other arguments, and what is returned and raised, are those of :meth:`enqueue`.
        """

    @property
    @abstractmethod
    def is_available(self) -> bool:
        """Whether jobs can be enqueued at all."""


class HueyJobManager(BackgroundJobManager):
    """Keeps jobs in the storage of a :class:`~flask_abpjobs.engine.JobHuey`, whose workers run them.

    :param huey: the engine.
    :param caller: tells on whose behalf a job is enqueued.
    """

    def __init__(self, huey: JobHuey, caller: Callable[[], Caller] = Caller) -> None:
        self._huey = huey
        self._records = huey.records
        self._registry: JobRegistry = huey.jobs
        self._caller = caller

    @property
    def is_available(self) -> bool:
        return True

    def enqueue(
        self,
        args: object,
        *,
        priority: JobPriority = JobPriority.NORMAL,
        delay: timedelta | float | None = None,
        **options: Any,
    ) -> str:
        definition = self._registry.get_by_type(type(args))
        return self.submit(definition, args, _options(priority, delay, options))

    def enqueue_by_name(
        self,
        name: str,
        payload: Mapping[str, Any],
        *,
        priority: JobPriority = JobPriority.NORMAL,
        delay: timedelta | float | None = None,
        **options: Any,
    ) -> str:
        definition = self._registry.get(name)
        if not isinstance(payload, Mapping):
            raise ArgumentsError(f"{definition.signature}: give the arguments as a mapping, not {payload!r:.100}.")
        try:
            encoded = msgspec.json.encode(payload)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ArgumentsError(f"{definition.signature}: the payload cannot be written as JSON: {error}.") from error
        if b"null" in encoded and holds_nan(payload):
            raise ArgumentsError(f"{definition.signature}: {NO_NAN}")
        unknown = payload.keys() - set(definition.parameters.names)
        if unknown and not definition.is_class:
            raise ArgumentsError(f"{definition.signature} has no parameter {', '.join(sorted(map(str, unknown)))}.")
        try:
            value = definition.parameters.decode(encoded)
        except ArgumentsError as error:
            raise ArgumentsError(f"{definition.signature}: {error}") from error
        return self.submit(definition, value, _options(priority, delay, options))

    def submit(self, definition: JobDefinition, value: Any, options: JobOptions = DEFAULT_OPTIONS) -> str:
        """Store a call of a job and return the new job's id; raises as :meth:`enqueue` does.

        :param value: the bound arguments, see :meth:`flask_abpjobs.jobs.JobDefinition.bind`.
        """
        record = self._record(definition, value, options)
        self._records.add(record)
        return record.id

    def requeue(
        self,
        job_id: str,
        *,
        expected: Collection[JobState] = REQUEUABLE,
        reason: str = "Requeued",
        by: str | None = None,
        tenant: TenantScope = ANY_TENANT,
    ) -> JobRecord:
        """Put a job that is not running into its queue, its retries counted anew. "Run now" is this, too.

        :raises JobNotFoundError: there is no such job in this tenant scope.
        :raises StateChangedError: the job is in none of the expected states; nothing was changed.
        """
        return self._records.requeue(job_id, expected=expected, reason=reason, by=by, tenant=tenant)

    def delete(
        self,
        job_id: str,
        *,
        expected: Collection[JobState] = DELETABLE,
        reason: str = "Deleted",
        by: str | None = None,
        tenant: TenantScope = ANY_TENANT,
    ) -> JobRecord:
        """Move a job to deleted, where it is kept for a day.

        A running one is told through ``current_job.is_cancelled``. Raises as :meth:`requeue` does.
        """
        return self._records.delete(job_id, expected=expected, reason=reason, by=by, tenant=tenant)

    def _record(self, definition: JobDefinition, value: Any, options: JobOptions) -> JobRecord:
        payload = definition.encode(value)
        caller = self._caller()
        seconds = self._records.now()
        now = datetime.fromtimestamp(seconds, UTC)
        due_at = options.eta if options.delay is None else now + options.delay
        is_due = due_at is None or due_at <= now
        priority = definition.priority if options.priority is None else options.priority
        return JobRecord(
            id=new_job_id(seconds),
            name=definition.name,
            queue=options.queue or definition.queue or self._huey.default_queue,
            priority=int(priority),
            state=JobState.ENQUEUED if is_due else JobState.SCHEDULED,
            state_at=now,
            created_at=now,
            due_at=None if is_due else due_at,
            first_due_at=None if is_due else due_at,
            payload=payload,
            arguments=definition.parameters.display(value),
            tenant_id=caller.tenant_id if options.tenant is msgspec.UNSET else options.tenant,
            enqueued_by=caller.user_id,
            correlation_id=caller.correlation_id,
            retry=None if options.retry is None else encode_policy(options.retry),
        )


def _options(priority: JobPriority, delay: timedelta | float | None, options: dict[str, Any]) -> JobOptions:
    if not isinstance(priority, int):
        raise ConfigError(f"priority is {priority!r:.50}: use a JobPriority.")
    given = {} if priority == JobPriority.NORMAL else {"priority": priority}
    return DEFAULT_OPTIONS.changed(**given, **({} if delay is None else {"delay": delay}), **options)
