"""The engine: every task is a record that is leased, fenced, and finished in one step."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any, Final

from huey.api import Task
from huey.exceptions import CancelExecution, HueyException, RetryTask, TaskTimeout

from ..context import JobTimeoutError
from ..errors import AbpJobsError, LeaseLostError, StorageError, UnknownJobError
from ..jobs import Activator, RunCoroutine
from ..model import Claim, JobError, JobRecord, JobState, Lease, Outcome, ServerRecord
from ..registry import JobRegistry
from ..retry import RetryPolicy, decode_policy
from ..storage import JobStorage
from .attempt import Attempt
from .capture import capture_logs
from .performer import DefinedTask, Scope, build
from .recording import RecordingHuey
from .recurring import RecurringTick
from .reporter import BufferedReporter, Pulse

MAX_SWEEPS: Final = 50
"""Batches that one tick of the scheduler moves at most, so that it never starves the heartbeat."""
FINISH_PAUSES: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)

Tell = Callable[[JobRecord, JobState, str | None, JobError | None], None]

logger = logging.getLogger(__name__)
worker_log = logging.getLogger("flask_abpjobs.worker")


class JobHuey(RecordingHuey):
    """Huey with a record for every task.

    Huey's own API works as it is known: ``@huey.task()``, pipelines, chords, locks. Its loops and hooks are Huey's.
    What differs is where a task lives: enqueueing writes a record, taking one leases it, and everything that Huey
    writes at the end of a task (result, retry, the next of a pipeline) is collected and written in one step with the
    record's new state. Arguments and results are JSON.

    :param name: the application.
    :param storage: where records are kept.
    :param jobs: the registered jobs that are not tasks of Huey's own.
    :param queues: the queues this process serves, in this order.
    :param default_queue: where Huey's own tasks go that name no ``queue``.
    :param default_retry: for jobs that name no policy; Huey's own tasks have Huey's ``retries``.
    :param queue_prefix: goes before the names of queues that Huey's own tasks name.
    :param captures_logs: whether a job's standard logging becomes its log.
    :param tell: is told, after it is stored, what became of a job: its record, state, reason and error.
    :param scope: makes the context in which each attempt runs.
    :param activator: builds job classes.
    :param options: Huey's own.
    """

    def __init__(
        self,
        name: str,
        storage: JobStorage,
        *,
        jobs: JobRegistry | None = None,
        queues: tuple[str, ...] = ("default",),
        default_queue: str = "default",
        queue_prefix: str = "",
        default_retry: RetryPolicy | None = None,
        captures_logs: bool = False,
        tell: Tell | None = None,
        scope: Scope = nullcontext,
        activator: Activator | None = None,
        **options: Any,
    ) -> None:
        self.queues = queues
        self.default_retry = default_retry or RetryPolicy()
        self.server: ServerRecord | None = None
        self.recurring: RecurringTick | None = None
        self.is_stopping: Callable[[], bool] = lambda: False
        self.run_coroutine: RunCoroutine = asyncio.run
        self._scope = scope
        self._activator = activator or build
        self._pulse = Pulse()
        self._captures_logs = captures_logs
        self._tell = tell
        self._running: set[Attempt] = set()
        if captures_logs:
            capture_logs()
        super().__init__(name, storage, jobs=jobs, default_queue=default_queue, queue_prefix=queue_prefix, **options)

    # Taking out

    def dequeue(self) -> Task | None:
        """Lease the next job. One that cannot be loaded here is kept with the reason, and the next is taken."""
        if self._immediate:
            return super().dequeue()
        while True:
            record: JobRecord | None = self._local.__dict__.pop("next", None)
            if record is None:
                record = self._records.claim(self._claim())
            if record is None:
                return None
            try:
                return self._load(record)
            except (AbpJobsError, HueyException, TypeError, ValueError, AttributeError) as error:
                self._set_aside(record, error)

    def put_back(self) -> None:
        """Release the job that this worker has claimed but not begun, if any."""
        record: JobRecord | None = self._local.__dict__.pop("next", None)
        if record is not None:
            self._release(record, "The worker stopped before it began the job")

    def work_as(self, worker: str) -> None:
        """Name the worker that the calling thread is."""
        self._local.worker = worker

    def _claim(self) -> Claim:
        if self.server is None:
            self.serve()
        assert self.server is not None
        return Claim(self.server.id, getattr(self._local, "worker", "main"), self.queues)

    def serve(self, worker_type: str = "thread", workers: int = 1, process_key: str = "") -> ServerRecord:
        """Announce this process as a server, and return what was announced."""
        now = datetime.fromtimestamp(self._records.now(), UTC)
        host = socket.gethostname()
        self.server = ServerRecord(
            id=f"{host}:{os.getpid()}:{uuid.uuid4().hex[:8]}",
            host=host,
            pid=os.getpid(),
            process_key=process_key,
            worker_type=worker_type,
            workers=workers,
            queues=self.queues,
            started_at=now,
            heartbeat_at=now,
        )
        self._records.announce(self.server)
        return self.server

    def _load(self, record: JobRecord) -> Task:
        definition = self.jobs.find(record.name)
        if definition is not None:
            value = definition.decode(record.payload)
            task = DefinedTask(
                definition,
                record,
                value,
                self._scope,
                self._activator,
                self.run_coroutine,
                captures_logs=self._captures_logs,
            )
            return self._begun(task, record)
        if record.name not in self._registry._registry:
            self.jobs.get(record.name)  # raises and says what is near
        return self._begun(self.deserialize_task(record.payload), record)

    def _begun(self, task: Task, record: JobRecord) -> Task:
        attempt = self._attempt_at(record, task.timeout)
        body = task.execute
        task.attempt = attempt
        attempt.task_id = task.id
        task.execute = lambda: self._run_body(task, attempt, body)
        return task

    def _attempt_at(self, record: JobRecord, timeout: float | None = None) -> Attempt:
        return Attempt(record, BufferedReporter(self._records, record, self._pulse, timeout), self._records.now())

    def _set_aside(self, record: JobRecord, error: Exception) -> None:
        attempt = self._attempt_at(record)
        attempt.error = error
        delay = None
        if isinstance(error, UnknownJobError):  # a server with newer code may know it
            delay = self.default_retry.next_delay(record.failures + 1, _age(record, self._records.now()))
        if delay is None:
            attempt.reason = f"Cannot be loaded here: {error}"[:300]
        else:
            attempt.retry_in(delay, self.default_retry.attempts)
        logger.warning("Job %s (%s) cannot be loaded: %s", record.id, record.name, error)
        self._finish(attempt, None)

    # Running

    def execute(self, task: Task, timestamp: datetime | None = None) -> Any:
        """Run a leased task and finish it in one step; on a busy worker the step also leases the next."""
        attempt: Attempt | None = getattr(task, "attempt", None)
        if attempt is None:
            return super().execute(task, timestamp)
        self._local.attempt = attempt
        worker_log.debug("%s %s: processing, attempt %d", attempt.record.name, task.id, attempt.record.attempt)
        if self._tell is not None:
            self._tell(attempt.record, JobState.PROCESSING, None, None)
        self._running.add(attempt)
        value = None
        try:
            value = super().execute(task, timestamp)
        except Exception as error:
            if not attempt.began:  # the storage failed before the job's code ran
                self._local.attempt = None
                self._release(attempt.record, f"The worker could not begin it: {type(error).__name__}")
                raise
            attempt.error = attempt.error or error
            attempt.runs_again = False
        finally:
            self._local.attempt = None
            self._running.discard(attempt)
        if attempt.is_interrupted:
            self._release(attempt.record, "The server stopped while the job ran")
            raise KeyboardInterrupt
        goes_on = hasattr(self._local, "worker") and not self.is_stopping()
        self._local.next = self._finish(attempt, self._claim() if goes_on else None)
        return value

    def _run_body(self, task: Task, attempt: Attempt, body: Callable[[], Any]) -> Any:
        try:
            return attempt.run(body, is_stopping=self.is_stopping)
        except Exception as error:
            if isinstance(task, DefinedTask):
                reason = error
                if isinstance(error, TaskTimeout):
                    reason = JobTimeoutError(f"The attempt took longer than its timeout of {task.timeout:g} s.")
                    attempt.error = reason
                self._decide_retry(task, attempt, reason)
            raise

    def _decide_retry(self, task: DefinedTask, attempt: Attempt, error: Exception) -> None:
        record = attempt.record
        given = None if record.retry is None else decode_policy(record.retry)
        policy = given or task.definition.options.retry or self.default_retry
        delay = None
        if isinstance(error, RetryTask) or (not isinstance(error, CancelExecution) and policy.covers(error)):
            delay = policy.next_delay(record.failures + 1, _age(record, self._records.now()))
            if isinstance(error, RetryTask) and error.delay is not None:
                delay = float(error.delay)
            if delay is None and policy.on_exceeded == "delete":
                attempt.give_up(record.failures)
        if delay is not None:
            attempt.retry_in(delay, policy.attempts)
        # Huey counts a RetryTask as one more retry by itself
        task.retries = 0 if delay is None or isinstance(error, RetryTask) else 1

    def _requeue_task(self, task: Task, timestamp: datetime, retry_eta: datetime | None = None) -> None:
        if isinstance(task, DefinedTask):
            return  # decided when the job's code ended
        super()._requeue_task(task, timestamp, retry_eta)

    def _finish(self, attempt: Attempt, claim: Claim | None) -> JobRecord | None:
        outcome = attempt.outcome()
        for pause in self._pauses():
            try:
                following = self._records.finish(attempt.lease, outcome, claim)
            except LeaseLostError as error:
                logger.warning("%s Its outcome (%s) was refused.", error, outcome.state)
                return None
            except StorageError:
                logger.exception("Cannot write that job %s %s; trying again", attempt.record.id, outcome.state)
                if self.is_stopping():
                    return None  # the lease lapses and another server takes the job back
                threading.Event().wait(pause)
            else:
                _log(attempt.record, outcome)
                if self._tell is not None:
                    self._tell(attempt.record, outcome.state, outcome.reason, outcome.error)
                return following
        return None

    def _pauses(self) -> Iterator[float]:
        yield from FINISH_PAUSES
        while True:
            yield FINISH_PAUSES[-1]

    def _release(self, record: JobRecord, reason: str) -> None:
        try:
            self._records.release(Lease(record.id, record.fence), reason)
        except LeaseLostError:
            return
        except StorageError:
            logger.exception("Cannot release job %s now; its server's retirement or recovery will", record.id)
            return
        worker_log.info("%s %s: put back. %s", record.name, record.id, reason)

    def is_revoked(self, task: Any, timestamp: datetime | None = None, peek: bool = True) -> bool:
        """Huey's revocations; a job of the registry is deleted instead, which needs no question here."""
        if isinstance(task, DefinedTask):
            return False
        return bool(super().is_revoked(task, timestamp, peek))

    def report_overruns(self) -> None:
        """Write into the log of each attempt that has run longer than its timeout that it has.

        Threads cannot be stopped: the job's code has to look at ``current_job.is_cancelled``.
        """
        for attempt in list(self._running):
            told = attempt.tell_overrun()
            if told is not None:
                attempt.reporter.log(told, "warning")
                worker_log.warning("%s %s: %s", attempt.record.name, attempt.record.id, told)

    # Sweeps

    def read_schedule(self, timestamp: datetime | None = None) -> list[Task]:
        """Let the storage move what is due. Nothing passes through this process, so nothing is left to enqueue."""
        if self._immediate:
            return list(super().read_schedule(timestamp))
        self._sweep(self._records.promote)
        self._sweep(self._records.start_children)
        return []

    def prune(self) -> None:
        """Remove finished jobs whose retention is over, in batches."""
        self._sweep(self._records.prune)

    def create_consumer(self, **options: Any) -> Any:
        from .consumer import JobConsumer  # the consumer needs this module

        return JobConsumer(self, **options)

    def _sweep(self, sweep: Callable[[], int]) -> None:
        for _ in range(MAX_SWEEPS):
            if sweep() == 0 or self.is_stopping():
                return


def _age(record: JobRecord, now: float) -> float:
    return now - (record.first_due_at or record.created_at).timestamp()


def _log(record: JobRecord, outcome: Outcome) -> None:
    level = logging.WARNING if outcome.error is not None else logging.INFO
    if worker_log.isEnabledFor(level):
        ran = "" if outcome.duration is None else f" after {outcome.duration:.3f} s"
        why = "" if outcome.reason is None else f" ({outcome.reason})"
        worker_log.log(level, "%s %s: %s%s%s", record.name, record.id, outcome.state, ran, why)
