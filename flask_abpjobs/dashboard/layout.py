"""The frame around every page: head, navigation, menus."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from flask import render_template, request, url_for

from . import words
from .board import Board
from .csrf import field_name, new_token
from .glance import Glance
from .guard import visitor
from .outcomes import ARGUMENT, read
from .preferences import INTERVALS, THEMES, read_preferences
from .tenancy import Choice

_THEME_WORDS: Final = {"system": "Same as system", "light": "Light", "dark": "Dark"}
_FILTERABLE: Final = frozenset({"overview", "jobs", "retries", "servers"})
_RIGHT_WORDS: Final = {"requeue": "requeue", "delete": "delete", "view_arguments": "see arguments"}


class NavItem(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the navigation."""

    key: str
    label: str
    icon: str
    url: str
    count: str = ""
    of: str = ""
    """What the count counts, for people who hear the page."""
    tone: str = ""


class Option(msgspec.Struct, frozen=True):
    """A choice of a menu."""

    value: str
    label: str
    is_current: bool


def render(
    board: Board, template: str, glance: Glance, choice: Choice, *, current: str, here: str = "", **context: Any
) -> str:
    """Render a page in the frame.

    :param template: its name below ``templates/abpjobs/``.
    :param current: the key of the navigation item the page belongs to.
    :param here: the page's address where it is not the request's.
    :param context: the page's own matter.
    """
    who = visitor()
    preferences = read_preferences(request, board.poll_seconds)
    return render_template(
        f"abpjobs/{template}",
        **bare_context(board),
        now=glance.now,
        glance=glance,
        choice=choice,
        visitor=who,
        visitor_words=_visitor_words(who.is_read_only, who.rights),
        nav=_navigation(glance, choice),
        current=current,
        intervals=_intervals(preferences.interval, board.poll_seconds),
        themes=[Option(theme, _THEME_WORDS[theme], theme == preferences.theme) for theme in THEMES],
        interval=preferences.interval,
        here=here or _here(),
        tenant_url=request.script_root + request.path if _is_filterable() else url_for(".overview"),
        retention=board.services.config.retention,
        kept={name: request.args[name] for name in ("queue", "name", "size") if request.args.get(name)},
        csrf_field=field_name(),
        csrf_value=new_token(),
        outcome=read(request.args.get(ARGUMENT)),
        storage=board.services.storage.describe() if who.is_host else "",
        name_of=board.name_of,
        stats_url=url_for(".api_stats", **choice.arguments),
        **context,
    )


def bare_context(board: Board) -> dict[str, Any]:
    """Return what a page without the frame needs too."""

    def asset(name: str) -> str:
        return url_for(".static", filename=name, v=board.fingerprints[name])

    return {
        "asset": asset,
        "icons": asset("icons.svg"),
        "title": board.title,
        "theme": read_preferences(request, board.poll_seconds).theme,
        "app_path": board.options.app_path,
        "version": board.services.version,
        "w": words,
        "home": url_for(".overview"),
    }


def _navigation(glance: Glance, choice: Choice) -> list[NavItem]:
    counts, kept = glance.counts, choice.arguments
    lost = len(glance.lost)
    return [
        NavItem(key="overview", label="Overview", icon="overview", url=url_for(".overview", **kept)),
        NavItem(
            key="jobs",
            label="Jobs",
            icon="jobs",
            url=url_for(".jobs", state="enqueued", **kept),
            count=words.number(counts["enqueued"]),
            of=" waiting",
        ),
        NavItem(
            key="retries",
            label="Retries",
            icon="retrying",
            url=url_for(".retries", **kept),
            count=words.number(counts["retrying"]),
            of=" due again",
        ),
        NavItem(
            key="servers",
            label="Servers",
            icon="servers",
            url=url_for(".servers", **kept),
            count=f"{words.number(lost)} lost" if lost else words.number(len(glance.live)),
            of="" if lost else " servers",
            tone="failed" if lost else "",
        ),
    ]


def _intervals(chosen: float, poll_seconds: float) -> list[Option]:
    seconds = sorted({float(each) for each in INTERVALS if each != "0"} | {poll_seconds})
    options = [Option(f"{each:g}", f"Every {words.number(each)} s", each == chosen) for each in seconds]
    return [*options, Option("0", "Off", chosen == 0)]


def _is_filterable() -> bool:
    return (request.endpoint or "").rpartition(".")[2] in _FILTERABLE


def _here() -> str:
    values = [(name, value) for name, value in request.args.items(multi=True) if name != ARGUMENT]
    path = request.script_root + request.path
    return f"{path}?{urlencode(values)}" if values else path


def _visitor_words(is_read_only: bool, rights: frozenset[str]) -> str:
    if is_read_only:
        return "This dashboard is read-only."
    may = [word for right, word in _RIGHT_WORDS.items() if right in rights]
    return f"May view{''.join(f', {word}' for word in may[:-1])}{f' and {may[-1]}' if may else ''}."
