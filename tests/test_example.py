"""The example application, as its people use it: real pages, a real worker, real mail."""

from __future__ import annotations

import asyncio
import contextlib
import html
import importlib.util
import io
import json
import os
import re
import signal
import smtplib
import stat
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

import flask_abpjobs
from flask_abpjobs import JobQuery, JobRecord, JobState, StateEntry

ROOT = Path(__file__).parents[1]


def load(name: str, path: Path) -> Any:
    """Import a module by its place: the checkout is not on the path when the installed package is tested."""
    if name not in sys.modules:
        places = [str(path.parent)] if path.name == "__init__.py" else None
        spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=places)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


example = load("example", ROOT / "example" / "__init__.py")
make = load("example_sample_make", ROOT / "example" / "sample" / "make.py")
SAMPLE = ROOT / "example" / "sample" / "orders.csv"
HEAD = "number,date,customer,email,item,quantity,unit_price,currency"
GOOD_ROW = "A-1,2026-03-02,Ada Kaya,ada@example.com,Desk lamp,2,68.00,EUR"
PASSWORD = example.accounts.DEMO_PASSWORD
ORDERS_OF_SAMPLE = 11_993
WARNINGS_OF_SAMPLE = [
    "Row 614 skipped: it has 7 fields, not 8.",
    "Row 2,050 skipped: '2026-02-30' is no date.",
    "Row 4,713 skipped: the quantity '-3' is not from 1 to 100,000.",
    "Row 6,001 skipped: the quantity 'twelve' is not a whole number.",
    "Row 7,302 skipped: the currency 'XBT' is not known.",
    "Row 9,092 skipped: it is not UTF-8 text.",
    "Row 11,502 skipped: the number is missing.",
]


class Person:
    """Somebody with a browser, so to say."""

    def __init__(self, app: Flask) -> None:
        self._client = app.test_client()

    def get(self, path: str) -> TestResponse:
        return self._client.get(path, buffered=True)

    def post(self, path: str, source: str = "/", **fields: Any) -> TestResponse:
        """Send a form as the page ``source`` has it; when it has none like it, with the token alone."""
        page = self.get(source).text
        form = re.search(rf'<form[^>]* action="{re.escape(path)}".*?</form>', page, re.DOTALL)
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form[0] if form else page))
        assert "csrf_token" in hidden, source
        given = hidden if form else {"csrf_token": hidden["csrf_token"]}
        return self._client.post(path, data={**given, **fields}, buffered=True)

    def post_without_token(self, path: str, **fields: Any) -> TestResponse:
        return self._client.post(path, data=fields)

    def sign_in(self, user_id: str, next_page: str = "") -> TestResponse:
        page = f"/login?next={next_page}" if next_page else "/login"
        user = example.accounts.USERS[user_id]
        return self.post(page, page, email=user.email, password=PASSWORD)


