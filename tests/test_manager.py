"""The manager: one way to enqueue, whatever runs the jobs; on a real file and in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import pytest
from flask import Flask
from flask_login import LoginManager, UserMixin

from flask_abpjobs import (
    AbpJobs,
    ArgumentsError,
    BackgroundJob,
    BackgroundJobManager,
    ConfigError,
    HueyJobManager,
    JobNotFoundError,
    JobPriority,
    JobRecord,
    JobState,
    RetryPolicy,
    StateChangedError,
    StorageError,
    UnknownJobError,
    current_job,
    tenant_scope,
)
from flask_abpjobs.engine import open_huey
from flask_abpjobs.retry import decode_policy


@dataclass
class MailArgs:
    to: str
    day: date | None = None
    password: str = "hunter2"


@dataclass
class OtherArgs:
    x: int


@dataclass
class ParentArgs:
    x: int


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class User(UserMixin):
    def __init__(self, name: str, tenant_id: Any) -> None:
        self.id = name
        self.username = name
        self.tenant_id = tenant_id


class Shop:
    """An app with jobs, and a server for them where a test asks for one."""

    def __init__(self, folder: Path, url: str) -> None:
        self.jobs = jobs = AbpJobs()
        self.flask = Flask("shop", instance_path=str(folder))
        self.flask.config.update(ABPJOBS_STORAGE_URL=url, ABPJOBS_DEFAULT_QUEUE="main", ABPJOBS_QUEUES=["main", "mail"])
        jobs.init_app(self.flask, dashboard=None)
        self.consumers: list[Any] = []

        @jobs.job(name="report")
        def report(day: date, copies: int = 1, notes: dict[str, Any] | None = None) -> str:
            return f"{day} x {copies}"

        @jobs.job(queue="mail", priority=JobPriority.HIGH, retry=RetryPolicy(delays=[0]), name="mail")
        class Mail(BackgroundJob[MailArgs]):
            def execute(self, args: MailArgs) -> list[str]:
                return [args.to, type(args.day).__name__]

        @jobs.job(name="parent")
        class Parent(BackgroundJob[ParentArgs]):
            def execute(self, args: ParentArgs) -> str:
                with tenant_scope("globex"):
                    other = report.enqueue(date(2026, 1, 1))
                child = report.enqueue(date(2026, 1, 1))
                return f"{child} {other} {report.using(tenant=None).enqueue(date(2026, 1, 1))}"

        self.report, self.mail, self.parent = report, Mail, Parent

    @property
    def manager(self) -> HueyJobManager:
        return self.jobs.manager

    def start(self) -> None:
        huey = self.flask.extensions["abpjobs"].huey
        consumer = huey.create_consumer(workers=2, handle_signals=False, heartbeat=0.5, server_timeout=2.0)
        consumer.start()
        self.consumers.append(consumer)

    def created(self) -> int:
        return self.jobs.storage.counts()["created"]

    def close(self) -> None:
        for consumer in self.consumers:
            consumer.stop(graceful=True)
        storage = self.flask.extensions["abpjobs"].storage
        assert storage.check() == []
        storage.close()


@pytest.fixture(params=["sqlite:///jobs.db", "memory://"], ids=["file", "memory"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path, request.param)
    with shop.flask.app_context():
        yield shop
    shop.close()


def refusal(kind: type[Exception], call: Callable[[], Any]) -> str:
    with pytest.raises(kind) as refused:
        call()
    return str(refused.value)


class TestEnqueue:
    def test_the_type_of_the_arguments_names_the_job(self, shop: Shop) -> None:
        job = shop.jobs.storage.get(shop.manager.enqueue(MailArgs("ada@example.com", date(2026, 1, 2))))
        assert (job.name, job.queue, job.priority, job.state) == ("mail", "mail", 25, JobState.ENQUEUED)
        assert job.payload == b'{"to":"ada@example.com","day":"2026-01-02","password":"hunter2"}'
        assert [(each.name, each.text, each.redacted) for each in job.arguments] == [
            ("to", "'ada@example.com'", False),
            ("day", "date(2026, 1, 2)", False),
            ("password", "", True),
        ]
        assert (job.tenant_id, job.enqueued_by, job.correlation_id, job.attempt) == (None, None, None, 0)

    def test_the_job_runs_with_its_arguments_typed(self, shop: Shop) -> None:
        job_id = shop.manager.enqueue(MailArgs("ada@example.com", date(2026, 1, 2)))
        shop.start()
        assert shop.jobs.wait(job_id, timeout=10).result == b'["ada@example.com","date"]'

    def test_it_is_an_abp_manager_and_available(self, shop: Shop) -> None:
        assert isinstance(shop.manager, BackgroundJobManager)
        assert shop.manager.is_available is True

    def test_the_default_queue_is_that_of_the_configuration(self, shop: Shop) -> None:
        assert shop.jobs.storage.get(shop.report.enqueue(date(2026, 1, 1))).queue == "main"

    def test_priority_delay_queue_and_retry_can_be_given(self, shop: Shop) -> None:
        policy = RetryPolicy(delays=[1, 2])
        job = shop.jobs.storage.get(
            shop.manager.enqueue(
                MailArgs("a"), priority=JobPriority.LOW, delay=timedelta(hours=1), queue="main", retry=policy
            )
        )
        assert (job.queue, job.priority, job.state) == ("main", 5, JobState.SCHEDULED)
        assert job.due_at is not None
        assert job.due_at - job.created_at == timedelta(hours=1)
        assert job.retry is not None
        assert decode_policy(job.retry) == policy

    def test_normal_priority_leaves_it_to_the_job(self, shop: Shop) -> None:
        assert shop.jobs.storage.get(shop.manager.enqueue(MailArgs("a"), priority=JobPriority.NORMAL)).priority == 25

    @pytest.mark.parametrize("delay", [0, -5, timedelta(0), timedelta(days=-1)])
    def test_a_delay_that_is_over_means_now(self, shop: Shop, delay: Any) -> None:
        job = shop.jobs.storage.get(shop.manager.enqueue(MailArgs("a"), delay=delay))
        assert (job.state, job.due_at) == (JobState.ENQUEUED, None)

    def test_eta_is_a_moment_in_any_time_zone(self, shop: Shop) -> None:
        eta = datetime.fromisoformat("2031-01-01T08:00:00+03:00")
        job = shop.jobs.storage.get(shop.manager.enqueue(MailArgs("a"), eta=eta))
        assert job.due_at == eta
        assert job.due_at.utcoffset() == timedelta(0)
        past = shop.manager.enqueue(MailArgs("a"), eta=datetime(2000, 1, 1, tzinfo=UTC))
        assert shop.jobs.storage.get(past).state is JobState.ENQUEUED

    def test_a_delayed_job_runs_when_it_is_due_and_not_before(self, shop: Shop) -> None:
        shop.start()
        job_id = shop.report.using(delay=1.2).enqueue(date(2026, 1, 1))
        due = shop.jobs.storage.get(job_id).due_at
        job = shop.jobs.wait(job_id, timeout=10)
        assert due is not None
        assert job.started_at is not None
        assert 0 <= (job.started_at - due).total_seconds() < 3

    def test_a_typed_dict_is_enqueued_on_its_job(self, shop: Shop) -> None:
        @shop.jobs.job
        class Show(BackgroundJob[Movie]):
            def execute(self, args: Movie) -> Any:
                return args

        job_id = Show.enqueue({"title": "Metropolis"})
        shop.start()
        assert shop.jobs.wait(job_id, timeout=10).result == b'{"title":"Metropolis"}'
        assert "builtins.dict" in refusal(UnknownJobError, lambda: shop.manager.enqueue({"title": "Metropolis"}))

    @pytest.mark.parametrize(
        ("args", "options", "kind", "words"),
        [
            (OtherArgs(1), {}, UnknownJobError, f"No job takes arguments of type {__name__}.OtherArgs. Decorate"),
            (MailArgs(5), {}, ArgumentsError, "mail(MailArgs): to: Expected `str`, got `int`."),  # type: ignore[arg-type]
            (MailArgs("\ud800"), {}, ArgumentsError, "mail(MailArgs): An argument cannot be written as JSON: "),
            (
                MailArgs("x" * 1_100_000),
                {},
                ArgumentsError,
                "mail(MailArgs): The arguments take 1,100,041 bytes of JSON",
            ),
            (MailArgs("a"), {"bogus": 1}, ConfigError, "There is no option bogus; there are queue, "),
            (MailArgs("a"), {"priority": "high"}, ConfigError, "priority is 'high': use a JobPriority."),
            (MailArgs("a"), {"delay": "soon"}, ConfigError, "delay is 'soon': use seconds or a timedelta"),
            (MailArgs("a"), {"queue": "a b"}, ConfigError, "queue is 'a b': use 1 to 64"),
        ],
        ids=range(8),
    )
    def test_what_does_not_fit_is_refused_and_nothing_is_stored(
        self, shop: Shop, args: Any, options: dict[str, Any], kind: type[Exception], words: str
    ) -> None:
        assert refusal(kind, lambda: shop.manager.enqueue(args, **options)).startswith(words)
        assert shop.created() == 0


class TestByName:
    def test_the_payload_is_read_by_the_jobs_types(self, shop: Shop) -> None:
        plain = shop.manager.enqueue_by_name("report", {"day": "2026-01-02", "copies": 2})
        typed = shop.manager.enqueue_by_name("report", {"day": date(2026, 1, 2)}, delay=60, queue="mail")
        one, two = shop.jobs.storage.get(plain), shop.jobs.storage.get(typed)
        assert [(each.name, each.text) for each in one.arguments] == [("day", "date(2026, 1, 2)"), ("copies", "2")]
        assert two.payload == b'{"day":"2026-01-02"}'
        assert (two.queue, two.state) == ("mail", JobState.SCHEDULED)
        shop.start()
        assert shop.jobs.wait(plain, timeout=10).result == b'"2026-01-02 x 2"'

    def test_a_class_has_its_fields_as_parameters(self, shop: Shop) -> None:
        job = shop.jobs.storage.get(shop.manager.enqueue_by_name("mail", {"to": "ada", "day": "2026-01-02"}))
        assert (job.name, job.queue, job.priority) == ("mail", "mail", 25)
        assert job.payload == b'{"to":"ada","day":"2026-01-02"}'  # what was left out is left to the code that runs

    @pytest.mark.parametrize(
        ("name", "payload", "kind", "words"),
        [
            (
                "reprot",
                {},
                UnknownJobError,
                "No job of the name 'reprot' is registered. Did you mean report or parent?",
            ),
            (
                "zzz",
                {},
                UnknownJobError,
                "No job of the name 'zzz' is registered. Is the module that declares it imported?",
            ),
            ("report", {"day": "2026-01-02", "copeis": 2}, ArgumentsError, "{report} has no parameter copeis."),
            ("report", {"day": "2026-01-02", "b": 1, "a": 1}, ArgumentsError, "{report} has no parameter a, b."),
            ("report", {"day": "tomorrow"}, ArgumentsError, "{report}: day: Invalid RFC3339 encoded date."),
            ("report", {}, ArgumentsError, "{report}: Object missing required field `day`."),
            ("report", {"day": object()}, ArgumentsError, "{report}: the payload cannot be written as JSON: "),
            (
                "report",
                {"day": "2026-01-02", "notes": float("nan")},
                ArgumentsError,
                "{report}: An argument is or holds NaN or infinity, which JSON does not have.",
            ),
            ("report", [1], ArgumentsError, "{report}: give the arguments as a mapping, not [1]."),
            ("mail", {}, ArgumentsError, "mail(MailArgs): Object missing required field `to`."),
        ],
        ids=range(10),
    )
    def test_what_does_not_fit_is_refused_and_nothing_is_stored(
        self, shop: Shop, name: str, payload: Any, kind: type[Exception], words: str
    ) -> None:
        report = "report(day: date, copies: int = 1, notes: dict[str, Any] | None = None)"
        refused = refusal(kind, lambda: shop.manager.enqueue_by_name(name, payload))
        assert refused.startswith(words.format(report=report))
        assert shop.created() == 0


class TestCaller:
    @pytest.fixture
    def signed_in(self, shop: Shop) -> Shop:
        """Users come by a header here; who they are is Flask-Login's business."""
        manager = LoginManager(shop.flask)
        users = {"ada": User("ada", "acme"), "root": User("root", None), "num": User("num", 7)}
        manager.request_loader(lambda request: users.get(request.headers.get("X-User", "")))
        shop.flask.add_url_rule("/go", "go", view_func=lambda: shop.report.enqueue(date(2026, 1, 1)))
        shop.flask.add_url_rule(
            "/other", "other", view_func=lambda: shop.report.using(tenant="x").enqueue(date(2026, 1, 1))
        )
        shop.flask.add_url_rule("/parent", "parent", view_func=lambda: shop.manager.enqueue(ParentArgs(1)))
        return shop

    def enqueued(self, shop: Shop, path: str = "/go", **headers: str) -> JobRecord:
        answer = shop.flask.test_client().get(path, headers={f"X-{name}": value for name, value in headers.items()})
        assert answer.status_code == 200
        return shop.jobs.storage.get(answer.text)

    @pytest.mark.parametrize(
        ("user", "tenant", "by"),
        [("ada", "acme", "ada"), ("root", None, "root"), ("num", "7", "num"), ("", None, None)],
    )
    def test_tenant_and_user_of_a_request_travel_with_the_job(
        self, signed_in: Shop, user: str, tenant: str | None, by: str | None
    ) -> None:
        job = self.enqueued(signed_in, User=user)
        assert (job.tenant_id, job.enqueued_by, job.correlation_id) == (tenant, by, None)

    def test_a_header_never_decides_the_tenant(self, signed_in: Shop) -> None:
        headers = {"__tenant": "globex", "X-Tenant": "globex", "X-User": "ada"}
        answer = signed_in.flask.test_client().get("/go?__tenant=globex", headers=headers)
        assert signed_in.jobs.storage.get(answer.text).tenant_id == "acme"

    def test_a_tenant_given_to_using_wins(self, signed_in: Shop) -> None:
        job = self.enqueued(signed_in, "/other", User="ada")
        assert (job.tenant_id, job.enqueued_by) == ("x", "ada")

    def test_the_correlation_id_is_that_of_the_request(self, signed_in: Shop) -> None:
        headers = {"X-Correlation-ID": "c-1", "X-Request-ID": "r-1"}
        client = signed_in.flask.test_client()
        both = client.get("/go", headers=headers).text
        second = client.get("/go", headers={"X-Request-ID": "r-1"}).text
        hostile = client.get("/go", headers={"X-Request-ID": "x" * 129, "X-Correlation-ID": "ä"}).text
        ids = [signed_in.jobs.storage.get(job_id).correlation_id for job_id in (both, second, hostile)]
        assert ids == ["c-1", "r-1", None]

    def test_a_job_of_a_job_inherits_tenant_user_and_correlation_id(self, signed_in: Shop) -> None:
        parent = signed_in.flask.test_client().get("/parent", headers={"X-User": "ada", "X-Correlation-ID": "c-1"}).text
        signed_in.start()
        result = signed_in.jobs.wait(parent, timeout=10).result
        assert result is not None
        children = [signed_in.jobs.storage.get(job_id) for job_id in result.decode().strip('"').split()]
        assert [job.tenant_id for job in children] == ["acme", "globex", None]
        assert {(job.enqueued_by, job.correlation_id) for job in children} == {("ada", "c-1")}

    def test_outside_of_requests_the_scope_gives_the_tenant(self, shop: Shop) -> None:
        with tenant_scope("acme"):
            job = shop.jobs.storage.get(shop.report.enqueue(date(2026, 1, 1)))
        assert (job.tenant_id, job.enqueued_by) == ("acme", None)


