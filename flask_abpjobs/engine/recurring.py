"""The tick that turns slots of recurring jobs into jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from msgspec import structs

from ..errors import AbpJobsError, ConfigError, StorageError
from ..jobs import JobDefinition
from ..model import JobRecord, RecurringRecord
from ..recurrence import Firing, fire
from ..registry import JobRegistry
from ..storage import JobStorage
from ..storage.base import BATCH

MakeJob = Callable[[RecurringRecord, JobDefinition, datetime, datetime], JobRecord]
"""Makes the job of a slot: ``make_job(recurring, definition, slot, now)``. Its id follows from the slot alone."""

logger = logging.getLogger(__name__)


class RecurringTick:
    """Looks for recurring jobs whose slot has come, about once a second on every server.

    All that a slot changes is written in one step, and only if nobody has changed the recurring job since it was read;
    and the id of the job follows from the slot. So a slot runs once, however many servers look, restart, or see their
    clock go back.

    :param jobs: what this server can run.
    :param make_job: makes the job of a slot.
    :param sync: brings what the code declares into the storage. It is called at the first tick that can, and may be
        called at any time.
    :param tell: is told of each job, after it is stored.
    """

    def __init__(
        self,
        storage: JobStorage,
        jobs: JobRegistry,
        make_job: MakeJob,
        *,
        sync: Callable[[], None] = lambda: None,
        tell: Callable[[JobRecord], None] = lambda job: None,
    ) -> None:
        self._storage = storage
        self._jobs = jobs
        self._make_job = make_job
        self._sync = sync
        self._tell = tell
        self._unknown: set[tuple[str, str]] = set()

    def tick(self) -> None:
        """Take one look. What goes wrong with one recurring job does not keep the others from running.

        :raises StorageError: the storage does not answer; the next tick goes on where this one stopped.
        """
        self._sync()
        for record in self._due():
            try:
                self._fire(record)
            except StorageError:
                raise
            except Exception:
                logger.exception("The recurring job %s failed to be enqueued, and will be tried again", record.id)

    def _due(self) -> list[RecurringRecord]:
        due = self._storage.due_recurring()
        if len(due) < BATCH:
            return due
        # Those that only other servers know stay due: they must not hide the rest
        now = datetime.fromtimestamp(self._storage.now(), UTC)
        return [
            record
            for record in self._storage.list_recurring()
            if not record.is_paused and record.next_at is not None and record.next_at <= now
        ]

    def _fire(self, record: RecurringRecord) -> None:
        definition = self._jobs.find(record.name)
        if definition is None:
            self._leave(record)
            return
        now = datetime.fromtimestamp(self._storage.now(), UTC)
        try:
            firing = fire(record, now, BATCH)
        except ConfigError as error:
            self._note(structs.replace(record, next_at=None, error=str(error)))
            return
        try:
            jobs = self._made(record, definition, firing, now)
        except AbpJobsError as error:  # the stored arguments do not fit this server's code
            self._note(structs.replace(record, next_at=firing.next_at, error=str(error)))
            return
        changed = structs.replace(record, next_at=firing.next_at, error=None)
        if jobs:
            changed = structs.replace(changed, last_at=firing.slots[-1], last_job_id=jobs[-1].id)
        if self._storage.put_recurring(changed, jobs):  # else another server was first
            for job in jobs:
                self._tell(job)

    def _made(
        self, record: RecurringRecord, definition: JobDefinition, firing: Firing, now: datetime
    ) -> list[JobRecord]:
        return [
            self._make_job(record, definition, slot, now + timedelta(microseconds=number))  # first in, first out
            for number, slot in enumerate(firing.slots)
        ]

    def _leave(self, record: RecurringRecord) -> None:
        """Leave it to a server that has the job's code; should none have it, it waits until one comes."""
        if (record.id, record.name) not in self._unknown:
            self._unknown.add((record.id, record.name))
            logger.warning(
                "The recurring job %s needs the job %s, which is not registered here: it is left to other servers",
                *(record.id, record.name),
            )

    def _note(self, record: RecurringRecord) -> None:
        if self._storage.put_recurring(record):
            logger.error("The recurring job %s cannot run: %s", record.id, record.error)
