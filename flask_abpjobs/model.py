"""Frozen values that every layer shares: jobs, states, servers, queries."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

import msgspec


class JobState(enum.StrEnum):
    """Where a job is in its life. The names are Hangfire's."""

    SCHEDULED = "scheduled"
    ENQUEUED = "enqueued"
    AWAITING = "awaiting"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DELETED = "deleted"


_S = JobState

TRANSITIONS: Final[Mapping[JobState, frozenset[JobState]]] = {
    _S.SCHEDULED: frozenset({_S.ENQUEUED, _S.DELETED}),
    _S.AWAITING: frozenset({_S.ENQUEUED, _S.SCHEDULED, _S.DELETED}),
    _S.ENQUEUED: frozenset({_S.PROCESSING, _S.SCHEDULED, _S.DELETED, _S.FAILED}),
    _S.PROCESSING: frozenset({_S.SUCCEEDED, _S.FAILED, _S.SCHEDULED, _S.ENQUEUED, _S.DELETED}),
    _S.SUCCEEDED: frozenset({_S.ENQUEUED, _S.DELETED}),
    _S.FAILED: frozenset({_S.ENQUEUED, _S.DELETED}),
    _S.DELETED: frozenset({_S.ENQUEUED}),
}
"""Which state may follow which. A new job starts as enqueued, scheduled or awaiting."""

REQUEUABLE: Final = frozenset({_S.SCHEDULED, _S.AWAITING, _S.SUCCEEDED, _S.FAILED, _S.DELETED})
"""States a person may put back into the queue: of a scheduled or awaiting job that is called "run now"."""

DELETABLE: Final = frozenset(state for state, following in TRANSITIONS.items() if _S.DELETED in following)


FINISHED: Final = frozenset({_S.SUCCEEDED, _S.FAILED, _S.DELETED})
"""States in which nothing happens to a job by itself any more, but that it is removed one day."""


class ParentEnd(enum.StrEnum):
    """Which end of a parent starts a continuation. The names are those of Hangfire's options."""

    SUCCEEDED = "succeeded"
    DELETED = "deleted"
    FINISHED = "finished"
    """Succeeded or deleted. A failed job has not ended for good: somebody may requeue it."""

    def is_met_by(self, state: JobState) -> bool:
        """Return whether a parent that came into ``state`` starts the job."""
        return self is ParentEnd.FINISHED or self.value == state.value


class JobPriority(enum.IntEnum):
    """Higher runs first inside a queue. Names and numbers are ABP's ``BackgroundJobPriority``."""

    LOW = 5
    BELOW_NORMAL = 10
    NORMAL = 15
    ABOVE_NORMAL = 20
    HIGH = 25


class AnyTenant(enum.Enum):
    """The scope of a caller who may see the jobs of all tenants and of none."""

    ANY = "any"


ANY_TENANT: Final = AnyTenant.ANY

TenantScope: TypeAlias = str | None | AnyTenant
"""A tenant's id, ``None`` for jobs of no tenant, or ``ANY_TENANT`` for all."""


class Argument(msgspec.Struct, frozen=True, array_like=True):
    """One argument as a person reads it. Made at enqueue, secrets already redacted, never used to run the job."""

    name: str
    text: str
    """Python source of the value, at most 1,000 characters. Empty when ``redacted``."""
    type: str
    redacted: bool = False


class JobProgress(msgspec.Struct, frozen=True):
    """How far a running job says it is."""

    done: float
    total: float | None = None
    message: str = ""

    @property
    def percent(self) -> int | None:
        """Whole per cent from 0 to 100, or ``None`` when the total is not known."""
        if not self.total or self.total <= 0:
            return None
        share = 100 * self.done / self.total
        return None if math.isnan(share) else int(max(0.0, min(100.0, share)))


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long finished jobs are kept, and how many; ``None``: no limit. The defaults are Hangfire's."""

    succeeded: timedelta | None = timedelta(days=1)
    deleted: timedelta | None = timedelta(days=1)
    failed: timedelta | None = None
    max_succeeded: int | None = None
    """The most succeeded jobs that are kept: the oldest go first. Jobs with a retention of their own do not count."""
    max_deleted: int | None = None
    max_failed: int | None = None

    def expiry(self, state: JobState, at: float) -> float | None:
        """Return when a job that came into ``state`` at ``at`` may be removed, in epoch seconds."""
        kept: timedelta | None = getattr(self, state.value, None)
        return None if kept is None else at + kept.total_seconds()

    def most(self, state: JobState) -> int | None:
        """Return how many jobs of a state are kept at most."""
        most: int | None = getattr(self, f"max_{state.value}", None)
        return most


