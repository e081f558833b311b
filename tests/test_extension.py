"""The extension: what one app gets, several apps beside each other, and the context in which jobs run."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app, g

from flask_abpjobs import (
    AbpJobs,
    AbpJobsError,
    AsyncBackgroundJob,
    BackgroundJob,
    ConfigError,
    DashboardOptions,
    JobState,
    RetryPolicy,
    StorageError,
    current_job,
)


@dataclass
class LabelArgs:
    text: str


@dataclass
class GreetingArgs:
    name: str


class Printer:
    """What a container would give to a job."""

    def __init__(self) -> None:
        self.printed: list[str] = []


class Apps:
    """Makes apps in a folder, and runs their jobs where a test asks for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._exit = ExitStack()

    def new(self, jobs: AbpJobs, import_name: str = "shop", /, **settings: Any) -> Flask:
        flask = Flask(import_name, instance_path=str(self.folder / import_name))
        flask.config.update({f"ABPJOBS_{key.upper()}": value for key, value in settings.items()})
        jobs.init_app(flask, dashboard=None)
        self._exit.callback(flask.extensions["abpjobs"].storage.close)
        return flask

    def start(self, flask: Flask, workers: int = 2) -> None:
        consumer = flask.extensions["abpjobs"].huey.create_consumer(
            workers=workers, handle_signals=False, heartbeat=0.5, server_timeout=2.0
        )
        consumer.start()
        self._exit.callback(consumer.stop, graceful=True)

    def close(self) -> None:
        self._exit.close()


@pytest.fixture
def apps(tmp_path: Path) -> Iterator[Apps]:
    apps = Apps(tmp_path)
    yield apps
    apps.close()


@pytest.fixture
def jobs() -> AbpJobs:
    return AbpJobs()


def refusal(kind: type[Exception], call: Callable[[], Any]) -> str:
    with pytest.raises(kind) as refused:
        call()
    return str(refused.value)


