"""One attempt at one job: what happens in it, collected until it is written in a single step."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from huey.exceptions import CancelExecution, RetryTask
from huey.signals import SIGNAL_CANCELED, SIGNAL_EXPIRED, SIGNAL_REVOKED

from ..errors import AbpJobsError
from ..model import JobRecord, JobState, Lease, Outcome, storable
from .failure import describe
from .reporter import BufferedReporter

_NOT_RUN = {
    SIGNAL_REVOKED: "Revoked before it ran",
    SIGNAL_EXPIRED: "Expired before it ran",
    SIGNAL_CANCELED: "Cancelled before it ran",
}


class JobExitError(AbpJobsError):
    """The job tried to end the worker, by ``sys.exit`` or the like."""


class Attempt:
    """What Huey and the job decide while a job runs. Nothing is stored before :meth:`outcome` is written.

    :param now: the storage's clock, in epoch seconds.
    """

    def __init__(self, record: JobRecord, reporter: BufferedReporter, now: float) -> None:
        self.record = record
        self.lease = Lease(record.id, record.fence)
        self.task_id = record.id
        """The id Huey knows the task by; the record may have another when a task was enqueued twice."""
        self.reporter = reporter
        self.began = False
        self.is_overrun_told = False
        self.is_over = False
        """Whether the job's own code has ended: from then on Huey's writes are collected here."""
        self.is_interrupted = False
        self.error: BaseException | None = None
        self.result: bytes | None = None
        self.reason: str | None = None
        self.duration: float | None = None
        self.signal: str | None = None
        self.again_at: datetime | None = None
        self.runs_again = False
        self.ends_deleted = False
        self.payload: bytes | None = None
        self.children: list[JobRecord] = []
        self.put: dict[str, bytes] = {}
        self.remove: list[str] = []
        self._now = now
        self._started = time.monotonic()

    def run(self, body: Any, *, is_stopping: Any) -> Any:
        """Run the job's own code and note how it ended.

        ``SystemExit`` and its like become an ordinary failure, so that no job can end its worker; only a
        ``KeyboardInterrupt`` of a stopping server passes through.
        """
        self.began = True
        try:
            return body()
        except Exception as error:
            self.error = error
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and is_stopping():
                self.is_interrupted = True
                raise
            self.error = JobExitError(f"The job raised {type(error).__name__}({', '.join(map(repr, error.args))}).")
            raise self.error from error
        finally:
            self.duration = time.monotonic() - self._started
            self.is_over = True

    def retry_in(self, delay: float, attempts: int) -> None:
        """Note that the job is to run again after ``delay`` seconds."""
        self.runs_again = True
        self.again_at = self._after(delay) if delay > 0 else None
        failed = self.record.failures + 1
        kind = "" if self.error is None else f" after {type(self.error).__name__}"
        self.reason = f"Retry {failed} of {attempts}{kind}"

    def give_up(self, retries: int) -> None:
        """Note that the retries are used up, and that the policy wants the job deleted then."""
        self.ends_deleted = True
        self.reason = f"Failed after {retries} retries, and is deleted as its retry policy says"

    def tell_overrun(self) -> str | None:
        """Return a sentence about an attempt that runs longer than its timeout, once; else ``None``."""
        if self.is_overrun_told or self.is_over or not self.reporter.is_overdue():
            return None
        self.is_overrun_told = True
        return f"The attempt runs longer than its timeout of {self.reporter.timeout:g} s"

    def run_again_at(self, eta: datetime | None, payload: bytes) -> None:
        """Note that Huey puts the task back: at an aware time, or at once when ``eta`` is ``None``."""
        self.runs_again = True
        self.again_at = eta
        self.payload = payload
        if self.error is not None and self.reason is None:
            self.reason = f"Retry after {type(self.error).__name__}"

    def outcome(self) -> Outcome:
        """Return all that is to be written."""
        progress, log = self.reporter.close()
        state, error, reason = self._state(), None, self.reason
        if self.error is not None and not isinstance(self.error, RetryTask):  # which asks, and is no failure
            error = describe(self.error)
        if state is JobState.DELETED:
            reason = reason or _NOT_RUN.get(self.signal or "", "Cancelled by the job")
        elif state is JobState.FAILED and reason is None and error is not None:
            reason = f"{error.type.rpartition('.')[2]}: {error.message}"[:300]
        elif state is JobState.SUCCEEDED and reason is None and self._has_overrun():
            reason = f"Took {self.duration:.1f} s; its timeout is {self.reporter.timeout:g} s"
        return Outcome(
            state=state,
            reason=None if reason is None else storable(reason),
            duration=self.duration,
            due_at=self.again_at if state is JobState.SCHEDULED else None,
            result=self.result,
            error=error,
            is_begun=self.began or not self.runs_again,
            payload=self.payload,
            progress=progress,
            log=log,
            children=tuple(self.children),
            put=self.put,
            remove=tuple(self.remove),
        )

    def _state(self) -> JobState:
        if self.runs_again:
            return JobState.ENQUEUED if self.again_at is None else JobState.SCHEDULED
        if not self.began:
            return JobState.DELETED if self.error is None else JobState.FAILED
        if isinstance(self.error, CancelExecution) or self.ends_deleted:
            return JobState.DELETED
        return JobState.SUCCEEDED if self.error is None else JobState.FAILED

    def _has_overrun(self) -> bool:
        timeout = self.reporter.timeout
        return timeout is not None and self.duration is not None and self.duration > timeout

    def _after(self, seconds: float) -> datetime:
        ran = time.monotonic() - self._started
        return datetime.fromtimestamp(self._now, UTC) + timedelta(seconds=ran + seconds)