DEFAULT_RETENTION: Final = Retention()


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the storage keeps it. The record is the truth; queues and counters are indexes over records."""

    id: str
    name: str
    queue: str = "default"
    priority: int = JobPriority.NORMAL
    state: JobState = JobState.ENQUEUED
    state_at: datetime
    """When the job came into its present state."""
    created_at: datetime
    payload: bytes
    """The arguments as JSON."""
    arguments: tuple[Argument, ...] = ()
    """The arguments for display."""
    tenant_id: str | None = None
    enqueued_by: str | None = None
    correlation_id: str | None = None
    due_at: datetime | None = None
    """When a scheduled job becomes due."""
    first_due_at: datetime | None = None
    """When a job that was scheduled at enqueue first becomes due; policies that are bounded by time count from it."""
    retry: bytes | None = None
    """The retry policy given at enqueue, as JSON; ``None`` leaves it to the job's definition."""
    attempt: int = 0
    """How often a worker has begun this job. A graceful stop gives the attempt back."""
    failures: int = 0
    """How many attempts have failed and were retried; what the retry policy counts."""
    crashes: int = 0
    """How many workers in a row died while running this job."""
    fence: int = 0
    """Grows with every claim. A report that carries an older number is refused."""
    server_id: str | None = None
    worker: str | None = None
    started_at: datetime | None = None
    latency: float | None = None
    """Seconds from ready-to-run until the last claim."""
    duration: float | None = None
    """Seconds the last finished attempt ran."""
    reason: str | None = None
    """Why the job is in its present state, in a sentence."""
    error_type: str | None = None
    error_message: str | None = None
    result: bytes | None = None
    """The returned value as JSON."""
    progress: JobProgress | None = None
    expires_at: datetime | None = None
    """When a finished job may be removed."""
    retention: Retention | None = None
    """How long this job is kept, instead of the storage's own retention. Numbers of jobs in it say nothing."""
    timeout: float | None = None
    """Seconds that one attempt may take."""
    begin_before: datetime | None = None
    """A job that no worker has begun by then is deleted. A requeue clears it."""
    parent_id: str | None = None
    """The job whose end this one awaits, or awaited."""
    parent_on: ParentEnd | None = None
    """Which end of the parent starts this job; another end deletes it."""
    delay: float | None = None
    """Seconds after the parent's end at which an awaiting job becomes due."""
    unique_key: str | None = None
    """Of the jobs with one key, one is kept until it has succeeded, failed or been deleted."""
    unique_for: float | None = None
    """The key stays taken for at least so many seconds after ``created_at``, even if the job ends before."""
    concurrency_key: str | None = None
    """Of the jobs with one key, at most ``max_concurrent`` run at once over all servers."""
    max_concurrent: int | None = None
    """Given with ``concurrency_key``, and only then."""
    rerun_of: str | None = None
    """The job that this one is a copy of."""
    recurring_id: str | None = None
    """The recurring job that made this one; ``first_due_at`` is its slot."""

    @property
    def is_retrying(self) -> bool:
        """Whether the job is scheduled again after a failed attempt."""
        return self.state is JobState.SCHEDULED and self.failures > 0


class StateEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a job's history: it came into ``state`` at ``at``."""

    state: JobState
    at: datetime
    reason: str | None = None
    data: Mapping[str, Any] = {}
    """What belongs to the state, as far as it applies: ``attempt``, ``queue``, ``server``, ``worker``, ``latency`` and
    ``duration`` (seconds), ``due_at`` (epoch seconds), ``error_type``, ``error_message``, ``traceback``, ``by`` (who
    did it), ``recovered`` (true when the worker before was lost)."""


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line that a job wrote about itself."""

    at: datetime
    attempt: int
    level: str
    """``debug``, ``info``, ``warning`` or ``error``."""
    text: str


class JobError(msgspec.Struct, frozen=True):
    """A failure, as text only: nothing here is ever imported or run."""

    type: str
    message: str
    traceback: str = ""


class Lease(msgspec.Struct, frozen=True):
    """The right of one worker to report on one job. It ends when the job leaves that worker by any way."""

    job_id: str
    fence: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended: everything that is to be written in the one finishing step."""

    state: JobState
    reason: str | None = None
    duration: float | None = None
    due_at: datetime | None = None
    """For ``SCHEDULED``."""
    result: bytes | None = None
    error: JobError | None = None
    is_begun: bool = True
    """``False``: the job's code was not run, so the attempt is given back."""
    payload: bytes | None = None
    """Replaces the payload, for tasks that carry their retries inside."""
    progress: JobProgress | None = None
    log: tuple[LogLine, ...] = ()
    children: tuple[JobRecord, ...] = ()
    """Jobs that start because this one ended; one that exists already is left as it is."""
    put: Mapping[str, bytes] = {}
    """Key/value data of Huey to write."""
    remove: tuple[str, ...] = ()
    """Keys of Huey's key/value data to remove."""


class Claim(msgspec.Struct, frozen=True):
    """Who asks for work, and from which queues in which order."""

    server_id: str
    worker: str
    queues: tuple[str, ...]


class ServerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A running server: one process, or one parent with its worker processes."""

    id: str
    host: str
    pid: int
    process_key: str = ""
    """Tells this process from a later one with the same number on the same host; empty where the system cannot tell."""
    worker_type: str
    workers: int
    queues: tuple[str, ...]
    started_at: datetime
    heartbeat_at: datetime
    running: int = 0
    """Jobs it runs now."""


class QueueRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A queue that has, or recently had, jobs or listeners."""

    name: str
    length: int
    oldest_at: datetime | None
    """When the job that has waited longest became ready."""
    servers: int
    """How many announced servers listen to it."""
    is_paused: bool = False
    """Whether its jobs wait until somebody resumes it."""


class Misfire(enum.StrEnum):
    """What becomes of the slots that passed while no server ran."""

    ONCE = "once"
    """One run for all of them: Hangfire's ``Relaxed``."""
    ALL = "all"
    """One run for each: Hangfire's ``Strict``."""
    SKIP = "skip"
    """None: Hangfire's ``Ignorable``."""


class RecurringRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A recurring job as the storage keeps it. Every write makes a new ``version``."""

    id: str
    name: str
    """Of the job that each slot enqueues."""
    cron: str
    timezone: str = "UTC"
    """IANA name."""
    misfire: Misfire = Misfire.ONCE
    queue: str | None = None
    """``None`` leaves it to the job's definition."""
    priority: int | None = None
    payload: bytes
    """The arguments as JSON."""
    arguments: tuple[Argument, ...] = ()
    """The arguments for display."""
    tenant_id: str | None = None
    is_declared: bool = False
    """Whether code declares it, by ``@jobs.recurring``; others were added while a program ran."""
    is_paused: bool = False
    created_at: datetime
    next_at: datetime | None = None
    """The next slot; ``None`` when it cannot be scheduled."""
    last_at: datetime | None = None
    """The last slot that was enqueued, or the last time it was triggered."""
    last_job_id: str | None = None
    error: str | None = None
    """Why it cannot be scheduled, in a sentence."""
    version: int = 0


class JobQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs to list. Conditions are joined by and; ``None`` means no condition."""

    state: JobState | None = None
    queue: str | None = None
    name: str | None = None
    tenant: TenantScope = ANY_TENANT
    retrying: bool | None = None
    server_id: str | None = None
    limit: int = 20
    """1 to 1,000."""
    after: str | None = None
    """Cursor of the page before (``JobPage.next``)."""
    before: str | None = None
    """Cursor of the page after (``JobPage.previous``)."""

    @property
    def newest_first(self) -> bool:
        """Finished jobs read newest first, waiting and running ones oldest first, as in Hangfire."""
        return self.state in {None, JobState.SUCCEEDED, JobState.FAILED, JobState.DELETED}


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a list. A cursor stays right while jobs come and go: it names a place, not a number."""

    jobs: tuple[JobRecord, ...]
    next: str | None
    previous: str | None


def storable(text: str) -> str:
    """Return text without lone surrogates and NUL, which storages refuse."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
