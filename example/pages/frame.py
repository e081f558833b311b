"""What all pages share: headers, words for values, notices, who may come in, pages that say no."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from flask import Flask, Response, flash, render_template, request, url_for
from flask_login import current_user, login_required
from werkzeug.exceptions import HTTPException

from flask_abpjobs import current_tenant

from .. import accounts, money
from ..database import NoTenantError
from ..forms import marks_of
from ..jobs import jobs

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
REFUSALS = {
    400: ("That did not work", "The form was too old or not complete. Go back, reload the page and try again."),
    403: ("This is not for you", "Your account may not see this page."),
    404: ("There is nothing here", "The address is not right, or what it named is gone."),
    405: ("This cannot be done", "The address does not know this action."),
    413: ("The file is too large", "A file of orders may have 5 MB."),
    500: ("Something went wrong", "The log of the desk says what."),
}


def init_app(app: Flask) -> None:
    """Give the app what its pages share."""
    app.after_request(_protect)
    app.register_error_handler(HTTPException, _refuse)
    app.register_error_handler(NoTenantError, _refuse_host)
    app.context_processor(_context)
    app.jinja_env.filters.update(
        day=lambda value: f"{value.day} {value:%B %Y}",
        ago=_ago,
        exact=lambda value: f"{value:%Y-%m-%d %H:%M:%S} UTC",
        euro=money.written,
        euro_rounded=money.rounded,
    )


@login_required  # type: ignore[untyped-decorator]
def for_tenants() -> None:
    """Let in people of a tenant only: a blueprint's ``before_request``.

    :raises NoTenantError: a host user, who has no orders.
    """
    if current_tenant.id is None:
        raise NoTenantError("This page belongs to a tenant's people.")


def tell(text: str, *job_ids: str) -> None:
    """Show a notice on the next page, with a link to the first of its jobs for those who may see it."""
    flash({"text": text, "jobs": job_ids})  # type: ignore[arg-type]  # the session stores it as JSON


def _protect(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _refuse(error: HTTPException) -> Any:
    code = error.code or 500
    if code < 400:
        return error
    heading, text = REFUSALS.get(code, REFUSALS[500])
    page = render_template("refusal.html", heading=heading, text=text)
    return page, code, {"Allow": ", ".join(getattr(error, "valid_methods", None) or [])} if code == 405 else {}


def _refuse_host(error: NoTenantError) -> Any:
    return render_template("refusal.html", heading="This page belongs to a tenant", text=_HOST), 403


_HOST = "You look after the host and have no orders of your own. Sign in as someone of Acme or Globex to see theirs."


def _context() -> dict[str, Any]:
    return {
        "marks_of": marks_of,
        "url_for_job": jobs.url_for_job,
        "may_see_jobs": "Jobs.Dashboard" in getattr(current_user, "permissions", ()),
        "tenants": accounts.TENANTS,
        "url_for_jobs": lambda: url_for("abpjobs.overview"),
    }


def _ago(value: datetime | date) -> str:
    """Return how long ago something was, or how long it is until then."""
    assert isinstance(value, datetime)
    seconds = (datetime.now(UTC) - value).total_seconds()
    size = abs(seconds)
    if size < 2:
        return "now"
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if size >= unit:
            text = f"{int(size // unit)} {name}"
            break
    else:
        text = f"{int(size)} s"
    return f"{text} ago" if seconds >= 0 else f"in {text}"
