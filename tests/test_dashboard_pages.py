"""The pages: what they show, in which words, and what they never do."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from flask_abpjobs.dashboard import DashboardOptions
from flask_abpjobs.model import Argument, JobError, JobState, Lease, LogLine, Outcome
from tests.browser.desk import EVIL, Desk, app_of, client_of, post

LISTS = [f"/jobs/jobs/{state}" for state in JobState] + ["/jobs/retries"]


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.storage.close()


@pytest.fixture
def client(desk: Desk) -> Any:
    return client_of(app_of(desk))


def words_of(text: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", text.partition("<main")[2]).split())


def ids_in(text: str) -> list[str]:
    return re.findall(r'name="id" value="([^"]+)"', text.partition("<tbody>")[2])


class Elements(HTMLParser):
    """Counts elements and collects attributes that could run something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.bad: list[str] = []
        self.ids: Counter[str] = Counter()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name.startswith("on") or name == "style" or "javascript:" in (value or ""):
                self.bad.append(f"{tag} {name}")
            if name == "id":
                self.ids[str(value)] += 1


def test_the_address_without_a_slash_leads_to_the_overview(client: Any) -> None:
    assert client.get("/jobs").location == "/jobs/"
    assert client.get("/jobs?_external=1&_scheme=javascript&_anchor=x").location == "/jobs/"
    assert client.get("/jobs?tenant=acme").location == "/jobs/?tenant=acme"


def test_an_empty_dashboard_says_what_that_means(desk: Desk, client: Any) -> None:
    text = words_of(client.get("/jobs/").text)
    assert "No server is running. Jobs will wait until one starts" in text
    desk.serve()
    assert "All is well. 1 server answers, and no job waits." in words_of(client.get("/jobs/").text)
    expected = {
        "failed": "No failed jobs",
        "enqueued": "No job waits",
        "processing": "No job runs now 1 server answers and waits for work.",
        "succeeded": "No succeeded jobs",
        "scheduled": "No scheduled jobs",
        "awaiting": "No awaiting jobs",
        "deleted": "No deleted jobs",
    }
    for state, sentence in expected.items():
        assert sentence in words_of(client.get(f"/jobs/jobs/{state}").text)
    assert "No job waits for another attempt" in words_of(client.get("/jobs/retries").text)


def test_the_overview_says_first_what_is_wrong(desk: Desk, client: Any) -> None:
    desk.serve("desk-1", "default")
    desk.serve("desk-2", "mail")
    desk.add(queue="alpha")
    desk.add(queue="default")
    desk.clock.at += 15
    for server in ("desk-1", "desk-2"):
        desk.storage.heartbeat(server)
    text = words_of(client.get("/jobs/").text)
    assert "1 job waits in alpha and no server listens. The oldest has waited for 17 s." in text
    assert "All is well" not in text
    assert "has not answered" not in text

    desk.add(queue="mail")
    desk.add(queue="mail")
    desk.clock.at += 100
    desk.storage.heartbeat("desk-1")
    text = words_of(client.get("/jobs/").text)
    assert "2 jobs wait in mail and no server listens." in text
    assert "desk-2 has not answered for 1 min 42 s." in text
    assert text.index("2 jobs wait in mail") < text.index("1 job waits in alpha") < text.index("desk-2 has not")
    assert "1 lost" in client.get("/jobs/").text
    assert "desk-2 has not answered" in words_of(client.get("/jobs/servers").text)
    assert "Nobody listens" in client.get("/jobs/jobs/enqueued?queue=mail").text
    assert "Nobody listens" not in client.get("/jobs/jobs/enqueued?queue=default").text


def test_many_lost_servers_are_told_in_one_sentence(desk: Desk, client: Any) -> None:
    for number in range(12):
        desk.serve(f"desk-{number}")
    desk.clock.at += 840
    text = words_of(client.get("/jobs/").text)
    assert "12 servers have not answered for 14 min or longer." in text
    assert text.count("answered") == 1


def test_a_served_desk_is_calm(desk: Desk, client: Any) -> None:
    desk.serve("desk-1", "default")
    desk.add()
    desk.clock.at += 4
    expected = "1 server answers, every queue with jobs is served, and the oldest job has waited for 5 s."
    assert expected in words_of(client.get("/jobs/").text)


def test_counts_are_those_of_the_states(desk: Desk, client: Any) -> None:
    desk.fill()
    desk.fail()
    text = client.get("/jobs/").text
    for state in JobState:
        count = {"failed": 2, "scheduled": 2}.get(state, 1)
        assert f'<strong data-count="{state}">{count}</strong>' in text


