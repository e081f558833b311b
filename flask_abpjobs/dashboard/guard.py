"""The guard: who a visitor is, whether they may come in, and what they may do. Asked before every view."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, cast

import msgspec
from flask import g, request
from werkzeug.exceptions import Forbidden, Unauthorized

from ..access import DashboardContext
from ..access.users import find_user, name_of
from ..errors import ConfigError
from ..model import ANY_TENANT, TenantScope
from .board import Board
from .csrf import check_csrf
from .options import RIGHTS

_PRIVATE: Final = "_abpjobs_visitor"
_ACTIONS: Final = frozenset({"requeue", "delete"})


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes this request, and what they may do."""

    user: Any | None
    name: str | None
    """What to call the user; ``None`` when nobody is signed in."""
    tenant_id: str | None
    rights: frozenset[str]
    is_read_only: bool

    @property
    def is_host(self) -> bool:
        """Whether the visitor belongs to no tenant and so may see the jobs of all."""
        return self.tenant_id is None

    @property
    def scope(self) -> TenantScope:
        """The jobs the visitor may see: goes with every question and every action."""
        return ANY_TENANT if self.tenant_id is None else self.tenant_id

    def may(self, right: str) -> bool:
        """Return whether the visitor has a right."""
        return right in self.rights


def visitor() -> Visitor:
    """Return the visitor that the guard let in.

    :raises RuntimeError: the guard did not run; nothing may be shown.
    """
    found = cast("Visitor | None", g.get(_PRIVATE))
    if found is None:
        raise RuntimeError("The dashboard's guard has not run for this request.")
    return found


def admit(board: Board, right: str) -> None:
    """Let a request pass or raise.

    :param right: what the asked view needs, one of :data:`~flask_abpjobs.dashboard.options.RIGHTS`.
    :raises Unauthorized: refused, and nobody is signed in.
    :raises Forbidden: refused, and somebody is signed in; or the visitor has not this right; or from another site.
    :raises BadRequest: a change without a valid CSRF token.
    """
    user = find_user()
    tenant_id = _tenant_of(board, user)

    def has_permission(permission: str) -> bool:
        return bool(board.services.permission_checker(user, permission, tenant_id))

    context = DashboardContext(
        request=cast(Any, request)._get_current_object(),
        user=user,
        tenant_id=tenant_id,
        has_permission=has_permission,
    )
    passes = all(_answer(each.authorize(context)) for each in board.options.filters)
    needed = board.options.permissions
    granted = frozenset(name for name in RIGHTS if passes and (name not in needed or has_permission(needed[name])))
    if "view" not in granted:
        raise Unauthorized() if user is None else Forbidden()
    is_read_only = board.is_read_only()
    rights = granted - _ACTIONS if is_read_only else granted
    if right not in rights:
        raise Forbidden("This dashboard is read-only." if is_read_only else f"You may not {right} jobs here.")
    check_csrf()
    name = None if user is None else name_of(user)
    admitted = Visitor(user=user, name=name, tenant_id=tenant_id, rights=rights, is_read_only=is_read_only)
    setattr(g, _PRIVATE, admitted)


def _tenant_of(board: Board, user: Any | None) -> str | None:
    if user is None and board.options.is_local_only:
        return None
    tenant_id = board.services.tenant_resolver()
    if tenant_id == "":  # neither a tenant nor the host: nobody may guess which
        raise ConfigError('The tenant resolver returned "". Return the id of a tenant, or None for a host user.')
    return tenant_id


def _answer(answer: bool | Awaitable[bool]) -> bool:
    if not inspect.isawaitable(answer):
        return bool(answer)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_awaited(answer))
    # The host runs a loop in this thread, which waits for us: the filter gets a loop in a thread of its own
    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(contextvars.copy_context().run, asyncio.run, _awaited(answer)).result()


async def _awaited(answer: Awaitable[bool]) -> bool:
    return bool(await answer)
