"""Who gets into the dashboard, and what they may do there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import flask_login
import flask_wtf
import pytest
from flask import Blueprint, Flask, g, redirect
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_abpjobs.access import (
    AbpJobsAuthorizationFilter,
    DashboardAuthorizationFilter,
    DashboardContext,
    LocalRequestsOnlyFilter,
)
from flask_abpjobs.dashboard import DashboardOptions, create_blueprint
from flask_abpjobs.dashboard.blueprint import ROUTES
from flask_abpjobs.dashboard.guard import _answer
from flask_abpjobs.errors import ConfigError
from flask_abpjobs.model import JobState
from tests.browser.desk import USERS, Desk, app_of, client_of, post, services_of, token_of

OUTSIDE = {"REMOTE_ADDR": "203.0.113.9"}
SIGNED_IN = DashboardOptions(authorization=[AbpJobsAuthorizationFilter(enable_tenant=True)])
READS = (
    "/jobs",
    "/jobs/",
    "/jobs/jobs/failed",
    "/jobs/retries",
    "/jobs/servers",
    "/jobs/api/stats.json",
    "/jobs/nothing/here",
    "/jobs/jobs/id/{id}",
    "/jobs/api/jobs/{id}.json",
    "/jobs/jobs/id/{id}/delete",
    "/jobs/jobs/failed/delete?id={id}",
    "/jobs/retries/delete?id={id}",
)
WRITES = (
    "/jobs/jobs/id/{id}/requeue",
    "/jobs/jobs/id/{id}/run-now",
    "/jobs/jobs/id/{id}/delete",
    "/jobs/jobs/failed/requeue",
    "/jobs/jobs/failed/delete",
    "/jobs/jobs/scheduled/run-now",
    "/jobs/retries/run-now",
    "/jobs/retries/delete",
    "/jobs/preferences/theme",
    "/jobs/preferences/live",
    "/jobs/",
    "/jobs/nothing/here",
)


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.storage.close()


class Answers(DashboardAuthorizationFilter):
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.seen: list[DashboardContext] = []

    def authorize(self, context: DashboardContext) -> Any:
        self.seen.append(context)
        return self.answer


class AnswersLater(DashboardAuthorizationFilter):
    def __init__(self, answer: bool) -> None:
        self.answer = answer

    async def authorize(self, context: DashboardContext) -> bool:
        await asyncio.sleep(0)
        assert context.request.path
        return self.answer


def every_request(desk: Desk) -> list[tuple[str, str]]:
    job_id = desk.fail()
    return [("GET", path.format(id=job_id)) for path in READS] + [("POST", path.format(id=job_id)) for path in WRITES]


def test_every_route_needs_a_right_that_is_known() -> None:
    assert {route.right for route in ROUTES} == {"view", "requeue", "delete"}
    assert all(
        route.right == ("delete" if "delete" in route.endpoint else "requeue")
        for route in ROUTES
        if "act" in route.view.__name__
    )


def test_by_default_this_machine_gets_in_and_nobody_else(desk: Desk) -> None:
    client = client_of(app_of(desk, logins=False))
    assert client.get("/jobs/").status_code == 200
    for method, path in every_request(desk):
        for environ, headers in (
            (OUTSIDE, {}),
            ({"REMOTE_ADDR": ""}, {}),
            ({}, {"X-Forwarded-For": "127.0.0.1"}),
            ({}, {"Forwarded": "for=127.0.0.1"}),
            ({}, {"X-Real-IP": "127.0.0.1"}),
            ({"HTTP_HOST": "evil.example"}, {}),
        ):
            response = client.open(path, method=method, environ_overrides=environ, headers=headers)
            assert response.status_code == 401, (method, path, environ, headers)


def test_behind_proxy_fix_the_default_lets_nobody_in(desk: Desk) -> None:
    app = app_of(desk, logins=False)
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    assert client_of(app).get("/jobs/").status_code == 401


def test_signing_in_does_not_open_the_default(desk: Desk) -> None:
    client = client_of(app_of(desk), "operator")
    assert client.get("/jobs/", environ_overrides=OUTSIDE).status_code == 403
    assert client.get("/jobs/").status_code == 200


def test_an_anonymous_visitor_is_refused_everywhere_with_401(desk: Desk) -> None:
    client = client_of(app_of(desk, SIGNED_IN))
    for method, path in every_request(desk):
        response = client.open(path, method=method)
        assert response.status_code == 401, (method, path)
        assert "orders" not in response.text


def test_a_user_who_is_refused_gets_403_and_no_way_to_login_again(desk: Desk) -> None:
    def prepare(app: Flask) -> None:
        app.login_manager.login_view = "login"  # type: ignore[attr-defined]

    options = DashboardOptions(authorization=[AbpJobsAuthorizationFilter(required_permission="Jobs.See")])
    client = client_of(app_of(desk, options, prepare=prepare), "nobody")
    for method, path in every_request(desk):
        assert client.open(path, method=method).status_code == 403, (method, path)


def test_an_anonymous_visitor_of_a_page_is_sent_to_the_hosts_login(desk: Desk) -> None:
    def prepare(app: Flask) -> None:
        app.add_url_rule("/signin", "signin", lambda: "")
        app.login_manager.login_view = "signin"  # type: ignore[attr-defined]

    client = client_of(app_of(desk, SIGNED_IN, prepare=prepare))
    response = client.get("/jobs/jobs/failed")
    assert response.status_code == 302
    assert response.location.startswith("/signin?next=")
    assert client.get("/jobs/api/stats.json").json == {
        "error": "Sign in first. This page opens only for people whom the application lets in."
    }
    assert client.get("/jobs/api/stats.json").status_code == 401
    assert client.post("/jobs/preferences/theme").status_code == 401


def test_the_hosts_own_unauthorized_handler_is_asked(desk: Desk) -> None:
    def prepare(app: Flask) -> None:
        app.login_manager.unauthorized_handler(lambda: redirect("/sso"))  # type: ignore[attr-defined]

    response = client_of(app_of(desk, SIGNED_IN, prepare=prepare)).get("/jobs/")
    assert (response.status_code, response.location) == (302, "/sso")


def test_login_disabled_does_not_open_the_dashboard(desk: Desk) -> None:
    app = app_of(desk, SIGNED_IN, prepare=lambda app: app.config.update(LOGIN_DISABLED=True))
    assert client_of(app).get("/jobs/").status_code == 401


@pytest.mark.parametrize(
    ("filters", "code"),
    [
        ([Answers(True)], 200),
        ([Answers(False)], 401),
        ([Answers(None)], 401),
        ([AnswersLater(True)], 200),
        ([AnswersLater(False)], 401),
        ([Answers(True), AnswersLater(True)], 200),
        ([AnswersLater(True), Answers(False)], 401),
        ([Answers(False), AnswersLater(True)], 401),
        ([Answers(True), LocalRequestsOnlyFilter()], 200),
    ],
)
def test_all_filters_must_pass_and_may_be_asynchronous(desk: Desk, filters: list[Any], code: int) -> None:
    assert client_of(app_of(desk, DashboardOptions(authorization=filters))).get("/jobs/").status_code == code


def test_a_filter_is_told_who_asks(desk: Desk) -> None:
    asked = Answers(True)
    client_of(app_of(desk, DashboardOptions(authorization=[asked])), "acme").get("/jobs/servers")
    context = asked.seen[-1]
    assert (context.user, context.tenant_id, context.request.path) == (USERS["acme"], "acme", "/jobs/servers")
    assert context.has_permission("Jobs.See")
    assert not context.has_permission("Jobs.Nothing")


def test_a_filter_that_breaks_lets_nobody_in(desk: Desk) -> None:
    class Breaks(DashboardAuthorizationFilter):
        def authorize(self, context: DashboardContext) -> bool:
            raise LookupError("the permission service is away")

    app = app_of(desk, DashboardOptions(authorization=[Breaks()]))
    app.testing = False
    response = client_of(app).get("/jobs/")
    assert response.status_code == 500
    assert "Something went wrong" in response.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"authorization": []}, "without a guard"),
        ({"authorization": ()}, "without a guard"),
        ({"authorization": [LocalRequestsOnlyFilter]}, "Give instances"),
        ({"authorization": [lambda context: True]}, "Give instances"),
        ({"permissions": {"trigger": "Jobs.Operate"}}, "no right 'trigger'"),
        ({"permissions": {"delete": ""}}, "names no permission"),
        ({"path": ""}, "start with one slash"),
        ({"path": "jobs"}, "start with one slash"),
        ({"path": "/"}, "start with one slash"),
        ({"path": "//evil.example"}, "start with one slash"),
        ({"path": "/<path:x>"}, "start with one slash"),
        ({"page_size": 0}, "use 1 to 100"),
        ({"page_size": 101}, "use 1 to 100"),
        ({"poll_seconds": 0.1}, "use 0.5 to 3600"),
        ({"app_path": "javascript:alert(1)"}, "use a path"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        DashboardOptions(**options)


def test_an_app_without_a_secret_key_gets_no_dashboard(desk: Desk) -> None:
    with pytest.raises(ConfigError, match="SECRET_KEY"):
        Flask("bare").register_blueprint(create_blueprint(DashboardOptions(), services_of(desk)))


def test_each_right_needs_its_permission(desk: Desk) -> None:
    options = DashboardOptions(
        authorization=[AbpJobsAuthorizationFilter()],
        permissions={
            "view": "Jobs.See",
            "view_arguments": "Jobs.Operate",
            "requeue": "Jobs.Operate",
            "delete": "Jobs.Never",
        },
    )
    app = app_of(desk, options)
    job_id = desk.fail()
    desk.succeed()
    assert client_of(app, "nobody").get("/jobs/").status_code == 403

    viewer = client_of(app, "host")
    page = viewer.get(f"/jobs/jobs/id/{job_id}").text
    assert "acme/orders-1124.csv" not in page
    assert "9007199254740993" not in page
    assert "You may not see the arguments" in page
    assert "Requeue</button>" not in page
    assert "Delete…" not in page
    assert "acme/orders-1124.csv" not in viewer.get("/jobs/jobs/failed").text
    assert "arguments" not in viewer.get(f"/jobs/api/jobs/{job_id}.json").json
    assert "result" not in viewer.get(f"/jobs/api/jobs/{job_id}.json").json
    assert post(viewer, f"/jobs/jobs/id/{job_id}/requeue", expected="failed").status_code == 403
    assert post(viewer, "/jobs/jobs/failed/requeue", id=job_id).status_code == 403
    assert desk.storage.get(job_id).state is JobState.FAILED

    operator = client_of(app, "operator")
    page = operator.get(f"/jobs/jobs/id/{job_id}").text
    assert "acme/orders-1124.csv" in page
    assert "Requeue</button>" in page
    assert "Delete…" not in page
    assert operator.get(f"/jobs/jobs/id/{job_id}/delete").status_code == 403
    assert post(operator, f"/jobs/jobs/id/{job_id}/delete", expected="failed").status_code == 403
    assert desk.storage.get(job_id).state is JobState.FAILED
    assert post(operator, f"/jobs/jobs/id/{job_id}/requeue", expected="failed").status_code == 303
    assert desk.storage.get(job_id).state is JobState.ENQUEUED


@pytest.mark.parametrize(
    ("options", "config"),
    [({"read_only": True}, {}), ({"read_only": lambda: True}, {}), ({}, {"ABPJOBS_DASHBOARD_READ_ONLY": True})],
)
def test_read_only_switches_every_action_off_on_the_server(
    desk: Desk, options: dict[str, Any], config: dict[str, Any]
) -> None:
    jobs = desk.fill()
    client = client_of(app_of(desk, DashboardOptions(**options), config=config))
    for state, job_id in jobs.items():
        page = client.get(f"/jobs/jobs/id/{job_id}").text
        assert "Read-only" in page
        assert "Requeue</button>" not in page
        assert "Delete…" not in page
        for action in ("requeue", "run-now", "delete"):
            response = post(client, f"/jobs/jobs/id/{job_id}/{action}", expected=state)
            assert response.status_code == 403
            assert "This dashboard is read-only." in response.text
    assert 'checkbox" name="id"' not in client.get("/jobs/jobs/failed").text
    assert client.get("/jobs/jobs/failed/delete?id=x").status_code == 403
    assert {desk.storage.get(job_id).state for job_id in jobs.values()} == set(JobState)
    assert post(client, "/jobs/preferences/theme", value="dark").status_code == 303


def test_read_only_is_asked_on_each_request(desk: Desk) -> None:
    answers = [True]
    client = client_of(app_of(desk, DashboardOptions(read_only=lambda: answers[0])))
    job_id = desk.fail()
    assert post(client, f"/jobs/jobs/id/{job_id}/requeue", expected="failed").status_code == 403
    answers[0] = False
    assert post(client, f"/jobs/jobs/id/{job_id}/requeue", expected="failed").status_code == 303


# Cross-site requests


def no_protection(app: Flask) -> None:
    pass


def with_protection(app: Flask) -> None:
    flask_wtf.CSRFProtect(app)


def switched_off(app: Flask) -> None:
    app.config["WTF_CSRF_ENABLED"] = False


def protected_and_switched_off(app: Flask) -> None:
    app.config["WTF_CSRF_ENABLED"] = False
    flask_wtf.CSRFProtect(app)


def not_checked_by_default(app: Flask) -> None:
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False
    flask_wtf.CSRFProtect(app)


def without_methods(app: Flask) -> None:
    app.config["WTF_CSRF_METHODS"] = []
    flask_wtf.CSRFProtect(app)


def with_another_field(app: Flask) -> None:
    app.config["WTF_CSRF_FIELD_NAME"] = "my_token"
    flask_wtf.CSRFProtect(app)


HOSTS = (
    no_protection,
    with_protection,
    switched_off,
    protected_and_switched_off,
    not_checked_by_default,
    without_methods,
    with_another_field,
)


@pytest.mark.parametrize("prepare", HOSTS, ids=lambda host: host.__name__)
def test_a_change_needs_a_token_whatever_the_host_does(desk: Desk, prepare: Any) -> None:
    app = app_of(desk, prepare=prepare, logins=False)
    client = client_of(app)
    job_id = desk.fail()
    path = f"/jobs/jobs/id/{job_id}/requeue"
    field = app.config.get("WTF_CSRF_FIELD_NAME", "csrf_token")
    token = token_of(client)
    strangers_token = token_of(client_of(app))
    for fields, headers in (
        ({}, {}),
        ({field: ""}, {}),
        ({field: "made up"}, {}),
        ({field: strangers_token}, {}),
        ({}, {"X-CSRFToken": strangers_token}),
    ):
        response = client.post(path, data={"expected": "failed", **fields}, headers=headers)
        assert response.status_code == 400
        assert "Nothing was changed" in response.text
        assert desk.storage.get(job_id).state is JobState.FAILED
    assert client.post(path, data={"expected": "failed", field: token}).status_code == 303
    assert desk.storage.get(job_id).state is JobState.ENQUEUED
    headers = {"X-CSRFToken": token}
    assert (
        client.post(f"/jobs/jobs/id/{job_id}/delete", data={"expected": "enqueued"}, headers=headers).status_code == 303
    )


def test_an_exempted_blueprint_still_checks_its_token(desk: Desk) -> None:
    app = Flask("desk")
    app.secret_key = "x"
    blueprint = create_blueprint(DashboardOptions(), services_of(desk))
    flask_wtf.CSRFProtect(app).exempt(blueprint)
    app.register_blueprint(blueprint)
    client = client_of(app)
    job_id = desk.fail()
    assert client.post(f"/jobs/jobs/id/{job_id}/requeue", data={"expected": "failed"}).status_code == 400
    assert post(client, f"/jobs/jobs/id/{job_id}/requeue", expected="failed").status_code == 303


def test_the_hosts_other_routes_are_left_as_they_were(desk: Desk) -> None:
    app = app_of(
        desk, logins=False, prepare=lambda app: app.add_url_rule("/own", "own", lambda: "own", methods=["POST"])
    )
    assert client_of(app).post("/own").text == "own"


def test_a_token_of_an_hour_ago_is_too_old(desk: Desk) -> None:
    app = app_of(desk, logins=False, prepare=lambda app: app.config.update(WTF_CSRF_TIME_LIMIT=-1))
    response = post(client_of(app), "/jobs/preferences/theme", value="dark")
    assert response.status_code == 400
    assert "expired" in response.text


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, False),
        ({"Origin": "http://localhost"}, True),
        ({"Origin": "https://localhost"}, True),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "http://localhost.evil.example"}, False),
        ({"Origin": "http://localhost:5001"}, False),
        ({"Origin": "null"}, False),
    ],
)
def test_another_site_can_change_nothing_even_with_a_token(desk: Desk, headers: dict[str, str], passes: bool) -> None:
    client = client_of(app_of(desk, logins=False))
    job_id = desk.fail()
    data = {"csrf_token": token_of(client), "expected": "failed"}
    response = client.post(f"/jobs/jobs/id/{job_id}/requeue", data=data, headers=headers)
    assert response.status_code == (303 if passes else 403)
    assert desk.storage.get(job_id).state is (JobState.ENQUEUED if passes else JobState.FAILED)


def test_https_without_a_referer_works_without_the_hosts_protection(desk: Desk) -> None:
    client = client_of(app_of(desk, logins=False))
    job_id = desk.fail()
    base = "https://localhost"
    page = client.get("/jobs/", base_url=base).text
    token = page.partition('name="csrf-token" content="')[2].partition('"')[0]
    data = {"csrf_token": token, "expected": "failed"}
    assert client.post(f"/jobs/jobs/id/{job_id}/requeue", data=data, base_url=base).status_code == 303


def test_nothing_changes_by_get(desk: Desk) -> None:
    jobs = desk.fill()
    client = client_of(app_of(desk, logins=False))
    for method in ("GET", "HEAD", "OPTIONS"):
        for job_id in jobs.values():
            for path in WRITES:
                client.open(path.format(id=job_id), method=method)
    assert {desk.storage.get(job_id).state for job_id in jobs.values()} == set(JobState)


# Several dashboards, several apps


def test_two_dashboards_of_one_app_keep_their_own_guard_and_links(desk: Desk) -> None:
    app = app_of(desk, SIGNED_IN)
    second = DashboardOptions(path="/ops/queue/", title="Second", read_only=True)
    app.register_blueprint(create_blueprint(second, services_of(desk), name="second"))
    client = client_of(app)
    job_id = desk.fail()
    assert client.get("/jobs/").status_code == 401
    page = client.get("/ops/queue/jobs/failed").text
    assert f'href="/ops/queue/jobs/id/{job_id}"' in page
    assert "/jobs/jobs/" not in page.replace("/ops/queue/jobs/", "")
    assert client.get("/ops/queue").location == "/ops/queue/"


def test_a_dashboard_nests_in_a_blueprint_of_the_host(desk: Desk) -> None:
    app = Flask("desk")
    app.secret_key = "x"
    admin = Blueprint("admin", __name__, url_prefix="/admin")
    admin.register_blueprint(create_blueprint(DashboardOptions(), services_of(desk)))
    app.register_blueprint(admin)
    client = client_of(app)
    job_id = desk.fail()
    assert f'href="/admin/jobs/jobs/id/{job_id}"' in client.get("/admin/jobs/jobs/failed").text
    data = {"csrf_token": token_of(client, "/admin/jobs/"), "expected": "failed"}
    assert client.post(f"/admin/jobs/jobs/id/{job_id}/requeue", data=data).status_code == 303
    assert client.get("/admin/jobs/", environ_overrides=OUTSIDE).status_code == 401
    assert client.get("/admin/jobs/static/abpjobs.css", environ_overrides=OUTSIDE).status_code == 200


def test_two_apps_in_one_process_share_nothing(desk: Desk) -> None:
    other = Desk()
    job_id = other.fail()
    assert client_of(app_of(desk)).get(f"/jobs/jobs/id/{job_id}").status_code == 404
    assert client_of(app_of(other)).get(f"/jobs/jobs/id/{job_id}").status_code == 200
    other.storage.close()


def test_a_tenant_resolver_that_answers_with_an_empty_text_opens_nothing(desk: Desk) -> None:
    client = client_of(app_of(desk, SIGNED_IN, tenant_resolver=lambda: ""), "host")
    with pytest.raises(ConfigError, match="tenant resolver"):
        client.get("/jobs/")


def test_an_app_without_flask_login_can_let_people_in_by_a_filter_of_its_own(desk: Desk) -> None:
    class Knows(DashboardAuthorizationFilter):
        def authorize(self, context: DashboardContext) -> bool:
            return context.request.headers.get("Authorization") == "Bearer right"

    client = client_of(app_of(desk, DashboardOptions(authorization=[Knows()]), logins=False))
    assert client.get("/jobs/", environ_overrides=OUTSIDE).status_code == 401
    headers = {"Authorization": "Bearer right"}
    assert client.get("/jobs/", environ_overrides=OUTSIDE, headers=headers).status_code == 200


def test_the_dashboard_keeps_its_data_under_one_private_name(desk: Desk) -> None:
    app = app_of(desk)
    seen: set[str] = set()
    app.after_request(lambda response: seen.update(vars(g)) or response)
    client_of(app).get("/jobs/")
    assert {name for name in seen if "csrf" not in name and not name.startswith("_login")} == {"_abpjobs_visitor"}
    assert flask_login.__name__


def test_an_async_filter_is_asked_also_where_the_host_runs_an_event_loop() -> None:
    class Slow(DashboardAuthorizationFilter):
        async def authorize(self, context: DashboardContext) -> bool:
            await asyncio.sleep(0)
            return context.user is None

    async def host() -> bool:
        context = DashboardContext(request=None, user=None, tenant_id=None, has_permission=lambda name: False)
        return _answer(Slow().authorize(context))

    assert asyncio.run(host()) is True
