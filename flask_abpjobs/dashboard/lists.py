"""The lists: jobs of one state, and jobs that wait for another attempt."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import request, url_for

from ..model import JobPage
from . import calls
from .board import Board
from .glance import look
from .guard import Visitor, visitor
from .layout import render
from .listing import COLUMNS, SIZES, ListRequest, actions_on, read_list_request, right_for
from .tenancy import Choice, choose
from .tiles import kept_words, tabs_of


class Chip(msgspec.Struct, frozen=True, kw_only=True):
    """A filter in use, and the address without it."""

    name: str
    value: str
    url: str


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """Where the controls of a list lead."""

    first: str
    unfiltered: str
    """The list without its filters, the tenant kept."""
    bare: str
    """The list without anything."""
    previous: str | None
    next: str | None
    sizes: tuple[tuple[int, str], ...]


def jobs(board: Board, state: str) -> str:
    """Show the jobs of a state, or those that wait for another attempt."""
    who = visitor()
    choice = choose(who, request.args)
    asked = read_list_request(state, request.args, board.page_size)
    glance = look(board, choice.scope)
    page = board.services.storage.find(asked.query(choice.scope))
    return render(
        board,
        "jobs.html",
        glance,
        choice,
        current="retries" if asked.is_retries else "jobs",
        asked=asked,
        page=page,
        rows=page.jobs,
        columns=_columns(asked, who, choice),
        tabs=tabs_of(glance, choice),
        chips=_chips(asked, choice),
        links=_links(asked, choice, page),
        actions=[action for action in actions_on(asked.state) if who.may(right_for(action))],
        post_url=_address(asked),
        subtitle=_subtitle(board, asked),
        total=glance.counts["retrying" if asked.is_retries else asked.state.value],
        calls=calls,
        queue_names=sorted({queue for server in glance.live for queue in server.queues}),
    )


def retries(board: Board) -> str:
    """Show the jobs that are scheduled again after a failure."""
    return jobs(board, "retries")


def _subtitle(board: Board, asked: ListRequest) -> str:
    kept = kept_words(board, asked.state.value) if asked.state.value in ("succeeded", "failed", "deleted") else ""
    return {
        "scheduled": "Jobs that wait for their time, the longest scheduled first.",
        "enqueued": "Jobs that are ready and wait for a worker, the longest waiting first.",
        "awaiting": "Jobs that start when another job ends.",
        "processing": "Jobs that a worker runs now, the longest running first.",
        "succeeded": f"Jobs that ended well, newest first, {kept}.",
        "failed": "Jobs that failed for good are kept until someone requeues or deletes them."
        if kept == "kept for ever"
        else f"Jobs that failed for good, newest first, {kept}.",
        "deleted": f"Jobs that will not run, newest first, {kept}.",
        "retries": "Jobs that failed and will be tried again, the longest waiting first.",
    }[asked.key]


def _columns(asked: ListRequest, who: Visitor, choice: Choice) -> list[str]:
    shows_tenant = who.is_host and not choice.is_chosen
    return [column for column in COLUMNS[asked.key] if column != "tenant" or shows_tenant]


def _address(asked: ListRequest, **values: str | int | None) -> str:
    given: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    if asked.is_retries:
        return url_for(".retries", **given)
    return url_for(".jobs", state=asked.state.value, **given)


def _chips(asked: ListRequest, choice: Choice) -> list[Chip]:
    used = {"queue": asked.queue, "name": asked.name, "size": request.args.get("size")} | choice.arguments
    chips = [
        Chip(name=label, value=value, url=_address(asked, **{**used, key: None}))
        for key, label, value in (
            ("name", "job", asked.name),
            ("queue", "queue", asked.queue),
            ("tenant", "tenant", choice.tenant),
            ("no_tenant", "tenant", "none" if choice.is_without_tenant else None),
        )
        if value is not None
    ]
    return chips


def _links(asked: ListRequest, choice: Choice, page: JobPage) -> Links:
    used: dict[str, Any] = {"queue": asked.queue, "name": asked.name, "size": request.args.get("size")}
    used |= choice.arguments
    return Links(
        first=_address(asked, **used),
        unfiltered=_address(asked, **choice.arguments),
        bare=_address(asked),
        previous=None if page.previous is None else _address(asked, **used, before=page.previous),
        next=None if page.next is None else _address(asked, **used, after=page.next),
        sizes=tuple((size, _address(asked, **{**used, "size": size})) for size in sorted({*SIZES, asked.size})),
    )
