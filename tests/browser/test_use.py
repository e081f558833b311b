"""A person at work: by mouse, by keyboard, without a script, and with pages that live."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from flask_abpjobs.dashboard import DashboardOptions
from flask_abpjobs.model import JobState
from tests.browser.conftest import Site, Watched

pytestmark = [pytest.mark.requires_chromium, pytest.mark.timeout(120)]
Open = Callable[..., Watched]
Start = Callable[..., Site]
SLOW = DashboardOptions(poll_seconds=3600)


def state_of(site: Site, job_id: str) -> JobState:
    return site.desk.storage.get(job_id).state


def test_a_failed_job_is_requeued_by_mouse(start_site: Start, open_page: Open) -> None:
    site = start_site()
    job_id = site.desk.fail()
    watched = open_page()
    page = watched.page
    page.goto(site.address())
    page.locator(".tiles a", has_text="Failed").click()
    page.get_by_role("link", name="orders.import_csv").click()
    page.get_by_role("button", name="Requeue").click()
    expect(page.get_by_role("alert")).to_contain_text("1 job requeued.")
    expect(page.locator("h1 + .state")).to_have_text("Enqueued")
    assert state_of(site, job_id) is JobState.ENQUEUED
    assert "done=" not in page.url
    assert watched.all_complaints() == []


def test_selected_jobs_are_requeued_by_keyboard_alone(start_site: Start, open_page: Open) -> None:
    site = start_site(SLOW)
    ids = [site.desk.fail() for _ in range(4)]
    page = open_page().page
    page.goto(site.address("jobs/failed"))
    expect(page.locator(".selection")).to_be_hidden()
    for key in "jxjjx":
        page.keyboard.press(key)
    expect(page.get_by_role("status").filter(has_text="selected")).to_have_text("2 jobs selected.")
    button = page.get_by_role("button", name="Requeue 2")
    for _ in range(20):
        if button.evaluate("(button) => button === document.activeElement"):
            break
        page.keyboard.press("Shift+Tab")
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("2 jobs requeued.")
    assert [state_of(site, job_id) for job_id in reversed(ids)] == [
        JobState.ENQUEUED,
        JobState.FAILED,
        JobState.ENQUEUED,
        JobState.FAILED,
    ]


def test_a_job_is_requeued_by_keyboard_on_its_page(start_site: Start, open_page: Open) -> None:
    site = start_site(SLOW)
    job_id = site.desk.fail()
    page = open_page().page
    page.goto(site.address("jobs/failed"))
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("orders.import_csv")
    page.get_by_role("button", name="Requeue").focus()
    page.keyboard.press("Space")
    expect(page.get_by_role("alert")).to_contain_text("1 job requeued.")
    assert state_of(site, job_id) is JobState.ENQUEUED


def test_deleting_asks_and_escape_keeps_the_jobs(start_site: Start, open_page: Open) -> None:
    site = start_site(SLOW)
    ids = [site.desk.fail() for _ in range(3)]
    page = open_page().page
    page.goto(site.address("jobs/failed"))
    page.get_by_label("Select all on this page").check()
    button = page.get_by_role("button", name="Delete 3…")
    button.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete 3 failed jobs?")
    expect(dialog.get_by_role("button", name="Keep them")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    assert {state_of(site, job_id) for job_id in ids} == {JobState.FAILED}
    button.click()
    dialog.get_by_role("button", name="Keep them").click()
    expect(dialog).to_be_hidden()
    button.click()
    dialog.get_by_role("button", name="Delete 3").click()
    expect(page.get_by_role("alert")).to_contain_text("3 jobs deleted.")
    assert {state_of(site, job_id) for job_id in ids} == {JobState.DELETED}


def test_a_running_job_is_deleted_from_its_page(start_site: Start, open_page: Open) -> None:
    site = start_site(SLOW)
    job_id, _ = site.desk.start()
    page = open_page().page
    page.goto(site.address(f"jobs/id/{job_id}"))
    page.get_by_role("button", name="Delete…").click()
    expect(page.get_by_role("dialog")).to_contain_text("what it has done already is not undone")
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("1 job deleted.")
    assert state_of(site, job_id) is JobState.DELETED


def test_everything_works_without_a_script(start_site: Start, open_page: Open) -> None:
    site = start_site(SLOW)
    first, second, third = (site.desk.fail() for _ in range(3))
    page = open_page(java_script_enabled=False).page
    page.goto(site.address("jobs/failed"))
    expect(page.get_by_label("Select all on this page")).to_be_hidden()
    page.get_by_label(f"Select {first}").check()
    page.get_by_role("button", name="Requeue").click()
    expect(page.get_by_role("alert")).to_contain_text("1 job requeued.")
    page.get_by_label(f"Select {second}").check()
    page.get_by_label(f"Select {third}").check()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("h1")).to_have_text("Delete 2 failed jobs?")
    assert state_of(site, second) is JobState.FAILED
    page.get_by_role("link", name="Keep them").click()
    expect(page).to_have_url(site.address("jobs/failed"))
    page.get_by_label(f"Select {second}").check()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete 1").click()
    expect(page.get_by_role("alert")).to_contain_text("1 job deleted.")
    assert (state_of(site, second), state_of(site, third)) == (JobState.DELETED, JobState.FAILED)
    page.goto(site.address(f"jobs/id/{third}"))
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("1 job deleted.")
    page.locator("summary", has_text="Theme").click()
    page.get_by_role("button", name="Dark").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_a_stale_page_changes_nothing_and_shows_the_job_as_it_is(start_site: Start, open_page: Open) -> None:
    site = start_site(SLOW)
    job_id = site.desk.fail()
    page = open_page().page
    page.goto(site.address(f"jobs/id/{job_id}"))
    site.desk.storage.delete(job_id, expected={JobState.FAILED}, reason="Not wanted")
    page.get_by_role("button", name="Requeue").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was changed.")
    expect(page.get_by_role("alert")).to_contain_text("is deleted now, so it can no longer be requeued")
    page.get_by_role("link", name="Open the job").click()
    expect(page.locator("h1 + .state")).to_have_text("Deleted")


# Live


def count(page: Page, state: str) -> Any:
    return page.locator(f"[data-count={state}]")


def test_a_count_changes_without_a_reload(start_site: Start, open_page: Open) -> None:
    site = start_site()
    site.desk.fail()
    watched = open_page()
    page = watched.page
    page.goto(site.address())
    expect(count(page, "failed")).to_have_text("1")
    page.evaluate("window.mark = 'the same page'")
    site.desk.fail()
    expect(count(page, "failed")).to_have_text("2")
    assert page.evaluate("window.mark") == "the same page"
    assert watched.all_complaints() == []


def test_selection_focus_and_scroll_survive_a_change(start_site: Start, open_page: Open) -> None:
    site = start_site()
    ids = [site.desk.fail() for _ in range(20)]
    page = open_page().page
    page.goto(site.address("jobs/failed?size=100"))
    page.get_by_label(f"Select {ids[3]}").check()
    page.get_by_label(f"Select {ids[2]}").focus()
    place = page.evaluate("scrollY")
    assert place > 0
    newest = site.desk.fail()
    expect(page.get_by_label(f"Select {newest}")).to_be_attached()
    expect(page.get_by_label(f"Select {ids[3]}")).to_be_checked()
    expect(page.get_by_label(f"Select {ids[2]}")).to_be_focused()
    expect(page.get_by_label(f"Select {newest}")).not_to_be_checked()
    expect(page.get_by_role("button", name="Requeue 1")).to_be_visible()
    assert page.evaluate("scrollY") > 0


def test_a_filter_half_typed_survives_a_change(start_site: Start, open_page: Open) -> None:
    site = start_site()
    site.desk.fail()
    page = open_page().page
    page.goto(site.address("jobs/failed"))
    page.keyboard.press("/")
    page.keyboard.type("orders/j?x")
    site.desk.fail()
    expect(count(page, "failed")).to_have_text("2")
    expect(page.get_by_label("Job name")).to_have_value("orders/j?x")
    expect(page.get_by_label("Job name")).to_be_focused()


def test_a_running_job_tells_its_progress_and_what_is_open_stays_open(start_site: Start, open_page: Open) -> None:
    site = start_site()
    job_id, lease = site.desk.start()
    site.desk.progress(lease, 1, 4, "a quarter")
    page = open_page().page
    page.goto(site.address(f"jobs/id/{job_id}"))
    expect(page.locator("#progress h2")).to_have_text("a quarter")
    page.locator(".attempt > summary").first.click()
    expect(page.locator(".attempt")).not_to_have_attribute("open", "")
    site.desk.progress(lease, 2, 4, "half way")
    expect(page.locator("#progress h2")).to_have_text("half way")
    expect(page.locator("#progress progress")).to_have_attribute("value", "50")
    expect(page.locator(".attempt")).not_to_have_attribute("open", "")
    page.locator(".attempt > summary").first.click()
    expect(page.locator(".log")).to_contain_text("line: half way")


def test_a_token_that_a_poll_renewed_is_good_for_every_button(start_site: Start, open_page: Open) -> None:
    site = start_site()
    site.desk.fail()
    page = open_page().page
    page.goto(site.address("jobs/failed"))
    page.evaluate("document.querySelectorAll('[name=csrf_token]').forEach((field) => { field.value = 'too old'; })")
    newest = site.desk.fail()
    page.get_by_label(f"Select {newest}").check()
    page.get_by_role("button", name="Requeue 1").click()
    expect(page.get_by_role("alert")).to_contain_text("1 job requeued.")


def test_a_page_rests_while_a_dialog_is_open(start_site: Start, open_page: Open) -> None:
    site = start_site()
    page = open_page().page
    page.clock.install()
    page.goto(site.address("jobs/failed"))
    polls: list[str] = []
    page.on("request", lambda request: polls.append(request.url))
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.clock.run_for(20_000)
    assert polls == []
    page.keyboard.press("Escape")
    with page.expect_request("**/api/stats.json"):
        page.clock.run_for(2_000)


def test_a_page_rests_while_its_tab_is_hidden_and_looks_at_once_when_it_is_back(
    start_site: Start, open_page: Open
) -> None:
    site = start_site()
    page = open_page().page
    page.clock.install()
    page.goto(site.address())
    polls: list[str] = []
    page.on("request", lambda request: polls.append(request.url))
    hide = """(hidden) => {
        Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    page.clock.run_for(60_000)
    assert polls == []
    site.desk.fail()
    page.evaluate(hide, False)
    expect(count(page, "failed")).to_have_text("1")


def test_an_unchanged_desk_costs_polls_without_a_body(start_site: Start, open_page: Open) -> None:
    site = start_site()
    page = open_page().page
    page.goto(site.address())
    codes: list[int] = []
    page.on("response", lambda response: codes.append(response.status) if "stats.json" in response.url else None)
    pages: list[str] = []
    page.on("request", lambda request: pages.append(request.url) if request.url == site.address() else None)
    for _ in range(4):
        with page.expect_response("**/api/stats.json"):
            pass
    assert codes[1:] == [304] * (len(codes) - 1)
    assert len(pages) <= 1


def test_a_dashboard_that_does_not_answer_is_said_so_and_comes_back(start_site: Start, open_page: Open) -> None:
    site = start_site()
    site.desk.fail()
    page = open_page().page
    page.goto(site.address())
    notice = page.locator("#stale")
    expect(notice).to_be_hidden()
    away: list[bool] = [True]

    def answer(route: Route) -> None:
        if away[0]:
            route.abort()
        else:
            route.continue_()

    page.route("**/api/stats.json", answer)
    expect(notice).to_be_visible()
    expect(notice).to_contain_text("These numbers are")
    expect(notice).to_contain_text("Next try in")
    expect(count(page, "failed")).to_have_text("1")
    away[0] = False
    site.desk.fail()
    page.get_by_role("button", name="Try now").click()
    expect(notice).to_be_hidden()
    expect(count(page, "failed")).to_have_text("2")


def test_a_job_that_is_gone_ends_the_polling(start_site: Start, open_page: Open) -> None:
    site = start_site()
    job_id = site.desk.succeed()
    page = open_page().page
    page.goto(site.address(f"jobs/id/{job_id}"))
    site.desk.clock.at += 90_000
    assert site.desk.storage.prune() == 1
    expect(page.locator("#stale")).to_contain_text("This page is not there for you any more")
    expect(page.locator("h1")).to_have_text("orders.import_csv")


def test_live_can_be_switched_off(start_site: Start, open_page: Open) -> None:
    site = start_site()
    page = open_page().page
    page.clock.install()
    page.goto(site.address("servers"))
    page.locator("summary", has_text="Live").click()
    page.get_by_role("button", name="Off").click()
    expect(page.locator("summary", has_text="Not live")).to_be_visible()
    polls: list[str] = []
    page.on("request", lambda request: polls.append(request.url))
    page.clock.run_for(120_000)
    assert polls == []
    expect(page).to_have_url(site.address("servers"))


def test_times_go_on_between_polls(start_site: Start, open_page: Open) -> None:
    site = start_site(SLOW)
    site.desk.fail()
    page = open_page().page
    page.clock.install()
    page.goto(site.address("jobs/failed"))
    time = page.locator("#jobs time")
    expect(time).to_have_text("now")
    page.clock.run_for(49_000)
    expect(time).to_have_text(re.compile("^4[89] s ago$"))


def test_single_keys_can_be_switched_off(start_site: Start, open_page: Open) -> None:
    site = start_site(SLOW)
    site.desk.fail()
    page = open_page().page
    page.goto(site.address("jobs/failed"))
    page.keyboard.press("?")
    page.get_by_label("Use these keys in this browser").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.get_by_label("Job name")).not_to_be_focused()
    page.reload()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_hidden()


def test_a_tenant_is_chosen_in_the_menu(start_site: Start, open_page: Open) -> None:
    site = start_site(SLOW)
    site.desk.fail(tenant_id="acme")
    site.desk.fail(tenant_id="globex")
    page = open_page().page
    page.goto(site.address("jobs/failed"))
    page.locator("summary", has_text="All tenants").click()
    page.get_by_label("One tenant").fill("acme")
    page.keyboard.press("Enter")
    expect(page.locator("#jobs tbody tr")).to_have_count(1)
    expect(count(page, "failed")).to_have_text("1")
    page.get_by_role("link", name="Overview").click()
    expect(count(page, "failed")).to_have_text("1")
