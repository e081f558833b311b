"""A real browser before a real server: Debian's Chromium, werkzeug, and a desk with jobs in an SQLite file."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
from werkzeug.serving import make_server

from flask_abpjobs.dashboard import DashboardOptions
from tests.browser.desk import Desk, app_of

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
VIEWS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "forced": {"forced_colors": "active"},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True},
}
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


class Watched:
    """A page, and everything it complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.add_init_script(WATCH)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"alert {dialog.message}"))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def all_complaints(self) -> list[str]:
        return self.complaints + list(self.page.evaluate("window.violations"))


class Site:
    """A running host app with a dashboard."""

    def __init__(self, desk: Desk, app: Flask) -> None:
        self.desk = desk
        self.app = app
        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def address(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self._server.server_port}/jobs/{path}"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()
        self.desk.storage.close()


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """A function that opens an empty page, in one of the views or with options of a browser context."""
    contexts = []

    def open_one(view: str = "light", **options: Any) -> Watched:
        given = {"viewport": {"width": 1280, "height": 900}, **VIEWS[view], **options}
        context = browser.new_context(**given)
        context.set_default_timeout(10_000)
        contexts.append(context)
        return Watched(context.new_page())

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def start_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """A function that starts a site with an empty desk."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    sites: list[Site] = []

    def start(options: DashboardOptions | None = None, **changes: Any) -> Site:
        desk = Desk(f"sqlite:///{tmp_path}/jobs{len(sites)}.db")
        app = app_of(desk, options or DashboardOptions(poll_seconds=0.5), **changes)
        sites.append(Site(desk, app))
        return sites[-1]

    yield start
    for site in sites:
        site.stop()


@pytest.fixture(scope="module")
def axe(npm_package: Callable[[str, str], Path]) -> Callable[[Page], list[str]]:
    """A function that returns what axe-core finds on a page."""
    source = (npm_package("axe-core", "4.14.1") / "axe.min.js").read_text()

    def find(page: Page) -> list[str]:
        page.evaluate(source)
        found = page.evaluate("(rules) => axe.run({runOnly: rules}).then((result) => result.violations)", RULES)
        return [f"{each['id']}: {node['target']} {node['failureSummary']}" for each in found for node in each["nodes"]]

    return find
