"""The engine without Flask: jobs of the registry and Huey's own tasks, run by a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from huey import crontab
from huey.api import chord
from huey.exceptions import CancelExecution, RetryTask

from flask_abpjobs.context import current_job, current_tenant
from flask_abpjobs.engine import JobHuey, open_huey
from flask_abpjobs.engine.consumer import JobConsumer
from flask_abpjobs.errors import ArgumentsError, ConfigError
from flask_abpjobs.manager import HueyJobManager
from flask_abpjobs.model import JobProgress, JobQuery, JobRecord, JobState
from flask_abpjobs.options import JobOptions
from flask_abpjobs.retry import RetryPolicy

ENDED = {JobState.SUCCEEDED, JobState.FAILED, JobState.DELETED}


class Bench:
    """A Huey on a file, a manager, and a server."""

    def __init__(self, folder: Path, eventually: Callable[..., Any]) -> None:
        self.huey: JobHuey = open_huey(f"sqlite:///{folder}/jobs.db", name="bench", queues=("alpha", "default"))
        self.manager = HueyJobManager(self.huey)
        self.consumers: list[JobConsumer] = []
        self._eventually = eventually

    def start(self, workers: int = 2, **options: Any) -> JobConsumer:
        options = {"heartbeat": 0.2, "server_timeout": 2.0, "handle_signals": False, **options}
        consumer: JobConsumer = self.huey.create_consumer(workers=workers, **options)
        consumer.start()
        self.consumers.append(consumer)
        return consumer

    def define(self, function: Callable[..., Any], **settings: Any) -> Callable[..., str]:
        definition = self.huey.jobs.define(function, **{"name": function.__name__, **settings})

        def enqueue(*args: Any, **kwargs: Any) -> str:
            options = kwargs.pop("options", JobOptions())
            return self.manager.submit(definition, (definition.bind(*args, **kwargs),), options)[0]

        return enqueue

    def ended(self, job_id: str, timeout: float = 10.0) -> JobRecord:
        def look() -> JobRecord | None:
            job = self.huey.records.get(job_id)
            return job if job.state in ENDED else None

        job: JobRecord = self._eventually(look, timeout=timeout, message=f"the end of {job_id}")
        return job

    def states(self, job_id: str) -> list[str]:
        return [entry.state.value for entry in self.huey.records.history(job_id)]

    def close(self) -> None:
        for consumer in self.consumers:
            consumer.stop(graceful=True)
        assert self.huey.records.check() == []
        self.huey.records.close()


@pytest.fixture
def bench(tmp_path: Path, eventually: Callable[..., Any]) -> Iterator[Bench]:
    bench = Bench(tmp_path, eventually)
    yield bench
    bench.close()


class TestJobs:
    def test_a_result_is_kept_as_json(self, bench: Bench) -> None:
        def total(numbers: list[int]) -> dict[str, int]:
            return {"total": sum(numbers)}

        enqueue = bench.define(total)
        bench.start()
        job = bench.ended(enqueue([1, 2, 3]))
        assert (job.state, job.result, job.attempt) == (JobState.SUCCEEDED, b'{"total":6}', 1)
        assert job.duration is not None
        assert job.latency is not None

    def test_an_async_job_runs_to_its_end_and_knows_itself(self, bench: Bench) -> None:
        async def waits() -> str:
            await asyncio.sleep(0.01)
            return current_job.id

        job_id = bench.define(waits)()
        bench.start()
        assert bench.ended(job_id).result == f'"{job_id}"'.encode()

    def test_a_job_runs_as_its_tenant_and_the_next_one_as_its_own(self, bench: Bench) -> None:
        def whose() -> str | None:
            return current_tenant.id

        enqueue = bench.define(whose)
        bench.start(workers=1)
        acme = enqueue(options=JobOptions(tenant="acme"))
        nobody = enqueue()
        assert (bench.ended(acme).result, bench.ended(nobody).result) == (b'"acme"', None)

    def test_a_failure_is_retried_by_its_policy_and_then_kept(self, bench: Bench) -> None:
        def breaks() -> None:
            raise ValueError("no")

        job_id = bench.define(breaks, retry=RetryPolicy(delays=[0, 0.1]))()
        bench.start()
        job = bench.ended(job_id)
        assert (job.state, job.attempt, job.failures) == (JobState.FAILED, 3, 2)
        assert bench.states(job_id) == (
            ["enqueued", "processing", "enqueued", "processing", "scheduled", "enqueued", "processing", "failed"]
        )
        reasons = [entry.reason for entry in bench.huey.records.history(job_id)]
        assert reasons[2] == "Retry 1 of 2 after ValueError"
        assert reasons[4] == "Retry 2 of 2 after ValueError"
        assert reasons[-1] == "ValueError: no"

    def test_hangfires_policy_is_the_default(self, bench: Bench, eventually: Callable[..., Any]) -> None:
        def breaks() -> None:
            raise ValueError("no")

        job_id = bench.define(breaks)()
        bench.start()
        eventually(lambda: bench.huey.records.get(job_id).is_retrying)
        job = bench.huey.records.get(job_id)
        assert job.due_at is not None
        assert timedelta(seconds=14) < job.due_at - job.state_at < timedelta(seconds=45)
        assert job.reason == "Retry 1 of 10 after ValueError"

    def test_a_policy_bounded_by_time_counts_from_when_the_job_first_became_due(
        self, bench: Bench, eventually: Callable[..., Any]
    ) -> None:
        def breaks() -> None:
            raise ValueError("no")

        enqueue = bench.define(breaks, retry=RetryPolicy.exponential(first=30, timeout=60))
        bench.start()
        job_id = enqueue(options=JobOptions(delay=timedelta(seconds=1)))
        created = bench.huey.records.get(job_id)
        with bench.huey.records.writing() as cursor:  # as if it had been enqueued an hour ago
            cursor.execute("UPDATE abpjobs_job SET created_at = created_at - 3600 WHERE id = ?", (job_id,))
        eventually(lambda: bench.huey.records.get(job_id).is_retrying)
        assert bench.huey.records.get(job_id).first_due_at == created.due_at

    def test_a_policy_given_at_enqueue_wins(self, bench: Bench) -> None:
        def breaks() -> None:
            raise ValueError("no")

        enqueue = bench.define(breaks)
        bench.start()
        job = bench.ended(enqueue(options=JobOptions(retry=RetryPolicy.none())))
        assert (job.state, job.attempt) == (JobState.FAILED, 1)

    def test_hueys_exceptions_mean_in_a_job_what_they_say(self, bench: Bench) -> None:
        def cancels() -> None:
            raise CancelExecution("not needed")

        def again() -> int:
            if current_job.attempt == 1:
                raise RetryTask(delay=0)
            return current_job.attempt

        cancelled, retried = bench.define(cancels)(), bench.define(again)()
        bench.start()
        assert bench.ended(cancelled).state is JobState.DELETED
        job = bench.ended(retried)
        assert (job.state, job.result, job.failures) == (JobState.SUCCEEDED, b"2", 0)

    def test_progress_and_log_are_written_while_it_runs_and_whole_at_the_end(
        self, bench: Bench, eventually: Callable[..., Any], tmp_path: Path
    ) -> None:
        go_on = tmp_path / "go-on"

        def talks() -> None:
            for number in range(1500):
                current_job.log(f"line {number}")
                current_job.progress(number, 1500, "talking")
            while not go_on.exists():
                time.sleep(0.005)
            current_job.progress(1500, 1500, "said")

        job_id = bench.define(talks)()
        bench.start()
        eventually(lambda: bench.huey.records.get(job_id).progress == JobProgress(1499, 1500, "talking"))
        go_on.touch()
        assert bench.ended(job_id).progress == JobProgress(1500, 1500, "said")
        lines = bench.huey.records.log(job_id)
        assert len(lines) <= 1000
        assert lines[-1].text == "line 1499"

    def test_a_deleted_running_job_is_told_and_its_outcome_refused(
        self, bench: Bench, eventually: Callable[..., Any]
    ) -> None:
        told: list[bool] = []

        def waits() -> None:
            deadline = time.monotonic() + 10
            while not current_job.is_cancelled and time.monotonic() < deadline:
                time.sleep(0.02)
            told.append(current_job.is_cancelled)

        job_id = bench.define(waits)()
        bench.start()
        eventually(lambda: bench.huey.records.get(job_id).state is JobState.PROCESSING)
        bench.manager.delete(job_id)
        eventually(lambda: told, timeout=8)
        assert told == [True]
        eventually(lambda: bench.huey.records.counts()["refused"] == 1)
        assert bench.states(job_id) == ["enqueued", "processing", "deleted"]

    def test_a_large_result_is_marked_and_not_kept(self, bench: Bench) -> None:
        def large() -> str:
            return "x" * 100_000

        enqueue = bench.define(large)
        bench.start()
        job = bench.ended(enqueue())
        assert job.state is JobState.SUCCEEDED
        assert b"100,002 bytes and was not kept" in (job.result or b"")

    def test_queues_and_priorities_are_honoured(self, bench: Bench) -> None:
        ran: list[str] = []

        def named(name: str) -> None:
            ran.append(name)

        enqueue = bench.define(named)
        ids = [
            enqueue("default low", options=JobOptions(priority=5)),
            enqueue("default high", options=JobOptions(priority=25)),
            enqueue("alpha", options=JobOptions(queue="alpha", priority=5)),
        ]
        bench.start(workers=1)
        for job_id in ids:
            bench.ended(job_id)
        assert ran == ["alpha", "default high", "default low"]

    def test_a_scheduled_job_runs_when_it_is_due(self, bench: Bench) -> None:
        def now() -> float:
            return time.time()

        enqueue = bench.define(now)
        bench.start()
        eta = datetime.now(UTC) + timedelta(seconds=1)
        job = bench.ended(enqueue(options=JobOptions(eta=eta)))
        assert job.result is not None
        assert 0 <= float(job.result) - eta.timestamp() < 2.5


class TestHueysOwnTasks:
    def test_a_task_is_a_record_with_a_history(self, bench: Bench) -> None:
        @bench.huey.task()
        def add(a: int, b: int) -> int:
            return a + b

        result = add(1, b=2)
        bench.start()
        assert result.get(blocking=True, timeout=5) == 3
        job = bench.huey.records.get(result.id)
        assert job.name.endswith(".add")
        assert bench.states(result.id) == ["enqueued", "processing", "succeeded"]

    def test_a_pipeline_and_a_group_go_through(self, bench: Bench) -> None:
        @bench.huey.task()
        def add(a: int, b: int) -> int:
            return a + b

        pipeline = bench.huey.enqueue(add.s(1, 2).then(add, 10).then(add, 100))
        mapped = add.map([(1, 1), (2, 2)])
        bench.start()
        assert pipeline.get(blocking=True, timeout=5) == [3, 13, 113]
        assert mapped.get(blocking=True, timeout=5) == [2, 4]

    def test_retries_are_hueys(self, bench: Bench) -> None:
        @bench.huey.task(retries=2)
        def breaks() -> None:
            raise ValueError("no")

        result = breaks()
        bench.start()
        job = bench.ended(result.id)
        assert (job.state, job.attempt) == (JobState.FAILED, 3)

    def test_a_chord_counts_each_member_once_though_one_runs_twice(self, bench: Bench) -> None:
        """A member that is delivered again overwrites its own result; Huey's counter would fire the callback early."""

        @bench.huey.task()
        def member(number: int) -> int:
            return number

        @bench.huey.task()
        def gather(numbers: list[int]) -> list[int]:
            return numbers

        handle = bench.huey.enqueue(chord([member.s(1), member.s(2)], gather))
        first = bench.huey.dequeue()
        assert first is not None
        bench.huey.execute(first)
        again = bench.manager.requeue(first.attempt.record.id)
        assert bench.huey.records.counts()["created"] == 2
        bench.start()
        assert bench.ended(again.id).state is JobState.SUCCEEDED
        assert sorted(handle.callback.get(blocking=True, timeout=5)) == [1, 2]
        gathered = [job for job in bench.huey.records.find(JobQuery()).jobs if job.name.endswith("gather")]
        assert len(gathered) == 1

    def test_a_revoked_task_is_kept_as_deleted(self, bench: Bench) -> None:
        @bench.huey.task()
        def add(a: int, b: int) -> int:
            return a + b

        result = add(1, 2)
        result.revoke()
        bench.start()
        job = bench.ended(result.id)
        assert (job.state, job.reason) == (JobState.DELETED, "Revoked before it ran")

    def test_a_periodic_task_runs_once_in_a_minute_however_many_servers_ask(self, bench: Bench) -> None:
        @bench.huey.periodic_task(crontab(minute="*"))
        def tick() -> None: ...

        minute = datetime(2026, 11, 24, 12, 0)
        for _ in range(3):
            for task in bench.huey.read_periodic(minute):
                bench.huey.enqueue(task)
        assert bench.huey.records.counts()["created"] == 1

    def test_arguments_that_json_cannot_carry_are_refused_at_once(self, bench: Bench) -> None:
        @bench.huey.task()
        def take(value: object) -> None: ...

        with pytest.raises(ArgumentsError, match=r"cannot be stored as JSON"):
            take(object())
        assert bench.huey.records.counts()["created"] == 0

    def test_immediate_mode_runs_at_once(self) -> None:
        huey = open_huey("memory://", name="now", immediate=True)

        @huey.task()
        def add(a: int, b: int) -> int:
            return a + b

        assert add(1, 2).get() == 3


def test_workers_that_a_stop_has_ended_are_not_taken_for_dead(bench: Bench) -> None:
    consumer = bench.start()
    consumer.stop(graceful=True)
    assert consumer.check_worker_health()
    assert bench.huey.records.servers() == []


def test_a_queue_name_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="1 to 64 letters"):
        open_huey("memory://", name="x", queues=("a b",))
