"""What the settings of a job do: unique, limited, awaited, expiring and timed jobs, run by a real server."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask import Flask

from flask_abpjobs import (
    AbpJobs,
    ArgumentsError,
    BackgroundJob,
    ConfigError,
    HueyJobManager,
    JobNotFoundError,
    JobQuery,
    JobRecord,
    JobState,
    Retention,
    RetryPolicy,
    UnknownJobError,
    current_job,
    tenant_scope,
)
from flask_abpjobs.engine.consumer import JobConsumer


@dataclass
class ReportArgs:
    customer_id: int
    password: str = "hunter2"


class Works:
    """An app whose jobs a test declares, and a server where it asks for one."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.folder = folder
        self.jobs = AbpJobs()
        self.flask = Flask("works", instance_path=str(folder))
        settings = {"storage_url": "sqlite:///j.db", **config}
        self.flask.config.update({f"ABPJOBS_{key.upper()}": value for key, value in settings.items()})
        self.jobs.init_app(self.flask, dashboard=None)
        self._consumers: list[JobConsumer] = []

    @property
    def stored(self) -> HueyJobManager:
        stored: HueyJobManager = self.flask.extensions["abpjobs"].stored
        return stored

    def start(self, workers: int = 4, **options: Any) -> None:
        huey = self.flask.extensions["abpjobs"].huey
        options = {"heartbeat": 0.5, "server_timeout": 5.0, "handle_signals": False, "scheduler_interval": 1, **options}
        consumer = huey.create_consumer(workers=workers, **options)
        consumer.start()
        self._consumers.append(consumer)

    def ended(self, job_id: str) -> JobRecord:
        return self.jobs.wait(job_id, timeout=20)

    def log(self, job_id: str) -> list[tuple[str, str]]:
        return [(line.level, line.text) for line in self.jobs.storage.log(job_id)]

    def close(self) -> None:
        for consumer in self._consumers:
            consumer.stop(graceful=True)
        assert self.jobs.storage.check() == []
        self.jobs.storage.close()


@pytest.fixture
def open_works(tmp_path: Path) -> Iterator[Callable[..., Works]]:
    """A function that makes an app: ``open_works(capture_logs=True)``."""
    opened: list[tuple[Works, Any]] = []

    def open_one(**config: Any) -> Works:
        works = Works(tmp_path, **config)
        context = works.flask.app_context()
        context.push()
        opened.append((works, context))
        return works

    yield open_one
    for works, context in reversed(opened):
        works.close()
        context.pop()


@pytest.fixture
def works(open_works: Callable[..., Works]) -> Works:
    return open_works()


class TestMany:
    def test_map_takes_tuples_mappings_and_bare_values(self, works: Works) -> None:
        @works.jobs.job(name="add")
        def add(a: int, b: int = 1) -> int:
            return a + b

        ids = add.map([1, (2, 3), {"a": 4, "b": 5}])
        works.start()
        assert [works.ended(job_id).result for job_id in ids] == [b"2", b"5", b"9"]

    def test_two_hundred_and_fifty_jobs_keep_their_order(self, works: Works) -> None:
        @works.jobs.job(name="note")
        def note(number: int) -> int:
            return number

        ids = note.map(range(250))
        claimed = []
        storage, huey = works.jobs.storage, works.jobs.huey
        huey.serve()
        while (job := storage.claim(huey._claim())) is not None:
            claimed.append(job.id)
        assert claimed == ids

    def test_nothing_is_stored_when_one_does_not_fit(self, works: Works) -> None:
        @works.jobs.job(name="note")
        def note(number: int) -> int:
            return number

        with pytest.raises(ArgumentsError):
            note.map([1, 2, "three"])
        assert works.jobs.storage.counts()["created"] == 0

    def test_a_job_class_maps_its_arguments(self, works: Works) -> None:
        @works.jobs.job(name="report")
        class Report(BackgroundJob[ReportArgs]):
            def execute(self, args: ReportArgs) -> int:
                return args.customer_id

        ids = Report.map([ReportArgs(1), ReportArgs(2)])
        assert works.jobs.manager.enqueue_many([ReportArgs(3)])
        works.start()
        assert [works.ended(job_id).result for job_id in ids] == [b"1", b"2"]


