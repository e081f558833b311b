"""Cross-site request forgery: every unsafe request carries a token and comes from this site."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import current_app, g, request
from flask_wtf.csrf import generate_csrf, validate_csrf
from werkzeug.exceptions import BadRequest, Forbidden
from wtforms import ValidationError

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def field_name() -> str:
    """Return the name of the form field that carries the token."""
    return str(current_app.config.get("WTF_CSRF_FIELD_NAME", "csrf_token"))


def new_token() -> str:
    """Return a token for this visitor's session."""
    return str(generate_csrf())


def check_csrf() -> None:
    """Refuse an unsafe request without a valid token, or from another site.

    The host's ``CSRFProtect`` is used where there is one. ``WTF_CSRF_ENABLED = False`` does not switch this off: a
    setting for tests must not open the dashboard.

    :raises BadRequest: the token is missing, wrong or too old.
    :raises Forbidden: a browser says that another site sent the request.
    """
    if request.method in SAFE_METHODS:
        return
    _check_origin()
    if g.get("csrf_valid"):
        return
    protection: Any = current_app.extensions.get("csrf")
    if protection is not None:
        protection.protect()
        if g.get("csrf_valid"):
            return  # else the host's WTF_CSRF_METHODS leaves this method out
    try:
        validate_csrf(_sent_token())
    except ValidationError as error:
        raise BadRequest(str(error)) from error


def _sent_token() -> str | None:
    token = request.form.get(field_name())
    return token or request.headers.get("X-CSRFToken") or request.headers.get("X-CSRF-Token")


def _check_origin() -> None:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        if site not in {"same-origin", "none"}:
            raise Forbidden("The request comes from another site.")
        return
    origin = request.headers.get("Origin")  # browsers send Sec-Fetch-Site to https and localhost only
    if origin is not None and urlsplit(origin).netloc.lower() != request.host.lower():
        raise Forbidden("The request comes from another site.")
