"""The buttons: what they change, what they refuse, and how they tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from flask_abpjobs.model import DELETABLE, REQUEUABLE, Claim, JobState
from tests.browser.desk import Desk, app_of, client_of, post, token_of

WAITING = {JobState.SCHEDULED, JobState.AWAITING}


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.storage.close()


@pytest.fixture
def client(desk: Desk) -> Any:
    return client_of(app_of(desk), "operator")


def words_of(text: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


@pytest.mark.parametrize("state", list(JobState))
@pytest.mark.parametrize("action", ["requeue", "run-now", "delete"])
def test_an_action_fits_some_states_and_is_refused_in_the_others(
    desk: Desk, client: Any, state: JobState, action: str
) -> None:
    job_id = desk.fill()[state]
    fits = {"requeue": REQUEUABLE - WAITING, "run-now": WAITING, "delete": DELETABLE}[action]
    page = client.get(f"/jobs/jobs/id/{job_id}").text
    assert (f'action="/jobs/jobs/id/{job_id}/{action}"' in page) is (state in fits)
    response = post(client, f"/jobs/jobs/id/{job_id}/{action}", expected=state)
    target = JobState.DELETED if action == "delete" else JobState.ENQUEUED
    if state in fits:
        assert response.status_code == 303
        assert desk.storage.get(job_id).state is target
        entry = desk.storage.history(job_id)[-1]
        assert entry.data["by"] == "Operator Demir"
        assert "on the dashboard" in str(entry.reason)
    else:
        assert response.status_code == 400
        assert "Nothing was changed" in response.text
        assert desk.storage.get(job_id).state is state


def test_a_list_offers_only_what_fits_its_state(desk: Desk, client: Any) -> None:
    desk.fill()
    for state in JobState:
        text = client.get(f"/jobs/jobs/{state}").text
        assert ('data-act="requeue"' in text) is (state in REQUEUABLE - WAITING)
        assert ('data-act="run-now"' in text) is (state in WAITING)
        assert ('data-confirm="confirm"' in text) is (state in DELETABLE)
    text = client.get("/jobs/retries").text
    assert 'formaction="/jobs/retries/run-now"' in text
    assert 'formaction="/jobs/retries/delete"' in text


def test_the_page_an_action_leads_to_says_what_was_done_once(desk: Desk, client: Any) -> None:
    job_id = desk.fail()
    response = post(client, f"/jobs/jobs/id/{job_id}/requeue", expected="failed")
    assert response.location.startswith(f"/jobs/jobs/id/{job_id}?done=")
    page = client.get(response.location).text
    assert "1 job requeued." in page
    assert f'data-page="/jobs/jobs/id/{job_id}"' in page
    assert "1 job requeued." not in client.get(f"/jobs/jobs/id/{job_id}").text


@pytest.mark.parametrize("made_up", ["requeue", "WyJkZWxldGUiLDUsMF0.x", '["delete",500,0]', "x" * 5000, "<script>"])
def test_nobody_can_make_up_what_was_done(client: Any, made_up: str) -> None:
    response = client.get("/jobs/", query_string={"done": made_up})
    assert response.status_code == 200
    assert 'id="outcome"' not in response.text
    assert "<script>" not in response.text


def test_a_job_that_has_moved_on_is_left_alone_with_409(desk: Desk, client: Any) -> None:
    desk.serve()
    job_id = desk.add(name="orders.import_csv")
    job = desk.storage.claim(Claim("desk-1", "1", ("default",)))
    assert job is not None
    response = post(client, f"/jobs/jobs/id/{job_id}/delete", expected="enqueued")
    assert response.status_code == 409
    assert "Nothing was changed." in response.text
    assert f"{job_id} is processing now, so it can no longer be deleted." in words_of(response.text)
    assert f'href="/jobs/jobs/id/{job_id}">Open the job' in response.text
    assert f'data-page="/jobs/jobs/id/{job_id}"' in response.text
    assert desk.storage.get(job_id).state is JobState.PROCESSING


def test_a_selection_changes_what_has_not_moved_on_and_counts_the_rest(desk: Desk, client: Any) -> None:
    ids = [desk.fail() for _ in range(4)]
    desk.storage.requeue(ids[0], expected={JobState.FAILED}, reason="Somebody else was faster")
    response = post(client, "/jobs/jobs/failed/requeue", id=[*ids, "no-such-job"], next="/jobs/jobs/failed?size=10")
    assert response.status_code == 303
    assert response.location.startswith("/jobs/jobs/failed?size=10&done=")
    page = words_of(client.get(response.location).text)
    assert "3 jobs requeued. 2 jobs had moved on and were left alone." in page
    assert {desk.storage.get(job_id).state for job_id in ids} == {JobState.ENQUEUED}
    assert len(desk.storage.history(ids[0])) == 4


def test_a_selection_of_retries_runs_now_or_is_deleted(desk: Desk, client: Any) -> None:
    first, second = desk.retry(), desk.retry()
    assert "1 job put into the queue." in client.get(post(client, "/jobs/retries/run-now", id=first).location).text
    assert "1 job deleted." in client.get(post(client, "/jobs/retries/delete", id=second).location).text
    assert desk.storage.get(first).state is JobState.ENQUEUED
    assert desk.storage.get(second).state is JobState.DELETED


def test_an_empty_selection_changes_nothing_and_says_so(desk: Desk, client: Any) -> None:
    desk.fail()
    for response in (post(client, "/jobs/jobs/failed/requeue"), client.get("/jobs/jobs/failed/delete")):
        assert response.status_code == 303
        assert "Nothing was changed." in client.get(response.location).text


def test_the_same_job_selected_twice_is_one_job(desk: Desk, client: Any) -> None:
    job_id = desk.fail()
    page = client.get(post(client, "/jobs/jobs/failed/requeue", id=[job_id, job_id]).location).text
    assert "1 job requeued." in page
    assert "left alone" not in page


def test_more_than_a_page_cannot_be_selected(client: Any) -> None:
    response = post(client, "/jobs/jobs/failed/requeue", id=[f"job-{number}" for number in range(101)])
    assert response.status_code == 400
    assert "At most 100 jobs" in response.text


def test_deleting_asks_first_without_a_script(desk: Desk, client: Any) -> None:
    ids = [desk.fail(), desk.fail()]
    page = client.get(f"/jobs/jobs/failed/delete?id={ids[0]}&id={ids[1]}&next=/jobs/jobs/failed%3Fsize%3D10")
    assert page.status_code == 200
    assert "Delete 2 failed jobs ?" in words_of(page.text)
    assert {desk.storage.get(job_id).state for job_id in ids} == {JobState.FAILED}
    form = page.text.partition('<form class="confirm')[2].partition("</form>")[0]
    assert 'method="post" action="/jobs/jobs/failed/delete"' in form
    fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', form)
    data: dict[str, Any] = {}
    for name, value in fields:
        data.setdefault(name, []).append(value)
    response = client.post("/jobs/jobs/failed/delete", data=data)
    assert response.status_code == 303
    assert response.location.startswith("/jobs/jobs/failed?size=10&done=")
    assert {desk.storage.get(job_id).state for job_id in ids} == {JobState.DELETED}


def test_deleting_one_job_asks_with_its_name(desk: Desk, client: Any) -> None:
    job_id = desk.add()
    page = client.get(f"/jobs/jobs/id/{job_id}/delete").text
    assert "Delete orders.import_csv ?" in words_of(page)
    assert "kept" not in words_of(page)
    assert "for 1 d and are then removed" in words_of(page)
    assert client.get(f"/jobs/jobs/id/{desk.delete()}/delete").status_code == 400


def test_the_token_never_gets_into_an_address(desk: Desk, client: Any) -> None:
    desk.fill()
    for path in ("/jobs/jobs/failed", "/jobs/retries", "/jobs/"):
        for form in client.get(path).text.split("<form")[1:]:
            form = form.partition("</form>")[0]
            has_get = 'method="get"' in form.partition(">")[0] or 'formmethod="get"' in form
            assert not (has_get and '<input type="hidden" name="csrf_token"' in form)


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/",
        "//evil.example/jobs/",
        "/\\evil.example",
        "/jobs/\\..\\evil",
        "/jobs/\nSet-Cookie: a=b",
        "javascript:alert(1)",
        "/other",
        "/jobsx",
        "",
    ],
)
def test_an_action_leads_back_into_this_dashboard_only(desk: Desk, client: Any, address: str) -> None:
    response = post(client, "/jobs/jobs/failed/requeue", id=desk.fail(), next=address)
    assert re.fullmatch(r"/jobs/\?done=[\w.-]+", response.location)
    assert post(client, "/jobs/preferences/theme", value="dark", next=address).location == "/jobs/"


def test_the_theme_is_kept_in_a_cookie_and_rendered_by_the_server(client: Any) -> None:
    assert "data-theme" not in client.get("/jobs/").text
    response = post(client, "/jobs/preferences/theme", value="dark", next="/jobs/servers")
    assert (response.status_code, response.location) == (303, "/jobs/servers")
    cookie = response.headers["Set-Cookie"]
    assert "abpjobs_theme=dark" in cookie
    assert "Path=/jobs/" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert '<html lang="en" data-theme="dark">' in client.get("/jobs/").text
    assert '<html lang="en" data-theme="dark">' in client.get("/jobs/nothing").text
    assert post(client, "/jobs/preferences/theme", value="pink").status_code == 400
    client.set_cookie("abpjobs_theme", '"><script>', path="/jobs/")
    assert '<html lang="en">' in client.get("/jobs/").text


def test_the_live_interval_is_kept_in_a_cookie(client: Any) -> None:
    assert 'data-interval="2.0"' in client.get("/jobs/").text
    post(client, "/jobs/preferences/live", value="0")
    text = client.get("/jobs/").text
    assert 'data-interval="0.0"' in text
    assert "Not live" in text
    assert post(client, "/jobs/preferences/live", value="0.001").status_code == 400


def test_a_preference_cannot_be_set_by_get(client: Any) -> None:
    assert client.get("/jobs/preferences/theme?value=dark").status_code == 404


def test_an_action_needs_to_say_what_it_expects(desk: Desk, client: Any) -> None:
    job_id = desk.fail()
    for expected in ("", "lost", "failed "):
        assert post(client, f"/jobs/jobs/id/{job_id}/requeue", expected=expected).status_code == 400
    assert client.post(f"/jobs/jobs/id/{job_id}/requeue", data={"csrf_token": token_of(client)}).status_code == 400
    assert desk.storage.get(job_id).state is JobState.FAILED