class TestUnique:
    def test_a_second_enqueue_returns_the_first_id_until_it_has_ended(self, works: Works) -> None:
        @works.jobs.job(name="report", unique_key="{customer_id}")
        def report(customer_id: int, loud: bool = False) -> None: ...

        first = report.enqueue(1)
        assert report.enqueue(1, loud=True) == first
        assert report.enqueue(2) != first
        works.start()
        works.ended(first)
        assert report.enqueue(1) != first

    def test_the_key_stays_taken_for_unique_for(self, works: Works) -> None:
        @works.jobs.job(name="report")
        def report(customer_id: int) -> None: ...

        call = report.using(unique_key="{customer_id}", unique_for=timedelta(hours=1))
        first = call.enqueue(1)
        works.start()
        works.ended(first)
        assert call.enqueue(1) == first

    def test_tenants_and_jobs_do_not_see_each_others_keys(self, works: Works) -> None:
        @works.jobs.job(name="one", unique_key="k")
        def one() -> None: ...

        @works.jobs.job(name="two", unique_key="k")
        def two() -> None: ...

        ids = {one.enqueue(), two.enqueue()}
        for tenant in ("acme", "globex"):
            with tenant_scope(tenant):
                ids.add(one.enqueue())
                ids.add(one.enqueue())
        assert len(ids) == 4

    def test_many_with_one_key_are_one_job(self, works: Works) -> None:
        @works.jobs.job(name="one", unique_key="{a}")
        def one(a: int) -> None: ...

        first, second, third = one.map([1, 2, 1])
        assert (first == third, first == second) == (True, False)

    def test_an_unknown_field_is_refused_where_the_job_is_declared(self, works: Works) -> None:
        with pytest.raises(ConfigError, match=r"\{custmer\}"):

            @works.jobs.job(name="one", unique_key="{custmer}")
            def one(customer: int) -> None: ...


class TestLimited:
    def test_at_most_so_many_run_at_once_and_no_worker_waits(self, works: Works) -> None:
        running, most, free = [0], [0], threading.Event()
        lock = threading.Lock()

        @works.jobs.job(name="heavy", max_concurrent=2, concurrency_key="c:{customer_id}")
        def heavy(customer_id: int) -> None:
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            time.sleep(0.02)
            with lock:
                running[0] -= 1

        @works.jobs.job(name="light")
        def light() -> None:
            free.set()

        ids = heavy.map([1] * 12)
        light.enqueue()
        works.start(workers=3)
        assert free.wait(10)
        assert {works.ended(job_id).state for job_id in ids} == {JobState.SUCCEEDED}
        assert most[0] == 2

    def test_the_jobs_name_is_the_key_unless_another_is_given(self, works: Works) -> None:
        @works.jobs.job(name="heavy", max_concurrent=1)
        def heavy() -> None: ...

        job = works.jobs.storage.get(heavy.enqueue())
        assert (job.concurrency_key, job.max_concurrent) == ("heavy", 1)


