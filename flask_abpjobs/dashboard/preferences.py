"""What a visitor has chosen for this browser: kept in cookies, so that the server renders it and nothing flashes."""

from __future__ import annotations

from typing import Final

import msgspec
from flask import Request, Response

THEME_COOKIE: Final = "abpjobs_theme"
LIVE_COOKIE: Final = "abpjobs_live"
THEMES: Final = ("system", "light", "dark")
INTERVALS: Final = ("2", "10", "60", "0")
_YEAR: Final = 31_536_000


class Preferences(msgspec.Struct, frozen=True):
    """Theme, and seconds between two looks of a live page."""

    theme: str
    interval: float
    """0: off."""


def read_preferences(request: Request, poll_seconds: float) -> Preferences:
    """Return a visitor's preferences; what is not one of ours counts as not chosen."""
    theme = request.cookies.get(THEME_COOKIE, "system")
    interval = request.cookies.get(LIVE_COOKIE, "")
    return Preferences(
        theme if theme in THEMES else "system",
        float(interval) if interval in INTERVALS else poll_seconds,
    )


def keep(response: Response, request: Request, cookie: str, value: str, path: str) -> None:
    """Set a preference for the dashboard's path."""
    response.set_cookie(
        cookie, value, max_age=_YEAR, path=path, httponly=True, secure=request.is_secure, samesite="Lax"
    )
