"""The blueprint of one mounted dashboard: routes, guard, headers, refusals."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from flask import Blueprint, Response, request
from flask.blueprints import BlueprintSetupState
from werkzeug.exceptions import HTTPException, NotFound, Unauthorized
from werkzeug.wrappers import Response as BaseResponse

from ..access.users import ask_to_sign_in, has_login_page
from ..errors import ConfigError, JobNotFoundError, StorageError
from ..model import JobState
from . import actions, api, lists, pages
from .assets import fingerprints
from .board import Board
from .csrf import SAFE_METHODS
from .guard import admit
from .headers import protect_asset, protect_page
from .options import DashboardOptions
from .refusals import REFUSED_CODES, is_json_asked, refuse, say_storage_is_away
from .services import DashboardServices

_STATES: Final = f"<any({', '.join(state.value for state in JobState)}):state>"
_EVERY_METHOD: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Route(NamedTuple):
    """An address, what answers it, and the right it needs. There is no route without one."""

    rule: str
    endpoint: str
    view: Callable[..., Any]
    right: str = "view"
    methods: tuple[str, ...] = ("GET",)
    defaults: dict[str, str] | None = None


def _nothing_here(board: Board, path: str) -> Response:
    raise NotFound()


def _action_routes() -> list[Route]:
    routes = []
    for action, right in (("requeue", "requeue"), ("run-now", "requeue"), ("delete", "delete")):
        name, given = action.replace("-", "_"), {"action": action}
        on_list = {"action": action, "state": "retries"}
        job, some, retries = f"/jobs/id/<job_id>/{action}", f"/jobs/{_STATES}/{action}", f"/retries/{action}"
        routes += [
            Route(job, f"{name}_job", actions.act_on_job, right, ("POST",), given),
            Route(some, f"{name}_jobs", actions.act_on_jobs, right, ("POST",), given),
            Route(retries, f"{name}_retries", actions.act_on_jobs, right, ("POST",), on_list),
        ]
        if action == "delete":
            routes += [
                Route(job, "ask_delete_job", actions.ask_about_job, right, ("GET",), given),
                Route(some, "ask_delete_jobs", actions.ask_about_jobs, right, ("GET",), given),
                Route(retries, "ask_delete_retries", actions.ask_about_jobs, right, ("GET",), on_list),
            ]
    return routes


ROUTES: Final = (
    Route("", "to_overview", pages.to_overview),
    Route("/", "overview", pages.overview),
    Route(f"/jobs/{_STATES}", "jobs", lists.jobs),
    Route("/retries", "retries", lists.retries),
    Route("/jobs/id/<job_id>", "job", pages.job),
    Route("/servers", "servers", pages.servers),
    *_action_routes(),
    Route("/preferences/theme", "choose_theme", actions.choose_theme, methods=("POST",)),
    Route("/preferences/live", "choose_interval", actions.choose_interval, methods=("POST",)),
    Route("/api/stats.json", "api_stats", api.stats),
    Route("/api/jobs/<job_id>.json", "api_job", api.job),
    # What is not there is refused by this blueprint, with its guard and headers
    Route("/", "nothing_at_root", _nothing_here, methods=_EVERY_METHOD[1:], defaults={"path": ""}),
    Route("/<path:path>", "nothing_here", _nothing_here, methods=_EVERY_METHOD),
)


def create_blueprint(options: DashboardOptions, services: DashboardServices, *, name: str = "abpjobs") -> Blueprint:
    """Return a new blueprint; mount each dashboard with one of its own.

    :param options: how it looks and who may use it; its path is the blueprint's ``url_prefix``.
    :param services: storage, manager and what the host app decides.
    :param name: the blueprint's name; another one for each dashboard of an app.
    :raises ConfigError: at registration, when the app has no ``SECRET_KEY``.
    """
    board = Board(options=options, services=services, fingerprints=fingerprints())
    blueprint = Blueprint(
        name,
        __name__,
        url_prefix=(options.path or services.config.dashboard_path).rstrip("/"),
        template_folder="templates",
        static_folder="static",
        static_url_path="/static",
    )
    rights = {route.endpoint: route.right for route in ROUTES}

    @blueprint.before_request
    def guard() -> BaseResponse | None:
        endpoint = (request.endpoint or "").rpartition(".")[2]
        if endpoint == "static":
            return None
        try:
            admit(board, rights[endpoint])
        except Unauthorized:
            if request.method in SAFE_METHODS and not is_json_asked() and has_login_page():
                answer: BaseResponse = ask_to_sign_in()
                return answer
            raise
        return None

    @blueprint.after_request
    def protect(response: Response) -> Response:
        endpoint = (request.endpoint or "").rpartition(".")[2]
        if endpoint == "static" and response.status_code in (200, 304):
            file = (request.view_args or {}).get("filename", "")
            if board.fingerprints.get(file) == request.args.get("v"):
                return protect_asset(response)
        return protect_page(response)

    for code in REFUSED_CODES:
        blueprint.register_error_handler(code, functools.partial(refuse, board))
    for kind in (HTTPException, JobNotFoundError):
        blueprint.register_error_handler(kind, functools.partial(refuse, board))
    blueprint.register_error_handler(StorageError, functools.partial(say_storage_is_away, board))

    for route in ROUTES:
        blueprint.add_url_rule(
            route.rule,
            route.endpoint,
            _bind(board, route.view),
            methods=route.methods,
            defaults=route.defaults or {},
            strict_slashes=True,
        )
    blueprint.record(_require_secret_key)
    return blueprint


def _bind(board: Board, view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    def bound(**values: Any) -> Any:
        return view(board, **values)

    return bound


def _require_secret_key(state: BlueprintSetupState) -> None:
    if not state.app.secret_key:
        raise ConfigError(
            'The dashboard needs app.config["SECRET_KEY"]: its forms are signed with it. Set it before the dashboard '
            "is mounted, or mount none."
        )
