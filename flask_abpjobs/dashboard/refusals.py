"""Pages that say no. They hold nothing personal and nothing that changes, so that a job of somebody else and a
missing one look alike to the byte."""

from __future__ import annotations

from typing import Final

import msgspec
from flask import Response, current_app, render_template, request
from werkzeug.exceptions import HTTPException, default_exceptions

from ..errors import StorageError
from .board import Board
from .csrf import SAFE_METHODS
from .layout import bare_context

RETRY_SECONDS: Final = 10
REFUSED_CODES: Final = (400, 401, 403, 404, 405, 413, 500)
_WORDS: Final = {
    400: ("This address is not right", ""),
    401: ("Sign in first", "This page opens only for people whom the application lets in."),
    403: ("You may not do this", "Ask someone who looks after this application."),
    404: ("There is nothing here", "The job may have been removed meanwhile, or the address is not right."),
    405: ("This cannot be done", "The address does not know this action."),
    413: ("This is too much at once", "Select fewer jobs."),
    500: ("Something went wrong", "The application's log says what. No job is lost."),
    503: (
        "The storage does not answer",
        f"No job is lost: what was stored is still there. This page tries again every {RETRY_SECONDS} s.",
    ),
}


def refuse(board: Board, error: Exception) -> Response:
    """Return the page, or the JSON, for an error."""
    if isinstance(error, HTTPException):
        return _answer(board, error.code or 500, error.description if error.code in (400, 403) else None)
    return _answer(board, 404, None)


def say_storage_is_away(board: Board, error: StorageError) -> Response:
    """Return the page for a storage that does not answer."""
    current_app.logger.error("The dashboard cannot reach the storage: %s", error)
    response = _answer(board, 503, None)
    response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def is_json_asked() -> bool:
    """Return whether the request is for the JSON interface."""
    endpoint = (request.endpoint or "").rpartition(".")[2]
    return endpoint.startswith("api_") or (request.view_args or {}).get("path", "").startswith("api/")


def _answer(board: Board, code: int, description: str | None) -> Response:
    heading, text = _WORDS.get(code, _WORDS[500])
    if description and _is_ours(code, description):
        text = description
    if request.method not in SAFE_METHODS and code in (400, 403):
        heading = "Nothing was changed"
        text = f"{text} Go back, reload the page and try again." if code == 400 else text
    if is_json_asked():
        return Response(msgspec.json.encode({"error": f"{heading}. {text}".strip()}), code, mimetype="application/json")
    page = render_template(
        "abpjobs/refusal.html", **bare_context(board), code=code, heading=heading, text=text, retry=RETRY_SECONDS
    )
    return Response(page, code, mimetype="text/html")


def _is_ours(code: int, description: str) -> bool:
    """Return whether a description was written for this request, and is not Werkzeug's for every one."""
    return description != default_exceptions[code].description
