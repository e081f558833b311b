"""The JSON interface: the same numbers, and ETags that hold while nothing changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flask_abpjobs.model import JobState
from tests.browser.desk import Desk, app_of, client_of


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.storage.close()


@pytest.fixture
def client(desk: Desk) -> Any:
    return client_of(app_of(desk))


def test_stats_are_counts_queues_and_servers(desk: Desk, client: Any) -> None:
    desk.serve("desk-1", "default", workers=3)
    desk.fill()
    response = client.get("/jobs/api/stats.json")
    assert response.mimetype == "application/json"
    body = response.json
    assert body["counts"] == {**{state.value: 1 for state in JobState}, "scheduled": 2}
    assert body["retrying"] == 1
    assert body["created"] == 8
    assert body["servers"] == {"live": 1, "lost": 0, "workers": 3}
    default = next(queue for queue in body["queues"] if queue["name"] == "default")
    assert (default["length"], default["servers"]) == (1, 1)
    assert default["oldest_at"].endswith("Z")
    assert body["poll_seconds"] == 2.0


def test_stats_keep_their_etag_while_only_the_clock_moves(desk: Desk, client: Any) -> None:
    desk.serve()
    desk.fill()
    first = client.get("/jobs/api/stats.json")
    etag = {"If-None-Match": first.headers["ETag"]}
    for _ in range(3):
        desk.clock.at += 7
        desk.storage.heartbeat("desk-1")
        again = client.get("/jobs/api/stats.json", headers=etag)
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["X-CSRFToken"]
    desk.add()
    changed = client.get("/jobs/api/stats.json", headers=etag)
    assert changed.status_code == 200
    assert changed.headers["ETag"] != first.headers["ETag"]


def test_a_lost_server_changes_the_etag(desk: Desk, client: Any) -> None:
    desk.serve()
    etag = {"If-None-Match": client.get("/jobs/api/stats.json").headers["ETag"]}
    desk.clock.at += 31
    response = client.get("/jobs/api/stats.json", headers=etag)
    assert response.json["servers"] == {"live": 0, "lost": 1, "workers": 0}


def test_the_token_of_a_poll_is_good_for_an_action(desk: Desk, client: Any) -> None:
    job_id = desk.fail()
    response = client.get("/jobs/api/stats.json")
    token = response.headers["X-CSRFToken"]
    assert token not in response.text
    data = {"expected": "failed", "csrf_token": token}
    assert client.post(f"/jobs/jobs/id/{job_id}/requeue", data=data).status_code == 303


def test_a_job_as_json_has_its_history_and_no_traceback(desk: Desk, client: Any) -> None:
    job_id = desk.fail(tenant_id="acme", enqueued_by="Ayla")
    body = client.get(f"/jobs/api/jobs/{job_id}.json").json
    assert (body["id"], body["state"], body["tenant_id"]) == (job_id, "failed", "acme")
    assert body["arguments"][1] == {"name": "upstream_id", "text": "9007199254740993", "type": "int", "redacted": False}
    assert body["arguments"][2] == {"name": "api_token", "text": "", "type": "str", "redacted": True}
    assert [entry["state"] for entry in body["history"]] == ["enqueued", "processing", "failed"]
    assert body["history"][2]["data"]["error_type"] == "orderdesk.payments.PaymentGatewayTimeout"
    assert "traceback" not in body["history"][2]["data"]
    assert "payload" not in body


def test_a_running_job_changes_its_etag_with_its_progress_and_its_log(desk: Desk, client: Any) -> None:
    job_id, lease = desk.start()
    path = f"/jobs/api/jobs/{job_id}.json"

    def etag() -> str:
        return str(client.get(path).headers["ETag"])

    first = etag()
    desk.clock.at += 30
    assert etag() == first
    desk.progress(lease, 1, 2, "half")
    second = etag()
    assert second != first
    assert client.get(path, headers={"If-None-Match": second}).status_code == 304


def test_a_missing_job_and_a_missing_address_answer_in_json(client: Any) -> None:
    for path in ("/jobs/api/jobs/none.json", "/jobs/api/nothing"):
        response = client.get(path)
        assert response.status_code == 404
        assert response.mimetype == "application/json"
        assert list(response.json) == ["error"]
