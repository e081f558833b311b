"""Filters that decide whether a request may see the dashboard."""

from __future__ import annotations

import ipaddress
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import msgspec
from flask import Request

from .permissions import has_role

_FORWARDING_HEADERS: Final = frozenset(
    {
        "forwarded",
        "via",
        "x-real-ip",
        "x-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "fastly-client-ip",
    }
)
_FORWARDING_PREFIXES: Final = ("x-forwarded-", "x-original-")
_LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_PROXY_FIX: Final = "werkzeug.proxy_fix.orig"


class DashboardContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a filter is told about a request."""

    request: Request
    user: Any | None
    """Flask-Login's user, ``None`` when nobody is signed in."""
    tenant_id: str | None
    """The tenant of the visitor, ``None`` for the host."""
    has_permission: Callable[[str], bool]
    """Asks the app's permission checker about this user."""


class DashboardAuthorizationFilter(ABC):
    """Asked for every request under the dashboard; all filters of a dashboard must say yes.

    ABP's and Hangfire's ``IDashboardAsyncAuthorizationFilter``.
    """

    @abstractmethod
    def authorize(self, context: DashboardContext) -> bool | Awaitable[bool]:
        """Return whether the request may pass. ``async def`` is allowed.

        :param context: the request, and who makes it.
        """


class LocalRequestsOnlyFilter(DashboardAuthorizationFilter):
    """Lets in requests that this machine makes to itself. The default, as in Hangfire.

    Behind a proxy on the same machine everybody looks local, so any sign of a proxy refuses: a forwarding header, or
    Werkzeug's ``ProxyFix`` having touched the request. Nothing widens this rule; configure other filters instead.
    """

    def authorize(self, context: DashboardContext) -> bool:
        """Return whether the peer is loopback, no proxy is in between and the host name is a local one."""
        request = context.request
        return (
            _PROXY_FIX not in request.environ
            and _is_loopback(request.environ.get("REMOTE_ADDR") or "")
            and not any(_is_forwarding(name) for name, _ in request.headers)
            and _without_port(request.environ.get("HTTP_HOST") or "").lower() in _LOCAL_HOSTS
        )


class AbpJobsAuthorizationFilter(DashboardAuthorizationFilter):
    """Lets in signed-in users, by tenant, permission and roles. ABP's ``AbpHangfireAuthorizationFilter``.

    :param enable_tenant: whether users of a tenant may come in when no permission is named. Naming a permission makes
        this unnecessary: the permission system then decides for users of a tenant too.
    :param required_permission: the permission a user must have.
    :param required_roles: roles a user must all have.
    """

    def __init__(
        self,
        enable_tenant: bool = False,  # ABP's parameter, kept by name and place
        required_permission: str | None = None,
        required_roles: Iterable[str] = (),
    ) -> None:
        self.enable_tenant = enable_tenant
        self.required_permission = required_permission
        self.required_roles = (required_roles,) if isinstance(required_roles, str) else tuple(required_roles)

    def authorize(self, context: DashboardContext) -> bool:
        """Return whether the user may pass: signed in, tenant, permission and roles, in this order."""
        if context.user is None:
            return False
        if context.tenant_id is not None and not self.enable_tenant and not self.required_permission:
            return False
        if self.required_permission and not context.has_permission(self.required_permission):
            return False
        return all(has_role(context.user, role) for role in self.required_roles)


def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # a unix socket has an empty address: it does not tell who is behind it
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped.is_loopback
    return parsed.is_loopback


def _is_forwarding(header: str) -> bool:
    name = header.lower()
    return name in _FORWARDING_HEADERS or name.startswith(_FORWARDING_PREFIXES)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
