"""Jobs of which only so many may run at once, and jobs that must begin in time."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest

from flask_abpjobs.errors import LeaseLostError
from flask_abpjobs.model import REQUEUABLE, Claim, JobPriority, JobRecord, JobState, Outcome, ParentEnd
from flask_abpjobs.storage import JobStorage
from flask_abpjobs.storage.base import BATCH
from tests.contracts.steps import (
    BAD,
    OK,
    MakeJob,
    ago,
    claim,
    claim_all,
    delete,
    find_claim,
    finish,
    ids,
    lease_of,
    run,
    state_of,
    states,
)


@pytest.fixture
def make_limited(storage: JobStorage, make_job: MakeJob) -> MakeJob:
    """A function that adds jobs of one concurrency key, of which one may run at once."""

    def make(**fields: object) -> JobRecord:
        job = make_job(**{"concurrency_key": "report:7", "max_concurrent": 1, **fields})
        storage.add(job)
        return job

    return make


class TestLimits:
    def test_no_more_than_the_limit_run_and_the_others_are_passed_over(
        self, storage: JobStorage, make_limited: MakeJob, make_job: MakeJob
    ) -> None:
        limited = [make_limited(max_concurrent=2) for _ in range(4)]
        other_key = make_limited(concurrency_key="report:8", max_concurrent=2)
        storage.add(free := make_job())
        assert ids(*claim_all(storage)) == ids(*limited[:2], other_key, free)

    def test_a_parked_job_says_what_it_waits_for(self, storage: JobStorage, make_limited: MakeJob) -> None:
        first, second, third = (make_limited(max_concurrent=2) for _ in range(3))
        running = claim_all(storage)
        parked = storage.get(third.id)
        assert (parked.state, parked.reason) == (
            JobState.ENQUEUED,
            "Waits: 2 of 2 jobs of report:7 are running",
        )
        assert states(storage, third.id) == ["enqueued"]
        assert storage.queues()[0].length == 1
        finish(storage, running[0])
        assert storage.get(third.id).reason is None
        assert claim(storage).id == third.id
        assert ids(*running) == ids(first, second)

    @pytest.mark.parametrize("how", ["succeeded", "failed", "retried", "released", "deleted", "recovered", "retired"])
    def test_whatever_ends_an_attempt_frees_its_slot(
        self, storage: JobStorage, make_limited: MakeJob, how: str
    ) -> None:
        first, second = make_limited(), make_limited()
        job = claim(storage)
        assert find_claim(storage) is None
        if how == "released":
            storage.release(lease_of(job), "stop")
        elif how == "deleted":
            delete(storage, job.id)
        elif how == "recovered":
            storage.recover_worker("s1", "w1")
        elif how == "retired":
            (server,) = storage.servers()
            storage.retire("s1")
            storage.announce(server)
        else:
            retry = Outcome(state=JobState.SCHEDULED, due_at=ago(-3600))
            finish(storage, job, {"succeeded": OK, "failed": BAD, "retried": retry}[how])
        goes_back = how in ("released", "recovered", "retired")
        assert claim(storage).id == (first.id if goes_back else second.id)
        assert find_claim(storage) is None

    def test_the_next_is_claimed_by_the_step_that_frees_the_slot(
        self, storage: JobStorage, make_limited: MakeJob
    ) -> None:
        jobs = [make_limited() for _ in range(5)]
        record, ran = claim(storage), []
        assert find_claim(storage, worker="w2") is None
        while record is not None:
            ran.append(record.id)
            record = storage.finish(lease_of(record), OK, Claim("s1", "w1", ("default",)))
        assert ran == ids(*jobs)

    def test_parked_jobs_come_by_priority_and_then_by_their_place(
        self, storage: JobStorage, make_limited: MakeJob
    ) -> None:
        running = make_limited(priority=JobPriority.HIGH)
        low, first, second, high = (
            make_limited(priority=priority)
            for priority in (JobPriority.LOW, JobPriority.NORMAL, JobPriority.NORMAL, JobPriority.HIGH)
        )
        assert claim(storage).id == running.id
        assert find_claim(storage) is None
        finish(storage, storage.get(running.id))
        order = []
        while (job := find_claim(storage)) is not None:
            order.append(job.id)
            finish(storage, job)
        assert order == ids(high, first, second, low)

    def test_each_queue_gets_one_that_is_ready(self, storage: JobStorage, make_limited: MakeJob) -> None:
        running = make_limited()
        waiting = {queue: make_limited(queue=queue) for queue in ("a", "b", "c")}
        job = claim(storage)
        assert [find_claim(storage, queue) for queue in waiting] == [None] * 3
        for queue in ("c", "a", "b"):  # whichever worker is free first
            finish(storage, job)
            job = claim(storage, queue)
            assert job.id == waiting[queue].id
        assert running.id != job.id

    def test_a_ready_one_that_is_deleted_leaves_its_place_to_a_parked_one(
        self, storage: JobStorage, make_limited: MakeJob
    ) -> None:
        _, second, third = (make_limited() for _ in range(3))
        running = claim(storage)
        assert find_claim(storage) is None
        finish(storage, running)
        delete(storage, second.id)
        assert claim(storage).id == third.id

    def test_a_parked_job_can_be_deleted_and_requeued(self, storage: JobStorage, make_limited: MakeJob) -> None:
        _, parked, other = (make_limited() for _ in range(3))
        running = claim(storage)
        assert find_claim(storage) is None
        delete(storage, parked.id)
        storage.requeue(parked.id, expected=REQUEUABLE, reason="again")
        assert find_claim(storage) is None
        finish(storage, running)
        assert [claim(storage).id, find_claim(storage)] == [other.id, None]
        assert state_of(storage, parked.id) is JobState.ENQUEUED

    def test_a_raised_limit_lets_the_new_jobs_run_and_keeps_the_old(
        self, storage: JobStorage, make_limited: MakeJob
    ) -> None:
        old = [make_limited(max_concurrent=1) for _ in range(3)]
        new = [make_limited(max_concurrent=2) for _ in range(3)]
        assert ids(*claim_all(storage)) == ids(old[0], new[0])
        finish(storage, storage.get(old[0].id))
        assert ids(*claim_all(storage)) == ids(new[1])
        finish(storage, storage.get(new[0].id))
        finish(storage, storage.get(new[1].id))
        ran = []
        while found := claim_all(storage):
            for job in found:
                ran.append(job.id)
                finish(storage, job)
        assert sorted(ran) == sorted(ids(*old[1:], new[2]))

    def test_more_blocked_jobs_than_a_step_may_park_do_not_hide_the_next(
        self, storage: JobStorage, make_limited: MakeJob, make_job: MakeJob
    ) -> None:
        for _ in range(2 * BATCH + 20):
            make_limited()
        storage.add(free := make_job())
        claim(storage)
        found = [job.id for _ in range(5) if (job := find_claim(storage)) is not None]
        assert found == [free.id]

    def test_many_workers_never_exceed_a_limit_and_run_all(self, storage: JobStorage, make_job: MakeJob) -> None:
        limits = {"a": 1, "b": 2, "c": 3}
        rng = random.Random(7)
        for _ in range(60):
            key = rng.choice("abc")
            queue = rng.choice(("default", "other"))
            storage.add(make_job(concurrency_key=key, max_concurrent=limits[key], queue=queue))
        running = dict.fromkeys(limits, 0)
        seen = dict.fromkeys(limits, 0)
        lock = threading.Lock()
        ended = 0

        def work(worker: str) -> None:
            nonlocal ended
            while ended < 60:
                job = storage.claim(Claim("s1", worker, ("default", "other")))
                if job is None:
                    storage.wait(0.05)
                    continue
                assert job.concurrency_key is not None
                with lock:
                    running[job.concurrency_key] += 1
                    seen[job.concurrency_key] = max(seen[job.concurrency_key], running[job.concurrency_key])
                threading.Event().wait(0.002)
                with lock:
                    running[job.concurrency_key] -= 1
                storage.finish(lease_of(job), OK)
                with lock:
                    ended += 1

        threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
        assert storage.counts()["succeeded"] == 60
        assert all(seen[key] <= limits[key] for key in limits)

    def test_a_late_report_frees_no_slot(self, storage: JobStorage, make_limited: MakeJob) -> None:
        make_limited()
        make_limited()
        lost = claim(storage)
        storage.recover_worker("s1", "w1")
        again = claim(storage)
        assert again.id == lost.id
        assert find_claim(storage) is None
        with pytest.raises(LeaseLostError):
            storage.finish(lease_of(lost), OK)
        assert find_claim(storage) is None


class TestBeginningInTime:
    def test_a_job_that_no_worker_began_in_time_is_deleted_by_the_claim_that_meets_it(
        self, storage: JobStorage, make_job: MakeJob
    ) -> None:
        late, timely = make_job(begin_before=ago(5)), make_job(begin_before=ago(-3600))
        storage.add_many([late, timely])
        assert claim(storage).id == timely.id
        after = storage.get(late.id)
        assert after.begin_before is not None
        by = f"{after.begin_before:%Y-%m-%d %H:%M:%S} UTC"
        assert (after.state, after.reason) == (
            JobState.DELETED,
            f"Expired: no worker began it by {by}",
        )
        assert after.attempt == 0

    def test_a_requeue_clears_it(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(late := make_job(begin_before=ago(5)))
        assert find_claim(storage) is None
        storage.requeue(late.id, expected=REQUEUABLE, reason="again")
        assert storage.get(late.id).begin_before is None
        run(storage, late.id)

    def test_what_awaited_it_is_told(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(late := make_job(begin_before=ago(5)))
        child = make_job(state=JobState.AWAITING, parent_id=late.id, parent_on=ParentEnd.FINISHED)
        storage.add(child)
        assert find_claim(storage) is None
        while storage.start_children():
            pass
        run(storage, child.id)

    def test_many_of_them_are_set_aside_in_batches(self, storage: JobStorage, make_job: MakeJob) -> None:
        for _ in range(3):
            storage.add_many([make_job(begin_before=ago(5)) for _ in range(BATCH)])
        storage.add(timely := make_job())
        found = [job.id for _ in range(5) if (job := find_claim(storage)) is not None]
        assert found == [timely.id]
        assert storage.counts()["deleted"] == 3 * BATCH

    def test_a_parked_job_that_is_too_late_is_deleted_when_its_turn_comes(
        self, storage: JobStorage, make_limited: MakeJob, eventually: Callable[..., None]
    ) -> None:
        make_limited()
        running = claim(storage)
        late = make_limited(begin_before=ago(-0.2))
        assert find_claim(storage) is None
        assert late.begin_before is not None
        end = late.begin_before.timestamp()
        eventually(lambda: storage.now() > end)
        finish(storage, running)
        assert find_claim(storage) is None
        assert state_of(storage, late.id) is JobState.DELETED
