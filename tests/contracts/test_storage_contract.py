"""What every storage promises, as the verbs of ``storage/base.py`` say it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from flask_abpjobs.errors import JobNotFoundError, LeaseLostError, StateChangedError
from flask_abpjobs.model import (
    DELETABLE,
    REQUEUABLE,
    Argument,
    Claim,
    JobError,
    JobPriority,
    JobProgress,
    JobQuery,
    JobRecord,
    JobState,
    Lease,
    LogLine,
    Outcome,
    Retention,
    ServerRecord,
)
from flask_abpjobs.storage import JobStorage
from flask_abpjobs.storage.base import BATCH, MAX_HISTORY, MAX_LOG_LINES

KEPT_FOR_NO_TIME = Retention(succeeded=timedelta(0), deleted=timedelta(0), failed=None)
MakeJob = Callable[..., JobRecord]
MakeServer = Callable[..., ServerRecord]
CLAIM = Claim("s1", "w1", ("default",))
OK = Outcome(state=JobState.SUCCEEDED, result=b"42", duration=0.5)


def claim(storage: JobStorage, *queues: str, worker: str = "w1", server_id: str = "s1") -> JobRecord:
    record = storage.claim(Claim(server_id, worker, queues or ("default",)))
    assert record is not None
    return record


def lease_of(record: JobRecord) -> Lease:
    return Lease(record.id, record.fence)


def states(storage: JobStorage, job_id: str) -> list[str]:
    return [entry.state.value for entry in storage.history(job_id)]


def failure(state: JobState = JobState.FAILED, due_at: datetime | None = None) -> Outcome:
    return Outcome(state=state, due_at=due_at, error=JobError("Boom", "it broke", "Traceback ..."), reason="Boom")


class TestAdding:
    def test_a_job_reads_back_as_it_was_added(self, storage: JobStorage, make_job: MakeJob) -> None:
        job = make_job(
            queue="alpha",
            priority=JobPriority.HIGH,
            arguments=(Argument("to", "'a'", "str"), Argument("token", "", "str", redacted=True)),
            tenant_id="acme",
            enqueued_by="ayla",
            correlation_id="c-1",
            retry=b'{"attempts":1}',
            reason="by hand",
        )
        assert storage.add(job)
        read = storage.get(job.id)
        assert {name: getattr(read, name) for name in job.__struct_fields__} == {
            name: getattr(job, name) for name in job.__struct_fields__
        }

    def test_a_job_of_a_known_id_is_left_as_it_is(self, storage: JobStorage, make_job: MakeJob) -> None:
        job = make_job()
        assert storage.add(job)
        assert not storage.add(make_job(id=job.id, queue="other"))
        assert storage.get(job.id).queue == "default"
        assert storage.counts()["created"] == 1

    def test_a_new_job_has_a_first_entry_in_its_history(self, storage: JobStorage, make_job: MakeJob) -> None:
        job = make_job(enqueued_by="ayla")
        storage.add(job)
        (entry,) = storage.history(job.id)
        assert (entry.state, entry.data["queue"], entry.data["by"]) == (JobState.ENQUEUED, "default", "ayla")

    def test_jobs_of_another_application_are_not_seen(
        self, open_named: Callable[..., JobStorage], make_job: MakeJob, make_server: MakeServer
    ) -> None:
        ours, theirs = open_named("ours"), open_named("theirs")
        job = make_job()
        ours.add(job)
        theirs.announce(make_server("s1"))
        assert theirs.claim(CLAIM) is None
        assert theirs.counts()["enqueued"] == 0
        assert theirs.find(JobQuery()).jobs == ()
        with pytest.raises(JobNotFoundError):
            theirs.get(job.id)


class TestClaiming:
    def test_a_claim_leases_the_job_and_counts_the_attempt(self, storage: JobStorage, make_job: MakeJob) -> None:
        job = make_job()
        storage.add(job)
        claimed = claim(storage)
        assert claimed == storage.get(job.id)
        assert (claimed.state, claimed.attempt, claimed.fence) == (JobState.PROCESSING, 1, 1)
        assert (claimed.server_id, claimed.worker) == ("s1", "w1")
        assert claimed.latency is not None
        assert 90 < claimed.latency < 200
        assert storage.holds(lease_of(claimed))

    def test_nothing_is_claimed_twice(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(make_job())
        claim(storage)
        assert storage.claim(CLAIM) is None

    def test_higher_priority_first_then_first_in_first_out(self, storage: JobStorage, make_job: MakeJob) -> None:
        priorities = [JobPriority.LOW, JobPriority.NORMAL, JobPriority.HIGH, JobPriority.NORMAL, JobPriority.HIGH]
        added = [make_job(priority=priority) for priority in priorities]
        for job in added:
            storage.add(job)
        order = [claim(storage).id for _ in added]
        assert order == [added[index].id for index in (2, 4, 1, 3, 0)]

    def test_queues_are_served_in_the_order_of_the_claim(self, storage: JobStorage, make_job: MakeJob) -> None:
        for queue in ("a", "b", "c"):
            storage.add(make_job(queue=queue, priority=JobPriority.HIGH if queue == "a" else JobPriority.LOW))
        assert [claim(storage, "c", "a").queue for _ in range(2)] == ["c", "a"]
        assert storage.claim(Claim("s1", "w1", ("c", "a"))) is None

    def test_a_server_that_is_not_announced_gets_nothing(self, storage: JobStorage, make_job: MakeJob) -> None:
        job = make_job()
        storage.add(job)
        assert storage.claim(Claim("unknown", "w1", ("default",))) is None
        assert storage.get(job.id).state is JobState.ENQUEUED

    def test_many_workers_share_the_jobs_without_a_double(self, storage: JobStorage, make_job: MakeJob) -> None:
        added = {(job := make_job()).id: storage.add(job) for _ in range(120)}
        claimed: list[str] = []

        def work(worker: str) -> None:
            while (job := storage.claim(Claim("s1", worker, ("default",)))) is not None:
                claimed.append(job.id)
                storage.finish(lease_of(job), OK)

        threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(claimed) == sorted(added)
        assert storage.counts()["succeeded"] == 120


class TestFinishing:
    def test_success_keeps_result_duration_and_retention(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(make_job())
        job = claim(storage)
        storage.finish(lease_of(job), OK)
        done = storage.get(job.id)
        assert (done.state, done.result, done.duration) == (JobState.SUCCEEDED, b"42", 0.5)
        assert done.expires_at is not None
        assert timedelta(hours=23) < done.expires_at - datetime.now(UTC) < timedelta(hours=25)
        assert states(storage, job.id) == ["enqueued", "processing", "succeeded"]
        assert not storage.holds(lease_of(job))

    def test_failure_is_kept_for_ever_with_its_error(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(make_job())
        job = claim(storage)
        storage.finish(lease_of(job), failure())
        failed = storage.get(job.id)
        assert (failed.state, failed.error_type, failed.error_message) == (JobState.FAILED, "Boom", "it broke")
        assert failed.expires_at is None
        assert storage.history(job.id)[-1].data["traceback"] == "Traceback ..."

    def test_a_retry_is_scheduled_and_counted_as_retrying_and_not_as_failed(
        self, storage: JobStorage, make_job: MakeJob
    ) -> None:
        storage.add(make_job())
        job = claim(storage)
        due_at = datetime.now(UTC) + timedelta(hours=1)
        storage.finish(lease_of(job), failure(JobState.SCHEDULED, due_at))
        retried = storage.get(job.id)
        assert (retried.failures, retried.is_retrying) == (1, True)
        assert retried.due_at is not None
        assert abs(retried.due_at - due_at) < timedelta(milliseconds=1)
        counts = storage.counts()
        assert (counts["scheduled"], counts["retrying"], counts["failed"]) == (1, 1, 0)

    def test_the_next_job_is_claimed_in_the_same_step(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(make_job())
        storage.add(second := make_job())
        following = storage.finish(lease_of(claim(storage)), OK, CLAIM)
        assert following is not None
        assert following == storage.get(second.id)
        assert storage.finish(lease_of(following), OK, CLAIM) is None

    def test_children_log_progress_and_huey_data_come_with_it(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(make_job())
        job = claim(storage)
        child = make_job(name="shop.next")
        line = LogLine(at=datetime.now(UTC), attempt=1, level="info", text="done ✓")
        outcome = Outcome(
            state=JobState.SUCCEEDED, children=(child,), log=(line,), progress=JobProgress(3, 3, "all"), put={"k": b"v"}
        )
        storage.finish(lease_of(job), outcome)
        assert storage.get(child.id).name == "shop.next"
        assert [(each.text, each.level) for each in storage.log(job.id)] == [("done ✓", "info")]
        assert storage.get(job.id).progress == JobProgress(3, 3, "all")
        assert storage.peek_data("k") == b"v"  # type: ignore[attr-defined]

    @pytest.mark.parametrize("how", ["finished", "deleted", "recovered", "another fence"])
    def test_a_late_report_is_refused_counted_and_changes_nothing(
        self, storage: JobStorage, make_job: MakeJob, how: str
    ) -> None:
        storage.add(make_job())
        storage.add(other := make_job())
        job = claim(storage)
        lease = lease_of(job)
        if how == "finished":
            storage.finish(lease, failure())
        elif how == "deleted":
            storage.delete(job.id, expected=DELETABLE, reason="gone")
        elif how == "recovered":
            storage.recover_worker("s1", "w1")
        else:
            lease = Lease(job.id, job.fence + 1)
        before = (storage.get(job.id), storage.history(job.id))
        child = make_job()
        with pytest.raises(LeaseLostError):
            storage.finish(lease, Outcome(state=JobState.SUCCEEDED, children=(child,)), CLAIM)
        with pytest.raises(LeaseLostError):
            storage.report(lease, JobProgress(1), [])
        with pytest.raises(LeaseLostError):
            storage.release(lease, "stop")
        assert (storage.get(job.id), storage.history(job.id)) == before
        assert storage.get(other.id).state is JobState.ENQUEUED
        with pytest.raises(JobNotFoundError):
            storage.get(child.id)
        assert storage.counts()["refused"] == 3


class TestReleasing:
    def test_a_released_job_goes_to_the_head_and_keeps_its_attempts(
        self, storage: JobStorage, make_job: MakeJob
    ) -> None:
        storage.add(first := make_job())
        storage.add(make_job())
        job = claim(storage)
        storage.release(lease_of(job), "The server stops")
        released = storage.get(job.id)
        assert (released.state, released.attempt, released.reason) == (JobState.ENQUEUED, 0, "The server stops")
        again = claim(storage)
        assert (again.id, again.attempt, again.fence) == (first.id, 1, 2)


class TestReporting:
    def test_progress_and_lines_are_kept_and_bounded(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(make_job())
        job = claim(storage)
        lines = [LogLine(at=datetime.now(UTC), attempt=1, level="info", text=str(number)) for number in range(600)]
        storage.report(lease_of(job), JobProgress(1, 2, "half"), lines)
        storage.report(lease_of(job), None, lines)
        assert storage.get(job.id).progress == JobProgress(1, 2, "half")
        kept = storage.log(job.id)
        assert len(kept) == MAX_LOG_LINES
        assert [kept[0].text, kept[-1].text] == ["200", "599"]


class TestActing:
    @pytest.mark.parametrize("state", sorted(REQUEUABLE))
    def test_requeue_puts_a_job_back_with_its_retries_counted_anew(
        self, storage: JobStorage, make_job: MakeJob, state: JobState
    ) -> None:
        job = in_state(storage, make_job, state)
        storage.requeue(job.id, expected=REQUEUABLE, reason="Requeued", by="ayla")
        back = storage.get(job.id)
        assert (back.state, back.failures, back.crashes, back.due_at, back.expires_at) == (
            JobState.ENQUEUED,
            0,
            0,
            None,
            None,
        )
        entry = storage.history(job.id)[-1]
        assert (entry.reason, entry.data["by"]) == ("Requeued", "ayla")
        assert claim(storage).id == job.id

    @pytest.mark.parametrize("state", sorted(DELETABLE))
    def test_delete_moves_a_job_to_deleted_for_a_day(
        self, storage: JobStorage, make_job: MakeJob, state: JobState
    ) -> None:
        job = in_state(storage, make_job, state)
        deleted = storage.delete(job.id, expected=DELETABLE, reason="Deleted", by="ayla")
        assert deleted == storage.get(job.id)
        assert deleted.state is JobState.DELETED
        assert deleted.expires_at is not None
        assert storage.claim(CLAIM) is None
        assert storage.promote() == 0

    def test_a_job_that_moved_on_is_left_alone(self, storage: JobStorage, make_job: MakeJob) -> None:
        job = in_state(storage, make_job, JobState.PROCESSING)
        before = storage.history(job.id)
        with pytest.raises(StateChangedError) as caught:
            storage.requeue(job.id, expected={JobState.FAILED}, reason="x")
        assert caught.value.state == "processing"
        with pytest.raises(StateChangedError):
            storage.delete(job.id, expected={JobState.ENQUEUED}, reason="x")
        assert storage.history(job.id) == before

    def test_another_tenants_job_and_no_job_give_the_same_answer(self, storage: JobStorage, make_job: MakeJob) -> None:
        job = make_job(tenant_id="acme")
        storage.add(job)
        for job_id in (job.id, "missing"):
            for scope in ("globex", None):
                with pytest.raises(JobNotFoundError):
                    storage.get(job_id, tenant=scope)
                with pytest.raises(JobNotFoundError):
                    storage.requeue(job_id, expected=REQUEUABLE, reason="x", tenant=scope)
                with pytest.raises(JobNotFoundError):
                    storage.delete(job_id, expected=DELETABLE, reason="x", tenant=scope)
        assert storage.get(job.id, tenant="acme").state is JobState.ENQUEUED


class TestSweeping:
    def test_due_jobs_are_promoted_longest_due_first_and_others_wait(
        self, storage: JobStorage, make_job: MakeJob
    ) -> None:
        now = datetime.now(UTC)
        late, later = make_job(due_at=now - timedelta(seconds=9)), make_job(due_at=now - timedelta(seconds=5))
        future = make_job(due_at=now + timedelta(hours=1))
        for job in (later, late, future):
            storage.add(job)
        assert storage.claim(CLAIM) is None
        assert storage.promote() == 2
        assert storage.promote() == 0
        assert [claim(storage).id, claim(storage).id] == [late.id, later.id]
        assert storage.get(future.id).state is JobState.SCHEDULED

    def test_a_batch_is_bounded(self, storage: JobStorage, make_job: MakeJob) -> None:
        due_at = datetime.now(UTC) - timedelta(seconds=1)
        for _ in range(BATCH + 20):
            storage.add(make_job(due_at=due_at))
        assert [storage.promote(), storage.promote(), storage.promote()] == [BATCH, 20, 0]

    def test_expired_jobs_are_removed_with_all_that_is_theirs(
        self, open_named: Callable[..., JobStorage], make_job: MakeJob, make_server: MakeServer
    ) -> None:
        storage = open_named(retention=KEPT_FOR_NO_TIME)
        storage.announce(make_server("s1"))
        storage.add(make_job())
        storage.add(failed := make_job())
        job = claim(storage)
        storage.report(lease_of(job), None, [LogLine(at=datetime.now(UTC), attempt=1, level="info", text="x")])
        storage.finish(lease_of(job), OK)
        storage.finish(lease_of(claim(storage)), failure())
        assert storage.prune() == 1
        with pytest.raises(JobNotFoundError):
            storage.get(job.id)
        assert storage.get(failed.id).state is JobState.FAILED
        counts = storage.counts()
        assert (counts["created"], counts["expired"], counts["succeeded"], counts["failed"]) == (2, 1, 0, 1)


class TestServers:
    def test_a_server_is_listed_with_what_it_runs(
        self, storage: JobStorage, make_job: MakeJob, make_server: MakeServer
    ) -> None:
        storage.announce(make_server("s2", queues=("alpha", "beta"), worker_type="process", workers=3, process_key="k"))
        storage.add(make_job())
        claim(storage)
        first, second = storage.servers()
        assert (first.id, first.running) == ("s1", 1)
        assert (second.queues, second.worker_type, second.workers, second.process_key, second.running) == (
            ("alpha", "beta"),
            "process",
            3,
            "k",
            0,
        )

    def test_a_heartbeat_renews_only_a_known_server(self, storage: JobStorage) -> None:
        (before,) = storage.servers()
        assert storage.heartbeat("s1")
        (after,) = storage.servers()
        assert after.heartbeat_at >= before.heartbeat_at
        assert not storage.heartbeat("unknown")

    def test_a_retiring_server_gives_its_jobs_back(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(make_job())
        job = claim(storage)
        assert storage.retire("s1") == 1
        assert storage.servers() == []
        back = storage.get(job.id)
        assert (back.state, back.attempt, back.crashes) == (JobState.ENQUEUED, 0, 0)

    def test_a_dead_servers_jobs_go_back_and_are_counted(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(make_job(tenant_id="acme"))
        job = claim(storage)
        (seen,) = storage.servers()
        assert storage.recover_server("s1", seen) == 1
        back = storage.get(job.id)
        assert (back.state, back.attempt, back.crashes) == (JobState.ENQUEUED, 1, 1)
        entry = storage.history(job.id)[-1]
        assert entry.data["recovered"] is True
        assert "s1" in (entry.reason or "")
        assert storage.counts(tenant="acme")["recovered"] == 1

    def test_a_server_that_gave_a_sign_of_life_is_not_recovered(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(make_job())
        job = claim(storage)
        (seen,) = storage.servers()
        while storage.servers()[0].heartbeat_at == seen.heartbeat_at:
            storage.heartbeat("s1")
        assert storage.recover_server("s1", seen) is None
        assert storage.holds(lease_of(job))

    def test_one_dead_worker_gives_back_only_its_own_job(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(make_job())
        storage.add(make_job())
        dead, alive = claim(storage, worker="w1"), claim(storage, worker="w2")
        assert storage.recover_worker("s1", "w1") == 1
        assert storage.get(dead.id).state is JobState.ENQUEUED
        assert storage.holds(lease_of(alive))

    def test_a_job_whose_workers_die_three_times_in_a_row_is_failed(
        self, storage: JobStorage, make_job: MakeJob, eventually: Callable[..., None]
    ) -> None:
        storage.add(make_job())
        claim(storage)
        storage.recover_worker("s1", "w1")
        job = claim(storage)
        storage.recover_worker("s1", "w1")
        assert storage.get(job.id).state is JobState.SCHEDULED  # a last chance, apart from what ran beside it
        eventually(storage.promote)
        job = claim(storage)
        storage.recover_worker("s1", "w1")
        failed = storage.get(job.id)
        assert (failed.state, failed.reason, failed.attempt) == (JobState.FAILED, "Killed its worker 3 times", 3)
        storage.requeue(job.id, expected=REQUEUABLE, reason="again")
        claim(storage)
        storage.recover_worker("s1", "w1")
        assert storage.get(job.id).state is JobState.ENQUEUED

    def test_an_attempt_that_ends_well_or_badly_forgives_the_crashes(
        self, storage: JobStorage, make_job: MakeJob
    ) -> None:
        storage.add(make_job())
        claim(storage)
        storage.recover_worker("s1", "w1")
        job = claim(storage)
        storage.finish(lease_of(job), failure(JobState.ENQUEUED))
        assert storage.get(job.id).crashes == 0


class TestQuestions:
    def test_pages_go_forth_and_back_without_gap_or_double(self, storage: JobStorage, make_job: MakeJob) -> None:
        added = [make_job(state_at=datetime(2026, 1, 1, tzinfo=UTC)) for _ in range(5)]  # all at one moment
        added.sort(key=lambda job: job.id)  # which of them is first is left to the storage: by coming, or by id
        added += [make_job() for _ in range(6)]
        for job in added:
            storage.add(job)
        query = JobQuery(state=JobState.ENQUEUED, limit=4)
        pages = [storage.find(query)]
        while pages[-1].next is not None:
            pages.append(storage.find(JobQuery(state=JobState.ENQUEUED, limit=4, after=pages[-1].next)))
        assert [job.id for page in pages for job in page.jobs] == [job.id for job in added]
        assert pages[0].previous is None
        back = storage.find(JobQuery(state=JobState.ENQUEUED, limit=4, before=pages[2].previous))
        assert back.jobs == pages[1].jobs
        first = storage.find(JobQuery(state=JobState.ENQUEUED, limit=4, before=back.previous))
        assert (first.jobs, first.previous) == (pages[0].jobs, None)

    def test_a_page_stays_right_while_jobs_come(self, storage: JobStorage, make_job: MakeJob) -> None:
        finished = [finish_one(storage, make_job) for _ in range(4)]
        page = storage.find(JobQuery(state=JobState.SUCCEEDED, limit=2))
        assert [job.id for job in page.jobs] == [finished[3], finished[2]]
        finish_one(storage, make_job)
        following = storage.find(JobQuery(state=JobState.SUCCEEDED, limit=2, after=page.next))
        assert [job.id for job in following.jobs] == [finished[1], finished[0]]

    def test_conditions_are_joined(self, storage: JobStorage, make_job: MakeJob) -> None:
        wanted = make_job(queue="alpha", name="shop.one", tenant_id="acme")
        for job in (wanted, make_job(queue="alpha"), make_job(tenant_id="acme"), make_job(name="shop.one")):
            storage.add(job)
        for conditions in (
            {"queue": "alpha", "name": "shop.one"},
            {"queue": "alpha", "tenant": "acme"},
            {"queue": "alpha", "name": "shop.one", "tenant": "acme", "state": JobState.ENQUEUED},
        ):
            assert [job.id for job in storage.find(JobQuery(**conditions)).jobs] == [wanted.id]
        assert len(storage.find(JobQuery(tenant=None)).jobs) == 2

    def test_retrying_jobs_can_be_listed_apart(self, storage: JobStorage, make_job: MakeJob) -> None:
        retrying = in_state(storage, make_job, JobState.SCHEDULED)
        storage.finish(lease_of(requeued(storage, retrying)), failure(JobState.SCHEDULED, datetime.now(UTC)))
        storage.add(make_job(due_at=datetime.now(UTC) + timedelta(hours=1)))
        found = storage.find(JobQuery(state=JobState.SCHEDULED, retrying=True)).jobs
        assert [job.id for job in found] == [retrying.id]

    @pytest.mark.parametrize("cursor", ["", "x", "AAAA", "bm9wZQ", "MS8x" * 100, "../../etc", "\x00", "𝟙"])
    def test_a_strange_cursor_is_a_value_error(self, storage: JobStorage, cursor: str) -> None:
        with pytest.raises(ValueError, match="cursor"):
            storage.find(JobQuery(after=cursor or "!"))

    @pytest.mark.parametrize("limit", [0, -1, 1001])
    def test_a_limit_out_of_bounds_is_a_value_error(self, storage: JobStorage, limit: int) -> None:
        with pytest.raises(ValueError, match="limit"):
            storage.find(JobQuery(limit=limit))

    def test_counts_are_those_of_the_tenant_asked_for(self, storage: JobStorage, make_job: MakeJob) -> None:
        for tenant in ("acme", "acme", "globex", None):
            storage.add(make_job(tenant_id=tenant))
        assert storage.counts()["enqueued"] == 4
        assert storage.counts(tenant="acme")["enqueued"] == 2
        assert storage.counts(tenant=None)["enqueued"] == 1
        assert storage.counts(tenant="nobody")["created"] == 0

    def test_queues_tell_length_oldest_and_listeners(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(oldest := make_job(queue="alpha", priority=JobPriority.LOW, tenant_id="acme"))
        storage.add(make_job(queue="alpha", priority=JobPriority.HIGH))
        queues = {queue.name: queue for queue in storage.queues()}
        assert (queues["alpha"].length, queues["alpha"].oldest_at, queues["alpha"].servers) == (2, oldest.state_at, 0)
        assert (queues["default"].length, queues["default"].oldest_at, queues["default"].servers) == (0, None, 1)
        assert {queue.name: queue.length for queue in storage.queues(tenant="acme")} == {"alpha": 1, "default": 0}

    def test_history_is_bounded(self, storage: JobStorage, make_job: MakeJob) -> None:
        storage.add(make_job())
        for _ in range(MAX_HISTORY // 2 + 5):
            job = claim(storage)
            storage.release(lease_of(job), "again")
        assert len(storage.history(job.id)) == MAX_HISTORY


class TestWaiting:
    def test_a_waiting_worker_is_woken_by_a_new_job(self, storage: JobStorage, make_job: MakeJob) -> None:
        assert storage.claim(CLAIM) is None
        found: list[JobRecord] = []

        def wait() -> None:
            assert storage.claim(CLAIM) is None
            ready.set()
            for _ in range(5):  # a wait may end early, but not for ever
                storage.wait(20.0)
                if (job := storage.claim(CLAIM)) is not None:
                    return found.append(job)

        ready = threading.Event()
        thread = threading.Thread(target=wait)
        thread.start()
        ready.wait(5.0)
        storage.add(make_job())
        thread.join(10.0)
        assert not thread.is_alive()
        assert len(found) == 1

    def test_wake_ends_every_wait(self, storage: JobStorage) -> None:
        def wait() -> None:
            storage.claim(CLAIM)
            ready.release()
            storage.wait(20.0)

        ready = threading.Semaphore(0)
        threads = [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in threads:
            ready.acquire(timeout=5.0)
        storage.wake()
        for thread in threads:
            thread.join(10.0)
        assert not any(thread.is_alive() for thread in threads)


def in_state(storage: JobStorage, make_job: MakeJob, state: JobState) -> JobRecord:
    """Add a job and bring it into a state by the storage's own verbs."""
    if state is JobState.SCHEDULED:
        job = make_job(due_at=datetime.now(UTC) + timedelta(hours=1))
    elif state is JobState.AWAITING:
        job = make_job(state=JobState.AWAITING)
    else:
        job = make_job()
    storage.add(job)
    if state in (JobState.PROCESSING, JobState.SUCCEEDED, JobState.FAILED):
        claimed = claim(storage)
        if state is not JobState.PROCESSING:
            storage.finish(lease_of(claimed), OK if state is JobState.SUCCEEDED else failure())
    elif state is JobState.DELETED:
        storage.delete(job.id, expected=DELETABLE, reason="x")
    assert storage.get(job.id).state is state
    return job


def requeued(storage: JobStorage, job: JobRecord) -> JobRecord:
    storage.requeue(job.id, expected=REQUEUABLE, reason="x")
    return claim(storage)


def finish_one(storage: JobStorage, make_job: MakeJob) -> str:
    storage.add(make_job())
    job = claim(storage)
    storage.finish(lease_of(job), OK)
    return job.id
