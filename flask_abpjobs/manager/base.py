"""The provider-independent interface to enqueue jobs: ABP's ``IBackgroundJobManager``."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any, Self

import msgspec

from ..arguments import NO_NAN, holds_nan
from ..config import JobsConfig
from ..engine import JobHuey
from ..errors import ArgumentsError, ConfigError
from ..ids import new_job_ids
from ..jobs import Activator, JobDefinition
from ..model import JobPriority, JobRecord
from ..moments import moment_of
from ..options import DEFAULT_OPTIONS, JobOptions
from ..registry import JobRegistry
from ..signals import job_enqueued, tell
from .records import NO_DEFAULTS, Caller, Defaults, record_of


class ManagerSetup(msgspec.Struct, frozen=True, kw_only=True):
    """What an app has for its manager; a provider takes what it needs."""

    registry: JobRegistry
    config: JobsConfig
    caller: Callable[[], Caller]
    """Tells on whose behalf the present code enqueues."""
    sender: Any
    """The app: the sender of signals."""
    huey: JobHuey
    scope: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Makes the context in which a job runs."""
    activator: Activator

    @property
    def defaults(self) -> Defaults:
        """What the app's configuration says of new jobs."""
        config = self.config
        return Defaults(queue=config.default_queue, queue_prefix=config.queue_prefix, retention=config.retention)


class BackgroundJobManager(ABC):
    """Enqueues jobs, whatever runs them.

    A provider derives from this class and says in :meth:`store` what becomes of new jobs. ``ABPJOBS_MANAGER`` names it,
    and :class:`flask_abpjobs.testing.BackgroundJobManagerContract` proves that it conforms.

    :param registry: the jobs it knows.
    :param caller: tells on whose behalf a job is enqueued.
    :param defaults: queue and retention of jobs that name none.
    :param clock: epoch seconds.
    :param sender: of signals; the manager itself when left out.
    """

    def __init__(
        self,
        registry: JobRegistry,
        *,
        caller: Callable[[], Caller] = Caller,
        defaults: Defaults = NO_DEFAULTS,
        clock: Callable[[], float] = time.time,
        sender: Any = None,
    ) -> None:
        self._registry = registry
        self._caller = caller
        self._defaults = defaults
        self._clock = clock
        self._sender = self if sender is None else sender

    @classmethod
    def from_setup(cls, setup: ManagerSetup) -> Self:
        """Return the manager of an app."""
        return cls(setup.registry, caller=setup.caller, defaults=setup.defaults, sender=setup.sender)

    @abstractmethod
    def store(self, records: Sequence[JobRecord]) -> list[str]:
        """Take new jobs over, and return their ids in the same order.

        An id may be that of an earlier job, where a record's ``unique_key`` is taken. A provider that cannot honour
        something a record asks for raises :class:`ConfigError` rather than ignoring it.

        :raises StorageError: they were not taken.
        """

    @property
    def is_available(self) -> bool:
        """Whether jobs can be enqueued at all."""
        return True

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
        :raises JobNotFoundError: the job to be awaited does not exist.
        :raises StorageError: the storage did not take the job.
        """
        return self.enqueue_many((args,), priority=priority, delay=delay, **options)[0]

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
        definition = self._registry.get(name)
        value = decoded(definition, payload)
        return self.submit(definition, (value,), _options(priority, delay, options))[0]

    def enqueue_many(
        self,
        items: Iterable[object],
        *,
        priority: JobPriority = JobPriority.NORMAL,
        delay: timedelta | float | None = None,
        **options: Any,
    ) -> list[str]:
        """Put many jobs into their queues, a hundred in one step, and return their ids in the same order.

        All are checked before any is stored. Should the storage fail between two steps, the jobs of the steps before it
        are there.

        :param items: arguments as of :meth:`enqueue`, of one type or of several.

        The other arguments, and what is raised, are those of :meth:`enqueue`.
        """
        chosen = _options(priority, delay, options)
        return self._store([(self._registry.get_by_type(type(args)), args) for args in items], chosen)

    def submit(
        self, definition: JobDefinition, values: Sequence[Any], options: JobOptions = DEFAULT_OPTIONS
    ) -> list[str]:
        """Put bound calls of one job into its queue, and return the ids; raises as :meth:`enqueue` does.

        :param values: see ``JobDefinition.bind``.
        """
        return self._store([(definition, value) for value in values], options)

    def _store(self, calls: Sequence[tuple[JobDefinition, Any]], options: JobOptions) -> list[str]:
        return self._handed_over(self._made(calls, options))

    def _made(self, calls: Sequence[tuple[JobDefinition, Any]], options: JobOptions) -> list[JobRecord]:
        caller, seconds = self._caller(), self._clock()
        return [
            record_of(
                definition,
                value,
                options,
                caller=caller,
                defaults=self._defaults,
                now=moment_of(seconds + number * 1e-6),  # first in, first out, inside the batch too
                job_id=job_id,
            )
            for number, ((definition, value), job_id) in enumerate(
                zip(calls, new_job_ids(len(calls), seconds), strict=True)
            )
        ]

    def _handed_over(self, records: Sequence[JobRecord]) -> list[str]:
        ids = self.store(records)
        if job_enqueued.receivers:
            for record, job_id in zip(records, ids, strict=True):
                if record.id == job_id:
                    tell(job_enqueued, self._sender, job=record)
        return ids


def decoded(definition: JobDefinition, payload: Mapping[str, Any]) -> Any:
    """Return the arguments of a job that were given as JSON has them.

    :raises ArgumentsError: they do not fit.
    """
    if not isinstance(payload, Mapping):
        raise ArgumentsError(f"{definition.signature}: give the arguments as a mapping, not {payload!r:.100}.")
    try:
        encoded = msgspec.json.encode(payload)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ArgumentsError(f"{definition.signature}: the payload cannot be written as JSON: {error}.") from error
    if b"null" in encoded and holds_nan(payload):
        raise ArgumentsError(f"{definition.signature}: {NO_NAN}")
    names = definition.parameters.json_names
    unknown = set() if names is None else payload.keys() - names
    if unknown:
        raise ArgumentsError(f"{definition.signature} has no parameter {', '.join(sorted(map(str, unknown)))}.")
    try:
        return definition.parameters.decode(encoded)
    except ArgumentsError as error:
        raise ArgumentsError(f"{definition.signature}: {error}") from error


def _options(priority: JobPriority, delay: timedelta | float | None, options: dict[str, Any]) -> JobOptions:
    if not isinstance(priority, int):
        raise ConfigError(f"priority is {priority!r:.50}: use a JobPriority.")
    given = {} if priority == JobPriority.NORMAL else {"priority": priority}
    return DEFAULT_OPTIONS.changed(**given, **({} if delay is None else {"delay": delay}), **options)