class Desk:
    """A running order desk in this process."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self._consumer: Any = None
        self._thread: threading.Thread | None = None

    def person(self, user_id: str) -> Person:
        someone = Person(self.app)
        assert someone.sign_in(user_id).status_code == 302
        return someone

    def start_worker(self) -> None:
        """Start what ``flask abpjobs worker`` starts, in a thread."""
        with self.app.app_context():
            self._consumer = example.jobs.jobs.huey.create_consumer(workers=4, handle_signals=False)
        self._thread = threading.Thread(target=self._consumer.run)
        self._thread.start()

    def stop(self) -> None:
        if self._consumer is not None and self._thread is not None:
            self._consumer.stop_flag.set()
            self._thread.join(20)
            self._consumer.stop(graceful=True)
        self.app.extensions["mailbox"].close()
        with self.app.app_context():
            example.jobs.jobs.storage.close()

    def jobs(self, name: str | None = None, tenant: str = "acme") -> list[JobRecord]:
        with self.app.app_context():
            return list(example.jobs.jobs.storage.find(JobQuery(name=name, tenant=tenant, limit=100)).jobs)

    def wait(self, job_id: str, timeout: float = 30.0) -> JobRecord:
        with self.app.app_context():
            record: JobRecord = example.jobs.jobs.wait(job_id, timeout)
            return record

    def history(self, job_id: str) -> list[StateEntry]:
        with self.app.app_context():
            return list(example.jobs.jobs.storage.history(job_id))

    def log(self, job_id: str) -> list[tuple[str, str]]:
        with self.app.app_context():
            return [(line.level, line.text) for line in example.jobs.jobs.storage.log(job_id)]

    def import_text(self, person: Person, text: str) -> JobRecord:
        """Upload a file and wait until it is imported."""
        answer = person.post("/import", "/import", file=(io.BytesIO(text.encode()), "orders.csv"))
        assert answer.status_code == 302, answer.text
        return self.wait(self.jobs("orders.import")[0].id)


@pytest.fixture
def open_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    """A function that opens a desk without a worker."""
    desks: list[Desk] = []

    def open_one(folder: str = "instance", **config: Any) -> Desk:
        settings = {"ABPJOBS_EMBEDDED_WORKER": False, "DESK_IMPORT_PAUSE": 0, **config}
        desks.append(Desk(example.create_app(tmp_path / folder, settings)))
        return desks[-1]

    yield open_one
    for desk in desks:
        desk.stop()


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    """A desk with a worker."""
    opened = open_desk()
    opened.start_worker()
    return opened


# Signing in


@pytest.mark.parametrize("user_id", example.accounts.USERS)
def test_each_demo_account_is_offered_filled_in_and_signs_in(open_desk: Callable[..., Desk], user_id: str) -> None:
    someone = Person(open_desk().app)
    assert f'href="/login?as={user_id}"' in someone.get("/login").text
    page = someone.get(f"/login?as={user_id}").text
    assert f'value="{example.accounts.USERS[user_id].email}"' in page
    assert f'value="{PASSWORD}"' in page
    assert someone.sign_in(user_id).location == "/"
    assert html.escape(example.accounts.USERS[user_id].name) in someone.get("/").text


@pytest.mark.parametrize("email", ["mara@acme.example", "nobody@acme.example"])
def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(
    open_desk: Callable[..., Desk], email: str
) -> None:
    someone = Person(open_desk().app)
    answer = someone.post("/login", "/login", email=email, password="guess")
    assert answer.status_code == 422
    assert "The e-mail address or the password is not right." in answer.text
    assert someone.get("/").status_code == 302


def test_the_way_leads_back_to_the_page_that_was_asked_for(open_desk: Callable[..., Desk]) -> None:
    someone = Person(open_desk().app)
    assert someone.get("/orders?page=2").location == "/login?next=%2Forders%3Fpage%3D2"
    assert someone.sign_in("acme-clerk", "%2Forders%3Fpage%3D2").location == "/orders?page=2"


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "https://evil.example",
        "/%5Cevil.example",
        "/%09/evil.example",
        "javascript:alert(1)",
        "%0A//x",
    ],
)
def test_the_way_never_leads_to_another_site(open_desk: Callable[..., Desk], target: str) -> None:
    assert Person(open_desk().app).sign_in("acme-clerk", target).location == "/"


def test_signing_out_ends_it_and_needs_a_form(open_desk: Callable[..., Desk]) -> None:
    manager = open_desk().person("acme-manager")
    assert manager.get("/logout").status_code == 405
    assert manager.post("/logout").location == "/login"
    assert manager.get("/orders").location == "/login?next=%2Forders"


@pytest.mark.parametrize("path", ["/login", "/logout", "/import", "/import/sample", "/charge", "/confirm", "/reports"])
def test_a_form_without_its_token_changes_nothing(open_desk: Callable[..., Desk], path: str) -> None:
    desk = open_desk()
    manager = desk.person("acme-manager")
    assert manager.post_without_token(path, month="2026-06").status_code == 400
    assert desk.jobs() == []
    assert manager.get("/").status_code == 200


def test_the_secret_key_is_made_once_for_each_instance_and_only_its_owner_reads_it(
    open_desk: Callable[..., Desk], tmp_path: Path
) -> None:
    keys = [open_desk(folder).app.secret_key for folder in ("one", "one", "two")]
    assert keys[0] == keys[1] != keys[2]
    assert len(str(keys[0])) == 64
    assert stat.S_IMODE((tmp_path / "one" / "secret.key").stat().st_mode) == 0o600
    assert sorted(path.name for path in (tmp_path / "one").glob("secret*")) == ["secret.key"]


# Importing


def test_the_sample_is_what_its_script_writes() -> None:
    assert SAMPLE.read_bytes() == make.make_orders()


def test_a_manager_imports_the_sample_and_sees_progress_warnings_and_orders(
    open_desk: Callable[..., Desk], eventually: Callable[..., Any]
) -> None:
    desk = open_desk(DESK_IMPORT_PAUSE=0.03)
    manager = desk.person("acme-manager")
    assert manager.post("/import/sample").location == "/import"
    (job,) = desk.jobs()
    page = manager.get("/import").text
    assert "orders.csv is being imported: 12,000 rows." in page
    assert f'<a href="/jobs/jobs/id/{job.id}">See the job' in page

    desk.start_worker()
    running = eventually(
        lambda: next((each for each in desk.jobs() if each.progress and each.state is JobState.PROCESSING), None)
    )
    assert 0 < running.progress.done < running.progress.total == 12_000
    assert '<progress max="12000.0"' in manager.get("/import").text

    done = desk.wait(job.id)
    assert done.state is JobState.SUCCEEDED
    assert json.loads(done.result or b"") == {"added": ORDERS_OF_SAMPLE, "known": 0, "skipped": 7}
    assert done.progress is not None
    assert (done.progress.done, done.progress.total) == (12_000, 12_000)
    log = desk.log(job.id)
    assert log[0] == ("info", "orders.csv: 12,000 rows.")
    assert [text for level, text in log if level == "warning"] == WARNINGS_OF_SAMPLE
    assert log[-1] == ("info", "11,993 orders added, 0 known already, 7 rows skipped.")
    assert "11,993 orders worth" in manager.get("/orders").text
    assert "11,993 added, 7 skipped" in manager.get("/").text
    assert "Row 9,092 skipped" in manager.get(f"/jobs/jobs/id/{job.id}").text


def test_running_an_import_again_adds_nothing(desk: Desk) -> None:
    manager = desk.person("acme-manager")
    manager.post("/import/sample")
    (job,) = desk.jobs()
    desk.wait(job.id)
    page = f"/jobs/jobs/id/{job.id}"
    assert manager.post(f"{page}/requeue", page).status_code in {302, 303}
    again = desk.wait(job.id)
    assert json.loads(again.result or b"") == {"added": 0, "known": ORDERS_OF_SAMPLE, "skipped": 7}
    assert "11,993 orders worth" in manager.get("/orders").text


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("A-2,2026-03-02,Ada,ada@example.com,Lamp,2,68.00", "it has 7 fields, not 8"),
        (",2026-03-02,Ada,ada@example.com,Lamp,2,68.00,EUR", "the number is missing"),
        ("A-2,20260302,Ada,ada@example.com,Lamp,2,68.00,EUR", "'20260302' is no date"),
        ("A-2,2026-02-30,Ada,ada@example.com,Lamp,2,68.00,EUR", "'2026-02-30' is no date"),
        ("A-2,2026-03-02,Ada,ada,Lamp,2,68.00,EUR", "'ada' is no e-mail address"),
        ("A-2,2026-03-02,Ada,ada@example.com,Lamp,0,68.00,EUR", "the quantity '0' is not from 1 to 100,000"),
        ("A-2,2026-03-02,Ada,ada@example.com,Lamp,1e3,68.00,EUR", "the quantity '1e3' is not a whole number"),
        ("A-2,2026-03-02,Ada,ada@example.com,Lamp," + "9" * 5000 + ",1,EUR", "not from 1 to 100,000"),
        ("A-2,2026-03-02,Ada,ada@example.com,Lamp,2,NaN,EUR", "the price 'NaN' is not an amount"),
        ("A-2,2026-03-02,Ada,ada@example.com,Lamp,2,1.005,EUR", "the price '1.005' is not an amount"),
        ("A-2,2026-03-02,Ada,ada@example.com,Lamp,2,cheap,EUR", "the price 'cheap' is not a number"),
        ("A-2,2026-03-02,Ada,ada@example.com,Lamp,2,68.00,XBT", "the currency 'XBT' is not known"),
        ("A-2,2026-03-02," + "a" * 201 + ",ada@example.com,Lamp,2,68.00,EUR", "not a line of at most 200 characters"),
        ('A-2,2026-03-02,"Ada\nKaya",ada@example.com,Lamp,2,68.00,EUR', "not a line of at most 200 characters"),
        ("A-2," + "x" * 200_000, "field larger than field limit"),
    ],
)
def test_a_broken_row_is_named_and_the_next_one_still_read(tmp_path: Path, row: str, why: str) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(f"{HEAD}\n{row}\n\n{GOOD_ROW}\n")
    first, second = example.order_file.read_orders(path)
    assert first.row == 2
    assert why in first.why
    assert (second.number, second.quantity, second.unit_cents) == ("A-1", 2, 6800)
    assert example.order_file.count_rows(path) == 2


def test_many_broken_rows_do_not_flood_the_log(desk: Desk) -> None:
    manager = desk.person("acme-manager")
    job = desk.import_text(manager, "\n".join([HEAD, *["broken"] * 500, GOOD_ROW]))
    assert json.loads(job.result or b"") == {"added": 1, "known": 0, "skipped": 500}
    warnings = [text for level, text in desk.log(job.id) if level == "warning"]
    assert len(warnings) == 21
    assert warnings[-1] == "480 more broken rows skipped."


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("orders.csv", b"some,other,columns\n1,2,3\n", "The first row must name the columns: number, date,"),
        ("orders.csv", b"", "The first row must name the columns"),
        ("orders.csv", b"\x00\xff\x1f\x8b", "The first row must name the columns"),
        ("orders.xlsx", HEAD.encode(), "Choose a file whose name ends in .csv."),
        ("", b"", "Choose a file."),
    ],
)
def test_a_file_that_is_none_of_orders_is_refused_at_once(
    open_desk: Callable[..., Desk], tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    desk = open_desk()
    clerk = desk.person("acme-clerk")
    answer = clerk.post("/import", "/import", file=(io.BytesIO(content), name))
    assert answer.status_code == 422
    assert why in answer.text
    assert desk.jobs() == []
    assert list((tmp_path / "instance").rglob("*.csv")) == []


def test_a_file_that_is_too_large_is_refused(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(MAX_CONTENT_LENGTH=100_000)
    answer = desk.person("acme-clerk").post("/import", "/import", file=(io.BytesIO(b"x" * 200_000), "orders.csv"))
    assert answer.status_code == 413
    assert "The file is too large" in answer.text
    assert desk.jobs() == []


def test_an_upload_is_kept_under_a_name_of_our_own(open_desk: Callable[..., Desk], tmp_path: Path) -> None:
    desk = open_desk()
    desk.person("acme-clerk").post("/import", "/import", file=(io.BytesIO(HEAD.encode()), "../../evil.csv"))
    (kept,) = tmp_path.rglob("*.csv")
    assert kept.parent == tmp_path / "instance" / "uploads" / "acme"
    assert re.fullmatch("[0-9a-f]{32}", kept.stem)


def test_what_a_file_holds_is_shown_as_text(desk: Desk) -> None:
    manager = desk.person("acme-manager")
    evil = "<script>alert(1)</script>"
    desk.import_text(manager, f"{HEAD}\n{evil},2026-03-02,{evil},a@example.com,{evil},1,1.00,EUR\n{evil}\n")
    (job,) = desk.jobs()
    for path in ("/orders", "/orders/1", "/orders?q=%3Cscript", "/", f"/jobs/jobs/id/{job.id}"):
        page = manager.get(path)
        assert page.status_code == 200, path
        assert "<script>alert" not in page.text, path
    assert html.escape(evil) in manager.get("/orders").text


# Working with orders


def test_the_newest_orders_are_confirmed_by_mail_that_arrives_in_the_mailbox(desk: Desk) -> None:
    manager = desk.person("acme-manager")
    rows = [GOOD_ROW.replace("A-1", f"A-{number}").replace("Ada Kaya", "Zoë Müller") for number in range(1, 13)]
    desk.import_text(manager, "\n".join([HEAD, *rows]))
    assert manager.post("/confirm").location == "/"
    jobs = desk.jobs("mail.send_order_email")
    assert len(jobs) == 10
    assert {desk.wait(job.id).state for job in jobs} == {JobState.SUCCEEDED}
    assert "1 to 10 of 10 e-mails" in manager.get("/mailbox").text
    message = manager.get("/mailbox/1").text
    assert "Acme order desk &lt;orders@acme.example&gt;" in message
    assert "Dear Zoë Müller" in message
    assert "€136.00" in message
    assert "X-Order-Number" in message


def test_an_order_is_confirmed_and_charged_from_its_page_and_the_receipt_comes(
    desk: Desk, eventually: Callable[..., Any]
) -> None:
    clerk = desk.person("acme-clerk")
    desk.import_text(clerk, f"{HEAD}\n{GOOD_ROW}")
    page = clerk.get("/orders/1").text
    assert "Charge the card" in page
    assert clerk.post("/orders/1/confirm", "/orders/1").location == "/orders/1"
    assert clerk.post("/orders/1/charge", "/orders/1").location == "/orders/1"
    assert "being charged" in clerk.get("/orders/1").text
    charge = desk.wait(desk.jobs("payments.charge_card")[0].id)
    assert json.loads(charge.result or b"").startswith("pay_")
    eventually(lambda: clerk.get("/orders/1").text.count('href="/mailbox/') == 2)
    page = clerk.get("/orders/1").text
    assert "Receipt for order A-1" in page
    assert "Charge the card</button>" not in page


def test_a_charge_that_times_out_is_retried_and_its_history_shows_it(desk: Desk) -> None:
    payments = example.payments
    flaky = next(number for number in range(1, 100) if outcomes_of(payments, f"acme/F-{number}") == ["timeout", "paid"])
    manager = desk.person("acme-manager")
    desk.import_text(manager, f"{HEAD}\n{GOOD_ROW.replace('A-1', f'F-{flaky}')}")
    manager.post("/charge")
    (job,) = desk.jobs("payments.charge_card")
    done = desk.wait(job.id)
    assert (done.state, done.attempt) == (JobState.SUCCEEDED, 2)
    history = desk.history(job.id)
    states = [entry.state.value for entry in sorted(history, key=lambda entry: entry.at)]
    assert states == ["enqueued", "processing", "scheduled", "enqueued", "processing", "succeeded"]
    (retry,) = [entry for entry in history if entry.state is JobState.SCHEDULED]
    assert retry.reason == "Retry 1 of 3 after GatewayTimeoutError"
    page = manager.get(f"/jobs/jobs/id/{job.id}").text
    assert "GatewayTimeoutError" in page
    assert "Attempt 2" in page
    assert "At attempt 2" in manager.get("/").text


def test_about_a_third_of_the_charges_time_out_and_the_same_ones_each_time() -> None:
    keys = [f"acme/S-{number}" for number in range(3_000)]
    first = [outcomes_of(example.payments, key)[0] for key in keys]
    assert 0.28 < first.count("timeout") / len(first) < 0.39
    assert first == [outcomes_of(example.payments, key)[0] for key in keys]


def outcomes_of(payments: Any, key: str) -> list[str]:
    """Return how the attempts to charge for a key end, up to the first that is paid."""
    outcomes = []
    for attempt in range(1, 5):
        try:
            payments.charge(key, 100, "EUR", attempt)
        except payments.GatewayTimeoutError:
            outcomes.append("timeout")
        else:
            return [*outcomes, "paid"]
    return outcomes


def test_a_report_is_drawn_and_its_chart_and_table_can_be_taken_home(desk: Desk) -> None:
    manager = desk.person("acme-manager")
    rows = [GOOD_ROW, GOOD_ROW.replace("A-1", "A-2"), GOOD_ROW.replace("A-1", "A-3").replace("03-02", "03-31")]
    desk.import_text(manager, "\n".join([HEAD, *rows]))
    assert manager.post("/reports", "/reports", month="2026-03").location == "/reports"
    (job,) = desk.jobs("reports.draw_sales")
    assert json.loads(desk.wait(job.id).result or b"") == {"days": 2, "orders": 3}
    assert 'href="/reports/2026-03"' in manager.get("/reports").text
    assert "€408" in manager.get("/reports/2026-03").text
    table = manager.get("/reports/2026-03/days.csv?download=1")
    assert table.headers["Content-Disposition"] == "attachment; filename=sales-2026-03.csv"
    assert table.text.split() == ["date,orders,units,sales_eur", "2026-03-02,2,4,272.00", "2026-03-31,1,2,136.00"]
    for name in ("chart.svg", "chart-dark.svg"):
        chart = manager.get(f"/reports/2026-03/{name}")
        assert chart.mimetype == "image/svg+xml"
        drawing = ElementTree.fromstring(chart.text)
        assert len(drawing.findall(".//{http://www.w3.org/2000/svg}rect")) == 2
        assert drawing[0].text == "Acme, sales of March 2026"


@pytest.mark.parametrize("month", ["2026-04", "2026-13", "../../x", "2026-03' OR 1=1", ""])
def test_a_month_without_orders_is_not_drawn(desk: Desk, month: str) -> None:
    manager = desk.person("acme-manager")
    desk.import_text(manager, f"{HEAD}\n{GOOD_ROW}")
    assert manager.post("/reports", "/reports", month=month).status_code == 422
    assert desk.jobs("reports.draw_sales") == []
    assert manager.get(f"/reports/{month or 'x'}").status_code == 404


# Tenants and permissions


def test_the_other_tenants_manager_finds_no_trace_of_the_first_ones(desk: Desk, eventually: Callable[..., Any]) -> None:
    acme = desk.person("acme-manager")
    desk.import_text(acme, "\n".join([HEAD, GOOD_ROW, GOOD_ROW.replace("A-1", "A-2")]))
    acme.post("/confirm")
    acme.post("/charge")
    acme.post("/reports", "/reports", month="2026-03")
    jobs = desk.jobs()
    eventually(lambda: all(job.state is JobState.SUCCEEDED for job in desk.jobs()), 40)
    assert "A-1" in acme.get("/orders").text
    own = ["/orders/1", "/mailbox/1", "/reports/2026-03", "/reports/2026-03/chart.svg", "/reports/2026-03/days.csv"]
    own += [f"/jobs/jobs/id/{job.id}" for job in jobs] + [f"/jobs/api/jobs/{job.id}.json" for job in jobs]
    assert {acme.get(path).status_code for path in own} == {200}

    globex = desk.person("globex-manager")
    assert {path: globex.get(path).status_code for path in own} == dict.fromkeys(own, 404)
    for path in ("/", "/orders", "/orders?q=A-1", "/mailbox", "/reports", "/import"):
        page = globex.get(path)
        assert page.status_code == 200
        for trace in ("A-1", "A-2", "Ada Kaya", "ada@example.com", "March 2026", "2026-03", "orders.csv is"):
            assert trace not in page.text, f"{trace} on {path}"
    assert "0 orders worth €0.00" in globex.get("/orders").text
    counts = globex.get("/jobs/api/stats.json").json
    assert counts is not None
    assert set(counts["counts"].values()) == {0}
    for page in ("/jobs/", "/jobs/jobs/succeeded"):
        assert not any(job.id in globex.get(page).text or job.name in globex.get(page).text for job in jobs)
    assert globex.post("/orders/1/charge").status_code == 404
    assert globex.post(f"/jobs/jobs/id/{jobs[0].id}/requeue", expected="succeeded").status_code == 404
    assert globex.post("/charge").location == "/"
    assert desk.jobs(tenant="globex") == []


def test_two_tenants_may_have_orders_of_the_same_number(desk: Desk) -> None:
    acme, globex = desk.person("acme-clerk"), desk.person("globex-clerk")
    desk.import_text(acme, f"{HEAD}\n{GOOD_ROW}")
    globex.post("/import", "/import", file=(io.BytesIO(f"{HEAD}\n{GOOD_ROW}".encode()), "orders.csv"))
    job = desk.wait(desk.jobs("orders.import", tenant="globex")[0].id)
    assert json.loads(job.result or b"") == {"added": 1, "known": 0, "skipped": 0}
    assert (acme.get("/orders/1").status_code, acme.get("/orders/2").status_code) == (200, 404)
    assert (globex.get("/orders/1").status_code, globex.get("/orders/2").status_code) == (404, 200)


def test_a_job_cannot_be_made_to_read_another_tenants_upload(desk: Desk) -> None:
    acme = desk.person("acme-manager")
    upload_id = json.loads(desk.import_text(acme, f"{HEAD}\n{GOOD_ROW}").payload)["upload_id"]
    with desk.app.app_context():
        none = flask_abpjobs.RetryPolicy.none()
        job_id = example.jobs.import_orders.using(tenant="globex", retry=none).enqueue(upload_id, "orders.csv")
    failed = desk.wait(job_id)
    assert failed.state is JobState.FAILED
    assert failed.error_message == "orders.csv is not kept any more: upload it again."


def test_a_clerk_works_at_the_desk_but_does_not_see_the_dashboard(desk: Desk) -> None:
    clerk = desk.person("acme-clerk")
    job = desk.import_text(clerk, f"{HEAD}\n{GOOD_ROW}")
    for path in ("/jobs/", "/jobs/jobs/succeeded", f"/jobs/jobs/id/{job.id}", "/jobs/api/stats.json", "/jobs/servers"):
        assert clerk.get(path).status_code == 403, path
    assert clerk.post(f"/jobs/jobs/id/{job.id}/delete").status_code == 403
    assert desk.jobs()[0].state is JobState.SUCCEEDED
    page = clerk.get("/").text
    assert "Import orders.csv" in page
    assert "/jobs/" not in page


def test_somebody_who_is_not_signed_in_is_sent_to_the_login_page(open_desk: Callable[..., Desk]) -> None:
    someone = Person(open_desk().app)
    for path in ("/", "/orders", "/orders/1", "/import", "/import/sample.csv", "/reports", "/mailbox", "/jobs/"):
        answer = someone.get(path)
        assert answer.status_code == 302, path
        assert (answer.location or "").startswith("/login?next="), path


def test_the_host_admin_sees_the_jobs_of_all_tenants_and_the_orders_of_none(desk: Desk) -> None:
    desk.import_text(desk.person("acme-manager"), f"{HEAD}\n{GOOD_ROW}")
    host = desk.person("host")
    (job,) = desk.jobs()
    assert "Globex" in host.get("/").text
    assert "acme" in host.get("/jobs/jobs/succeeded").text
    assert host.get(f"/jobs/jobs/id/{job.id}").status_code == 200
    for path in ("/orders", "/orders/1", "/import", "/reports", "/mailbox"):
        assert host.get(path).status_code == 403, path
    assert host.post("/charge").status_code == 403


def test_every_page_keeps_the_strict_policy(desk: Desk) -> None:
    manager = desk.person("acme-manager")
    desk.import_text(manager, f"{HEAD}\n{GOOD_ROW}")
    pages = ["/", "/orders", "/orders/1", "/import", "/reports", "/mailbox", "/nowhere", f"/orders/{10**30}", "/logout"]
    for answer in [*map(manager.get, pages), Person(desk.app).get("/login")]:
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert not re.search(r'<style|\sstyle="|\son\w+="|<script(?![^>]* src="/static/)', answer.text)
        assert not re.search(r"""(?:src|href|action)=["']?(?:https?:)?//""", answer.text)