def test_each_list_shows_the_columns_of_its_state(desk: Desk, client: Any) -> None:
    desk.fill(tenant_id="acme")
    expected = {
        "scheduled": ["Queue", "Tenant", "Created", "Due"],
        "enqueued": ["Queue", "Tenant", "Priority", "Waiting for"],
        "awaiting": ["Queue", "Tenant", "Priority", "Created"],
        "processing": ["Progress", "Server", "Queue", "Tenant", "Running for"],
        "succeeded": ["Queue", "Tenant", "Waited", "Ran", "Succeeded ↓"],
        "failed": ["Failed with", "Queue", "Tenant", "Attempt", "Failed ↓"],
        "deleted": ["Why", "Queue", "Tenant", "Deleted ↓"],
    }
    for state, columns in expected.items():
        text = client.get(f"/jobs/jobs/{state}").text
        heads = re.findall(r"<th scope=\"col\"[^>]*>([^<]+)</th>", text)
        assert heads == ["Job", *columns]
        labels = re.findall(r'data-label="([^"]+)"', text.partition("<tbody>")[2].partition("</tr>")[0])
        assert [label.split()[0] for label in labels] == [column.split()[0] for column in columns]
    text = words_of(client.get("/jobs/jobs/processing").text)
    assert "30 %, Batch 3 of 10" in text
    assert "desk-1 worker 1" in text


def test_a_list_with_a_chosen_tenant_has_no_tenant_column(desk: Desk, client: Any) -> None:
    desk.fail(tenant_id="acme")
    assert ">Tenant</th>" in client.get("/jobs/jobs/failed").text
    assert ">Tenant</th>" not in client.get("/jobs/jobs/failed?tenant=acme").text


@pytest.mark.parametrize("state", ["failed", "enqueued"])
def test_a_list_pages_by_keyset_forth_and_back(desk: Desk, client: Any, state: str) -> None:
    ids = [desk.fail() if state == "failed" else desk.add() for _ in range(25)]
    if state == "failed":
        ids.reverse()
    address = f"/jobs/jobs/{state}?size=10"
    seen, pages = [], []
    while address:
        text = client.get(address).text
        pages.append(ids_in(text))
        seen += pages[-1]
        following = re.search(r'href="([^"]+)">Next', text)
        previous = re.search(r'href="([^"]+)"><svg[^>]*><use[^>]*/></svg>Previous', text)
        address = following[1].replace("&amp;", "&") if following else ""
    assert seen == ids
    assert [len(page) for page in pages] == [10, 10, 5]
    assert previous
    assert ids_in(client.get(previous[1].replace("&amp;", "&")).text) == pages[1]


def test_a_page_stays_right_while_jobs_come(desk: Desk, client: Any) -> None:
    ids = [desk.fail() for _ in range(20)]
    text = client.get("/jobs/jobs/failed?size=10").text
    following = re.search(r'href="([^"]+)">Next', text)
    assert following
    for _ in range(5):
        desk.fail()
    assert ids_in(client.get(following[1].replace("&amp;", "&")).text) == ids[9::-1]


@pytest.mark.parametrize(
    "query",
    [
        "size=0",
        "size=101",
        "size=-1",
        "size=ten",
        "size=1e1",
        "size=0000100",
        "size=٣",
        "size=99999999999999999999",
        "after=x",
        "before=%00",
        "after=%C3%BC",
        f"after={'A' * 5000}",
        "after=MS4wLzE&before=MS4wLzE",
        f"queue={'x' * 201}",
        f"name={'x' * 201}",
        f"tenant={'x' * 201}",
    ],
)
def test_an_address_that_is_not_right_is_400(client: Any, query: str) -> None:
    for path in ("/jobs/jobs/failed", "/jobs/retries"):
        response = client.get(f"{path}?{query}")
        assert response.status_code == 400
        assert "This address is not right" in response.text


@pytest.mark.parametrize("query", ["size=", "after=", "page=7", "queue=", "name=%00", "queue=%27%3B--", "size=100"])
def test_what_is_empty_or_not_ours_is_ignored(client: Any, query: str) -> None:
    assert client.get(f"/jobs/jobs/failed?{query}").status_code == 200


@pytest.mark.parametrize("path", ["/jobs/jobs/lost", "/jobs/jobs/FAILED", "/jobs/jobs", "/jobs/x/y", "/jobs/jobs/id"])
def test_an_unknown_address_is_404(client: Any, path: str) -> None:
    assert client.get(path).status_code == 404


