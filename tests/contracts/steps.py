"""The steps that contract tests are made of."""

from __future__ import annotations

from datetime import datetime

from flask_abpjobs.model import DELETABLE, REQUEUABLE, Claim, JobError, JobRecord, JobState, Lease, Outcome
from flask_abpjobs.storage import JobStorage

CLAIM = Claim("s1", "w1", ("default",))
OK = Outcome(state=JobState.SUCCEEDED, result=b"42", duration=0.5)


def claim(storage: JobStorage, *queues: str, worker: str = "w1", server_id: str = "s1") -> JobRecord:
    record = storage.claim(Claim(server_id, worker, queues or ("default",)))
    assert record is not None
    return record


def lease_of(record: JobRecord) -> Lease:
    return Lease(record.id, record.fence)


def failure(state: JobState = JobState.FAILED, due_at: datetime | None = None) -> Outcome:
    return Outcome(state=state, due_at=due_at, error=JobError("Boom", "it broke", "Traceback ..."), reason="Boom")


def succeed(storage: JobStorage, *queues: str) -> JobRecord:
    """Run the next job."""
    record = claim(storage, *queues)
    storage.finish(lease_of(record), OK)
    return storage.get(record.id)


def delete(storage: JobStorage, job_id: str) -> JobRecord:
    return storage.delete(job_id, expected=DELETABLE, reason="Deleted")


def requeue(storage: JobStorage, job_id: str) -> JobRecord:
    return storage.requeue(job_id, expected=REQUEUABLE, reason="Requeued")


def told(storage: JobStorage, job_id: str) -> list[tuple[str, str | None]]:
    """Return a job's states with their reasons."""
    return [(entry.state.value, entry.reason) for entry in storage.history(job_id)]