# The mailbox


def test_the_mailbox_keeps_a_message_once_and_takes_none_of_strangers(desk: Desk, tmp_path: Path) -> None:
    manager = desk.person("acme-manager")
    port = int((tmp_path / "instance" / "mailbox.port").read_text())
    message = b"Subject: Hello\r\nMessage-ID: <1@acme.example>\r\n\r\nOne.\r\n"
    with smtplib.SMTP("127.0.0.1", port, local_hostname="test") as server:
        for _ in range(2):
            server.sendmail("orders@acme.example", ["ada@example.com"], message)
        with pytest.raises(smtplib.SMTPDataError, match="its tenants only"):
            server.sendmail("orders@evil.example", ["ada@example.com"], message)
    assert "1 to 1 of 1 e-mails" in manager.get("/mailbox").text
    assert desk.person("globex-manager").get("/mailbox/1").status_code == 404


def test_the_mailbox_opens_in_a_thread_that_runs_an_event_loop_too(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()

    async def ask() -> int:
        return Person(desk.app).get("/login").status_code

    with ThreadPoolExecutor(1) as thread:  # as pytest's own may have a loop: Playwright's
        assert thread.submit(lambda: asyncio.run(ask())).result() == 200


def test_a_letter_waits_until_the_mailbox_opens(
    open_desk: Callable[..., Desk], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    desk = open_desk()
    with desk.app.app_context(), flask_abpjobs.tenant_scope("acme"):
        example.orders.Orders("acme").add(
            [example.order_file.OrderLine("A-1", make.FIRST_DAY, "Ada", "ada@example.com", "Lamp", 1, 100, "EUR")]
        )
        job_id = example.pages.desk.send_confirmation(1)
    assert not (tmp_path / "instance" / "mailbox.port").exists()
    desk.start_worker()
    eventually(lambda: desk.jobs()[0].is_retrying)
    assert desk.jobs()[0].reason == "Retry 1 of 4 after MailboxClosedError"
    manager = desk.person("acme-manager")
    assert desk.wait(job_id).state is JobState.SUCCEEDED
    assert "Your order A-1" in manager.get("/mailbox").text


# As a person starts it


class Program:
    """``flask --app example ...`` in a process of its own, in a folder that holds nothing but the example."""

    def __init__(self, folder: Path, *command: str, **settings: str) -> None:
        if not (folder / "example").exists():
            (folder / "example").symlink_to(ROOT / "example")
        self.log = folder / f"{command[0]}.log"
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "ORDER_DESK_INSTANCE": str(folder / "instance"),
            **settings,
        }
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flask", "--app", "example", *command],
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def said(self, pattern: str) -> re.Match[str] | None:
        assert self.process.poll() is None, f"It ended with {self.process.returncode}: {self.log.read_text()}"
        return re.search(pattern, self.log.read_text())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """A function that starts a program, which ends with the test."""
    programs: list[Program] = []

    def start_one(*command: str, **settings: str) -> Program:
        programs.append(Program(tmp_path, *command, **settings))
        return programs[-1]

    yield start_one
    for program in programs:
        with contextlib.suppress(ProcessLookupError):
            program.kill()


def test_one_command_serves_the_desk_and_runs_its_jobs_and_a_killed_import_is_finished_by_the_next(
    open_desk: Callable[..., Desk], start: Callable[..., Program], eventually: Callable[..., Any]
) -> None:
    desk = open_desk()  # shares the instance folder with the program: enqueues, and looks
    first = start("run", "--port", "0")
    eventually(lambda: first.said(r"Running on http://127\.0\.0\.1:\d+"), 30)
    desk.person("acme-manager").post("/import/sample")
    (job,) = desk.jobs()
    eventually(lambda: (progress := desk.jobs()[0].progress) is not None and progress.done >= 1_000, 20)
    first.kill()
    with desk.app.app_context():
        before = example.orders.Orders("acme").totals().orders
    assert 1_000 <= before < ORDERS_OF_SAMPLE
    assert desk.jobs()[0].state is JobState.PROCESSING

    second = start("run", "--port", "0")
    eventually(
        lambda: second.said("Running on") and desk.jobs()[0].state is JobState.SUCCEEDED,
        60,
        f"{desk.history(job.id)}, {second.log}",
    )
    (done,) = desk.jobs()
    assert (done.state, done.attempt) == (JobState.SUCCEEDED, 2)
    result = json.loads(done.result or b"")
    assert result["known"] == before
    assert result["added"] + result["known"] == ORDERS_OF_SAMPLE
    with desk.app.app_context():
        assert example.orders.Orders("acme").totals().orders == ORDERS_OF_SAMPLE


def test_a_worker_of_its_own_finds_the_mailbox_of_the_serving_process(
    open_desk: Callable[..., Desk], start: Callable[..., Program], eventually: Callable[..., Any]
) -> None:
    desk = open_desk()
    manager = desk.person("acme-manager")  # which opens the mailbox, in this process
    worker = start("abpjobs", "worker")
    eventually(lambda: worker.said("Serving mail, default, imports of order-desk"), 30)
    desk.import_text(manager, f"{HEAD}\n{GOOD_ROW}")
    manager.post("/confirm")
    assert desk.wait(desk.jobs("mail.send_order_email")[0].id).state is JobState.SUCCEEDED
    assert "Your order A-1" in manager.get("/mailbox").text
    assert worker.stop() == 0