def test_filters_are_links_and_chips(desk: Desk, client: Any) -> None:
    desk.serve("desk-1", "default")
    mine = desk.add(name="mail.send", queue="mail", tenant_id="acme")
    wanted = {"name": "mail.send", "queue": "mail", "tenant_id": "acme"}
    for missing in wanted:
        desk.add(**{name: value for name, value in wanted.items() if name != missing})
    address = "/jobs/jobs/enqueued?name=mail.send&queue=mail&tenant=acme"
    text = client.get(address).text
    assert ids_in(text) == [mine]
    chips = text.partition('class="chips"')[2].partition("</ul>")[0]
    assert words_of("<main>" + chips).count("Remove") == 3
    for without in ("queue=mail", "name=mail.send", "tenant=acme"):
        links = [link.replace("&amp;", "&") for link in re.findall(r'href="([^"]+)"', chips)]
        link = next(link for link in links if without not in link and link.count("=") == 2)
        assert len(ids_in(client.get(link).text)) == 2
    assert 'href="/jobs/jobs/enqueued">Clear all' in chips
    nothing = client.get("/jobs/jobs/enqueued?name=none&queue=mail").text
    assert "Nothing in enqueued has the job name none and the queue mail ." in words_of(nothing)


def test_a_page_that_has_emptied_leads_to_the_first(desk: Desk, client: Any) -> None:
    for _ in range(11):
        desk.fail()
    text = client.get("/jobs/jobs/failed?size=10").text
    following = re.search(r'href="([^"]+)">Next', text)
    assert following
    oldest = ids_in(client.get(following[1].replace("&amp;", "&")).text)
    desk.storage.requeue(oldest[0], expected={JobState.FAILED}, reason="Again")
    assert "Nothing more here" in client.get(following[1].replace("&amp;", "&")).text


def test_the_job_page_shows_the_call_with_secrets_redacted(desk: Desk, client: Any) -> None:
    text = client.get(f"/jobs/jobs/id/{desk.fail(priority=25)}").text
    code = text.partition('<pre class="code">')[2].partition("</pre>")[0]
    assert re.sub(r"<[^>]+>", "", code).replace("&#39;", "'").splitlines() == [
        "# queue q1, priority high",
        "orders.import_csv(",
        "    path='acme/orders-1124.csv',   # str",
        "    upstream_id=9007199254740993,  # int",
        "    api_token=redacted,            # str, sensitive",
        ")",
    ]


def test_a_big_number_stays_exact(desk: Desk, client: Any) -> None:
    job_id = desk.succeed()
    assert "&#34;big&#34;: 9007199254740993" in client.get(f"/jobs/jobs/id/{job_id}").text
    assert client.get(f"/jobs/api/jobs/{job_id}.json").json["result"] == '{"big":9007199254740993}'


def test_a_job_that_cannot_be_read_keeps_its_row_whole(desk: Desk, client: Any) -> None:
    job_id = desk.fail(payload=b'\x80\x04\x95{"note": "<b>"' + b"A" * 9000, arguments=())
    damaged = desk.fail(arguments=(Argument("arguments", "b'\\xff'", "cannot be read"),), payload=b"\xff\x00")
    for text in (client.get("/jobs/jobs/failed").text, client.get(f"/jobs/jobs/id/{job_id}").text):
        assert "Arguments cannot be read: raw text, first 200 of 9,017 bytes" in text
        assert "\\x80\\x04\\x95{&#34;note&#34;: &#34;&lt;b&gt;&#34;AAAA" in text
        assert text.count("A" * 150) == 1
    assert ids_in(client.get("/jobs/jobs/failed").text) == [damaged, job_id]
    assert "first 2 of 2 bytes" in client.get(f"/jobs/jobs/id/{damaged}").text


def test_the_job_page_tells_how_the_job_went(desk: Desk, client: Any) -> None:
    job_id, lease = desk.start(name="orders.import_csv", enqueued_by="Ayla", tenant_id="acme", queue="alpha")
    desk.progress(lease, 7730, 12480, "Batch 16 of 25")
    text = words_of(client.get(f"/jobs/jobs/id/{job_id}").text)
    assert "Batch 16 of 25" in text
    assert "7,730 of 12,480, 61 % done." in text
    assert "Attempt 1 Processing running for 2.0 s on desk-1, worker 1" in text
    assert "line: Batch 16 of 25" in text
    error = JobError("pay.Timeout", "No answer", "")
    due_at = desk.clock.time.replace(second=59)
    desk.storage.finish(lease, Outcome(state=JobState.SCHEDULED, duration=2.0, error=error, due_at=due_at))
    text = words_of(client.get(f"/jobs/jobs/id/{job_id}").text)
    assert "Retrying" in text
    assert "Attempt 1 Failed ran 2.0 s on desk-1, worker 1" in text
    assert "Timeout, due" in text
    post(client, f"/jobs/jobs/id/{job_id}/run-now", expected="scheduled")
    text = words_of(client.get(f"/jobs/jobs/id/{job_id}").text)
    assert "Run now, on the dashboard, in alpha" in text
    assert "In alpha by Ayla" in text


