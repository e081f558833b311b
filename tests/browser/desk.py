"""A desk with jobs: a real storage filled through its verbs, and apps that show it. Shared by the dashboard's tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import flask_login
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import StrictUndefined

from flask_abpjobs.access import default_permission_checker, default_tenant_resolver
from flask_abpjobs.config import JobsConfig
from flask_abpjobs.dashboard import DashboardOptions, DashboardServices, create_blueprint
from flask_abpjobs.ids import new_job_id
from flask_abpjobs.model import (
    Argument,
    Claim,
    JobError,
    JobProgress,
    JobRecord,
    JobState,
    Lease,
    LogLine,
    Outcome,
    ServerRecord,
)
from flask_abpjobs.storage import open_storage

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}"
TRACEBACK = """Traceback (most recent call last):
  File "/opt/venv/lib/python3.12/site-packages/flask_abpjobs/engine/performer.py", line 64, in perform
    result = call(*arguments.args)
  File "/srv/orderdesk/jobs/orders.py", line 88, in import_csv
    charge_batch(gateway, batch)
  File "/srv/orderdesk/payments.py", line 41, in charge_batch
    raise PaymentGatewayTimeout(gateway.host)
orderdesk.payments.PaymentGatewayTimeout: No answer from gateway.acme.example"""
ARGUMENTS = (
    Argument("path", "'acme/orders-1124.csv'", "str"),
    Argument("upstream_id", "9007199254740993", "int"),
    Argument("api_token", "", "str", True),
)
BEGAN = 1_795_514_400.0


class Clock:
    """Epoch seconds that move when told to."""

    def __init__(self, at: float = BEGAN) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at

    @property
    def time(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)


class Desk:
    """A storage and short ways to bring jobs into every state."""

    def __init__(self, url: str = "memory://", *, at: float = BEGAN) -> None:
        self.clock = Clock(at)
        self.storage = open_storage(url, "desk", clock=self.clock)
        self._workers = itertools.count(1)

    def serve(self, server: str = "desk-1", *queues: str, workers: int = 4) -> None:
        self.storage.announce(
            ServerRecord(
                id=server,
                host=f"{server}.example",
                pid=4117,
                worker_type="thread",
                workers=workers,
                queues=queues or ("default",),
                started_at=self.clock.time,
                heartbeat_at=self.clock.time,
            )
        )

    def add(self, name: str = "orders.import_csv", **values: Any) -> str:
        job_id = values.pop("id", None) or new_job_id(self.clock.at)
        record = JobRecord(
            id=job_id,
            name=name,
            state_at=self.clock.time,
            created_at=self.clock.time,
            **{"payload": b'{"path": "acme/orders-1124.csv"}', "arguments": ARGUMENTS, **values},
        )
        assert self.storage.add(record)
        self.clock.at += 1
        return job_id

    def start(self, **values: Any) -> tuple[str, Lease]:
        """Add a job of a queue of its own and claim it."""
        worker = str(next(self._workers))
        queue = values.pop("queue", None)
        alone = queue or f"q{worker}"
        server = values.pop("server", "desk-1")
        if not any(each.id == server for each in self.storage.servers()):
            self.serve(server)
        job_id = self.add(queue=alone, **values)
        job = self.storage.claim(Claim(server, worker, (alone,)))
        assert job is not None
        assert job.id == job_id
        self.clock.at += 2
        return job_id, Lease(job_id, job.fence)

    def succeed(self, **values: Any) -> str:
        job_id, lease = self.start(**values)
        self.storage.finish(lease, Outcome(state=JobState.SUCCEEDED, duration=2.0, result=b'{"big":9007199254740993}'))
        return job_id

    def fail(self, error: JobError | None = None, **values: Any) -> str:
        job_id, lease = self.start(**values)
        error = error or JobError("orderdesk.payments.PaymentGatewayTimeout", "No answer", TRACEBACK)
        self.storage.finish(
            lease, Outcome(state=JobState.FAILED, duration=2.0, error=error, reason="No attempt is left")
        )
        return job_id

    def retry(self, **values: Any) -> str:
        job_id, lease = self.start(**values)
        error = JobError("orderdesk.payments.PaymentGatewayTimeout", "No answer", TRACEBACK)
        due_at = datetime.fromtimestamp(self.clock.at + 600, UTC)
        self.storage.finish(lease, Outcome(state=JobState.SCHEDULED, duration=2.0, error=error, due_at=due_at))
        return job_id

    def schedule(self, **values: Any) -> str:
        due_at = datetime.fromtimestamp(self.clock.at + 600, UTC)
        return self.add(state=JobState.SCHEDULED, due_at=due_at, **values)

    def delete(self, **values: Any) -> str:
        job_id = self.add(**values)
        self.storage.delete(job_id, expected={JobState.ENQUEUED}, reason="Not wanted", by="Ayla")
        return job_id

    def progress(self, lease: Lease, done: float, total: float | None, message: str = "") -> None:
        line = LogLine(at=self.clock.time, attempt=1, level="warning", text=f"line: {message}")
        self.storage.report(lease, JobProgress(done, total, message), [line])

    def fill(self, **values: Any) -> dict[str, str]:
        """Bring one job into every state, and one more that waits for another attempt."""
        running, lease = self.start(**values)
        self.progress(lease, 3, 10, "Batch 3 of 10")
        return {
            "scheduled": self.schedule(**values),
            "enqueued": self.add(**values),
            "awaiting": self.add(state=JobState.AWAITING, **values),
            "processing": running,
            "succeeded": self.succeed(**values),
            "failed": self.fail(**values),
            "deleted": self.delete(**values),
            "retries": self.retry(**values),
        }


class User(flask_login.UserMixin):
    """A user of the host app."""

    def __init__(
        self, id: str, tenant_id: str | None = None, permissions: tuple[str, ...] = (), roles: Any = ()
    ) -> None:
        self.id = id
        self.username = f"{id.capitalize()} Demir"
        self.tenant_id = tenant_id
        self.permissions = permissions
        self.roles = roles


USERS = {
    user.id: user
    for user in (
        User("host", None, ("Jobs.See",)),
        User("operator", None, ("Jobs.See", "Jobs.Operate")),
        User("acme", "acme", ("Jobs.See", "Jobs.Operate")),
        User("globex", "globex", ("Jobs.See", "Jobs.Operate")),
        User("nobody", None),
    )
}


def services_of(desk: Desk, config: Mapping[str, Any] | None = None, **changes: Any) -> DashboardServices:
    given: dict[str, Any] = {
        "storage": desk.storage,
        "manager": desk.storage,  # its verbs are what the manager forwards to
        "config": JobsConfig.from_mapping({"ABPJOBS_NAME": "desk", **(config or {})}),
        "permission_checker": default_permission_checker,
        "tenant_resolver": default_tenant_resolver,
        "version": "1.2.3",
    }
    return DashboardServices(**given | changes)


def app_of(
    desk: Desk,
    options: DashboardOptions | None = None,
    *,
    logins: bool = True,
    prepare: Callable[[Flask], object] | None = None,
    config: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Flask:
    """Return a host app with one dashboard at /jobs.

    :param prepare: called with the app before the dashboard is mounted.
    :param config: ``ABPJOBS_`` settings.
    :param changes: other services.
    """
    app = Flask("desk")
    app.secret_key = "a secret of the tests"
    app.testing = True
    app.jinja_env.undefined = StrictUndefined
    if logins:
        manager = flask_login.LoginManager(app)
        manager.user_loader(USERS.get)

        @app.get("/login/<name>")
        def login(name: str) -> str:
            flask_login.login_user(USERS[name])
            return name

    if prepare is not None:
        prepare(app)
    app.register_blueprint(create_blueprint(options or DashboardOptions(), services_of(desk, config, **changes)))
    return app


class Browser(FlaskClient):
    """A test client that reads each answer to its end, so that no static file stays open."""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        return super().open(*args, buffered=True, **kwargs)


def client_of(app: Flask, user: str | None = None) -> FlaskClient:
    """Return a browser of this machine, signed in if a user is named."""
    app.test_client_class = Browser
    client = app.test_client()
    if user is not None:
        assert client.get(f"/login/{user}").status_code == 200
    return client


def token_of(client: FlaskClient, path: str = "/jobs/") -> str:
    """Return a CSRF token of a page."""
    text = client.get(path).text
    return text.partition('<meta name="csrf-token" content="')[2].partition('"')[0]


def post(client: FlaskClient, path: str, **fields: Any) -> Any:
    """Send a form as a page of the dashboard does."""
    return client.post(path, data={"csrf_token": token_of(client), **fields})
