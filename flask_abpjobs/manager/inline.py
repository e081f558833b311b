"""The provider that runs jobs at once: for tests and scripts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Self

from msgspec import structs

from ..arguments import encode_result
from ..context import JobContext, job_scope
from ..engine.performer import build
from ..errors import ConfigError
from ..jobs import Activator
from ..model import JobProgress, JobRecord, JobState
from ..registry import JobRegistry
from .base import BackgroundJobManager, ManagerSetup

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
logger = logging.getLogger(__name__)


class InlineJobManager(BackgroundJobManager):
    """Runs each job while it is enqueued, in the caller's thread, through the same JSON as a worker does.

    What the job raises reaches the caller; there are no retries. A delay is not waited for. Nothing is stored, so a job
    has no page and cannot be awaited by another.

    :param registry: the jobs it knows.
    :param scope: makes the context in which a job runs.
    :param activator: builds job classes.
    :param options: see :class:`BackgroundJobManager`.
    """

    def __init__(
        self,
        registry: JobRegistry,
        *,
        scope: Callable[[], AbstractContextManager[Any]] = nullcontext,
        activator: Activator = build,
        **options: Any,
    ) -> None:
        super().__init__(registry, **options)
        self._scope = scope
        self._activator = activator

    @classmethod
    def from_setup(cls, setup: ManagerSetup) -> Self:
        return cls(
            setup.registry,
            caller=setup.caller,
            defaults=setup.defaults,
            sender=setup.sender,
            scope=setup.scope,
            activator=setup.activator,
        )

    def store(self, records: Sequence[JobRecord]) -> list[str]:
        for record in records:
            if record.parent_id is not None:
                raise ConfigError(f"{record.name} cannot await job {record.parent_id}: InlineJobManager keeps no jobs.")
        for record in records:
            self._run(record)
        return [record.id for record in records]

    def _run(self, record: JobRecord) -> None:
        definition = self._registry.get(record.name)
        running = structs.replace(record, state=JobState.PROCESSING, attempt=1)
        value = definition.decode(record.payload)
        with self._scope(), job_scope(JobContext(running, _LogReporter(record))):
            encode_result(definition.run(value, self._activator))


class _LogReporter:
    """Leaves what a job says to the log of the process."""

    def __init__(self, record: JobRecord) -> None:
        self._record = record

    def progress(self, progress: JobProgress) -> None:
        logger.debug(
            "%s %s: %s of %s %s", self._record.name, self._record.id, progress.done, progress.total, progress.message
        )

    def log(self, text: str, level: str) -> None:
        logger.log(LEVELS[level], "%s %s: %s", self._record.name, self._record.id, text)

    def is_cancelled(self) -> bool:
        return False

    def is_overdue(self) -> bool:
        return False