def test_a_long_history_and_a_long_log_are_cut_and_said_so(desk: Desk, client: Any) -> None:
    job_id, lease = desk.start()
    lines = [LogLine(at=desk.clock.time, attempt=1, level="info", text=f"line {n}") for n in range(300)]
    desk.storage.report(lease, None, lines)
    text = client.get(f"/jobs/jobs/id/{job_id}").text
    assert "100 earlier lines are not shown." in text
    assert "line 99<" not in text
    assert "line 299<" in text


def fill_with(desk: Desk, evil: str) -> list[str]:
    error = JobError(evil, evil, f'Traceback (most recent call last):\n  File "{evil}", line 1, in {evil}\n{evil}')
    values: dict[str, Any] = {
        "name": evil,
        "tenant_id": evil,
        "enqueued_by": evil,
        "correlation_id": evil,
        "arguments": (Argument(evil, evil, evil), Argument(evil, "", evil, True)),
        "payload": b"{}",
        "server": evil,
    }
    running, lease = desk.start(**values)
    desk.progress(lease, 1, 2, evil)
    desk.storage.report(lease, None, [LogLine(at=desk.clock.time, attempt=1, level=evil, text=evil)])
    plain = {name: value for name, value in values.items() if name != "server"}
    deleted = desk.add(**plain)
    desk.storage.delete(deleted, expected={JobState.ENQUEUED}, reason=evil, by=evil)
    raw = desk.add(**plain | {"payload": evil.encode(), "arguments": ()})
    result, lease = desk.start(**values)
    desk.storage.finish(lease, Outcome(state=JobState.SUCCEEDED, result=f'"{evil}'.encode()))
    return [running, deleted, raw, result, desk.fail(error, **values), desk.retry(**values)]


@pytest.mark.parametrize("evil", [EVIL, "</script></textarea></title></pre>", "&lt;b&gt;", "\u202egpj.exe\x1b[31m\x07"])
def test_stored_text_is_text_on_every_page(desk: Desk, evil: str) -> None:
    ids = fill_with(desk, evil)
    options = DashboardOptions(title=evil, display_name=lambda job: f"Job {job.name}")
    client = client_of(app_of(desk, options))
    paths = ["/jobs/", "/jobs/servers", *LISTS]
    paths += [f"/jobs/jobs/id/{job_id}" for job_id in ids] + [f"/jobs/jobs/id/{ids[0]}/delete"]
    paths += ["/jobs/nothing"]
    for path in paths:
        for query in ({}, {"name": evil, "queue": evil, "tenant": evil, "next": evil, "id": evil, "done": evil}):
            text = client.get(path, query_string=query).text
            elements = Elements(text)
            assert not elements.bad, path
            assert elements.tags["script"] in (0, 2), path
            assert not elements.tags.keys() & {"img", "b64", "iframe", "textarea", "style", "base", "object"}, path
            assert "<script>alert" not in text
            assert ">49<" not in text  # a template in a template
            assert [name for name, count in elements.ids.items() if count > 1] == [], path
    assert EVIL != evil or "&lt;script&gt;alert(1)" in client.get(f"/jobs/jobs/id/{ids[0]}").text


def test_the_pages_are_small(desk: Desk, client: Any) -> None:
    for _ in range(30):
        ids = desk.fill(tenant_id="acme")
    paths = ["/jobs/", "/jobs/servers", *LISTS, *(f"/jobs/jobs/id/{job_id}" for job_id in ids.values())]
    for path in paths:
        assert len(gzip.compress(client.get(path).data)) < 15 * 1024, path


class Counting:
    """A storage that counts the questions it is asked."""

    def __init__(self, storage: Any) -> None:
        self.storage = storage
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.storage, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            return found(*args, **kwargs)

        return counted


