"""A tenant's user sees, counts and touches the jobs of their tenant, and no others, on every route."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from flask_abpjobs.access import AbpJobsAuthorizationFilter
from flask_abpjobs.dashboard import DashboardOptions
from flask_abpjobs.model import JobState
from tests.browser.desk import Desk, app_of, client_of, post

OPTIONS = DashboardOptions(authorization=[AbpJobsAuthorizationFilter(enable_tenant=True)])
STATES = [state.value for state in JobState]
LISTS = [f"/jobs/jobs/{state}" for state in STATES] + ["/jobs/retries"]
ACTIONS = ("requeue", "run-now", "delete")


class Scene:
    """Two tenants and the host, with a job of each in every state."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.jobs = {
            tenant: self.desk.fill(tenant_id=tenant, name=f"jobs.of_{tenant}", enqueued_by=f"{tenant}-secret")
            for tenant in ("acme", "globex", None)
        }
        self.desk.fail(tenant_id="globex", name="jobs.of_globex")
        self.app = app_of(self.desk, OPTIONS)

    def client(self, user: str) -> FlaskClient:
        return client_of(self.app, user)

    def states(self, tenant: str | None) -> dict[str, JobState]:
        return {key: self.desk.storage.get(job_id).state for key, job_id in self.jobs[tenant].items()}


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.desk.storage.close()


def foreign_words(scene: Scene) -> list[str]:
    ids = [job_id for tenant in ("globex", None) for job_id in scene.jobs[tenant].values()]
    return ["of_globex", "of_None", "globex", *ids, *(job_id[-8:] for job_id in ids)]


def test_every_page_shows_a_tenants_user_their_own_jobs_only(scene: Scene) -> None:
    client = scene.client("acme")
    paths = ["/jobs/", "/jobs/servers", "/jobs/api/stats.json", *LISTS]
    paths += [f"{path}?tenant=globex" for path in paths] + [f"{path}?no_tenant=1" for path in paths]
    paths += [f"{path}?name=jobs.of_globex" for path in LISTS]
    for path in paths:
        response = client.get(path)
        assert response.status_code == 200
        shown = response.text.replace("name=jobs.of_globex", "").replace('value="jobs.of_globex"', "")
        shown = shown.replace("<bdi>jobs.of_globex</bdi>", "").replace("job jobs.of_globex", "")
        shown = shown.replace("tenant%3Dglobex", "").replace("tenant=globex", "")
        for word in foreign_words(scene):
            assert word not in shown, (path, word)
    for state, job_id in scene.jobs["acme"].items():
        path = "/jobs/retries" if state == "retries" else f"/jobs/jobs/{state}"
        assert job_id in client.get(path).text


def test_a_tenants_user_gets_counts_of_their_tenant(scene: Scene) -> None:
    expected = {"acme": 1, "globex": 2, "host": 4}
    for user, failed in expected.items():
        client = scene.client(user)
        stats = client.get("/jobs/api/stats.json").json
        assert stats["counts"]["failed"] == failed
        assert f'data-count="failed">{failed}<' in client.get("/jobs/").text
        assert f'data-count="failed">{failed}<' in client.get("/jobs/jobs/succeeded").text
    stats = scene.client("acme").get("/jobs/api/stats.json").json
    assert stats["counts"] == {**dict.fromkeys(STATES, 1), "scheduled": 2}
    assert stats["retrying"] == 1
    assert {queue["name"]: queue["length"] for queue in stats["queues"]}["default"] == 1


def test_a_tenants_user_is_not_told_how_busy_the_others_are(scene: Scene) -> None:
    scene.desk.add(tenant_id="globex", queue="imports-of-globex-only")
    for path in ("/jobs/", "/jobs/servers"):
        text = scene.client("acme").get(path).text
        assert "busy" not in text
        assert "SQLite" not in text
        assert "imports-of-globex-only" not in text
        assert "busy" in scene.client("host").get(path).text


def test_the_tenant_in_the_address_decides_for_host_users_only(scene: Scene) -> None:
    def failed(user: str, query: str) -> int:
        return scene.client(user).get(f"/jobs/api/stats.json{query}").json["counts"]["failed"]

    assert failed("host", "?tenant=acme") == 1
    assert failed("host", "?tenant=globex") == 2
    assert failed("host", "?tenant=nobody") == 0
    assert failed("host", "?no_tenant=1") == 1
    assert failed("host", "?tenant=") == 4
    for query in ("?tenant=globex", "?no_tenant=1", "?tenant=", "?tenant=acme&tenant=globex"):
        assert failed("acme", query) == 1
    assert scene.client("host").get(f"/jobs/?tenant={'x' * 201}").status_code == 400


