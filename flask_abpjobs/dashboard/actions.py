"""What the buttons do: each a POST that compares the state first and leads back to a page."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from urllib.parse import urlencode, urlsplit

from flask import Response, redirect, request, url_for
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response as BaseResponse

from ..errors import JobNotFoundError, StateChangedError
from ..model import JobRecord, JobState
from . import preferences
from .board import Board
from .glance import look
from .guard import visitor
from .layout import render
from .listing import RETRIES, actions_on
from .outcomes import ARGUMENT, DONE_WORDS, Outcome, sign
from .pages import job
from .tenancy import choose

MAX_SELECTED: Final = 100
_REASONS: Final = {
    "requeue": "Requeued on the dashboard",
    "run-now": "Run now, on the dashboard",
    "delete": "Deleted on the dashboard",
}


def act_on_job(board: Board, job_id: str, action: str) -> BaseResponse | tuple[str, int]:
    """Requeue, run now or delete one job that is in the state the page has shown."""
    expected = _expected(request.form.get("expected", ""), action)
    try:
        _act(board, job_id, action, {expected})
    except StateChangedError as changed:
        what = f"{job_id} is {changed.state} now, so it can no longer be {DONE_WORDS[action]}."
        return job(board, job_id, refusal=what), 409
    address = url_for(".job", job_id=job_id)
    return redirect(f"{address}?{urlencode({ARGUMENT: sign(Outcome(action, 1, 0))})}", 303)


def ask_about_job(board: Board, job_id: str, action: str) -> str:
    """Ask whether to delete one job: the page for browsers without a script."""
    record = board.services.storage.get(job_id, tenant=visitor().scope)
    if action not in actions_on(record.state):
        raise BadRequest(f"A job that is {record.state} cannot be {DONE_WORDS[action]}.")
    return _ask(board, [record.id], record.state, board.name_of(record), url_for(".job", job_id=job_id))


def act_on_jobs(board: Board, state: str, action: str) -> BaseResponse:
    """Requeue, run now or delete the selected jobs of a list. Those that have moved on are left alone and counted."""
    expected = _expected(state, action)
    ids = _selected(request.form.getlist("id"))
    done = 0
    for job_id in ids:
        try:
            _act(board, job_id, action, {expected})
        except (JobNotFoundError, StateChangedError):
            continue  # it has moved on, or was never theirs to see: both are counted as skipped
        done += 1
    return _back(Outcome(action, done, len(ids) - done))


def ask_about_jobs(board: Board, state: str, action: str) -> str | BaseResponse:
    """Ask whether to delete the selected jobs of a list: the page for browsers without a script."""
    expected = _expected(state, action)
    ids = _selected(request.args.getlist("id"))
    if not ids:
        return _back(Outcome(action, 0, 0))
    return _ask(board, ids, expected, "", _return_address())


def choose_theme(board: Board) -> Response:
    """Keep the visitor's theme."""
    return _prefer(preferences.THEME_COOKIE, preferences.THEMES)


def choose_interval(board: Board) -> Response:
    """Keep the seconds between two looks of a live page."""
    return _prefer(preferences.LIVE_COOKIE, (*preferences.INTERVALS, f"{board.poll_seconds:g}"))


def _act(board: Board, job_id: str, action: str, expected: Collection[JobState]) -> JobRecord:
    who, manager = visitor(), board.services.manager
    verb = manager.delete if action == "delete" else manager.requeue
    return verb(job_id, expected=expected, reason=_REASONS[action], by=who.name, tenant=who.scope)


def _ask(board: Board, ids: list[str], state: JobState, name: str, back: str) -> str:
    choice = choose(visitor(), request.args)
    key = RETRIES if request.url_rule is not None and "retries" in request.url_rule.rule else state.value
    return render(
        board,
        "confirm.html",
        look(board, choice.scope),
        choice,
        current="retries" if key == RETRIES else "jobs",
        ids=ids,
        state=state,
        name=name,
        back=back,
        post_url=request.script_root + request.path,
    )


def _expected(text: str, action: str) -> JobState:
    try:
        state = JobState.SCHEDULED if text == RETRIES else JobState(text)
    except ValueError as error:
        raise BadRequest("The page has not said in which state the job was.") from error
    if action not in actions_on(state):
        raise BadRequest(f"A job that is {state} cannot be {DONE_WORDS[action]}.")
    return state


def _selected(ids: list[str]) -> list[str]:
    unique = list(dict.fromkeys(ids))
    if len(unique) > MAX_SELECTED:
        raise BadRequest(f"At most {MAX_SELECTED} jobs can be selected at once.")
    return unique


def _back(outcome: Outcome) -> BaseResponse:
    address = _return_address()
    joint = "&" if "?" in address else "?"
    return redirect(f"{address}{joint}{urlencode({ARGUMENT: sign(outcome)})}", 303)


def _return_address() -> str:
    """Return the page to go back to: a path below this dashboard, or its first page."""
    home = url_for(".overview")
    address = request.values.get("next", "")
    parts = urlsplit(address)
    is_ours = address.startswith(home) and not parts.scheme and not parts.netloc
    return address if is_ours and address.isprintable() and "\\" not in address and "#" not in address else home


def _prefer(cookie: str, allowed: Collection[str]) -> Response:
    value = request.form.get("value", "")
    if value not in allowed:
        raise BadRequest("There is no such choice.")
    response = Response(status=303, headers={"Location": _return_address()})
    preferences.keep(response, request, cookie, value, url_for(".overview"))
    return response
