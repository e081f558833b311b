"""What the contract's tests do with a storage again and again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from flask_abpjobs.errors import JobNotFoundError
from flask_abpjobs.model import DELETABLE, Claim, JobError, JobRecord, JobState, Lease, Outcome
from flask_abpjobs.storage import JobStorage

MakeJob = Callable[..., JobRecord]
OpenNamed = Callable[..., JobStorage]
OK = Outcome(state=JobState.SUCCEEDED, result=b"42", duration=0.5)
BAD = Outcome(state=JobState.FAILED, error=JobError("Boom", "it broke"), reason="Boom")


def find_claim(storage: JobStorage, *queues: str, worker: str = "w1") -> JobRecord | None:
    """Claim as a worker of server ``s1``."""
    return storage.claim(Claim("s1", worker, queues or ("default",)))


def claim(storage: JobStorage, *queues: str, worker: str = "w1") -> JobRecord:
    """Claim a job that must be there."""
    record = find_claim(storage, *queues, worker=worker)
    assert record is not None
    return record


def claim_all(storage: JobStorage, *queues: str) -> list[JobRecord]:
    """Claim until nothing is ready."""
    found = []
    while (record := find_claim(storage, *queues)) is not None:
        found.append(record)
    return found


def lease_of(record: JobRecord) -> Lease:
    return Lease(record.id, record.fence)


def finish(storage: JobStorage, record: JobRecord, outcome: Outcome = OK) -> None:
    storage.finish(lease_of(record), outcome)


def delete(storage: JobStorage, job_id: str) -> None:
    storage.delete(job_id, expected=DELETABLE, reason="Deleted")


def run(storage: JobStorage, job_id: str, outcome: Outcome = OK, *queues: str) -> None:
    """Claim the job that must be next, and finish it."""
    record = claim(storage, *queues)
    assert record.id == job_id
    finish(storage, record, outcome)


def end(storage: JobStorage, job_id: str, state: JobState) -> None:
    """Bring the job that must be next into a state that ends it."""
    if state is JobState.DELETED:
        delete(storage, job_id)
    else:
        run(storage, job_id, OK if state is JobState.SUCCEEDED else BAD)


def state_of(storage: JobStorage, job_id: str) -> JobState:
    return storage.get(job_id).state


def states(storage: JobStorage, job_id: str) -> list[str]:
    return [entry.state.value for entry in storage.history(job_id)]


def is_there(storage: JobStorage, job_id: str) -> bool:
    try:
        storage.get(job_id)
    except JobNotFoundError:
        return False
    return True


def ids(*records: JobRecord) -> list[str]:
    return [record.id for record in records]


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)
