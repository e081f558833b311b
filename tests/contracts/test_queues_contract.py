"""Queues that are paused, resumed and emptied, and what is kept of finished jobs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from flask_abpjobs.model import Claim, JobProgress, JobState, ParentEnd, Retention, ServerRecord
from flask_abpjobs.storage import JobStorage
from flask_abpjobs.storage.base import BATCH
from tests.contracts.steps import (
    BAD,
    OK,
    MakeJob,
    OpenNamed,
    ago,
    claim,
    delete,
    end,
    find_claim,
    finish,
    ids,
    is_there,
    lease_of,
    run,
    state_of,
)


class TestPausing:
    def test_no_worker_claims_from_a_paused_queue(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add_many([first := make_job(queue="a"), second := make_job(queue="b"), third := make_job(queue="a")])
        running = claim(storage, "a")
        storage.pause("a")
        storage.pause("a")
        assert claim(storage, "a", "b").id == second.id
        assert storage.finish(lease_of(running), OK) is None
        assert find_claim(storage, "a", "b") is None
        storage.resume("a")
        assert claim(storage, "a", "b").id == third.id
        assert running.id == first.id

    def test_a_busy_worker_does_not_take_the_next_from_it_either(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add_many([make_job(), make_job()])
        running = claim(storage)
        storage.pause("default")
        assert storage.finish(lease_of(running), OK, Claim("s1", "w1", ("default",))) is None

    def test_enqueueing_and_promoting_go_on(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.pause("default")
        storage.add_many([make_job(), make_job(due_at=ago(1))])
        storage.promote()
        (queue,) = storage.queues()
        assert (queue.name, queue.length, queue.is_paused) == ("default", 2, True)

    def test_a_paused_queue_is_listed_though_it_is_empty(self, storage: JobStorage) -> None:
        storage.pause("quiet")
        assert [(queue.name, queue.is_paused) for queue in storage.queues()] == [("default", False), ("quiet", True)]
        assert [queue.name for queue in storage.queues(tenant="acme")] == ["default", "quiet"]
        storage.resume("quiet")
        storage.resume("quiet")
        assert [queue.name for queue in storage.queues()] == ["default"]

    def test_each_application_pauses_its_own(self, open_named: OpenNamed, storage: JobStorage) -> None:
        open_named("theirs").pause("default")
        assert [queue.is_paused for queue in storage.queues()] == [False]

    def test_resuming_wakes_a_waiting_worker(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(make_job())
        storage.pause("default")
        found: list[str] = []
        ready = threading.Event()

        def work() -> None:
            assert find_claim(storage) is None
            ready.set()
            for _ in range(5):  # a wait may end early, but not for ever
                storage.wait(20.0)
                if (job := find_claim(storage)) is not None:
                    return found.append(job.id)

        thread = threading.Thread(target=work)
        thread.start()
        ready.wait(5.0)
        storage.resume("default")
        thread.join(10.0)
        assert not thread.is_alive()
        assert len(found) == 1


class TestPurging:
    def test_only_what_waits_in_the_queue_is_deleted(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(running := make_job(queue="a"))
        claim(storage, "a")
        waiting, later, other = make_job(queue="a"), make_job(queue="a", due_at=ago(-3600)), make_job(queue="b")
        storage.add_many([waiting, later, other])
        assert storage.purge("a", reason="Emptied", by="ayla") == 1
        assert storage.purge("a", reason="Emptied") == 0
        after = storage.get(waiting.id)
        entry = storage.history(waiting.id)[-1]
        assert (after.state, after.reason, entry.data["by"]) == (JobState.DELETED, "Emptied", "ayla")
        assert [state_of(storage, job.id) for job in (running, later, other)] == [
            JobState.PROCESSING,
            JobState.SCHEDULED,
            JobState.ENQUEUED,
        ]

    def test_it_goes_by_batches(self, storage: JobStorage, make_job: MakeJob) -> None:
        for _ in range(2):
            storage.add_many([make_job() for _ in range(BATCH)])
        storage.add(make_job())
        assert [storage.purge("default", reason="x") for _ in range(4)] == [BATCH, BATCH, 1, 0]

    def test_parked_jobs_go_too(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add_many([make_job(concurrency_key="k", max_concurrent=1) for _ in range(5)])
        running = claim(storage)
        assert find_claim(storage) is None
        assert storage.purge("default", reason="x") == 4
        finish(storage, running)
        assert find_claim(storage) is None

    def test_what_awaited_them_is_told(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(parent := make_job())
        storage.add(
            child := make_job(
                queue="b", state=JobState.AWAITING, parent_id=parent.id, parent_on=ParentEnd.FINISHED, unique_key="k"
            )
        )
        storage.purge("default", reason="x")
        while storage.start_children():
            pass
        run(storage, child.id, OK, "b")
        assert storage.add(make_job(unique_key="k"))


@pytest.fixture
def open_serving(open_named: OpenNamed, make_server: Callable[..., ServerRecord]) -> OpenNamed:
    """A function that opens a storage with options and announces server ``s1`` to it."""

    def open_one(**options: object) -> JobStorage:
        storage = open_named(**options)
        storage.announce(make_server("s1"))
        return storage

    return open_one


class TestRetention:
    def test_a_jobs_own_retention_goes_before_the_storages(self, storage: JobStorage, make_job: MakeJob) -> None:
        short, plain = make_job(retention=Retention(succeeded=timedelta(0))), make_job()
        storage.add_many([short, plain])
        assert storage.get(short.id).retention == short.retention
        run(storage, short.id)
        run(storage, plain.id)
        assert storage.prune() == 1
        assert (is_there(storage, short.id), is_there(storage, plain.id)) == (False, True)

    def test_a_job_may_be_kept_for_ever(self, open_serving: OpenNamed, make_job: MakeJob) -> None:
        brief = open_serving(retention=Retention(succeeded=timedelta(0)))
        brief.add_many([kept := make_job(retention=Retention(succeeded=None)), make_job()])
        run(brief, kept.id)
        finish(brief, claim(brief))
        assert brief.prune() == 1
        assert brief.get(kept.id).expires_at is None

    @pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.DELETED])
    def test_the_oldest_above_a_count_are_removed(
        self, open_serving: OpenNamed, make_job: MakeJob, state: JobState
    ) -> None:
        counted = open_serving(retention=Retention(**{f"max_{state}": 2}))
        jobs = [make_job() for _ in range(5)]
        for job in jobs:
            counted.add(job)
            end(counted, job.id, state)
        assert [counted.prune(), counted.prune()] == [3, 0]
        assert [job.id for job in jobs if is_there(counted, job.id)] == ids(*jobs[3:])
        assert counted.counts()["expired"] == 3

    def test_jobs_with_a_retention_of_their_own_are_not_counted(
        self, open_serving: OpenNamed, make_job: MakeJob
    ) -> None:
        counted = open_serving(retention=Retention(max_succeeded=1))
        own = [make_job(retention=Retention(succeeded=None)) for _ in range(3)]
        jobs = [make_job() for _ in range(3)]
        for job in (jobs[0], own[0], jobs[1], own[1], jobs[2], own[2]):
            counted.add(job)
            run(counted, job.id)
        assert [counted.prune(), counted.prune()] == [2, 0]
        assert all(is_there(counted, job.id) for job in (*own, jobs[2]))

    def test_a_count_removes_by_batches(self, open_serving: OpenNamed, make_job: MakeJob) -> None:
        counted = open_serving(retention=Retention(max_deleted=0))
        for _ in range(2):
            counted.add_many([make_job() for _ in range(BATCH)])
            counted.purge("default", reason="x")
        assert [counted.prune(), counted.prune(), counted.prune()] == [BATCH, BATCH, 0]

    def test_time_and_count_together_remove_each_job_once(self, open_serving: OpenNamed, make_job: MakeJob) -> None:
        both = open_serving(retention=Retention(succeeded=timedelta(0), max_succeeded=1, failed=timedelta(0)))
        for number in range(6):
            both.add(job := make_job())
            run(both, job.id, OK if number % 2 else BAD)
        assert [both.prune(), both.prune()] == [6, 0]

    def test_a_requeued_job_is_kept(self, open_serving: OpenNamed, make_job: MakeJob) -> None:
        brief = open_serving(retention=Retention(deleted=timedelta(0)))
        brief.add(job := make_job())
        delete(brief, job.id)
        brief.requeue(job.id, expected={JobState.DELETED}, reason="again")
        assert brief.prune() == 0
        assert brief.get(job.id).expires_at is None


class TestFields:
    def test_all_that_a_record_carries_is_read_back(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(parent := make_job(queue="other"))
        job = make_job(
            state=JobState.AWAITING,
            retention=Retention(succeeded=timedelta(hours=2), max_failed=3),
            timeout=12.5,
            begin_before=ago(-3600),
            parent_id=parent.id,
            parent_on=ParentEnd.FINISHED,
            delay=3.5,
            unique_key="a key ✓",
            unique_for=60.0,
            concurrency_key="c",
            max_concurrent=4,
            rerun_of="another",
            recurring_id="nightly",
            first_due_at=ago(50),
            progress=JobProgress(1, 2, "half"),
        )
        storage.add(job)
        assert storage.get(job.id) == job
