"""What a running job knows of itself, and whose tenant is current."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask, g

from flask_abpjobs import (
    AbpJobs,
    JobCancelledError,
    JobContext,
    JobProgress,
    JobRecord,
    current_job,
    current_tenant,
    tenant_scope,
)
from flask_abpjobs.context import find_current_job, job_scope

NOW = datetime(2026, 11, 24, tzinfo=UTC)


class Notebook:
    """Where a job's words go in these tests."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.cancelled = self.overdue = False

    def progress(self, progress: JobProgress) -> None:
        self.said.append(progress)

    def log(self, text: str, level: str) -> None:
        self.said.append((level, text))

    def is_cancelled(self) -> bool:
        return self.cancelled

    def is_overdue(self) -> bool:
        return self.overdue


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
def job(notebook: Notebook) -> JobContext:
    record = JobRecord(
        id="j1",
        name="report",
        queue="alpha",
        state_at=NOW,
        created_at=NOW,
        payload=b"{}",
        attempt=2,
        tenant_id="acme",
        enqueued_by="ada",
        correlation_id="c-1",
    )
    return JobContext(record, notebook)


class TestCurrentJob:
    def test_outside_of_a_job_it_says_that_it_is_for_jobs(self) -> None:
        for use in (lambda: current_job.id, lambda: current_job.log("x"), lambda: current_job.progress(1)):
            with pytest.raises(RuntimeError) as refused:
                use()
            assert str(refused.value) == (
                "No job is running here: current_job is for code that a worker runs as a job."
            )
        assert not current_job
        assert find_current_job() is None

    def test_inside_it_tells_what_the_record_says(self, job: JobContext) -> None:
        with job_scope(job):
            assert (current_job.id, current_job.name, current_job.queue, current_job.attempt) == (
                "j1",
                "report",
                "alpha",
                2,
            )
            assert (current_job.tenant_id, current_job.enqueued_by, current_job.correlation_id) == (
                "acme",
                "ada",
                "c-1",
            )
            assert current_tenant.id == "acme"
            assert find_current_job() is job
        assert not current_job
        assert current_tenant.id is None

    def test_a_job_that_fails_leaves_no_trace(self, job: JobContext) -> None:
        with pytest.raises(ValueError, match="no"), job_scope(job):
            raise ValueError("no")
        assert not current_job
        assert current_tenant.id is None

    def test_another_thread_runs_no_job(self, job: JobContext) -> None:
        seen: list[bool] = []
        with job_scope(job):
            thread = threading.Thread(target=lambda: seen.append(bool(current_job)))
            thread.start()
            thread.join()
        assert seen == [False]

    def test_progress_and_log_are_reported(self, job: JobContext, notebook: Notebook) -> None:
        with job_scope(job):
            current_job.progress(1, 3, "x" * 300)
            current_job.progress(2)
            current_job.log("hello")
            current_job.log("careful", "warning")
        assert notebook.said == [
            JobProgress(1.0, 3.0, "x" * 200),
            JobProgress(2.0),
            ("info", "hello"),
            ("warning", "careful"),
        ]

    def test_an_unknown_level_is_refused(self, job: JobContext, notebook: Notebook) -> None:
        with pytest.raises(ValueError, match=r"^level is 'fatal': use debug, info, warning, error$"):
            job.log("x", "fatal")
        assert notebook.said == []

    @pytest.mark.parametrize(
        ("done", "total"), [(float("nan"), 1), (float("inf"), None), (1, float("nan")), (1, float("-inf"))]
    )
    def test_progress_that_is_no_number_is_refused_before_it_is_stored(
        self, job: JobContext, notebook: Notebook, done: float, total: float | None
    ) -> None:
        with pytest.raises(ValueError, match=r"^progress is .* of .*: use finite numbers$"):
            job.progress(done, total)
        assert notebook.said == []

    def test_a_message_that_no_storage_can_keep_is_written_so_that_it_can(
        self, job: JobContext, notebook: Notebook
    ) -> None:
        job.progress(1, 2, "a\ud800b\x00c")
        assert notebook.said == [JobProgress(1.0, 2.0, "a\\ud800b\\x00c")]

    def test_a_cancelled_job_can_leave(self, job: JobContext, notebook: Notebook) -> None:
        job.raise_if_cancelled()
        assert not job.is_cancelled
        notebook.cancelled = True
        assert job.is_cancelled
        with pytest.raises(JobCancelledError, match=r"^Job j1 was cancelled\.$"):
            job.raise_if_cancelled()


class TestCurrentTenant:
    def test_scopes_nest_and_end_in_order(self) -> None:
        seen = [current_tenant.id]
        with tenant_scope("acme"):
            seen.append(current_tenant.id)
            with tenant_scope(None):
                seen.append(current_tenant.id)
                with tenant_scope("globex"):
                    seen.append(current_tenant.id)
                seen.append(current_tenant.id)
            seen.append(current_tenant.id)
        seen.append(current_tenant.id)
        assert seen == [None, "acme", None, "globex", None, "acme", None]

    def test_a_scope_ends_when_its_code_fails(self) -> None:
        with pytest.raises(KeyError), tenant_scope("acme"):
            raise KeyError
        assert current_tenant.id is None

    def test_a_job_may_act_for_another_tenant_for_a_while(self, job: JobContext) -> None:
        with job_scope(job):
            with tenant_scope("globex"):
                assert (current_tenant.id, current_job.tenant_id) == ("globex", "acme")
            assert current_tenant.id == "acme"

    def test_it_shows_itself(self) -> None:
        with tenant_scope("acme"):
            assert repr(current_tenant) == "<current_tenant 'acme'>"

    def test_in_a_request_the_resolver_decides_unless_a_scope_does(self) -> None:
        jobs = AbpJobs()
        shop = Flask("shop")
        shop.config["TESTING"] = True
        jobs.init_app(shop, dashboard=None)

        @jobs.tenant_resolver
        def resolve() -> Any:
            return g.get("tenant")

        with shop.test_request_context():
            assert current_tenant.id is None
            g.tenant = "acme"
            assert current_tenant.id == "acme"
            g.tenant = 42  # a key of a database
            assert current_tenant.id == "42"
            with tenant_scope(None):
                assert current_tenant.id is None
        with shop.app_context():
            assert current_tenant.id is None