class TestAwaiting:
    def test_a_job_runs_after_its_parent(self, works: Works) -> None:
        order: list[str] = []

        @works.jobs.job(name="step")
        def step(name: str) -> None:
            order.append(name)

        first = step.enqueue("first")
        second = step.using(after=first).enqueue("second")
        third = step.using(after=second, on="finished").enqueue("third")
        assert works.jobs.storage.get(second).state is JobState.AWAITING
        works.start()
        works.ended(third)
        assert order == ["first", "second", "third"]
        assert [entry.state.value for entry in works.jobs.storage.history(second)] == [
            "awaiting",
            "enqueued",
            "processing",
            "succeeded",
        ]

    def test_a_parent_that_has_ended_already_starts_it_at_once(self, works: Works) -> None:
        @works.jobs.job(name="step")
        def step() -> None: ...

        first = step.enqueue()
        works.start()
        works.ended(first)
        assert works.ended(step.using(after=first).enqueue()).state is JobState.SUCCEEDED

    def test_another_end_deletes_it_and_what_awaits_it(self, works: Works) -> None:
        @works.jobs.job(name="step")
        def step() -> None: ...

        first = step.using(delay=3600).enqueue()
        second = step.using(after=first).enqueue()
        third = step.using(after=second).enqueue()
        undo = step.using(after=first, on="deleted").enqueue()
        works.jobs.delete(first)
        works.start()
        assert works.ended(undo).state is JobState.SUCCEEDED
        assert [works.ended(job_id).state for job_id in (second, third)] == [JobState.DELETED] * 2

    def test_a_delay_counts_from_the_parents_end(self, works: Works) -> None:
        @works.jobs.job(name="step")
        def step() -> None: ...

        first = step.enqueue()
        second = step.using(after=first, delay=timedelta(hours=1)).enqueue()
        works.start()
        ended = works.ended(first)
        child = works.jobs.storage.get(second)
        assert child.state is JobState.SCHEDULED
        assert child.due_at is not None
        assert abs(child.due_at - ended.state_at - timedelta(hours=1)) < timedelta(seconds=1)

    def test_a_parent_that_does_not_exist_is_an_error_and_nothing_is_stored(self, works: Works) -> None:
        @works.jobs.job(name="step")
        def step() -> None: ...

        with pytest.raises(JobNotFoundError):
            step.using(after="missing").enqueue()
        with pytest.raises(JobNotFoundError):
            step.using(after="missing").map([(), ()])
        assert works.jobs.storage.counts()["created"] == 0


class TestExpiring:
    def test_a_job_that_nobody_began_in_time_is_deleted(self, works: Works, eventually: Callable[..., Any]) -> None:
        @works.jobs.job(name="late", expires=0.05)
        def late() -> None: ...

        job_id = late.enqueue()
        begin_before = works.jobs.storage.get(job_id).begin_before
        assert begin_before is not None
        eventually(lambda: datetime.now(UTC) > begin_before)
        works.start()
        job = works.ended(job_id)
        assert job.state is JobState.DELETED
        assert (job.reason or "").startswith("Expired: no worker began it by ")

    def test_retention_is_that_of_the_job(self, works: Works) -> None:
        @works.jobs.job(name="short", retention=timedelta(hours=1))
        def short() -> None: ...

        @works.jobs.job(name="long", retention=Retention(succeeded=None))
        def long() -> None: ...

        ids = short.enqueue(), long.enqueue()
        works.start()
        first, second = (works.ended(job_id) for job_id in ids)
        assert first.expires_at is not None
        assert first.expires_at - first.state_at == timedelta(hours=1)
        assert second.expires_at is None


class TestTimeouts:
    def test_a_thread_is_told_and_what_overruns_is_reported(self, works: Works) -> None:
        @works.jobs.job(name="slow", timeout=0.2, retry=RetryPolicy.none())
        def slow() -> None:
            while True:
                current_job.raise_if_cancelled()
                time.sleep(0.01)

        job_id = slow.enqueue()
        works.start()
        job = works.ended(job_id)
        assert (job.state, job.error_type) == (JobState.FAILED, "flask_abpjobs.context.JobTimeoutError")

    def test_a_thread_that_does_not_look_ends_when_it_will_and_says_so(self, works: Works) -> None:
        enough = threading.Event()

        @works.jobs.job(name="deaf", timeout=0.1)
        def deaf() -> None:
            enough.wait(20)

        job_id = deaf.enqueue()
        works.start()
        deadline = time.monotonic() + 15
        while not works.log(job_id) and time.monotonic() < deadline:
            time.sleep(0.02)
        enough.set()
        job = works.ended(job_id)
        assert job.state is JobState.SUCCEEDED
        assert (job.reason or "").endswith("its timeout is 0.1 s")
        assert works.log(job_id) == [("warning", "The attempt runs longer than its timeout of 0.1 s")]

    def test_a_worker_process_ends_the_attempt(self, works: Works) -> None:
        @works.jobs.job(name="hang", retry=RetryPolicy.none())
        def hang() -> None:
            time.sleep(60)

        @works.jobs.job(name="after")
        def after() -> int:
            return 1

        job_id = hang.using(timeout=0.3).enqueue()
        works.start(workers=1, worker_type="process")
        job = works.ended(job_id)
        assert (job.state, job.error_message) == (
            JobState.FAILED,
            "The attempt took longer than its timeout of 0.3 s.",
        )
        assert works.ended(after.enqueue()).result == b"1"