def test_a_page_asks_the_storage_a_few_questions_however_many_jobs_there_are(desk: Desk) -> None:
    asked: list[dict[str, Counter[str]]] = []
    for _ in range(2):
        ids = desk.fill(tenant_id="acme")
        for _ in range(20):
            desk.succeed(tenant_id="acme")
        seen = {}
        for path in ("/jobs/", "/jobs/servers", *LISTS, f"/jobs/jobs/id/{ids['failed']}", "/jobs/api/stats.json"):
            counting = Counting(desk.storage)
            assert client_of(app_of(desk, storage=counting)).get(path).status_code == 200
            assert not counting.calls.keys() & {"check", "log"} or "/id/" in path
            assert sum(counting.calls.values()) <= 7, (path, counting.calls)
            assert max(counting.calls.values()) == 1
            seen[path.rpartition("/id/")[0] or path] = counting.calls
        asked.append(seen)
    assert asked[0] == asked[1]


def test_a_storage_that_does_not_answer_is_said_so(tmp_path: Path) -> None:
    desk = Desk(f"sqlite:///{tmp_path}/jobs.db")
    job_id = desk.fail()
    app = app_of(desk)
    app.logger.disabled = True
    client = client_of(app)
    assert client.get("/jobs/").status_code == 200
    desk.storage.close()
    for file in tmp_path.glob("jobs.db*"):
        file.write_bytes(b"not a database" * 1000)
    for path in ("/jobs/", "/jobs/jobs/failed", f"/jobs/jobs/id/{job_id}", "/jobs/servers"):
        response = client.get(path)
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "10"
        assert "The storage does not answer" in response.text
        assert "No job is lost" in response.text
        assert "tries again every 10 s" in response.text
        assert str(tmp_path) not in response.text
        assert response.headers["Cache-Control"] == "no-store"
    response = client.get("/jobs/api/stats.json")
    assert (response.status_code, list(response.json)) == (503, ["error"])
    desk.storage.close()


def test_times_are_relative_with_the_exact_one_beside(desk: Desk, client: Any) -> None:
    desk.fail()
    at = desk.clock.time
    desk.clock.at += 130
    text = client.get("/jobs/jobs/failed").text
    exact = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    assert f'<time datetime="{at:%Y-%m-%dT%H:%M:%S}.000Z" title="{exact}" data-age>2 min ago</time>' in text


def test_the_host_may_name_jobs_and_set_the_title(desk: Desk) -> None:
    job_id = desk.fail()
    options = DashboardOptions(title="Order desk", display_name=lambda job: f"Import ({job.queue})", app_path=None)
    client = client_of(app_of(desk, options))
    text = client.get(f"/jobs/jobs/id/{job_id}").text
    assert "Import (q1)" in text
    assert "· Order desk</title>" in text
    assert "Back to the application" not in text
    assert "Back to the application" in client_of(app_of(desk)).get("/jobs/").text


def test_the_host_may_override_a_template(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "abpjobs").mkdir()
    (tmp_path / "abpjobs" / "servers.html").write_text("my servers: {{ glance.servers|length }}")
    app = app_of(desk, prepare=lambda app: setattr(app, "template_folder", str(tmp_path)))
    assert client_of(app).get("/jobs/servers").text == "my servers: 0"


def test_settings_are_the_defaults_of_the_options(desk: Desk) -> None:
    for _ in range(8):
        desk.fail()
    config = {"ABPJOBS_DASHBOARD_PAGE_SIZE": 7, "ABPJOBS_DASHBOARD_TITLE": "Mine", "ABPJOBS_DASHBOARD_POLL_SECONDS": 5}
    text = client_of(app_of(desk, config=config)).get("/jobs/jobs/failed").text
    assert len(ids_in(text)) == 7
    assert 'data-interval="5.0"' in text
    assert "· Mine</title>" in text
    options = DashboardOptions(page_size=3, poll_seconds=60)
    text = client_of(app_of(desk, options, config=config)).get("/jobs/jobs/failed").text
    assert len(ids_in(text)) == 3
    assert 'data-interval="60' in text


def test_the_servers_page_shows_what_each_runs(desk: Desk, client: Any) -> None:
    desk.serve("idle", "alpha", "mail", workers=8)
    job_id, lease = desk.start(tenant_id="acme")
    desk.progress(lease, 1, 4, "a quarter")
    text = client.get("/jobs/servers").text
    words = words_of(text)
    assert "2 answering. 1 of 12 workers busy." in words
    assert "alpha mail" in words
    assert f'href="/jobs/jobs/id/{job_id}"' in text
    assert "25 %, a quarter" in words


def test_a_job_claimed_by_a_lease_is_still_shown_when_its_server_is_gone(desk: Desk, client: Any) -> None:
    job_id, lease = desk.start()
    assert isinstance(lease, Lease)
    desk.storage.retire("desk-1")
    text = words_of(client.get(f"/jobs/jobs/id/{job_id}").text)
    assert "Given back" in text
    assert "The server stopped before the job ended" in text
