"""The example application in a real browser, started as a person starts it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("", "orders", "orders?page=2", "orders?q=nothing+like+it", "orders/1", "import", "reports", "reports/2026-06")
PAGES += ("mailbox", "mailbox/1", "nowhere")
VIEWS = ("light", "dark", "forced", "phone")


@pytest.fixture
def address(tmp_path: Path, eventually: Callable[..., Any]) -> Iterator[str]:
    """Where a new order desk answers, its jobs run in the same process."""
    (tmp_path / "example").symlink_to(ROOT / "example")
    log = tmp_path / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "flask", "--app", "example", "run", "--port", "0"],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "ORDER_DESK_INSTANCE": str(tmp_path / "instance"),
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def find_address() -> re.Match[str] | None:
        assert server.poll() is None, log.read_text()
        return re.search(r"Running on (http://127\.0\.0\.1:\d+)", log.read_text())

    try:
        yield f"{eventually(find_address, 30)[1]}/"
    finally:
        server.terminate()
        server.wait(20)


def sign_in(page: Any, address: str, name: str) -> None:
    page.goto(address)
    page.get_by_role("link", name=name).click()
    page.get_by_role("button", name="Sign in").press("Enter")
    page.wait_for_url(address)


def test_a_newcomer_clicks_through_the_desk_and_every_page_is_in_order(
    address: str, open_page: Callable[..., Any], axe: Callable[[Any], list[str]]
) -> None:
    watched = open_page()
    page = watched.page
    sign_in(page, address, "Mara Meyer")
    assert axe(page) == []

    page.get_by_role("button", name="Import").click()
    page.get_by_role("progressbar", name="Import orders.csv").wait_for()
    assert axe(page) == []
    # Without a reload by hand
    page.get_by_text("11,993 added, 7 skipped").wait_for(timeout=30_000)
    page.get_by_role("link", name="See the job").click()
    page.get_by_text("Row 9,092 skipped: it is not UTF-8 text.").wait_for()

    page.goto(address)
    page.get_by_role("button", name="Send").click()
    page.get_by_text("10 e-mails are on the way.").wait_for()
    page.get_by_role("button", name="Charge").click()
    page.get_by_text("Retrying").first.wait_for()
    page.get_by_text("At attempt 2").first.wait_for()
    page.get_by_role("button", name="Draw").click()
    page.get_by_role("link", name="June 2026", exact=True).click()
    page.get_by_role("img", name="Bar chart").wait_for()
    page.wait_for_function("document.querySelector('.chart img').complete")
    assert page.evaluate("document.querySelector('.chart img').naturalWidth") == 960
    assert watched.all_complaints() == []

    state = page.context.storage_state()
    for view in VIEWS:
        seen = open_page(view, storage_state=state)
        for path in PAGES:
            seen.page.goto(address + path)
            assert axe(seen.page) == [], f"{path} {view}"
            assert not seen.page.evaluate("document.documentElement.scrollWidth > innerWidth"), f"{path} {view}"
        complaints = [each for each in seen.all_complaints() if "404" not in each]  # of /nowhere
        assert complaints == []


def test_the_desk_works_without_scripts(address: str, open_page: Callable[..., Any]) -> None:
    page = open_page(java_script_enabled=False).page
    sign_in(page, address, "Clara Costa")
    page.get_by_role("button", name="Import").click()
    page.get_by_text("orders.csv is being imported: 12,000 rows.").wait_for()
    assert page.get_by_role("link", name="See the job").count() == 0
    page.get_by_role("group").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{address}login")


def test_the_keyboard_reaches_all_of_the_menu_and_leaves_it(address: str, open_page: Callable[..., Any]) -> None:
    page = open_page().page
    sign_in(page, address, "Hedy Host")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    menu = page.locator("details.who")
    menu.locator("summary").press("Enter")
    page.get_by_role("button", name="Sign out").focus()
    page.keyboard.press("Escape")
    assert menu.get_attribute("open") is None
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