class TestRetrying:
    def test_only_the_named_errors_are_tried_again(self, works: Works) -> None:
        @works.jobs.job(name="picky", retry=RetryPolicy(delays=[0, 0], on=OSError))
        def picky(kind: str) -> None:
            raise ConnectionError(kind) if kind == "net" else ValueError(kind)

        net, other = picky.enqueue("net"), picky.enqueue("other")
        works.start()
        assert [works.ended(net).attempt, works.ended(other).attempt] == [3, 1]
        assert works.ended(net).state is works.ended(other).state is JobState.FAILED

    def test_used_up_retries_may_delete_the_job(self, works: Works) -> None:
        @works.jobs.job(name="cheap", retry=RetryPolicy(delays=[0], on_exceeded="delete"))
        def cheap() -> None:
            raise ValueError("no luck")

        job_id = cheap.enqueue()
        works.start()
        job = works.ended(job_id)
        assert (job.state, job.attempt, job.error_message) == (JobState.DELETED, 2, "no luck")
        assert job.reason == "Failed after 1 retries, and is deleted as its retry policy says"

    def test_the_app_has_a_default(self, open_works: Callable[..., Works]) -> None:
        works = open_works(default_retry=RetryPolicy.none())

        @works.jobs.job(name="once")
        def once() -> None:
            raise ValueError

        job_id = once.enqueue()
        works.start()
        assert works.ended(job_id).attempt == 1


class TestPrefix:
    def test_enqueueing_and_serving_use_the_same_full_names(self, open_works: Callable[..., Works]) -> None:
        works = open_works(queue_prefix="shop_", queues=["alpha", "default"])

        @works.jobs.job(name="a", queue="alpha")
        def a() -> None: ...

        @works.jobs.huey.task(name="b")
        def b() -> int:
            return 1

        ids = [a.enqueue(), a.using(queue="default").enqueue(), b().id]
        assert [works.jobs.storage.get(job_id).queue for job_id in ids] == [
            "shop_alpha",
            "shop_default",
            "shop_default",
        ]
        works.start()
        assert {works.ended(job_id).state for job_id in ids} == {JobState.SUCCEEDED}

    def test_a_name_that_is_too_long_with_the_prefix_is_refused(self, open_works: Callable[..., Works]) -> None:
        works = open_works(queue_prefix="p" * 32)

        @works.jobs.job(name="a")
        def a() -> None: ...

        with pytest.raises(ConfigError, match="too long with its prefix"):
            a.using(queue="q" * 40).enqueue()


