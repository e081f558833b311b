"""The same as JSON, for live pages and for programs. A body holds nothing that the clock alone changes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from flask import Response, request

from ..model import JobRecord, JobState, StateEntry
from . import words
from .board import Board
from .csrf import new_token
from .glance import Glance, look
from .guard import Visitor, visitor
from .tenancy import choose

_TIMES = ("state_at", "created_at", "due_at", "started_at", "expires_at")
_PLAIN = (
    "id",
    "name",
    "queue",
    "priority",
    "state",
    "tenant_id",
    "enqueued_by",
    "correlation_id",
    "attempt",
    "failures",
    "crashes",
    "server_id",
    "worker",
    "latency",
    "duration",
    "reason",
    "error_type",
    "error_message",
    "progress",
)


def stats(board: Board) -> Response:
    """Return counts, queues and servers of the visitor's jobs."""
    who = visitor()
    choice = choose(who, request.args)
    glance = look(board, choice.scope)
    queues = board.services.storage.queues(tenant=choice.scope)
    return _answer(
        {
            "counts": {state.value: glance.counts[state.value] for state in JobState},
            "retrying": glance.counts["retrying"],
            "created": glance.counts["created"],
            "servers": {"live": len(glance.live), "lost": len(glance.lost), "workers": glance.workers},
            "queues": [
                {
                    "name": queue.name,
                    "length": queue.length,
                    "oldest_at": _time(queue.oldest_at),
                    "servers": glance.listeners(queue.name),
                }
                for queue in queues
            ],
            "poll_seconds": board.poll_seconds,
        },
        glance,
    )


def job(board: Board, job_id: str) -> Response:
    """Return one job with its history."""
    who = visitor()
    storage = board.services.storage
    record = storage.get(job_id, tenant=who.scope)
    lines = storage.log(job_id)
    body = _job(record, who) | {
        "history": [_entry(entry) for entry in storage.history(job_id)],
        "log": {"lines": len(lines), "last_at": _time(lines[-1].at) if lines else None},
    }
    return _answer(body, None)


def _job(record: JobRecord, who: Visitor) -> dict[str, Any]:
    body: dict[str, Any] = {name: getattr(record, name) for name in _PLAIN}
    body |= {name: _time(getattr(record, name)) for name in _TIMES}
    if who.may("view_arguments"):
        body["arguments"] = [
            {"name": each.name, "text": each.text, "type": each.type, "redacted": each.redacted}
            for each in record.arguments
        ]
        # As text: a number above 2**53 would not survive a JavaScript reader
        body["result"] = None if record.result is None else record.result.decode("utf-8", "backslashreplace")
    return body


def _entry(entry: StateEntry) -> dict[str, Any]:
    data = {name: value for name, value in entry.data.items() if name != "traceback"}
    return {"state": entry.state, "at": _time(entry.at), "reason": entry.reason, "data": data}


def _time(at: datetime | None) -> str | None:
    return None if at is None else words.iso(at)


def _answer(body: dict[str, Any], glance: Glance | None) -> Response:
    response = Response(msgspec.json.encode(body), mimetype="application/json")
    response.add_etag()
    response.make_conditional(request)
    # In headers, so that the body and its ETag stay as they are
    response.headers["X-CSRFToken"] = new_token()
    if glance is not None:
        response.headers["X-Abpjobs-Now"] = f"{glance.now:.3f}"
    return response
