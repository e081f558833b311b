"""Every page in every view: nothing complains, nothing scrolls sideways, axe finds nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from flask_abpjobs.dashboard import DashboardOptions
from flask_abpjobs.model import JobError, JobQuery, JobState
from tests.browser.conftest import VIEWS, Site, Watched
from tests.browser.desk import EVIL, TRACEBACK

pytestmark = [pytest.mark.requires_chromium, pytest.mark.requires_npm, pytest.mark.timeout(300)]
LISTS = [f"jobs/{state}" for state in JobState] + ["retries"]
Open = Callable[..., Watched]
Start = Callable[..., Site]
Axe = Callable[[Page], list[str]]


def fill(site: Site) -> dict[str, str]:
    desk = site.desk
    desk.serve("desk-1", "default", "q1")
    desk.add(queue="mail", priority=25)
    for _ in range(3):
        desk.fail(tenant_id="acme", enqueued_by="Ayla Demir")
    error = JobError(EVIL, EVIL * 20, TRACEBACK + EVIL)
    desk.fail(error, name=EVIL, tenant_id=EVIL, arguments=(), payload=b"\x80" + EVIL.encode() * 90)
    desk.fail(name="x" * 200, tenant_id="t" * 200, enqueued_by="y" * 200)
    ids = desk.fill(tenant_id="acme")
    desk.clock.at += 25
    desk.storage.heartbeat("desk-1")
    desk.clock.at += 10
    desk.serve("desk-2", *(f"queue-number-{number}" for number in range(12)))
    return ids


def check(watched: Watched, axe: Axe, what: str) -> None:
    page = watched.page
    assert watched.all_complaints() == [], what
    wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    assert not wide, f"{what} scrolls sideways"
    assert axe(page) == [], what


@pytest.mark.parametrize("view", VIEWS)
def test_every_page_is_sound_in_every_view(view: str, start_site: Start, open_page: Open, axe: Axe) -> None:
    site = start_site(DashboardOptions(poll_seconds=60))
    ids = fill(site)
    evil = next(job.id for job in site.desk.storage.find(query_failed()).jobs if job.name == EVIL)
    paths = ["", "servers", *LISTS, "jobs/failed?name=none&queue=none&tenant=none", "jobs/failed?size=2"]
    paths += [f"jobs/id/{job_id}" for job_id in (*ids.values(), evil)]
    paths += [f"jobs/id/{ids['failed']}/delete", f"jobs/failed/delete?id={ids['failed']}&id={evil}"]
    for path in paths:
        watched = open_page(view)
        response = watched.page.goto(site.address(path))
        assert response is not None
        assert response.status == 200, path
        check(watched, axe, f"{path} in {view}")
        watched.page.context.close()


def query_failed() -> JobQuery:
    return JobQuery(state=JobState.FAILED, limit=100)


@pytest.mark.parametrize("view", VIEWS)
def test_an_empty_dashboard_is_sound_in_every_view(view: str, start_site: Start, open_page: Open, axe: Axe) -> None:
    site = start_site()
    watched = open_page(view)
    for path in ("", "servers", *LISTS):
        watched.page.goto(site.address(path))
        check(watched, axe, f"{path} in {view}")


@pytest.mark.parametrize("view", VIEWS)
def test_refusals_are_sound_in_every_view(view: str, start_site: Start, open_page: Open, axe: Axe) -> None:
    site = start_site()
    for path, code in (("nothing", 404), ("jobs/failed?size=0", 400)):
        watched = open_page(view)
        response = watched.page.goto(site.address(path))
        assert response is not None
        assert response.status == code
        watched.complaints = [each for each in watched.complaints if f"status of {code}" not in each]
        check(watched, axe, f"{path} in {view}")


@pytest.mark.parametrize("view", VIEWS)
def test_what_opens_is_sound_in_every_view(view: str, start_site: Start, open_page: Open, axe: Axe) -> None:
    site = start_site(DashboardOptions(poll_seconds=60))
    fill(site)
    watched = open_page(view)
    page = watched.page
    page.goto(site.address("jobs/failed"))
    for menu in page.locator("details.menu > summary").all():
        menu.click()
        check(watched, axe, f"an open menu in {view}")
    page.keyboard.press("Escape")
    page.locator("#jobs tbody input[name=id]").first.check()
    check(watched, axe, f"a selection in {view}")
    page.get_by_role("button", name="Delete 1…").click()
    page.locator("#confirm").wait_for(state="visible")
    check(watched, axe, f"a question in {view}")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.locator("#keys").wait_for(state="visible")
    check(watched, axe, f"the list of keys in {view}")


def test_stored_text_runs_nothing(start_site: Start, open_page: Open) -> None:
    site = start_site(DashboardOptions(title=EVIL, poll_seconds=0.5))
    site.desk.serve(EVIL)
    job_id, lease = site.desk.start(name=EVIL, tenant_id=EVIL, server=EVIL, queue="q", enqueued_by=EVIL)
    site.desk.progress(lease, 1, 2, EVIL)
    for path in ("", "servers", "jobs/processing", f"jobs/id/{job_id}", f"jobs/id/{job_id}/delete"):
        watched = open_page()
        page = watched.page
        page.goto(site.address(path))
        page.evaluate("Idiomorph.morph(document.body, document.body.outerHTML)")
        assert watched.all_complaints() == []
        assert page.locator("img, main script").count() == 0


def test_the_theme_is_there_before_the_first_paint(start_site: Start, open_page: Open) -> None:
    site = start_site()
    page = open_page("light").page
    page.goto(site.address())
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("summary", has_text="Theme").click()
    page.get_by_role("button", name="Dark").click()
    page.wait_for_selector("html[data-theme=dark]")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.goto(site.address("jobs/failed"))
    assert page.locator("html").get_attribute("data-theme") == "dark"
