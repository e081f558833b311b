"""Headers that every response of the dashboard carries."""

from __future__ import annotations

from typing import Final

from flask import Response

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
)
_ALWAYS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # Flask-WTF wants a Referer on https: "no-referrer" would break its check
}


def protect_page(response: Response) -> Response:
    """Add the headers of a page: strict policy, never stored, different for each visitor."""
    response.headers.update(_ALWAYS)
    response.headers["Cache-Control"] = "no-store"
    response.vary.add("Cookie")
    return response


def protect_asset(response: Response) -> Response:
    """Add the headers of a static file asked for by its fingerprint, which may be kept for a year."""
    response.headers.update(_ALWAYS)
    # "private": the host's session cookie may come along, and no proxy may keep that
    response.headers["Cache-Control"] = "private, max-age=31536000, immutable"
    return response
