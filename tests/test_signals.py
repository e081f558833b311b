"""Blinker signals: receivers hear what happened to jobs, and cannot break anything."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_abpjobs import AbpJobs, JobState, RetryPolicy, job_enqueued, job_failed, job_state_changed


@pytest.fixture
def app_and_jobs(tmp_path: Path) -> Iterator[tuple[Flask, AbpJobs]]:
    app, jobs = Flask("shop", instance_path=str(tmp_path)), AbpJobs()
    app.config.update(ABPJOBS_STORAGE_URL="memory://")
    jobs.init_app(app, dashboard=None)
    with app.app_context():
        yield app, jobs


def drain(jobs: AbpJobs) -> None:
    while (task := jobs.huey.dequeue()) is not None:
        with contextlib.suppress(Exception):
            jobs.huey.execute(task)


def test_a_jobs_way_is_told_with_the_app_as_sender(app_and_jobs: tuple[Flask, AbpJobs]) -> None:
    app, jobs = app_and_jobs
    heard: list[Any] = []

    @jobs.job(name="breaks", retry=RetryPolicy(delays=[0]))
    def breaks() -> None:
        raise ValueError("no")

    with (
        job_enqueued.connected_to(lambda sender, job: heard.append(("enqueued", job.id)), sender=app),
        job_state_changed.connected_to(lambda sender, job, state, reason: heard.append(state), sender=app),
        job_failed.connected_to(lambda sender, job, error: heard.append((job.id, error.message)), sender=app),
    ):
        job_id = breaks.enqueue()
        drain(jobs)
        jobs.requeue(job_id)
        jobs.delete(job_id)
    retried = [JobState.PROCESSING, JobState.ENQUEUED, JobState.PROCESSING, JobState.FAILED]
    assert heard == [
        ("enqueued", job_id),
        *retried,
        (job_id, "no"),
        JobState.ENQUEUED,
        JobState.DELETED,
    ]


def test_a_receiver_that_raises_is_logged_and_the_others_hear(
    app_and_jobs: tuple[Flask, AbpJobs], caplog: pytest.LogCaptureFixture
) -> None:
    app, jobs = app_and_jobs
    heard: list[str] = []

    @jobs.job(name="one")
    def one() -> None: ...

    def broken(sender: Any, job: Any) -> None:
        raise RuntimeError

    with (
        caplog.at_level(logging.ERROR, "flask_abpjobs.signals"),
        job_enqueued.connected_to(broken),
        job_enqueued.connected_to(lambda sender, job: heard.append(job.name)),
    ):
        assert one.map([(), ()])
    assert heard == ["one", "one"]
    assert caplog.text.count("A receiver of the signal job-enqueued failed") == 2


def test_another_apps_receivers_hear_nothing(app_and_jobs: tuple[Flask, AbpJobs]) -> None:
    _, jobs = app_and_jobs
    heard: list[Any] = []

    @jobs.job(name="one")
    def one() -> None: ...

    with job_enqueued.connected_to(lambda sender, job: heard.append(job), sender=Flask("other")):
        one.enqueue()
    assert heard == []
