"""Huey's own tasks as records, and what Huey writes while it ends one."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any, Final

from huey import Huey
from huey.api import PeriodicTask, ResultGroup, Task, chord, group
from huey.constants import EmptyData
from huey.signals import SIGNAL_ENQUEUED, SIGNAL_SCHEDULED
from msgspec import structs

from ..ids import new_job_id
from ..model import JobPriority, JobQuery, JobRecord, JobState
from ..registry import JobRegistry
from ..storage import JobStorage
from .attempt import Attempt
from .serializer import JsonSerializer

MAX_LISTED: Final = 1000


class RecordingHuey(Huey):  # type: ignore[misc]
    """Huey's public API over job records.

    Enqueueing writes a record in one step. In the tail of a task, after its code has ended, Huey stores the result,
    drops a revocation, enqueues a retry or the next of a pipeline; all that is collected in the :class:`Attempt`
    instead.
    """

    def __init__(
        self,
        name: str,
        storage: JobStorage,
        *,
        jobs: JobRegistry | None,
        default_queue: str,
        queue_prefix: str = "",
        **options: Any,
    ) -> None:
        self.jobs = JobRegistry() if jobs is None else jobs
        self.default_queue = default_queue
        self._queue_prefix = queue_prefix
        self._records = storage
        self._local = threading.local()
        options.setdefault("serializer", JsonSerializer())
        super().__init__(name, storage_class=lambda *_, **__: storage, **options)

    @property
    def records(self) -> JobStorage:
        """The storage with the job records, also while Huey's immediate mode keeps its own data in memory."""
        return self._records

    def enqueue(self, task: Any) -> Any:
        """Write the task's record; in the tail of a task, hand it to that task's finishing step."""
        if self._immediate or isinstance(task, (group, chord)):
            return super().enqueue(task)
        if task.expires:
            task.resolve_expires(self.utc)
        attempt = self._collecting()
        if attempt is not None and task.id == attempt.task_id:  # puts itself back
            attempt.run_again_at(None, self.serialize_task(task))
            self._emit(SIGNAL_ENQUEUED, task)
        else:
            self._add(task, attempt)
        if not self.results:
            return None
        results = self._pipeline_results(task)
        return ResultGroup(results) if len(results) > 1 else results[0]

    def add_schedule(self, task: Task) -> None:
        """Write the task's record as scheduled."""
        attempt = self._collecting()
        if self._immediate:
            super().add_schedule(task)
        elif attempt is not None and task.id == attempt.task_id:
            attempt.run_again_at(self._aware(task.eta), self.serialize_task(task))
            self._emit(SIGNAL_SCHEDULED, task)
        else:
            self._add(task, attempt, self._aware(task.eta))

    def record_of(self, task: Task, due_at: datetime | None = None) -> JobRecord:
        """Return a new record for one of Huey's own tasks.

        :param due_at: when a task that is scheduled becomes due. One that is enqueued with a later ``eta`` goes to a
            worker first, which schedules it: that is Huey's way.
        """
        now = datetime.fromtimestamp(self._records.now(), UTC)
        return JobRecord(
            id=task.id,
            name=self._registry.task_to_string(type(task)),
            queue=self._queue_of(task),
            priority=JobPriority.NORMAL + int(task.priority or 0),
            state=JobState.ENQUEUED if due_at is None else JobState.SCHEDULED,
            state_at=now,
            created_at=now,
            due_at=due_at,
            payload=self.serialize_task(task),
        )

    def _queue_of(self, task: Task) -> str:
        queue = getattr(task, "queue", None)
        return f"{self._queue_prefix}{queue}" if queue else self.default_queue

    def pending(self, limit: int | None = None) -> list[Task]:
        return super().pending(limit) if self._immediate else self._listed(JobState.ENQUEUED, limit)

    def scheduled(self, limit: int | None = None) -> list[Task]:
        return super().scheduled(limit) if self._immediate else self._listed(JobState.SCHEDULED, limit)

    def _listed(self, state: JobState, limit: int | None) -> list[Task]:
        """Return waiting tasks of Huey's own, at most a page of them; jobs of the registry are no tasks of Huey's."""
        page = self._records.find(JobQuery(state=state, limit=min(limit or MAX_LISTED, MAX_LISTED)))
        return list(self._deserialize_all(job.payload for job in page.jobs if self.jobs.find(job.name) is None))

    def _add(self, task: Task, attempt: Attempt | None, due_at: datetime | None = None) -> None:
        record = self.record_of(task, due_at)
        if attempt is not None:
            if attempt.record.attempt > 1:  # Huey gives the error handler of each attempt the same id
                record = structs.replace(record, id=f"{record.id}.{attempt.record.attempt}")
            attempt.children.append(record)
        elif not self._records.add(record):
            if isinstance(task, PeriodicTask):
                return  # another server was first in this minute
            # the same task once more: another record, the same result key
            self._records.add(structs.replace(record, id=new_job_id()))
        self._emit(SIGNAL_ENQUEUED if record.state is JobState.ENQUEUED else SIGNAL_SCHEDULED, task)

    def pending_count(self) -> int:
        return super().pending_count() if self._immediate else self._records.counts()["enqueued"]

    def scheduled_count(self) -> int:
        return super().scheduled_count() if self._immediate else self._records.counts()["scheduled"]

    def read_periodic(self, timestamp: datetime | None) -> list[Task]:
        """Return Huey's periodic tasks of this minute, with an id of the minute: one run however many servers."""
        now = timestamp or self._get_timestamp()
        tasks = list(super().read_periodic(now))
        for task in tasks:
            task.id = f"{self._registry.task_to_string(type(task))}:{now:%Y%m%dT%H%M}"
            task.revoke_id = f"r:{task.id}"
        return tasks

    # The tail of a task: Huey's writes are collected

    def _collecting(self) -> Attempt | None:
        attempt: Attempt | None = getattr(self._local, "attempt", None)
        return attempt if attempt is not None and (attempt.is_over or not attempt.began) else None

    def put_result(self, key: str, data: Any) -> Any:
        attempt = self._collecting()
        if attempt is None:
            return super().put_result(key, data)
        if self.jobs.find(attempt.record.name) is None:
            encoded = self.serializer.serialize(data)
            attempt.put[key] = encoded
            if key == attempt.task_id and attempt.error is None:
                attempt.result = encoded
        return None

    def get_raw(self, key: str, peek: bool = False) -> Any:
        attempt = self._collecting()
        if attempt is not None and key in attempt.put:  # a result that is about to be written
            return attempt.put[key] if peek else attempt.put.pop(key)
        return super().get_raw(key, peek)

    def delete(self, key: str) -> Any:
        attempt = self._collecting()
        if attempt is None:
            return super().delete(key)
        attempt.remove.append(key)
        return True

    def _check_chord(self, config: Any, value: Any) -> None:
        """Count a chord's members by their stored results, so that one that runs twice counts once.

        Each step may be repeated: a result is overwritten by itself, and the callback has one fixed id.
        """
        if self._immediate:
            super()._check_chord(config, value)
            return
        keys = [f"chord:{config.cid}:{index}" for index in range(config.size)]
        self.storage.put_data(keys[config.idx], self.serializer.serialize(value), is_result=True)
        stored = self.storage.peek_many(keys)
        if any(stored.get(key, EmptyData) is EmptyData for key in keys):
            return
        callback = config.callback
        callback.extend_data(([self.serializer.deserialize(stored[key]) for key in keys],))
        if self._records.add(self.record_of(callback)):
            self._emit(SIGNAL_ENQUEUED, callback)
        attempt = self._collecting()
        if attempt is not None:
            attempt.remove.extend(keys)

    def _emit(self, signal: str, task: Task, *args: Any, **kwargs: Any) -> None:
        attempt: Attempt | None = getattr(self._local, "attempt", None)
        if attempt is not None and task is not None and task.id == attempt.task_id:
            attempt.signal = signal
        super()._emit(signal, task, *args, **kwargs)

    def _aware(self, eta: datetime | None) -> datetime | None:
        """Return Huey's naive times as what they mean: UTC, or local time when Huey was told so."""
        if eta is None or eta.tzinfo is not None:
            return eta
        return eta.replace(tzinfo=UTC) if self.utc else eta.astimezone(UTC)
