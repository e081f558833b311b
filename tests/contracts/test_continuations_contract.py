"""What every storage promises of jobs that await another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from flask_abpjobs.errors import JobNotFoundError
from flask_abpjobs.model import JobRecord, JobState, ParentEnd, Retention, ServerRecord
from flask_abpjobs.storage import JobStorage
from flask_abpjobs.storage.base import BATCH
from tests.contracts.steps import OK, claim, delete, failure, lease_of, requeue, succeed, told

MakeJob = Callable[..., JobRecord]


@pytest.fixture
def parent(storage: JobStorage, make_job: MakeJob) -> JobRecord:
    job = make_job()
    storage.add(job)
    return job


@pytest.fixture
def make_child(make_job: MakeJob, parent: JobRecord) -> MakeJob:
    def make(**fields: object) -> JobRecord:
        defaults = {"state": JobState.AWAITING, "parent_id": parent.id, "parent_on": ParentEnd.SUCCEEDED}
        return make_job(**{**defaults, **fields})

    return make


def test_a_child_waits_until_its_parent_has_succeeded(
    storage: JobStorage, parent: JobRecord, make_child: MakeJob
) -> None:
    child = make_child(name="shop.next")
    assert storage.add(child)
    assert storage.counts()["awaiting"] == 1
    assert succeed(storage).id == parent.id
    assert told(storage, child.id) == [("awaiting", None), ("enqueued", f"Job {parent.id} succeeded")]
    claimed = claim(storage)
    assert (claimed.id, claimed.parent_id, claimed.parent_on) == (child.id, parent.id, ParentEnd.SUCCEEDED)
    assert claimed.first_due_at is not None  # a retry policy that is bounded by time counts from here
    assert claimed.first_due_at > claimed.created_at


@pytest.mark.parametrize(
    ("on", "end", "state"),
    [
        (ParentEnd.SUCCEEDED, "succeeded", JobState.ENQUEUED),
        (ParentEnd.SUCCEEDED, "deleted", JobState.DELETED),
        (ParentEnd.DELETED, "succeeded", JobState.DELETED),
        (ParentEnd.DELETED, "deleted", JobState.ENQUEUED),
        (ParentEnd.FINISHED, "succeeded", JobState.ENQUEUED),
        (ParentEnd.FINISHED, "deleted", JobState.ENQUEUED),
        (ParentEnd.FINISHED, "failed", JobState.AWAITING),
    ],
)
@pytest.mark.parametrize("order", ["before", "after"])
def test_the_end_of_the_parent_decides_whenever_the_child_was_added(
    storage: JobStorage, parent: JobRecord, make_child: MakeJob, on: ParentEnd, end: str, state: JobState, order: str
) -> None:
    child = make_child(parent_on=on)
    if order == "before":
        storage.add(child)
    if end == "succeeded":
        succeed(storage)
    elif end == "deleted":
        delete(storage, parent.id)
    else:
        storage.finish(lease_of(claim(storage)), failure())
    if order == "after":
        assert storage.add(child)
    assert storage.get(child.id).state is state
    assert storage.history(child.id)[0].state is JobState.AWAITING


def test_a_failed_parent_that_succeeds_after_all_starts_its_child(
    storage: JobStorage, parent: JobRecord, make_child: MakeJob
) -> None:
    storage.add(child := make_child())
    storage.finish(lease_of(claim(storage)), failure())
    requeue(storage, parent.id)
    succeed(storage)
    assert storage.get(child.id).state is JobState.ENQUEUED


def test_a_child_of_the_wrong_end_says_what_it_awaited(
    storage: JobStorage, parent: JobRecord, make_child: MakeJob
) -> None:
    storage.add(child := make_child())
    delete(storage, parent.id)
    assert told(storage, child.id)[-1] == (
        "deleted",
        f"Job {parent.id} was deleted; this one awaited its success",
    )
    assert storage.get(child.id).expires_at is not None


def test_what_awaits_a_deleted_child_is_deleted_by_the_sweep(
    storage: JobStorage, parent: JobRecord, make_child: MakeJob
) -> None:
    storage.add(child := make_child())
    storage.add(grandchild := make_child(parent_id=child.id))
    storage.add(undo := make_child(parent_id=child.id, parent_on=ParentEnd.DELETED))
    delete(storage, parent.id)
    while storage.start_children():
        pass
    assert storage.get(grandchild.id).state is JobState.DELETED
    assert storage.get(undo.id).state is JobState.ENQUEUED


def test_a_delay_counts_from_the_parents_end(storage: JobStorage, parent: JobRecord, make_child: MakeJob) -> None:
    storage.add(child := make_child(delay=3600.0))
    ended = succeed(storage)
    waiting = storage.get(child.id)
    assert (waiting.state, waiting.due_at) == (JobState.SCHEDULED, waiting.first_due_at)
    assert waiting.due_at is not None
    assert abs(waiting.due_at - ended.state_at - timedelta(hours=1)) < timedelta(seconds=1)


def test_a_later_time_schedules_it_and_an_earlier_one_does_not(
    storage: JobStorage, parent: JobRecord, make_child: MakeJob
) -> None:
    now = datetime.now(UTC)
    storage.add(later := make_child(due_at=now + timedelta(hours=1), state=JobState.AWAITING))
    storage.add(earlier := make_child(due_at=now - timedelta(hours=1), state=JobState.AWAITING))
    assert storage.promote() == 0
    succeed(storage)
    assert storage.get(later.id).state is JobState.SCHEDULED
    ready = storage.get(earlier.id)
    assert (ready.state, ready.due_at) == (JobState.ENQUEUED, None)


def test_a_parent_that_does_not_exist_is_an_error_and_nothing_is_added(
    storage: JobStorage, make_child: MakeJob, make_job: MakeJob
) -> None:
    orphan = make_child(parent_id="missing")
    with pytest.raises(JobNotFoundError):
        storage.add(orphan)
    with pytest.raises(JobNotFoundError):
        storage.add_many([make_job(), orphan])
    assert storage.counts()["created"] == 1


def test_many_children_go_on_in_batches(storage: JobStorage, parent: JobRecord, make_child: MakeJob) -> None:
    children = [make_child() for _ in range(2 * BATCH + 5)]
    for start in range(0, len(children), BATCH):
        storage.add_many(children[start : start + BATCH])
    succeed(storage)
    assert storage.counts()["enqueued"] == BATCH
    moved = []
    while moved[-1:] != [0]:
        moved.append(storage.start_children())
    assert moved == [BATCH, 5, 0]
    assert storage.counts()["enqueued"] == len(children)


def test_a_child_may_be_run_now_or_deleted(storage: JobStorage, parent: JobRecord, make_child: MakeJob) -> None:
    storage.add(now := make_child())
    storage.add(never := make_child())
    requeue(storage, now.id)
    delete(storage, never.id)
    succeed(storage)
    assert [storage.get(job.id).state for job in (now, never)] == [JobState.ENQUEUED, JobState.DELETED]
    assert len(storage.history(now.id)) == 2


def test_a_batch_may_hold_parent_and_child(storage: JobStorage, make_job: MakeJob) -> None:
    parent = make_job()
    child = make_job(state=JobState.AWAITING, parent_id=parent.id, parent_on=ParentEnd.FINISHED)
    assert storage.add_many([parent, child]) == [parent.id, child.id]
    succeed(storage)
    assert storage.get(child.id).state is JobState.ENQUEUED


def test_children_of_a_removed_parent_are_deleted(
    open_named: Callable[..., JobStorage], make_job: MakeJob, make_server: Callable[..., ServerRecord]
) -> None:
    storage = open_named(retention=Retention(failed=timedelta(0)))
    storage.announce(make_server("s1"))
    parent = make_job()
    storage.add(parent)
    children = [
        make_job(state=JobState.AWAITING, parent_id=parent.id, parent_on=ParentEnd.SUCCEEDED) for _ in range(BATCH + 5)
    ]
    storage.add_many(children[:BATCH])
    storage.add_many(children[BATCH:])
    storage.finish(lease_of(claim(storage)), failure())
    while storage.prune() or storage.start_children():
        pass
    with pytest.raises(JobNotFoundError):
        storage.get(parent.id)
    assert {storage.get(child.id).state for child in children} == {JobState.DELETED}
    assert told(storage, children[0].id)[-1][1] == f"Job {parent.id} was removed before it succeeded"


def test_a_child_of_the_finishing_step_may_await_that_job_itself(storage: JobStorage, make_job: MakeJob) -> None:
    storage.add(make_job())
    job = claim(storage)
    child = make_job(state=JobState.AWAITING, parent_id=job.id, parent_on=ParentEnd.SUCCEEDED)
    storage.add(child)
    storage.finish(lease_of(job), OK)
    assert storage.get(child.id).state is JobState.ENQUEUED
