"""The storage contract: the verbs that move jobs, and what each promises.

Every verb is one atomic step: it happens whole or not at all, whatever dies in the middle. A verb that changes a job
compares the state it expects first, appends to the job's history, and moves queues and counters in the same step.
All verbs raise :class:`~flask_abpjobs.errors.StorageError` when the storage does not answer, is full or is damaged.

The clock that decides is the storage's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence

from ..model import (
    ANY_TENANT,
    Claim,
    JobPage,
    JobProgress,
    JobQuery,
    JobRecord,
    JobState,
    Lease,
    LogLine,
    Outcome,
    QueueRecord,
    RecurringRecord,
    ServerRecord,
    StateEntry,
    TenantScope,
)

MAX_CRASHES = 3
"""A job whose workers died this often in a row is failed instead of being tried again."""
SUSPECT_DELAYS = (0.5, 1.0, 1.5, 2.0)
"""Seconds one of which a job waits before its last chance. A server dies with all it runs; the jobs that were beside
the guilty one get different delays, so that they run apart and do not die with it again."""
MAX_LOG_LINES = 1000
"""Newest lines kept per job."""
MAX_HISTORY = 200
"""Newest state entries kept per job."""
TOTALS = ("retrying", "created", "expired", "recovered", "refused")
"""What is counted besides the states, see :meth:`JobStorage.counts`."""
BATCH = 100
"""The most jobs that one step moves."""


class JobStorage(ABC):
    """Where jobs are kept. One object serves one application (``name``) in one process and its threads."""

    name: str

    # Jobs

    @abstractmethod
    def add(self, record: JobRecord) -> bool:
        """Create a job in ``record.state`` (enqueued, scheduled or awaiting).

        An awaiting job whose parent has ended already goes on as :meth:`start_children` says, in the same step.

        :returns: ``False`` when a job of that id exists already, or a job that holds its ``unique_key``; that one is
            left as it is, and nothing is added.
        :raises JobNotFoundError: the parent of an awaiting job does not exist; nothing is added.
        """

    @abstractmethod
    def add_many(self, records: Sequence[JobRecord]) -> list[str]:
        """Create up to :data:`BATCH` jobs in one step, each as :meth:`add` does.

        :returns: for each record the id of the job that is kept: its own, or that of the job holding its unique key.
        :raises JobNotFoundError: the parent of one does not exist; none is added.
        :raises ValueError: there are more than :data:`BATCH`.
        """

    def add_batches(self, batches: Sequence[Sequence[JobRecord]]) -> list[str]:
        """Create batches of jobs one after the other, each as :meth:`add_many` does, and return all ids.

        When one fails, those before it are there, and those after it may be.
        """
        return [job_id for batch in batches for job_id in self.add_many(batch)]

    @abstractmethod
    def claim(self, claim: Claim) -> JobRecord | None:
        """Give the first ready job to a worker: ENQUEUED -> PROCESSING, ``attempt`` + 1, ``fence`` + 1.

        Queues are served in the order of ``claim.queues``; inside a queue the higher priority, then the longer wait.
        A paused queue is passed over. On the way, up to :data:`BATCH` jobs are set aside:

        * one whose ``begin_before`` has passed goes to DELETED;
        * one whose ``concurrency_key`` has no free slot is parked: it stays ENQUEUED, its ``reason`` says what it waits
          for, and it is ready again when a running job of the key ends. No worker waits with it.

        :returns: ``None`` when nothing is ready, or when the server is not announced (any more).
        """

    @abstractmethod
    def finish(self, lease: Lease, outcome: Outcome, claim: Claim | None = None) -> JobRecord | None:
        """End an attempt: PROCESSING -> ``outcome.state``, with all that ``outcome`` carries.

        :param claim: asks for the next job in the same step.
        :returns: the next job as :meth:`claim` does.
        :raises LeaseLostError: the job is not held by this lease any more; nothing was changed or claimed.
        """

    @abstractmethod
    def release(self, lease: Lease, reason: str) -> None:
        """Put a claimed job back to the head of its queue and give the attempt back: PROCESSING -> ENQUEUED.

        :raises LeaseLostError: see :meth:`finish`.
        """

    @abstractmethod
    def report(self, lease: Lease, progress: JobProgress | None, lines: Sequence[LogLine]) -> None:
        """Keep the progress (``None``: unchanged) and log lines of a running job.

        :raises LeaseLostError: see :meth:`finish`.
        """

    @abstractmethod
    def holds(self, lease: Lease) -> bool:
        """Return whether the lease is still good."""

    @abstractmethod
    def requeue(
        self,
        job_id: str,
        *,
        expected: Collection[JobState],
        reason: str,
        by: str | None = None,
        tenant: TenantScope = ANY_TENANT,
    ) -> JobRecord:
        """Put a job that is not running into its queue: ``expected`` -> ENQUEUED, retries counted anew.

        It takes its ``unique_key`` again if no other job holds it.

        :raises JobNotFoundError: no such job in this tenant scope.
        :raises StateChangedError: the job is in none of the expected states.
        """

    @abstractmethod
    def delete(
        self,
        job_id: str,
        *,
        expected: Collection[JobState],
        reason: str,
        by: str | None = None,
        tenant: TenantScope = ANY_TENANT,
    ) -> JobRecord:
        """Move a job to DELETED; a running one loses its lease. Raises as :meth:`requeue` does."""

    # Sweeps: each call moves at most BATCH jobs and returns how many

    @abstractmethod
    def promote(self) -> int:
        """Put scheduled jobs that are due into their queues: SCHEDULED -> ENQUEUED, longest due first."""

    @abstractmethod
    def prune(self) -> int:
        """Remove finished jobs whose retention is over, and the oldest of those above a count.

        Jobs that still await a removed job are deleted: their parent did not end as they need it.
        """

    @abstractmethod
    def start_children(self) -> int:
        """Let the jobs go on that awaited a job which has succeeded or been deleted.

        As ``parent_on`` says: AWAITING -> ENQUEUED, with a ``delay`` or a future ``due_at`` SCHEDULED; else DELETED.
        The step that ends a job does it for its first children; this sweep for what is left.
        """

    @abstractmethod
    def purge(self, queue: str, *, reason: str, by: str | None = None) -> int:
        """Delete jobs that wait in a queue: ENQUEUED -> DELETED."""

    # Queues

    @abstractmethod
    def pause(self, queue: str) -> None:
        """Let no worker of any server claim from a queue. Enqueueing goes on. Pausing twice is pausing once."""

    @abstractmethod
    def resume(self, queue: str) -> None:
        """Undo :meth:`pause`, and wake the workers."""

    # Recurring jobs

    @abstractmethod
    def put_recurring(self, record: RecurringRecord, jobs: Sequence[JobRecord] = ()) -> bool:
        """Write a recurring job, and add up to :data:`BATCH` jobs, in one step. A job that exists is left as it is.

        :param record: its ``version`` is the one that was read, 0 for a new one; it is stored with the next number.
        :returns: ``False`` when the stored version is another; nothing is changed.
        """

    @abstractmethod
    def remove_recurring(self, recurring_id: str, *, tenant: TenantScope = ANY_TENANT) -> bool:
        """Remove a recurring job; its jobs stay. ``False``: there was none in this tenant scope."""

    @abstractmethod
    def find_recurring(self, recurring_id: str, *, tenant: TenantScope = ANY_TENANT) -> RecurringRecord | None:
        """Return a recurring job, ``None`` when there is none in this tenant scope."""

    @abstractmethod
    def list_recurring(self, *, tenant: TenantScope = ANY_TENANT) -> list[RecurringRecord]:
        """Return the recurring jobs by id."""

    @abstractmethod
    def due_recurring(self) -> list[RecurringRecord]:
        """Return up to :data:`BATCH` recurring jobs that are not paused and whose ``next_at`` has come, longest due
        first."""

    # Servers

    @abstractmethod
    def announce(self, server: ServerRecord) -> None:
        """Add or replace a server; its heartbeat starts now."""

    @abstractmethod
    def heartbeat(self, server_id: str) -> bool:
        """Renew a server, and with it the leases of all its jobs. ``False``: it was taken for dead; announce anew."""

    @abstractmethod
    def retire(self, server_id: str) -> int:
        """Remove a server that stops, and release what it still holds. Returns the number of jobs released."""

    @abstractmethod
    def recover_server(self, server_id: str, seen: ServerRecord) -> int | None:
        """Take back the jobs of a dead server and remove it: PROCESSING -> ENQUEUED, ``crashes`` + 1.

        Before its last chance a job goes to SCHEDULED for a moment, see :data:`SUSPECT_DELAYS`; one that reaches
        :data:`MAX_CRASHES` goes to FAILED.

        :param seen: the server as the caller saw it.
        :returns: the number of jobs, or ``None`` when the server has given a sign of life since; nothing is changed.
        """

    @abstractmethod
    def recover_worker(self, server_id: str, worker: str) -> int:
        """Take back the jobs of one dead worker of a live server, as :meth:`recover_server` does."""

    # Questions. Their cost does not grow with the number of jobs kept.

    @abstractmethod
    def get(self, job_id: str, *, tenant: TenantScope = ANY_TENANT) -> JobRecord:
        """Return a job.

        :raises JobNotFoundError: no such job in this tenant scope.
        """

    @abstractmethod
    def history(self, job_id: str) -> list[StateEntry]:
        """Return a job's state entries, oldest first; the newest :data:`MAX_HISTORY`."""

    @abstractmethod
    def log(self, job_id: str) -> list[LogLine]:
        """Return a job's log lines, oldest first; the newest :data:`MAX_LOG_LINES`."""

    @abstractmethod
    def find(self, query: JobQuery) -> JobPage:
        """Return one page of jobs.

        :raises ValueError: the cursor or the limit is not of the right form.
        """

    @abstractmethod
    def counts(self, *, tenant: TenantScope = ANY_TENANT) -> Mapping[str, int]:
        """Return the number of jobs in each state, from counters.

        Besides the states there are totals since the storage was made: ``created``, ``expired`` (pruned),
        ``recovered`` (taken back from a lost worker), ``refused`` (late reports; of all tenants only) and the present
        number of ``retrying`` jobs, a part of ``scheduled``.
        """

    @abstractmethod
    def queues(self, *, tenant: TenantScope = ANY_TENANT) -> list[QueueRecord]:
        """Return the queues that have waiting jobs or listeners, or are paused, by name."""

    def _queue_records(
        self, lengths: Mapping[str, int], servers: Sequence[ServerRecord], paused: Collection[str], tenant: TenantScope
    ) -> list[QueueRecord]:
        """Return what :meth:`queues` returns.

        :param lengths: how many jobs wait in each queue that has any.
        """
        listening = [queue for server in servers for queue in server.queues]
        found = []
        for queue in sorted({*listening, *lengths, *paused}):
            waiting = JobQuery(state=JobState.ENQUEUED, queue=queue, tenant=tenant, limit=1)
            first = self.find(waiting).jobs if queue in lengths else ()
            found.append(
                QueueRecord(
                    name=queue,
                    length=lengths.get(queue, 0),
                    oldest_at=first[0].state_at if first else None,
                    servers=listening.count(queue),
                    is_paused=queue in paused,
                )
            )
        return found

    @abstractmethod
    def servers(self) -> list[ServerRecord]:
        """Return the announced servers, oldest first, dead ones included until they are recovered."""

    @abstractmethod
    def now(self) -> float:
        """Return the storage's clock in epoch seconds."""

    @abstractmethod
    def describe(self) -> str:
        """Return kind, version and place of the storage for people, without credentials."""

    @abstractmethod
    def warnings(self) -> list[str]:
        """Return what in the settings of the storage's server endangers jobs, in words."""

    @abstractmethod
    def check(self) -> list[str]:
        """Compare counters, indexes and records by a full scan and return each inconsistency in words."""

    # Waiting

    @abstractmethod
    def wait(self, timeout: float) -> None:
        """Return as soon as a job may have become ready, at the latest after ``timeout`` seconds.

        It waits for the queues of this thread's last :meth:`claim`; without one, for any change, and may return often.
        """

    @abstractmethod
    def wake(self) -> None:
        """Let every :meth:`wait` of this process return now."""

    @abstractmethod
    def close(self) -> None:
        """Give connections back. The storage opens them again when it is used again."""
