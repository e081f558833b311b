"""The overview, the page of a job and the page of the servers."""

from __future__ import annotations

from typing import Final

from flask import redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from ..model import JobQuery, JobState
from . import calls
from .attempts import attempts_of
from .board import Board
from .glance import look
from .guard import visitor
from .layout import render
from .listing import actions_on, right_for
from .problems import calm_words, lost_servers, problems_of
from .tenancy import choose
from .tiles import tiles_of
from .timeline import timeline_of

JOBS_PER_SERVER: Final = 10


def to_overview(board: Board) -> BaseResponse:
    """Answer ``<dashboard>`` without the slash."""
    return redirect(url_for(".overview", **choose(visitor(), request.args).arguments), 302)


def overview(board: Board) -> str:
    """Show whether all is well, the counts, the queues and the servers."""
    who = visitor()
    choice = choose(who, request.args)
    glance = look(board, choice.scope)
    queues = board.services.storage.queues(tenant=choice.scope)
    return render(
        board,
        "overview.html",
        glance,
        choice,
        current="overview",
        problems=problems_of(glance, queues),
        calm=calm_words(glance, queues),
        tiles=tiles_of(board, glance, choice, queues),
        queues=queues,
    )


def job(board: Board, job_id: str, refusal: str = "") -> str:
    """Show one job.

    :param refusal: why an action on it was refused.
    """
    who = visitor()
    storage = board.services.storage
    record = storage.get(job_id, tenant=who.scope)
    choice = choose(who, request.args)
    glance = look(board, choice.scope)
    history = storage.history(job_id)
    attempts, older = attempts_of(history, storage.log(job_id))
    return render(
        board,
        "job.html",
        glance,
        choice,
        current="retries" if record.is_retrying else "jobs",
        job=record,
        refusal=refusal,
        page_url=url_for(".job", job_id=job_id),
        here=url_for(".job", job_id=job_id),
        call=calls.call_lines(record),
        calls=calls,
        attempts=attempts,
        older_attempts=older,
        timeline=timeline_of(history, glance.now),
        result=calls.result_text(record),
        actions=[action for action in actions_on(record.state) if who.may(right_for(action))],
        job_stats_url=url_for(".api_job", job_id=job_id),
    )


def servers(board: Board) -> str:
    """Show the servers and what each runs now."""
    who = visitor()
    choice = choose(who, request.args)
    glance = look(board, choice.scope)
    running = board.services.storage.find(JobQuery(state=JobState.PROCESSING, tenant=choice.scope, limit=100))
    by_server = {server.id: [job for job in running.jobs if job.server_id == server.id] for server in glance.servers}
    return render(
        board,
        "servers.html",
        glance,
        choice,
        current="servers",
        problems=lost_servers(glance),
        by_server=by_server,
        shown=JOBS_PER_SERVER,
        busy=sum(server.running for server in glance.live),
    )