class TestActing:
    def test_a_finished_job_is_requeued_and_runs_again(self, shop: Shop) -> None:
        job_id = shop.report.enqueue(date(2026, 1, 1))
        shop.start()
        assert shop.jobs.wait(job_id, timeout=10).attempt == 1
        assert shop.jobs.requeue(job_id).state is JobState.ENQUEUED
        deadline = time.monotonic() + 10
        while shop.jobs.wait(job_id, timeout=10).result is None:
            assert time.monotonic() < deadline
        assert [entry.state.value for entry in shop.jobs.storage.history(job_id)] == (
            ["enqueued", "processing", "succeeded"] * 2
        )

    def test_a_waiting_job_is_deleted_and_can_come_back(self, shop: Shop) -> None:
        job_id = shop.report.enqueue(date(2026, 1, 1))
        deleted = shop.manager.delete(job_id, reason="Not needed", by="ada")
        assert (deleted.state, deleted.reason) == (JobState.DELETED, "Not needed")
        entry = shop.jobs.storage.history(job_id)[-1]
        assert (entry.state, entry.reason, entry.data.get("by")) == (JobState.DELETED, "Not needed", "ada")
        assert deleted.expires_at is not None
        assert shop.jobs.requeue(job_id).state is JobState.ENQUEUED

    def test_a_scheduled_job_runs_now_when_it_is_requeued(self, shop: Shop) -> None:
        job_id = shop.report.using(delay=3600).enqueue(date(2026, 1, 1))
        shop.manager.requeue(job_id)
        shop.start()
        assert shop.jobs.wait(job_id, timeout=10).state is JobState.SUCCEEDED

    def test_an_action_that_comes_too_late_is_refused(self, shop: Shop) -> None:
        job_id = shop.report.enqueue(date(2026, 1, 1))
        assert refusal(StateChangedError, lambda: shop.jobs.requeue(job_id)) == (
            f"Job {job_id} is enqueued now, so it cannot be requeued. Nothing was changed."
        )
        shop.jobs.delete(job_id)
        assert refusal(StateChangedError, lambda: shop.jobs.delete(job_id)) == (
            f"Job {job_id} is deleted now, so it cannot be deleted. Nothing was changed."
        )
        assert len(shop.jobs.storage.history(job_id)) == 2

    def test_a_job_of_another_tenant_is_not_there(self, shop: Shop) -> None:
        job_id = shop.report.using(tenant="acme").enqueue(date(2026, 1, 1))
        for act in (shop.manager.delete, shop.manager.requeue):
            for tenant in ("globex", None):
                words = refusal(JobNotFoundError, lambda act=act, tenant=tenant: act(job_id, tenant=tenant))  # type: ignore[misc]
                assert words == f"There is no job '{job_id}'."
        assert shop.jobs.storage.get(job_id).state is JobState.ENQUEUED
        assert shop.manager.delete(job_id, tenant="acme").state is JobState.DELETED

    def test_an_unknown_id_is_not_there(self, shop: Shop) -> None:
        for act in (shop.jobs.delete, shop.jobs.requeue, lambda job_id: shop.jobs.wait(job_id, timeout=0)):
            assert refusal(JobNotFoundError, lambda act=act: act("nope")) == "There is no job 'nope'."  # type: ignore[misc]


