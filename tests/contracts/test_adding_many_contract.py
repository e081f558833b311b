"""Adding many jobs in one step, and unique keys."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flask_abpjobs.errors import JobNotFoundError
from flask_abpjobs.model import REQUEUABLE, JobState, Outcome, Retention
from flask_abpjobs.storage import JobStorage
from flask_abpjobs.storage.base import BATCH
from tests.contracts.steps import (
    OK,
    MakeJob,
    OpenNamed,
    ago,
    claim,
    claim_all,
    end,
    finish,
    ids,
    is_there,
    run,
    states,
)

ENDS = (JobState.SUCCEEDED, JobState.FAILED, JobState.DELETED)


class TestAddingMany:
    def test_many_jobs_come_into_their_queues_in_their_order(self, storage: JobStorage, make_job: MakeJob) -> None:
        jobs = [make_job() for _ in range(BATCH)]
        assert storage.add_many(jobs) == ids(*jobs)
        assert [job.id for job in claim_all(storage)] == ids(*jobs)
        assert storage.counts()["created"] == BATCH

    def test_each_reads_back_with_its_history(self, storage: JobStorage, make_job: MakeJob) -> None:
        now, later = make_job(), make_job(due_at=ago(-3600))
        storage.add_many([now, later])
        assert (storage.get(now.id), storage.get(later.id)) == (now, later)
        assert (states(storage, now.id), states(storage, later.id)) == (["enqueued"], ["scheduled"])

    def test_batches_come_one_after_the_other(self, storage: JobStorage, make_job: MakeJob) -> None:
        batches = [[make_job(tenant_id="acme") for _ in range(number)] for number in (BATCH, 3, BATCH, 1)]
        jobs = [job for batch in batches for job in batch]
        assert storage.add_batches(batches) == ids(*jobs)
        assert storage.add_batches(batches) == ids(*jobs)  # once more: what is there is left as it is
        assert [job.id for job in claim_all(storage)] == ids(*jobs)
        assert storage.counts(tenant="acme")["created"] == len(jobs)

    def test_batches_may_hold_jobs_of_all_kinds(self, storage: JobStorage, make_job: MakeJob) -> None:
        first, later = make_job(unique_key="k"), make_job(due_at=ago(-3600))
        kept = storage.add_batches([[first, make_job()], [later], [make_job(unique_key="k")], []])
        assert (kept[0], kept[2], kept[3]) == (first.id, later.id, first.id)
        assert storage.add_batches([]) == []

    def test_none_is_nothing(self, storage: JobStorage) -> None:
        assert storage.add_many([]) == []

    def test_more_than_a_batch_is_refused_whole(self, storage: JobStorage, make_job: MakeJob) -> None:
        with pytest.raises(ValueError, match="101 jobs"):
            storage.add_many([make_job() for _ in range(BATCH + 1)])
        assert storage.counts()["created"] == 0

    def test_known_ids_are_left_as_they_are_and_the_others_added(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(known := make_job())
        again, new = make_job(id=known.id, queue="other"), make_job()
        assert storage.add_many([again, new, new]) == ids(known, new, new)
        assert storage.get(known.id).queue == "default"
        assert storage.counts()["created"] == 2

    def test_a_missing_parent_of_one_refuses_all(self, storage: JobStorage, make_job: MakeJob) -> None:
        first, orphan = make_job(unique_key="k"), make_job(state=JobState.AWAITING, parent_id="nowhere")
        with pytest.raises(JobNotFoundError, match="nowhere"):
            storage.add_many([first, orphan])
        assert not is_there(storage, first.id)
        assert storage.counts()["created"] == 0
        assert storage.add(make_job(unique_key="k")), "the key is not taken by a job that was not added"

    def test_a_child_may_come_with_its_parent(self, storage: JobStorage, make_job: MakeJob) -> None:
        parent = make_job()
        child = make_job(state=JobState.AWAITING, parent_id=parent.id)
        assert storage.add_many([parent, child]) == ids(parent, child)
        run(storage, parent.id)
        run(storage, child.id)


class TestUniqueKeys:
    def test_of_the_jobs_with_one_key_one_is_kept(self, storage: JobStorage, make_job: MakeJob) -> None:
        first, second, other = (make_job(unique_key=key) for key in ("k", "k", "l"))
        assert storage.add(first)
        assert not storage.add(second)
        assert storage.add_many([make_job(unique_key="k"), other]) == ids(first, other)
        assert not is_there(storage, second.id)
        assert storage.counts()["created"] == 2

    def test_of_one_batch_the_first_is_kept(self, storage: JobStorage, make_job: MakeJob) -> None:
        jobs = [make_job(unique_key="k") for _ in range(3)]
        assert storage.add_many(jobs) == [jobs[0].id] * 3

    def test_the_same_job_once_more_is_told_by_its_id(self, storage: JobStorage, make_job: MakeJob) -> None:
        job = make_job(unique_key="k")
        assert storage.add_many([job]) == storage.add_many([job]) == [job.id]
        assert not storage.add(job)

    def test_each_application_has_its_own_keys(self, open_named: OpenNamed, make_job: MakeJob) -> None:
        assert open_named("ours").add(make_job(unique_key="k"))
        assert open_named("theirs").add(make_job(unique_key="k"))

    def test_a_key_is_taken_while_the_job_waits_runs_and_is_tried_again(
        self, storage: JobStorage, make_job: MakeJob
    ) -> None:
        storage.add(make_job(unique_key="k"))
        for outcome in (Outcome(state=JobState.SCHEDULED, due_at=ago(1)), Outcome(state=JobState.ENQUEUED), OK):
            storage.promote()
            job = claim(storage)
            assert not storage.add(make_job(unique_key="k"))
            finish(storage, job, outcome)
            assert storage.add(make_job(unique_key="k", queue="other")) is (outcome is OK)

    @pytest.mark.parametrize("state", ENDS)
    def test_a_job_that_has_ended_frees_its_key(self, storage: JobStorage, make_job: MakeJob, state: JobState) -> None:
        storage.add(first := make_job(unique_key="k"))
        end(storage, first.id, state)
        assert storage.add(second := make_job(unique_key="k"))
        assert storage.add_many([make_job(unique_key="k")]) == [second.id]

    @pytest.mark.parametrize("state", ENDS)
    def test_a_key_for_a_time_stays_taken_so_long_even_when_the_job_has_ended(
        self, storage: JobStorage, make_job: MakeJob, state: JobState
    ) -> None:
        storage.add(long := make_job(unique_key="long", unique_for=3600.0))
        end(storage, long.id, state)
        storage.add(short := make_job(unique_key="short", unique_for=1.0))  # made long ago
        assert storage.add_many([make_job(unique_key="short")]) == [short.id], "the job has not ended"
        end(storage, short.id, state)
        assert storage.add_many([make_job(unique_key="long")]) == [long.id]
        assert storage.add(make_job(unique_key="short"))

    def test_a_requeued_job_takes_its_key_again_if_it_is_free(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(first := make_job(unique_key="k"))
        run(storage, first.id)
        storage.requeue(first.id, expected=REQUEUABLE, reason="again")
        assert not storage.add(make_job(unique_key="k"))
        run(storage, first.id)
        storage.add(second := make_job(unique_key="k"))
        storage.requeue(first.id, expected=REQUEUABLE, reason="again")
        assert storage.get(first.id).state is JobState.ENQUEUED
        assert storage.add_many([make_job(unique_key="k")]) == [second.id]
        for _ in range(2):
            finish(storage, claim(storage))
        assert storage.add(make_job(unique_key="k"))

    def test_a_job_that_was_removed_holds_its_key_by_time_only(
        self, open_named: OpenNamed, storage: JobStorage, make_job: MakeJob
    ) -> None:
        kept_for_no_time = Retention(succeeded=timedelta(0))
        by_time = make_job(unique_key="long", unique_for=3600.0, retention=kept_for_no_time)
        plain = make_job(unique_key="k", retention=kept_for_no_time)
        for job in (by_time, plain):
            storage.add(job)
            run(storage, job.id)
        assert storage.prune() == 2
        assert storage.add_many([make_job(unique_key="long"), new := make_job(unique_key="k")]) == ids(by_time, new)

    def test_a_child_of_an_outcome_whose_key_is_taken_is_left_out(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(make_job())
        storage.add(make_job(unique_key="k"))
        child = make_job(unique_key="k")
        finish(storage, claim(storage), Outcome(state=JobState.SUCCEEDED, children=(child,)))
        assert not is_there(storage, child.id)
