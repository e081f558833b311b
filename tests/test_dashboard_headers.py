"""What every response of the dashboard carries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import flask_abpjobs.dashboard
from flask_abpjobs.access import AbpJobsAuthorizationFilter
from flask_abpjobs.dashboard import DashboardOptions
from tests.browser.desk import Desk, app_of, client_of
from tests.test_dashboard_guard import READS, WRITES

STATIC = Path(flask_abpjobs.dashboard.__file__).parent / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
)


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.storage.close()


def test_every_response_carries_the_strict_headers(desk: Desk) -> None:
    job_id = desk.fail()
    open_client = client_of(app_of(desk))
    closed_client = client_of(app_of(desk, DashboardOptions(authorization=[AbpJobsAuthorizationFilter()])))
    requests = [("GET", path) for path in READS] + [("POST", path) for path in WRITES]
    requests += [("GET", "/jobs/jobs/failed?size=0"), ("GET", "/jobs/jobs/id/none"), ("DELETE", "/jobs/jobs/failed")]
    requests += [("GET", "/jobs/static/none.css"), ("GET", "/jobs/static/abpjobs.css"), ("OPTIONS", "/jobs/")]
    codes = set()
    for client in (open_client, closed_client):
        for method, path in requests:
            response = client.open(path.format(id=job_id), method=method)
            codes.add(response.status_code)
            headers = response.headers
            assert headers["Content-Security-Policy"] == POLICY, (method, path)
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["X-Frame-Options"] == "DENY"
            assert headers["Referrer-Policy"] == "same-origin"
            assert headers["Cache-Control"] == "no-store", (method, path)
            assert "Cookie" in headers["Vary"]
    assert codes >= {200, 302, 400, 401, 404}


def test_an_error_of_the_host_carries_them_too(desk: Desk) -> None:
    def broken(job: object) -> str:
        raise LookupError("display name")

    app = app_of(desk, DashboardOptions(display_name=broken))
    app.testing = False
    desk.fail()
    response = client_of(app).get("/jobs/jobs/failed")
    assert response.status_code == 500
    assert response.headers["Content-Security-Policy"] == POLICY
    assert "display name" not in response.text


def test_a_static_file_is_kept_for_a_year_by_its_fingerprint_only(desk: Desk) -> None:
    client = client_of(app_of(desk))
    page = client.get("/jobs/").text
    for name in ("abpjobs.css", "abpjobs.js", "icons.svg", "vendor/idiomorph/idiomorph.min.js"):
        mark = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
        address = f"/jobs/static/{name}?v={mark}"
        assert address in page
        headers = client.get(address).headers
        assert headers["Cache-Control"] == "private, max-age=31536000, immutable"
        assert "Set-Cookie" not in headers
        assert client.get(f"/jobs/static/{name}?v=old").headers["Cache-Control"] == "no-store"
        assert client.get(f"/jobs/static/{name}").headers["Cache-Control"] == "no-store"


def test_static_files_need_no_guard_and_a_climb_out_of_them_finds_nothing(desk: Desk) -> None:
    client = client_of(app_of(desk, DashboardOptions(authorization=[AbpJobsAuthorizationFilter()])))
    assert client.get("/jobs/static/abpjobs.css").status_code == 200
    for path in ("../blueprint.py", "..%2fblueprint.py", "%2e%2e/blueprint.py", "vendor/../../blueprint.py"):
        assert client.get(f"/jobs/static/{path}").status_code in (401, 404)


def test_vendored_files_are_those_of_the_list(desk: Desk) -> None:
    listed = json.loads((STATIC / "vendor" / "vendor.json").read_text())
    files = {}
    for package in listed:
        assert package["licence"]
        assert package["source"] == f"npm:{package['name']}@{package['version']}"
        files |= {file["file"]: file["sha256"] for file in package["files"]}
        assert any(name.endswith("LICENSE") for name in files)
    present = {
        path.relative_to(STATIC / "vendor").as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (STATIC / "vendor").rglob("*")
        if path.is_file() and path.name != "vendor.json"
    }
    assert present == files


def test_nothing_comes_from_elsewhere_and_nothing_is_inline() -> None:
    templates = STATIC.parent / "templates"
    for path in [*templates.rglob("*.html"), STATIC / "abpjobs.css", STATIC / "abpjobs.js"]:
        text = path.read_text()
        assert "://" not in text.replace("http://www.w3.org/", ""), path
        if path.suffix == ".html":
            for word in (" style=", "<style", "javascript:", "|safe", "Markup", "autoescape", " onclick", " onload"):
                assert word not in text, (path, word)
            assert "<script>" not in text
    script = (STATIC / "abpjobs.js").read_text()
    for word in ("innerHTML =", "insertAdjacentHTML", "eval(", "document.write", ".style"):
        assert word not in script