class TestRerun:
    def test_a_copy_is_linked_and_the_old_job_stays(self, works: Works) -> None:
        @works.jobs.job(name="report", queue="alpha")
        def report(customer_id: int, loud: bool = False) -> str:
            return f"{customer_id} {loud}"

        with tenant_scope("acme"):
            first = report.using(priority=25, queue="default", retry=RetryPolicy.none()).enqueue(1)
        same = works.jobs.rerun(first)
        other = works.jobs.rerun(first, arguments={"loud": True}, queue="alpha")
        jobs = [works.jobs.storage.get(job_id) for job_id in (same, other)]
        assert [(job.rerun_of, job.tenant_id, job.priority, job.queue) for job in jobs] == [
            (first, "acme", 25, "default"),
            (first, "acme", 25, "alpha"),
        ]
        assert [job.payload for job in jobs] == [b'{"customer_id":1}', b'{"customer_id":1,"loud":true}']
        assert all(job.retry is not None for job in jobs)
        assert works.jobs.storage.get(first).state is JobState.ENQUEUED

    def test_what_does_not_fit_is_refused_and_nothing_is_stored(self, works: Works) -> None:
        @works.jobs.job(name="report")
        def report(customer_id: int) -> None: ...

        @works.jobs.huey.task(name="native")
        def native() -> None: ...

        first = report.enqueue(1)
        with pytest.raises(ArgumentsError):
            works.jobs.rerun(first, arguments={"customer": 2})
        with pytest.raises(JobNotFoundError):
            works.stored.rerun(first, tenant="acme")
        with pytest.raises(UnknownJobError):
            works.jobs.rerun(native().id)
        assert works.jobs.storage.counts()["created"] == 2


class TestHandlers:
    def test_a_dynamic_job_runs_its_handler_with_the_payload(self, works: Works) -> None:
        works.jobs.register_handler("dynamic", lambda payload: {**payload, "seen": True}, retry=RetryPolicy.none())
        job_id = works.jobs.manager.enqueue_by_name("dynamic", {"a": [1, None], "password": "x"})
        job = works.jobs.storage.get(job_id)
        assert [(each.name, each.redacted) for each in job.arguments] == [("a", False), ("password", True)]
        works.start()
        assert msgspec.json.decode(works.ended(job_id).result or b"") == {
            "a": [1, None],
            "password": "x",
            "seen": True,
        }

    def test_a_declared_job_of_that_name_wins_whichever_comes_first(self, works: Works) -> None:
        works.jobs.register_handler("one", lambda payload: "handler")

        @works.jobs.job(name="one")
        def one(a: int = 0) -> str:
            return "job"

        works.jobs.register_handler("one", lambda payload: "handler")
        with pytest.raises(ArgumentsError):
            works.jobs.manager.enqueue_by_name("one", {"b": 1})

    def test_what_is_no_function_is_refused(self, works: Works) -> None:
        handler: Any = "shop.send"
        with pytest.raises(ConfigError, match="give a function of one argument"):
            works.jobs.register_handler("one", handler)
        with pytest.raises(ConfigError, match="is not usable"):
            works.jobs.register_handler("one two", print)


class TestLogs:
    def test_standard_logging_becomes_the_jobs_log_where_asked(self, open_works: Callable[..., Works]) -> None:
        works = open_works(capture_logs=True)
        shop = logging.getLogger("shop.orders")

        @works.jobs.job(name="talks")
        def talks() -> None:
            shop.warning("stock of %s is low", "tea")
            shop.debug("not wanted")
            logging.getLogger("huey").error("not the job's")
            current_job.log("by hand")

        job_id = talks.enqueue()
        works.start()
        works.ended(job_id)
        assert works.log(job_id) == [("warning", "stock of tea is low"), ("info", "by hand")]

    def test_it_is_left_alone_otherwise(self, works: Works) -> None:
        @works.jobs.job(name="talks")
        def talks() -> None:
            logging.getLogger("shop").warning("low")

        job_id = talks.enqueue()
        works.start()
        works.ended(job_id)
        assert works.log(job_id) == []


class TestPaused:
    def test_a_paused_queue_waits_on_all_servers_and_goes_on(self, works: Works) -> None:
        @works.jobs.job(name="a", queue="default")
        def a() -> None: ...

        works.jobs.storage.pause("default")
        job_id = a.enqueue()
        works.start()
        with pytest.raises(TimeoutError):
            works.jobs.wait(job_id, timeout=0.3)
        works.jobs.storage.resume("default")
        assert works.ended(job_id).state is JobState.SUCCEEDED
        assert works.jobs.storage.find(JobQuery(state=JobState.ENQUEUED)).jobs == ()
