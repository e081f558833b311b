"""What every storage promises of unique, limited, expiring jobs, and of those kept for a time of their own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from flask_abpjobs.errors import JobNotFoundError
from flask_abpjobs.model import JobPriority, JobRecord, JobState, Outcome, ParentEnd, Retention, ServerRecord
from flask_abpjobs.storage import JobStorage
from flask_abpjobs.storage.base import BATCH
from tests.contracts.steps import CLAIM, OK, claim, delete, failure, lease_of, requeue, succeed, told

MakeJob = Callable[..., JobRecord]


class TestUnique:
    def test_one_job_of_a_key_is_kept(self, storage: JobStorage, make_job: MakeJob) -> None:
        first, second, other = make_job(unique_key="k"), make_job(unique_key="k"), make_job(unique_key="l")
        assert [storage.add(job) for job in (first, second, other)] == [True, False, True]
        assert storage.add_many([second, make_job(unique_key="l")]) == [first.id, other.id]
        assert storage.counts()["created"] == 2
        with pytest.raises(JobNotFoundError):
            storage.get(second.id)

    @pytest.mark.parametrize("end", ["succeeded", "failed", "deleted"])
    def test_an_ended_job_frees_its_key(self, storage: JobStorage, make_job: MakeJob, end: str) -> None:
        storage.add(first := make_job(unique_key="k"))
        if end == "deleted":
            delete(storage, first.id)
        else:
            storage.finish(lease_of(claim(storage)), OK if end == "succeeded" else failure())
        assert storage.add(make_job(unique_key="k"))

    def test_a_running_a_scheduled_and_a_retried_job_hold_it(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(first := make_job(unique_key="k"))
        running = claim(storage)
        assert not storage.add(make_job(unique_key="k"))
        storage.finish(lease_of(running), failure(JobState.SCHEDULED, datetime.now(UTC) + timedelta(hours=1)))
        assert storage.add_many([make_job(unique_key="k")]) == [first.id]

    def test_unique_for_holds_it_beyond_the_end(self, storage: JobStorage, make_job: MakeJob) -> None:
        now = datetime.now(UTC)
        storage.add(first := make_job(unique_key="k", unique_for=3600.0, created_at=now, state_at=now))
        succeed(storage)
        assert storage.add_many([make_job(unique_key="k")]) == [first.id]

    def test_unique_for_that_is_over_holds_nothing(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(make_job(unique_key="k", unique_for=1.0, created_at=datetime.now(UTC) - timedelta(seconds=5)))
        assert not storage.add(make_job(unique_key="k"))  # it has not ended
        succeed(storage)
        assert storage.add(make_job(unique_key="k"))

    def test_a_requeued_job_takes_its_key_again_if_it_is_free(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(first := make_job(unique_key="k"))
        succeed(storage)
        requeue(storage, first.id)
        assert storage.add_many([make_job(unique_key="k")]) == [first.id]

    def test_a_requeued_job_leaves_the_key_to_a_later_one(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(first := make_job(unique_key="k"))
        succeed(storage)
        storage.add(second := make_job(unique_key="k"))
        requeue(storage, first.id)
        delete(storage, first.id)
        assert storage.add_many([make_job(unique_key="k")]) == [second.id]

    def test_keys_in_one_batch_are_seen(self, storage: JobStorage, make_job: MakeJob) -> None:
        first, second, third = make_job(unique_key="k"), make_job(), make_job(unique_key="k")
        assert storage.add_many([first, second, third]) == [first.id, second.id, first.id]


class TestAddingMany:
    def test_jobs_are_added_in_their_order(self, storage: JobStorage, make_job: MakeJob) -> None:
        jobs = [make_job() for _ in range(BATCH)]
        assert storage.add_many(jobs) == [job.id for job in jobs]
        assert storage.counts()["created"] == BATCH
        assert [claim(storage).id for _ in range(5)] == [job.id for job in jobs[:5]]

    def test_a_known_id_is_left_as_it_is(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(job := make_job())
        assert storage.add_many([make_job(id=job.id, queue="other")]) == [job.id]
        assert storage.get(job.id).queue == "default"

    def test_more_than_a_batch_is_refused(self, storage: JobStorage, make_job: MakeJob) -> None:
        with pytest.raises(ValueError, match="100"):
            storage.add_many([make_job() for _ in range(BATCH + 1)])
        assert storage.add_many([]) == []
        assert storage.counts()["created"] == 0


class TestLimited:
    def limited(self, make_job: MakeJob, **fields: object) -> JobRecord:
        return make_job(**{"concurrency_key": "report:7", "max_concurrent": 2, **fields})

    def test_a_job_without_a_free_slot_is_passed_over(self, storage: JobStorage, make_job: MakeJob) -> None:
        limited = [self.limited(make_job) for _ in range(4)]
        storage.add_many([*limited, other := make_job()])
        assert [claim(storage).id for _ in range(3)] == [limited[0].id, limited[1].id, other.id]
        assert storage.claim(CLAIM) is None
        parked = storage.get(limited[2].id)
        assert (parked.state, parked.reason) == (JobState.ENQUEUED, "Waits: 2 of 2 jobs of report:7 are running")
        assert len(storage.history(parked.id)) == 1
        assert storage.counts()["enqueued"] == 2

    @pytest.mark.parametrize("how", ["succeeds", "fails", "is retried", "is deleted", "is released", "is recovered"])
    def test_the_first_of_the_waiting_goes_on_when_a_running_one(
        self, storage: JobStorage, make_job: MakeJob, how: str
    ) -> None:
        jobs = [self.limited(make_job, max_concurrent=1) for _ in range(3)]
        storage.add_many(jobs)
        running = claim(storage)
        assert storage.claim(CLAIM) is None
        following = None
        if how == "succeeds":
            following = storage.finish(lease_of(running), OK, CLAIM)
        elif how == "fails":
            storage.finish(lease_of(running), failure())
        elif how == "is retried":
            storage.finish(lease_of(running), failure(JobState.SCHEDULED, datetime.now(UTC) + timedelta(hours=1)))
        elif how == "is deleted":
            delete(storage, running.id)
        elif how == "is released":
            storage.release(lease_of(running), "stop")
        else:
            storage.recover_worker("s1", "w1")
        following = following or claim(storage)
        expected = jobs[0] if how in ("is released", "is recovered") else jobs[1]  # which keep their place
        assert (following.id, following.reason) == (expected.id, None)
        assert storage.claim(CLAIM) is None

    def test_priority_orders_the_parked(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(self.limited(make_job, max_concurrent=1))
        running = claim(storage)
        low, high = (self.limited(make_job, max_concurrent=1, priority=each) for each in (5, 25))
        storage.add_many([low, high])
        assert storage.claim(CLAIM) is None
        following = storage.finish(lease_of(running), OK, CLAIM)
        assert following is not None
        assert following.id == high.id

    def test_a_parked_job_that_is_deleted_leaves_its_place_to_the_next(
        self, storage: JobStorage, make_job: MakeJob
    ) -> None:
        jobs = [self.limited(make_job, max_concurrent=1) for _ in range(4)]
        storage.add_many(jobs)
        running = claim(storage)
        assert storage.claim(CLAIM) is None
        delete(storage, jobs[1].id)
        storage.finish(lease_of(running), OK)
        delete(storage, jobs[2].id)  # which was to be the next
        assert claim(storage).id == jobs[3].id

    def test_each_queue_has_its_own_waiting_ones(self, storage: JobStorage, make_job: MakeJob) -> None:
        jobs = [self.limited(make_job, max_concurrent=1, queue=queue) for queue in ("a", "b", "b")]
        storage.add_many(jobs)
        running = claim(storage, "a")
        for queue in ("a", "b"):
            assert storage.claim(CLAIM.__class__("s1", "w1", (queue,))) is None
        storage.finish(lease_of(running), OK)
        assert claim(storage, "a", "b").id == jobs[1].id

    def test_keys_do_not_hinder_each_other(self, storage: JobStorage, make_job: MakeJob) -> None:
        jobs = [self.limited(make_job, max_concurrent=1, concurrency_key=key) for key in ("x", "y", "x")]
        storage.add_many(jobs)
        assert [claim(storage).id for _ in range(2)] == [jobs[0].id, jobs[1].id]
        assert storage.claim(CLAIM) is None

    def test_a_requeued_job_starts_anew_in_the_queue(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(job := self.limited(make_job, max_concurrent=1))
        succeed(storage)
        requeue(storage, job.id)
        assert claim(storage).id == job.id

    def test_a_claim_passes_over_no_more_than_a_batch(self, storage: JobStorage, make_job: MakeJob) -> None:
        limited = [self.limited(make_job, max_concurrent=1) for _ in range(BATCH + 3)]
        storage.add_many(limited[:BATCH])
        storage.add_many([*limited[BATCH:], last := make_job(priority=JobPriority.LOW)])
        claim(storage)
        found = storage.claim(CLAIM) or storage.claim(CLAIM)
        assert found is not None
        assert found.id == last.id

    def test_a_purge_takes_the_parked_with_it(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add_many([self.limited(make_job, max_concurrent=1) for _ in range(3)])
        running = claim(storage)
        assert storage.claim(CLAIM) is None
        assert storage.purge("default", reason="Purged", by="ayla") == 2
        storage.finish(lease_of(running), OK)
        assert storage.claim(CLAIM) is None


class TestExpiring:
    def test_a_job_that_nobody_began_in_time_is_deleted(self, storage: JobStorage, make_job: MakeJob) -> None:
        late = make_job(begin_before=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
        storage.add_many([late, other := make_job(begin_before=datetime.now(UTC) + timedelta(hours=1))])
        assert claim(storage).id == other.id
        assert told(storage, late.id)[-1] == ("deleted", "Expired: no worker began it by 2026-01-02 03:04:05 UTC")

    def test_what_awaited_an_expired_job_may_be_claimed_in_its_stead(
        self, storage: JobStorage, make_job: MakeJob
    ) -> None:
        late = make_job(begin_before=datetime(2026, 1, 2, tzinfo=UTC))
        child = make_job(state=JobState.AWAITING, parent_id=late.id, parent_on=ParentEnd.DELETED)
        storage.add_many([late, child])
        assert claim(storage).id == child.id

    def test_a_requeue_forgets_the_limit(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(late := make_job(begin_before=datetime(2026, 1, 2, tzinfo=UTC)))
        assert storage.claim(CLAIM) is None
        requeue(storage, late.id)
        assert claim(storage).begin_before is None


class TestKeeping:
    def test_a_job_may_have_a_retention_of_its_own(self, storage: JobStorage, make_job: MakeJob) -> None:
        own = Retention(succeeded=timedelta(hours=2), deleted=None)
        storage.add_many([make_job(retention=own), kept := make_job(retention=own)])
        done = succeed(storage)
        assert done.expires_at is not None
        assert done.expires_at - done.state_at == timedelta(hours=2)
        assert delete(storage, kept.id).expires_at is None
        assert storage.get(kept.id).retention == own

    def test_a_short_retention_of_its_own_is_pruned_among_longer_ones(
        self, storage: JobStorage, make_job: MakeJob
    ) -> None:
        short = make_job(retention=Retention(succeeded=timedelta(0)))
        storage.add_many([long := make_job(), short, other := make_job()])
        for _ in range(3):
            succeed(storage)
        assert storage.prune() == 1
        assert storage.prune() == 0
        with pytest.raises(JobNotFoundError):
            storage.get(short.id)
        assert storage.get(long.id).state is storage.get(other.id).state is JobState.SUCCEEDED

    def test_only_the_newest_are_kept_where_a_number_is_set(
        self, open_named: Callable[..., JobStorage], make_job: MakeJob, make_server: Callable[..., ServerRecord]
    ) -> None:
        storage = open_named(retention=Retention(max_succeeded=3, max_failed=1))
        storage.announce(make_server("s1"))
        storage.add_many([make_job(queue=queue) for queue in ("a", "b", "a", "b", "a")])
        finished = [succeed(storage, "a", "b").id for _ in range(5)]
        storage.add_many([make_job(), make_job()])
        for _ in range(2):
            storage.finish(lease_of(claim(storage)), failure())
        while storage.prune():
            pass
        counts = storage.counts()
        assert (counts["succeeded"], counts["failed"], counts["expired"]) == (3, 1, 3)
        assert all(storage.get(job_id) for job_id in finished[2:])


class TestRareFields:
    def test_everything_a_job_was_told_reads_back(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(first := make_job())
        job = make_job(
            retention=Retention(succeeded=None, failed=timedelta(days=7)),
            timeout=12.5,
            begin_before=datetime.now(UTC) + timedelta(hours=1),
            unique_key="sü|ß",
            unique_for=3.0,
            concurrency_key="c:é",
            max_concurrent=4,
            rerun_of=first.id,
            recurring_id="nightly",
            first_due_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        storage.add(job)
        assert storage.get(job.id) == job
        succeed(storage)
        assert claim(storage).timeout == 12.5

    def test_an_attempt_that_was_not_begun_is_given_back(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(make_job())
        job = claim(storage)
        due_at = datetime.now(UTC) + timedelta(hours=1)
        storage.finish(lease_of(job), Outcome(state=JobState.SCHEDULED, due_at=due_at, is_begun=False))
        scheduled = storage.get(job.id)
        assert (scheduled.state, scheduled.attempt, scheduled.failures) == (JobState.SCHEDULED, 0, 0)