class TestWaiting:
    def test_waiting_returns_the_end_whatever_it_is(self, shop: Shop) -> None:
        @shop.jobs.job(name="breaks", retry=RetryPolicy.none())
        def breaks() -> None:
            raise ValueError("no")

        good, bad, gone = shop.report.enqueue(date(2026, 1, 1)), breaks.enqueue(), shop.report.enqueue(date(2026, 1, 1))
        shop.jobs.delete(gone)
        shop.start()
        ends = [shop.jobs.wait(job_id, timeout=timedelta(seconds=10)) for job_id in (good, bad, gone)]
        assert [job.state.value for job in ends] == ["succeeded", "failed", "deleted"]
        assert (ends[1].error_type, ends[1].error_message) == ("ValueError", "no")

    def test_waiting_has_an_end(self, shop: Shop) -> None:
        job_id = shop.report.enqueue(date(2026, 1, 1))
        began = time.monotonic()
        assert refusal(TimeoutError, lambda: shop.jobs.wait(job_id, timeout=0.2)) == (
            f"Job {job_id} (report) is still enqueued after 0.2 s."
        )
        assert 0.15 < time.monotonic() - began < 2


class TestWithoutFlask:
    def test_a_huey_of_its_own_has_a_manager(self, tmp_path: Path, eventually: Callable[..., Any]) -> None:
        huey = open_huey(f"sqlite:///{tmp_path}/jobs.db", name="script")
        manager = HueyJobManager(huey)

        def whose(x: int) -> list[Any]:
            return [x, current_job.enqueued_by, current_job.attempt]

        huey.jobs.define(whose, name="whose")
        job_id = manager.enqueue_by_name("whose", {"x": 1})
        consumer = huey.create_consumer(workers=1, handle_signals=False, heartbeat=0.5, server_timeout=2.0)
        consumer.start()
        try:
            eventually(lambda: huey.records.get(job_id).result == b"[1,null,1]")
        finally:
            consumer.stop(graceful=True)
            huey.records.close()

    def test_the_file_is_below_the_working_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        open_huey("sqlite:///jobs.db", name="script").records.close()
        assert (tmp_path / "jobs.db").exists()


def test_a_storage_that_does_not_take_the_job_says_so(tmp_path: Path) -> None:
    shop = Shop(tmp_path, "sqlite:///jobs.db")
    with shop.flask.app_context():
        shop.report.enqueue(date(2026, 1, 1))
        shop.jobs.storage.close()
        for file in tmp_path.glob("jobs.db*"):
            file.unlink()
        (tmp_path / "jobs.db").mkdir()
        with pytest.raises(StorageError):
            shop.report.enqueue(date(2026, 1, 1))