class TestWiring:
    def test_the_file_lies_in_the_instance_folder_which_is_made(self, apps: Apps, jobs: AbpJobs) -> None:
        apps.new(jobs)
        assert (apps.folder / "shop" / "abpjobs.db").is_file()

    def test_an_absolute_file_lies_where_it_says(self, apps: Apps, jobs: AbpJobs) -> None:
        apps.new(jobs, storage_url=f"sqlite:///{apps.folder}/here.db")
        assert (apps.folder / "here.db").is_file()
        assert not (apps.folder / "shop").exists()

    @pytest.mark.parametrize("config", [{"TESTING": True}, {"ABPJOBS_TESTING": True}])
    def test_testing_keeps_jobs_in_memory(self, apps: Apps, jobs: AbpJobs, config: dict[str, Any]) -> None:
        job = jobs.job(name="n")(lambda: None)
        shop = Flask("shop", instance_path=str(apps.folder / "shop"))
        shop.config.update(config)
        jobs.init_app(shop, dashboard=None)
        with shop.app_context():
            job.enqueue()
            assert "memory" in jobs.storage.describe()
        assert list(apps.folder.iterdir()) == []

    def test_testing_can_keep_a_file_when_it_is_told_to(self, apps: Apps, jobs: AbpJobs) -> None:
        shop = Flask("shop", instance_path=str(apps.folder / "shop"))
        shop.config.update(TESTING=True, ABPJOBS_TESTING=False)
        jobs.init_app(shop, dashboard=None)
        assert (apps.folder / "shop" / "abpjobs.db").is_file()
        shop.extensions["abpjobs"].storage.close()

    def test_the_constructor_can_take_the_app(self) -> None:
        shop = Flask("shop")
        shop.config["TESTING"] = True
        jobs = AbpJobs(shop, dashboard=None)
        with shop.app_context():
            assert jobs.manager is shop.extensions["abpjobs"].manager
            assert jobs.huey is shop.extensions["abpjobs"].huey
            assert jobs.storage is jobs.huey.records

    def test_a_factory_makes_as_many_apps_as_are_asked_for(self, apps: Apps, jobs: AbpJobs) -> None:
        job = jobs.job(name="n")(lambda: None)

        def create_app(name: str) -> Flask:
            return apps.new(jobs, name)

        one, two = create_app("one"), create_app("two")
        with one.app_context():
            job.enqueue()
            job.enqueue()
        with two.app_context():
            job.enqueue()
            assert jobs.storage.counts()["created"] == 1
            with one.app_context():
                assert jobs.storage.counts()["created"] == 2

    def test_two_apps_of_different_names_share_a_file_and_no_jobs(self, apps: Apps, jobs: AbpJobs) -> None:
        job = jobs.job(name="n")(lambda: current_app.name)
        url = f"sqlite:///{apps.folder}/shared.db"
        one, two = (apps.new(jobs, name, storage_url=url) for name in ("one", "two"))
        with one.app_context():
            job_id = job.enqueue()
        apps.start(two)
        apps.start(one)
        with one.app_context():
            assert jobs.wait(job_id, timeout=10).result == b'"one"'
        with two.app_context():
            assert jobs.storage.counts()["created"] == 0

    def test_two_processes_of_one_name_share_their_jobs(self, apps: Apps, jobs: AbpJobs) -> None:
        job = jobs.job(name="n")(lambda: current_app.name)
        url = f"sqlite:///{apps.folder}/shared.db"
        web, worker = (apps.new(jobs, name, storage_url=url, name="shared") for name in ("web", "worker"))
        apps.start(worker)
        with web.app_context():
            assert jobs.wait(job.enqueue(), timeout=10).result == b'"worker"'

    def test_two_extensions_have_their_own_jobs_and_apps(self, apps: Apps) -> None:
        first, second = AbpJobs(), AbpJobs()
        job = first.job(name="n")(lambda: 1)
        second.job(name="n")(lambda: 2)
        one, two = apps.new(first, "one"), apps.new(second, "two")
        with one.app_context():
            assert refusal(ConfigError, lambda: second.manager) == (
                "The app 'one' belongs to another AbpJobs: call init_app(app) of the one its jobs are declared with."
            )
        with two.app_context():
            assert refusal(ConfigError, job.enqueue) == (
                "The app 'two' belongs to another AbpJobs: call init_app(app) of the one its jobs are declared with."
            )
            assert second.storage.counts()["created"] == 0

    def test_a_second_init_app_is_refused_and_changes_nothing(self, apps: Apps, jobs: AbpJobs) -> None:
        shop = apps.new(jobs)
        state = shop.extensions["abpjobs"]
        for again in (jobs, AbpJobs()):
            assert refusal(ConfigError, lambda again=again: again.init_app(shop)) == (  # type: ignore[misc]
                "The app 'shop' has an AbpJobs already: call init_app once for each app."
            )
        assert shop.extensions["abpjobs"] is state

    def test_an_app_without_the_extension_says_so(self, jobs: AbpJobs) -> None:
        with Flask("bare").app_context():
            assert refusal(ConfigError, lambda: jobs.manager) == (
                "The app 'bare' has no AbpJobs: call init_app(app) of the one its jobs are declared with."
            )

    @pytest.mark.parametrize("use", ["manager", "storage", "huey", "wait", "requeue", "delete"])
    def test_without_an_app_it_says_what_to_do(self, jobs: AbpJobs, use: str) -> None:
        def call() -> Any:
            found = getattr(jobs, use)
            return found("id")

        assert refusal(AbpJobsError, call) == (
            "There is no current app. Enqueue inside a request or a job, or within `with app.app_context():`."
        )

    @pytest.mark.parametrize(
        ("setting", "value", "words"),
        [
            ("WORKER", 1, "There is no setting ABPJOBS_WORKER. Did you mean ABPJOBS_WORKERS?"),
            ("WORKERS", 0, "ABPJOBS_WORKERS is 0: use a number from 1 to 1000."),
            ("STORAGE_URL", "", "The storage URL '' is not known. "),
            ("STORAGE_URL", "mysql://ada:s3cret@db/x", "The storage URL 'mysql://...@db/x' is not known. "),
        ],
    )
    def test_a_wrong_setting_is_an_error_at_once(
        self, jobs: AbpJobs, setting: str, value: Any, words: str, tmp_path: Path
    ) -> None:
        shop = Flask("shop", instance_path=str(tmp_path))
        shop.config[f"ABPJOBS_{setting}"] = value
        refused = refusal(ConfigError, lambda: jobs.init_app(shop, dashboard=None))
        assert refused.startswith(words)
        assert "s3cret" not in refused
        assert "abpjobs" not in shop.extensions

    def test_a_storage_that_cannot_be_opened_is_an_error_at_once(self, jobs: AbpJobs, tmp_path: Path) -> None:
        shop = Flask("shop", instance_path=str(tmp_path))
        (tmp_path / "abpjobs.db").write_bytes(b"this is no database, but long enough to be taken for one " * 20)
        with pytest.raises(StorageError):
            jobs.init_app(shop, dashboard=None)


