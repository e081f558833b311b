"""Jobs that await the end of another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from flask_abpjobs.errors import JobNotFoundError
from flask_abpjobs.model import REQUEUABLE, Claim, JobRecord, JobState, Outcome, ParentEnd, Retention
from flask_abpjobs.storage import JobStorage
from flask_abpjobs.storage.base import BATCH
from tests.contracts.steps import (
    BAD,
    OK,
    MakeJob,
    ago,
    claim,
    delete,
    end,
    finish,
    is_there,
    lease_of,
    run,
    state_of,
    states,
)

KEPT_FOR_NO_TIME = Retention(succeeded=timedelta(0), deleted=timedelta(0), failed=timedelta(0))
MakeChild = Callable[..., JobRecord]


@pytest.fixture
def parent(storage: JobStorage, make_job: MakeJob) -> JobRecord:
    """A job in the queue."""
    job = make_job()
    storage.add(job)
    return job


@pytest.fixture
def make_child(make_job: MakeJob, parent: JobRecord) -> MakeChild:
    """A function that makes records of jobs that await ``parent``."""

    def make(**fields: object) -> JobRecord:
        return make_job(
            **{"state": JobState.AWAITING, "parent_id": parent.id, "parent_on": ParentEnd.SUCCEEDED, **fields}
        )

    return make


ENDINGS = [
    (ParentEnd.SUCCEEDED, JobState.SUCCEEDED, JobState.ENQUEUED, "Job {} succeeded"),
    (ParentEnd.SUCCEEDED, JobState.DELETED, JobState.DELETED, "Job {} was deleted; this one awaited its success"),
    (ParentEnd.DELETED, JobState.DELETED, JobState.ENQUEUED, "Job {} was deleted"),
    (ParentEnd.DELETED, JobState.SUCCEEDED, JobState.DELETED, "Job {} succeeded; this one awaited its deletion"),
    (ParentEnd.FINISHED, JobState.SUCCEEDED, JobState.ENQUEUED, "Job {} succeeded"),
    (ParentEnd.FINISHED, JobState.DELETED, JobState.ENQUEUED, "Job {} was deleted"),
]


class TestAwaiting:
    def test_it_waits_until_its_parent_has_ended(
        self, storage: JobStorage, parent: JobRecord, make_child: MakeChild
    ) -> None:
        assert storage.add(child := make_child())
        assert storage.get(child.id) == child
        job = claim(storage)
        assert state_of(storage, child.id) is JobState.AWAITING
        finish(storage, job, Outcome(state=JobState.SCHEDULED, due_at=ago(1)))
        storage.promote()
        assert storage.start_children() == 0
        assert states(storage, child.id) == ["awaiting"]
        run(storage, parent.id)
        run(storage, child.id)

    @pytest.mark.parametrize(("wish", "ending", "then", "reason"), ENDINGS)
    def test_it_goes_on_or_is_deleted_as_its_parent_ends(
        self,
        storage: JobStorage,
        parent: JobRecord,
        make_child: MakeChild,
        wish: ParentEnd,
        ending: JobState,
        then: JobState,
        reason: str,
    ) -> None:
        storage.add(child := make_child(parent_on=wish))
        end(storage, parent.id, ending)
        after = storage.get(child.id)
        assert (after.state, after.reason) == (then, reason.format(parent.id))
        entry = storage.history(child.id)[-1]
        assert (entry.state, entry.reason) == (then, reason.format(parent.id))

    @pytest.mark.parametrize(("wish", "ending", "then", "reason"), ENDINGS)
    def test_one_that_comes_after_the_end_goes_on_in_the_same_step(
        self,
        storage: JobStorage,
        parent: JobRecord,
        make_child: MakeChild,
        wish: ParentEnd,
        ending: JobState,
        then: JobState,
        reason: str,
    ) -> None:
        end(storage, parent.id, ending)
        assert storage.add(child := make_child(parent_on=wish))
        after = storage.get(child.id)
        assert (after.state, after.reason) == (then, reason.format(parent.id))
        assert states(storage, child.id) == ["awaiting", then.value]

    def test_a_failed_parent_has_not_ended(self, storage: JobStorage, parent: JobRecord, make_child: MakeChild) -> None:
        storage.add(early := make_child(parent_on=ParentEnd.FINISHED))
        run(storage, parent.id, BAD)
        storage.add(late := make_child(parent_on=ParentEnd.FINISHED))
        assert storage.start_children() == 0
        assert {state_of(storage, child.id) for child in (early, late)} == {JobState.AWAITING}
        storage.requeue(parent.id, expected=REQUEUABLE, reason="again")
        run(storage, parent.id)
        assert {state_of(storage, child.id) for child in (early, late)} == {JobState.ENQUEUED}

    def test_a_parent_that_does_not_exist_is_an_error(self, storage: JobStorage, make_child: MakeChild) -> None:
        child = make_child(parent_id="nowhere")
        with pytest.raises(JobNotFoundError, match="nowhere"):
            storage.add(child)
        assert not is_there(storage, child.id)
        assert storage.counts()["created"] == 1

    def test_one_added_by_its_parents_own_end_goes_on_with_it(
        self, storage: JobStorage, parent: JobRecord, make_child: MakeChild
    ) -> None:
        child = make_child()
        finish(storage, claim(storage), Outcome(state=JobState.SUCCEEDED, children=(child,)))
        assert states(storage, child.id) == ["awaiting", "enqueued"]

    def test_a_person_may_run_it_now(self, storage: JobStorage, parent: JobRecord, make_child: MakeChild) -> None:
        storage.add(child := make_child(queue="other"))
        storage.requeue(child.id, expected=REQUEUABLE, reason="now")
        run(storage, child.id, OK, "other")
        run(storage, parent.id)
        assert state_of(storage, child.id) is JobState.SUCCEEDED

    def test_it_stands_behind_what_waits_already(
        self, storage: JobStorage, parent: JobRecord, make_child: MakeChild, make_job: MakeJob
    ) -> None:
        storage.add(child := make_child())
        storage.add(waiting := make_job())
        run(storage, parent.id)
        assert [claim(storage).id, claim(storage).id] == [waiting.id, child.id]

    def test_the_worker_that_ends_the_parent_may_have_the_child_in_the_same_step(
        self, storage: JobStorage, parent: JobRecord, make_child: MakeChild
    ) -> None:
        storage.add(child := make_child())
        job = claim(storage)
        following = storage.finish(lease_of(job), OK, Claim("s1", "w1", ("default",)))
        assert following is not None
        assert following.id == child.id


class TestDelays:
    def test_a_delay_counts_from_the_parents_end(
        self, storage: JobStorage, parent: JobRecord, make_child: MakeChild
    ) -> None:
        storage.add(child := make_child(delay=3600.0))
        run(storage, parent.id)
        ended_at = storage.get(parent.id).state_at
        later = storage.add(late := make_child(delay=3600.0))
        assert later
        for job_id in (child.id, late.id):
            after = storage.get(job_id)
            assert after.state is JobState.SCHEDULED
            assert after.due_at is not None
            assert abs(after.due_at - ended_at - timedelta(hours=1)) < timedelta(milliseconds=1)
            assert after.first_due_at == after.due_at

    def test_a_short_delay_is_promoted_as_any_other(
        self, storage: JobStorage, parent: JobRecord, make_child: MakeChild, eventually: Callable[..., None]
    ) -> None:
        storage.add(child := make_child(delay=0.05))
        run(storage, parent.id)
        eventually(storage.promote)
        run(storage, child.id)

    def test_a_time_of_its_own_is_kept_when_it_is_yet_to_come(
        self, storage: JobStorage, parent: JobRecord, make_child: MakeChild
    ) -> None:
        storage.add(future := make_child(due_at=ago(-3600)))
        storage.add(past := make_child(due_at=ago(60)))
        run(storage, parent.id)
        after = storage.get(future.id)
        assert (after.state, after.due_at) == (JobState.SCHEDULED, future.due_at)
        assert state_of(storage, past.id) is JobState.ENQUEUED


class TestManyChildren:
    def test_the_first_go_on_with_the_end_and_the_sweep_brings_the_rest(
        self, storage: JobStorage, parent: JobRecord, make_child: MakeChild
    ) -> None:
        for start in range(0, 2 * BATCH + 30, 10):
            storage.add_many([make_child(queue=f"q{start}") for _ in range(10)])
        run(storage, parent.id)
        assert storage.counts()["awaiting"] == BATCH + 30
        moved = [storage.start_children() for _ in range(3)]
        assert moved == [BATCH, 30, 0]
        assert storage.counts()["enqueued"] == 2 * BATCH + 30

    def test_a_deleted_tree_is_deleted_to_its_leaves(
        self, storage: JobStorage, parent: JobRecord, make_child: MakeChild
    ) -> None:
        storage.add(child := make_child())
        storage.add(grandchild := make_child(parent_id=child.id))
        storage.add(leaf := make_child(parent_id=grandchild.id))
        storage.add(mourner := make_child(parent_id=grandchild.id, parent_on=ParentEnd.DELETED))
        delete(storage, parent.id)
        while storage.start_children():
            pass
        assert [state_of(storage, job.id) for job in (child, grandchild, leaf, mourner)] == [
            JobState.DELETED,
            JobState.DELETED,
            JobState.DELETED,
            JobState.ENQUEUED,
        ]

    def test_the_rest_goes_on_as_the_parent_ended_though_it_was_requeued_or_deleted_since(
        self, storage: JobStorage, parent: JobRecord, make_child: MakeChild
    ) -> None:
        for _ in range(2):
            storage.add_many([make_child(queue="other") for _ in range(BATCH)])
        run(storage, parent.id)
        storage.requeue(parent.id, expected=REQUEUABLE, reason="again")
        delete(storage, parent.id)
        while storage.start_children():
            pass
        assert storage.counts()["enqueued"] == 2 * BATCH


class TestRemovedParents:
    def test_what_awaits_a_failed_job_is_deleted_when_that_is_removed(
        self, storage: JobStorage, make_job: MakeJob, make_child: MakeChild, parent: JobRecord
    ) -> None:
        delete(storage, parent.id)
        storage.add(failed := make_job(retention=KEPT_FOR_NO_TIME))
        storage.add(child := make_child(parent_id=failed.id))
        run(storage, failed.id, BAD)
        while storage.prune():
            pass
        assert not is_there(storage, failed.id)
        after = storage.get(child.id)
        assert (after.state, after.reason) == (
            JobState.DELETED,
            f"Job {failed.id} was removed before it succeeded",
        )

    def test_more_of_them_than_a_batch_are_deleted_before_it_is_removed(
        self, storage: JobStorage, make_job: MakeJob, make_child: MakeChild, parent: JobRecord
    ) -> None:
        delete(storage, parent.id)
        storage.add(failed := make_job(retention=KEPT_FOR_NO_TIME))
        for _ in range(2):
            storage.add_many([make_child(parent_id=failed.id) for _ in range(BATCH)])
        run(storage, failed.id, BAD)
        assert 0 < storage.prune() <= BATCH
        assert storage.check() == []
        while storage.prune():
            pass
        assert not is_there(storage, failed.id)
        assert storage.counts()["awaiting"] == 0

    def test_what_a_succeeded_job_has_not_started_yet_is_started_before_it_is_removed(
        self, storage: JobStorage, make_job: MakeJob, make_child: MakeChild, parent: JobRecord
    ) -> None:
        delete(storage, parent.id)
        storage.add(quick := make_job(retention=KEPT_FOR_NO_TIME))
        for _ in range(3):
            storage.add_many([make_child(parent_id=quick.id, queue="other") for _ in range(BATCH)])
        run(storage, quick.id)
        while storage.prune() + storage.start_children():
            assert storage.check() == []
        assert not is_there(storage, quick.id)
        assert storage.counts()["enqueued"] == 3 * BATCH