def test_a_host_users_choice_stays_in_the_links(scene: Scene) -> None:
    text = scene.client("host").get("/jobs/jobs/failed?tenant=globex").text
    assert "/jobs/jobs/succeeded?tenant=globex" in text
    assert "/jobs/retries?tenant=globex" in text
    assert "of_globex" in text
    assert "of_acme" not in text


def test_a_foreign_job_and_a_missing_one_are_the_same_to_the_byte(scene: Scene) -> None:
    client = scene.client("acme")
    missing = "01JDG7B2K8WQ3F4M9N0XT5RZ6C"
    foreign = [job_id for tenant in ("globex", None) for job_id in scene.jobs[tenant].values()]
    for pattern in ("/jobs/jobs/id/{}", "/jobs/api/jobs/{}.json", "/jobs/jobs/id/{}/delete"):
        expected = client.get(pattern.format(missing))
        assert expected.status_code == 404
        for job_id in foreign:
            response = client.get(pattern.format(job_id))
            assert response.status_code == 404
            assert response.data == expected.data
            assert sorted(set(response.headers.keys())) == sorted(set(expected.headers.keys()))
            assert job_id not in response.text


def test_an_action_on_a_foreign_job_is_the_same_404_and_changes_nothing(scene: Scene) -> None:
    client = scene.client("acme")
    before = {tenant: scene.states(tenant) for tenant in ("globex", None)}
    for action in ACTIONS:
        for expected in STATES:
            missing = post(client, f"/jobs/jobs/id/01JDG7B2K8WQ3F4M9N0XT5RZ6C/{action}", expected=expected)
            for tenant in ("globex", None):
                for job_id in scene.jobs[tenant].values():
                    response = post(client, f"/jobs/jobs/id/{job_id}/{action}", expected=expected)
                    assert (response.status_code, response.data) == (missing.status_code, missing.data)
                    assert response.status_code in (400, 404)
    assert {tenant: scene.states(tenant) for tenant in ("globex", None)} == before


def test_selecting_foreign_jobs_changes_the_own_ones_and_counts_the_rest_as_skipped(scene: Scene) -> None:
    client = scene.client("acme")
    ids = [scene.jobs[tenant]["failed"] for tenant in ("globex", "acme", None)]
    response = post(client, "/jobs/jobs/failed/requeue", id=ids, next="/jobs/jobs/failed")
    text = client.get(response.location).text
    assert "1 job requeued." in text
    assert "2 jobs had moved on and were left alone." in text
    assert scene.states("globex")["failed"] is JobState.FAILED
    assert scene.states(None)["failed"] is JobState.FAILED
    assert scene.states("acme")["failed"] is JobState.ENQUEUED
    assert (
        "01" not in client.get(f"/jobs/jobs/failed/delete?id={ids[0]}").text.partition("<h1")[2].partition("</h1>")[0]
    )


def test_the_confirmation_page_tells_nothing_of_foreign_jobs(scene: Scene) -> None:
    text = scene.client("acme").get(f"/jobs/jobs/failed/delete?id={scene.jobs['globex']['failed']}").text
    assert "of_globex" not in text
    assert "Delete <span data-number>1</span> failed" in text


def test_a_host_user_acts_on_the_jobs_of_all(scene: Scene) -> None:
    client = scene.client("host")
    ids = [scene.jobs[tenant]["failed"] for tenant in ("globex", "acme", None)]
    post(client, "/jobs/jobs/failed/requeue", id=ids)
    assert {scene.desk.storage.get(job_id).state for job_id in ids} == {JobState.ENQUEUED}
    assert "by Host Demir" in client.get(f"/jobs/jobs/id/{ids[0]}").text


def test_another_tenant_resolver_decides_when_the_app_says_so(scene: Scene) -> None:
    app = app_of(scene.desk, OPTIONS, tenant_resolver=lambda: "globex")
    assert client_of(app, "host").get("/jobs/api/stats.json?tenant=acme").json["counts"]["failed"] == 2


def test_a_visitor_of_this_machine_is_host_whatever_the_resolver_says(scene: Scene) -> None:
    app = app_of(scene.desk, tenant_resolver=lambda: "acme")
    assert client_of(app).get("/jobs/api/stats.json").json["counts"]["failed"] == 4
    assert client_of(app, "globex").get("/jobs/api/stats.json").json["counts"]["failed"] == 1