class TestDashboards:
    def test_a_dashboard_needs_a_secret_key(self, jobs: AbpJobs) -> None:
        shop = Flask("shop")
        shop.config["TESTING"] = True
        refused = refusal(ConfigError, lambda: jobs.init_app(shop))
        assert refused.startswith(
            "The dashboard needs SECRET_KEY, which signs its forms. Set app.config['SECRET_KEY'] to"
        )
        assert "\n" not in refused

    def test_without_a_dashboard_no_secret_key_is_needed_and_no_page_answers(self, jobs: AbpJobs) -> None:
        shop = Flask("shop")
        shop.config["TESTING"] = True
        jobs.init_app(shop, dashboard=None)
        assert shop.test_client().get("/jobs/").status_code == 404
        with shop.test_request_context():
            assert refusal(ConfigError, lambda: jobs.url_for_job("x")) == (
                "This app has no dashboard: init_app was called with dashboard=None."
            )

    def test_an_address_of_a_job_is_in_the_first_dashboard(self, jobs: AbpJobs) -> None:
        shop = Flask("shop")
        shop.config.update(TESTING=True, SECRET_KEY="x", ABPJOBS_DASHBOARD_PATH="/hangfire")
        jobs.init_app(shop)
        jobs.add_dashboard(shop, DashboardOptions(path="/admin/jobs"))
        with shop.test_request_context():
            assert jobs.url_for_job("01JD") == "/hangfire/jobs/id/01JD"
        assert shop.test_client().get("/admin/jobs/").status_code == 200

    def test_a_dashboard_cannot_be_added_before_the_app_has_jobs(self, jobs: AbpJobs) -> None:
        shop = Flask("shop")
        words = refusal(ConfigError, lambda: jobs.add_dashboard(shop, DashboardOptions()))
        assert words.startswith("The app 'shop' has no AbpJobs: call init_app(app)")

    def test_a_dashboard_for_this_machine_only_is_told_of(
        self, jobs: AbpJobs, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        shop = Flask("shop", instance_path=str(tmp_path))
        shop.config["SECRET_KEY"] = "x"
        with caplog.at_level(logging.WARNING, "flask_abpjobs"):
            jobs.init_app(shop)
        assert [record.getMessage() for record in caplog.records] == [
            "The dashboard at /jobs answers only requests of this machine. To open it to your users, give "
            "DashboardOptions(authorization=[AbpJobsAuthorizationFilter(...)])."
        ]
        shop.extensions["abpjobs"].storage.close()


class TestRunning:
    def test_each_attempt_has_an_app_context_of_its_own(self, apps: Apps, jobs: AbpJobs) -> None:
        contexts: list[Any] = []
        torn_down: list[Any] = []

        @jobs.job(retry=RetryPolicy(delays=[0, 0]))
        def job() -> str:
            assert "seen" not in g, "g of another attempt"
            g.seen = True
            contexts.append(id(g._get_current_object()))
            if current_job.attempt < 3:
                raise ValueError("not yet")
            return current_app.name

        shop = apps.new(jobs)

        @shop.teardown_appcontext
        def tear_down(error: BaseException | None) -> None:
            if "seen" in g:
                torn_down.append(None if error is None else str(error))

        with shop.app_context():
            job_id = job.enqueue()
            apps.start(shop)
            done = jobs.wait(job_id, timeout=10)
        assert (done.state, done.attempt, done.result) == (JobState.SUCCEEDED, 3, b'"shop"')
        assert len(contexts) == 3
        assert torn_down == ["not yet", "not yet", None]

    def test_the_context_is_torn_down_before_the_job_is_reported_as_done(self, apps: Apps, jobs: AbpJobs) -> None:
        states: list[JobState] = []

        @jobs.job
        def job() -> None:
            g.job_id = current_job.id

        shop = apps.new(jobs)

        @shop.teardown_appcontext
        def tear_down(error: BaseException | None) -> None:
            if "job_id" in g:
                states.append(shop.extensions["abpjobs"].storage.get(g.job_id).state)

        apps.start(shop)
        with shop.app_context():
            jobs.wait(job.enqueue(), timeout=10)
        assert states == [JobState.PROCESSING]

    def test_an_async_job_keeps_app_job_and_tenant_through_its_awaits(self, apps: Apps, jobs: AbpJobs) -> None:
        async def whole() -> list[Any]:
            await asyncio.sleep(0)
            return [current_app.name, current_job.id, current_job.tenant_id]

        @jobs.job
        async def job() -> list[Any]:
            return await asyncio.gather(whole(), asyncio.create_task(whole()))

        shop = apps.new(jobs)
        apps.start(shop)
        with shop.app_context():
            job_id = job.using(tenant="acme").enqueue()
            assert jobs.wait(job_id, timeout=10).result == (
                f'[["shop","{job_id}","acme"],["shop","{job_id}","acme"]]'.encode()
            )

    def test_jobs_that_run_at_once_do_not_see_each_other(self, apps: Apps, jobs: AbpJobs) -> None:
        together = threading.Barrier(2, timeout=10)

        @jobs.job
        def job(number: int) -> list[Any]:
            g.number = number
            together.wait()
            return [g.number, current_job.tenant_id]

        shop = apps.new(jobs)
        apps.start(shop, workers=2)
        with shop.app_context():
            ids = [job.using(tenant=f"t{number}").enqueue(number) for number in (1, 2)]
            assert [jobs.wait(job_id, timeout=10).result for job_id in ids] == [b'[1,"t1"]', b'[2,"t2"]']

    def test_the_activator_builds_each_class_anew_for_each_attempt(self, apps: Apps, jobs: AbpJobs) -> None:
        printer = Printer()
        built: list[str] = []

        @jobs.job(retry=RetryPolicy(delays=[0]))
        class Label(AsyncBackgroundJob[LabelArgs]):
            def __init__(self, printer: Printer) -> None:
                self.printer = printer

            async def execute(self, args: LabelArgs) -> None:
                self.printer.printed.append(args.text)
                if current_job.attempt == 1:
                    raise ValueError("paper")

        @jobs.activator
        def build(job_class: type[Any]) -> Any:
            built.append(f"{job_class.__name__} in {current_app.name} for attempt {current_job.attempt}")
            return job_class(printer)

        shop = apps.new(jobs)
        apps.start(shop)
        with shop.app_context():
            assert jobs.wait(Label.enqueue(LabelArgs("hello")), timeout=10).state is JobState.SUCCEEDED
        assert printer.printed == ["hello", "hello"]
        assert built == ["Label in shop for attempt 1", "Label in shop for attempt 2"]

    def test_an_activator_plugged_in_after_init_app_counts(self, apps: Apps, jobs: AbpJobs) -> None:
        @jobs.job
        class Greeting(BackgroundJob[GreetingArgs]):
            word = "Hello"

            def execute(self, args: GreetingArgs) -> str:
                return f"{self.word}, {args.name}"

        shop = apps.new(jobs)
        apps.start(shop)
        with shop.app_context():
            assert jobs.wait(Greeting.enqueue(GreetingArgs("Ada")), timeout=10).result == b'"Hello, Ada"'

            @jobs.activator
            def build(job_class: type[Any]) -> Any:
                made = job_class()
                made.word = "Merhaba"
                return made

            assert jobs.wait(Greeting.enqueue(GreetingArgs("Ada")), timeout=10).result == b'"Merhaba, Ada"'

    def test_a_class_that_cannot_be_built_fails_the_attempt_with_the_reason(self, apps: Apps, jobs: AbpJobs) -> None:
        @jobs.job(retry=RetryPolicy.none())
        class Label(BackgroundJob[LabelArgs]):
            def __init__(self, printer: Printer) -> None: ...

            def execute(self, args: LabelArgs) -> None: ...

        shop = apps.new(jobs)
        apps.start(shop)
        with shop.app_context():
            done = jobs.wait(Label.enqueue(LabelArgs("x")), timeout=10)
        assert (done.state, done.error_type) == (JobState.FAILED, "TypeError")
        assert "missing 1 required positional argument: 'printer'" in (done.error_message or "")

    def test_a_result_that_json_does_not_have_fails_the_job_with_advice(self, apps: Apps, jobs: AbpJobs) -> None:
        job = jobs.job(name="n", retry=RetryPolicy.none())(lambda: object())
        shop = apps.new(jobs)
        apps.start(shop)
        with shop.app_context():
            done = jobs.wait(job.enqueue(), timeout=10)
        assert done.state is JobState.FAILED
        assert done.error_message == (
            "The result cannot be written as JSON: object is not a type that JSON can carry. "
            "Return plain values, or None."
        )

    def test_progress_that_is_no_number_fails_the_job_and_leaves_its_record_readable(
        self, apps: Apps, jobs: AbpJobs
    ) -> None:
        job = jobs.job(name="n", retry=RetryPolicy.none())(lambda: current_job.progress(float("nan"), 1))
        shop = apps.new(jobs)
        apps.start(shop)
        with shop.app_context():
            done = jobs.wait(job.enqueue(), timeout=10)
        assert (done.state, done.error_type, done.progress) == (JobState.FAILED, "ValueError", None)

    def test_hueys_own_tasks_run_in_the_app_too(self, apps: Apps, jobs: AbpJobs) -> None:
        shop = apps.new(jobs)
        with shop.app_context():

            @jobs.huey.task()
            def add(a: int, b: int) -> int:
                return a + b

            result = add(1, 2)
            apps.start(shop)
            assert jobs.wait(result.id, timeout=10).result == b"3"
            assert result.get() == 3


def test_importing_the_package_starts_nothing_and_opens_nothing(tmp_path: Path) -> None:
    script = (
        "import threading, os, flask_abpjobs\n"
        "jobs = flask_abpjobs.AbpJobs()\n"
        "@jobs.job\n"
        "def job(a: int) -> None: ...\n"
        "print(threading.active_count(), os.listdir('.'))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.stdout.strip(), done.stderr) == ("1 []", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_an_app_made_before_a_fork_enqueues_from_both_sides(
    apps: Apps, jobs: AbpJobs, eventually: Callable[..., Any]
) -> None:
    job = jobs.job(name="n")(lambda: None)
    shop = apps.new(jobs)
    with shop.app_context():
        job.enqueue()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for _ in range(20):
                    job.enqueue()
                status = 0
            finally:
                os._exit(status)
        for _ in range(20):
            job.enqueue()
        ended: list[int] = []

        def has_ended() -> bool:
            pid, status = os.waitpid(child, os.WNOHANG)
            ended.extend([status] if pid else [])
            return bool(ended)

        eventually(has_ended, timeout=20, message="the end of the child")
        assert ended == [0]
        assert jobs.storage.counts()["created"] == 41
        assert jobs.storage.check() == []
