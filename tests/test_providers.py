"""The providers of background jobs behind one interface, and how an app chooses one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app

from flask_abpjobs import (
    AbpJobs,
    BackgroundJobManager,
    ConfigError,
    HueyJobManager,
    InlineJobManager,
    JobRecord,
    JobRegistry,
    NullJobManager,
    current_job,
)
from flask_abpjobs.engine import JobHuey
from flask_abpjobs.storage import open_storage
from flask_abpjobs.testing import BackgroundJobManagerContract


class TestHuey(BackgroundJobManagerContract):
    def make_manager(self, registry: JobRegistry) -> HueyJobManager:
        self.huey = JobHuey("contract", open_storage("memory://", "contract"), jobs=registry)
        return HueyJobManager(self.huey)

    def run_jobs(self, manager: BackgroundJobManager) -> None:
        storage = self.huey.records
        while (counts := storage.counts())["enqueued"] or counts["scheduled"]:
            self.huey.read_schedule()
            while (task := self.huey.dequeue()) is not None:
                self.huey.execute(task)
        assert counts["failed"] == 0


class TestInline(BackgroundJobManagerContract):
    def make_manager(self, registry: JobRegistry) -> InlineJobManager:
        return InlineJobManager(registry)

    def run_jobs(self, manager: BackgroundJobManager) -> None:
        """They have run."""


class Kept(BackgroundJobManager):
    """A provider of somebody else's: it keeps the records in a list."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.kept: list[JobRecord] = []

    def store(self, records: Sequence[JobRecord]) -> list[str]:
        self.kept += records
        return [record.id for record in records]


@pytest.fixture
def make_app(tmp_path: Path) -> Callable[[str], tuple[Flask, AbpJobs]]:
    def make(manager: str) -> tuple[Flask, AbpJobs]:
        app, jobs = Flask("shop", instance_path=str(tmp_path)), AbpJobs()
        app.config.update(ABPJOBS_STORAGE_URL="memory://", ABPJOBS_MANAGER=manager)
        jobs.init_app(app, dashboard=None)
        return app, jobs

    return make


class TestChoosing:
    def test_inline_runs_at_once_in_the_apps_context(self, make_app: Callable[[str], tuple[Flask, AbpJobs]]) -> None:
        app, jobs = make_app("flask_abpjobs:InlineJobManager")
        seen: list[Any] = []

        @jobs.job(name="look")
        def look(word: str) -> None:
            seen.append((word, current_app.name, current_job.attempt))
            current_job.progress(1, 2, "half")
            current_job.log("hello")

        with app.app_context():
            assert look.enqueue("x")
        assert seen == [("x", "shop", 1)]

    def test_what_an_inline_job_raises_reaches_the_caller(
        self, make_app: Callable[[str], tuple[Flask, AbpJobs]]
    ) -> None:
        app, jobs = make_app("flask_abpjobs:InlineJobManager")

        @jobs.job(name="breaks")
        def breaks() -> None:
            raise ZeroDivisionError

        with app.app_context(), pytest.raises(ZeroDivisionError):
            breaks.enqueue()

    def test_an_inline_job_cannot_await_another(self, make_app: Callable[[str], tuple[Flask, AbpJobs]]) -> None:
        app, jobs = make_app("flask_abpjobs:InlineJobManager")

        @jobs.job(name="step")
        def step() -> None: ...

        with app.app_context(), pytest.raises(ConfigError, match="keeps no jobs"):
            step.using(after=step.enqueue()).enqueue()

    def test_null_is_not_available_and_says_what_to_do(self, make_app: Callable[[str], tuple[Flask, AbpJobs]]) -> None:
        app, jobs = make_app("flask_abpjobs:NullJobManager")

        @jobs.job(name="step")
        def step() -> None: ...

        with app.app_context():
            assert isinstance(jobs.manager, NullJobManager)
            assert not jobs.manager.is_available
            with pytest.raises(ConfigError, match="step cannot be enqueued: this app has no provider"):
                step.enqueue()

    def test_somebody_elses_gets_the_records(self, make_app: Callable[[str], tuple[Flask, AbpJobs]]) -> None:
        app, jobs = make_app(f"{__name__}:Kept")

        @jobs.job(name="step", queue="alpha")
        def step(a: int) -> None: ...

        with app.app_context():
            step.map([1, 2])
            manager = jobs.manager
            assert isinstance(manager, BackgroundJobManager)
            kept: list[JobRecord] = manager.kept  # type: ignore[attr-defined]
        assert [(job.name, job.queue, job.payload) for job in kept] == [
            ("step", "alpha", b'{"a":1}'),
            ("step", "alpha", b'{"a":2}'),
        ]

    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("nowhere.at.all:Kept", "nowhere.at.all cannot be imported"),
            ("flask_abpjobs:Missing", "no class derived from BackgroundJobManager"),
            ("flask_abpjobs:AbpJobs", "no class derived from BackgroundJobManager"),
            ("flask_abpjobs.NullJobManager", 'name a class as "package.module:Class"'),
        ],
    )
    def test_what_names_no_provider_is_refused(
        self, make_app: Callable[[str], tuple[Flask, AbpJobs]], path: str, words: str
    ) -> None:
        with pytest.raises(ConfigError) as refused:
            make_app(path)
        assert words in str(refused.value)
        assert "ABPJOBS_MANAGER" in str(refused.value)
