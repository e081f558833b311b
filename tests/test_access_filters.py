"""The filters of the dashboard: the exact rule for local requests, and the decision table for users."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_abpjobs.access import (
    AbpJobsAuthorizationFilter,
    DashboardAuthorizationFilter,
    DashboardContext,
    LocalRequestsOnlyFilter,
)
from flask_abpjobs.access.users import find_user

FORWARDING = (
    "Forwarded",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Anything",
    "X-Real-IP",
    "X-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Fastly-Client-IP",
    "X-Original-For",
    "X-Original-Host",
)


def is_local(address: str | None = "127.0.0.1", host: str = "localhost", headers: Any = (), wrap: Any = None) -> bool:
    app = Flask("desk")
    answers: list[bool] = []

    @app.get("/")
    def index() -> str:
        context = DashboardContext(
            request=request._get_current_object(),  # type: ignore[attr-defined]
            user=None,
            tenant_id=None,
            has_permission=lambda permission: True,
        )
        answers.append(LocalRequestsOnlyFilter().authorize(context))
        return ""

    if wrap is not None:
        app.wsgi_app = wrap(app.wsgi_app)  # type: ignore[method-assign]
    environ = {"REMOTE_ADDR": address} if address is not None else {"REMOTE_ADDR": ""}
    app.test_client().get("/", headers=headers, environ_overrides={**environ, "HTTP_HOST": host})
    return answers[0]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:127.9.9.9", True),
        ("", False),
        (None, False),
        ("localhost", False),
        ("10.0.0.5", False),
        ("192.168.1.4", False),
        ("172.17.0.1", False),
        ("128.0.0.1", False),
        ("203.0.113.9", False),
        ("0.0.0.0", False),
        ("::", False),
        ("::2", False),
        ("::ffff:203.0.113.9", False),
        ("::127.0.0.1", False),
        ("2001:db8::1", False),
        ("127.0.0.1, 203.0.113.9", False),
        ("127.1", False),
        ("0x7f000001", False),
        ("2130706433", False),
    ],
)
def test_only_a_loopback_peer_is_local(address: str | None, expected: bool) -> None:
    assert is_local(address) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("LocalHost:8080", True),
        ("127.0.0.1", True),
        ("127.0.0.1:5000", True),
        ("[::1]", True),
        ("[::1]:5000", True),
        ("", False),
        ("127.0.0.2", False),
        ("::1", False),
        ("localhost.", False),
        ("localhost.evil.example", False),
        ("evil.example", False),
        ("evil.example:80", False),
        ("localhost:80:80", False),
        ("localhost:port", False),
        ("jobs.localhost", False),
    ],
)
def test_only_a_local_host_name_is_local(host: str, expected: bool) -> None:
    assert is_local(host=host) is expected


@pytest.mark.parametrize("header", FORWARDING)
@pytest.mark.parametrize("value", ["127.0.0.1", "203.0.113.9", ""])
def test_any_forwarding_header_refuses_whatever_it_says(header: str, value: str) -> None:
    assert not is_local(headers={header: value})
    assert not is_local(headers={header.lower(): value})


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("address", ["127.0.0.1", "203.0.113.9"])
@pytest.mark.parametrize(
    "headers", [{}, {"X-Forwarded-For": "127.0.0.1, 127.0.0.1"}, {"X-Forwarded-For": "203.0.113.9"}]
)
def test_a_request_that_proxy_fix_touched_is_never_local(count: int, address: str, headers: dict[str, str]) -> None:
    assert not is_local(address, headers=headers, wrap=lambda wsgi: ProxyFix(wsgi, x_for=count, x_host=count))


def test_other_headers_do_not_matter() -> None:
    assert is_local(headers={"X-Request-ID": "1", "User-Agent": "Forwarded", "Cookie": "X-Forwarded-For=1"})


class User:
    def __init__(self, roles: Any = (), **rest: Any) -> None:
        self.roles = roles
        self.__dict__.update(rest)


class Role:
    def __init__(self, name: str) -> None:
        self.name = name


def decide(filter: AbpJobsAuthorizationFilter, user: Any, tenant_id: str | None, granted: set[str]) -> bool:
    app = Flask("desk")
    with app.test_request_context():
        context = DashboardContext(
            request=request._get_current_object(),  # type: ignore[attr-defined]
            user=user,
            tenant_id=tenant_id,
            has_permission=granted.__contains__,
        )
        return filter.authorize(context)


HOST, TENANT = None, "acme"


@pytest.mark.parametrize(
    ("arguments", "user", "tenant_id", "granted", "expected"),
    [
        # 1: not signed in
        ({}, None, HOST, {"See"}, False),
        ({"enable_tenant": True}, None, TENANT, {"See"}, False),
        ({"required_permission": "See"}, None, HOST, {"See"}, False),
        ({"required_roles": ()}, None, HOST, set(), False),
        # 2: a tenant's user, and neither tenants enabled nor a permission named
        ({}, User(), TENANT, {"See"}, False),
        ({"required_roles": ["admin"]}, User(["admin"]), TENANT, set(), False),
        ({"required_permission": ""}, User(), TENANT, {""}, False),
        ({"enable_tenant": True}, User(), TENANT, set(), True),
        ({"required_permission": "See"}, User(), TENANT, {"See"}, True),
        # 3: the permission
        ({"required_permission": "See"}, User(), HOST, set(), False),
        ({"required_permission": "See"}, User(), TENANT, {"Other"}, False),
        ({"required_permission": "See", "enable_tenant": True}, User(), TENANT, set(), False),
        ({"required_permission": "See"}, User(), HOST, {"See"}, True),
        # 4: the roles
        ({"required_roles": ["admin"]}, User(), HOST, set(), False),
        ({"required_roles": ["admin", "ops"]}, User(["admin"]), HOST, set(), False),
        ({"required_roles": ["admin", "ops"]}, User(["ops", "admin"]), HOST, set(), True),
        ({"required_roles": "admin"}, User(["admin"]), HOST, set(), True),
        ({"required_roles": "admin"}, User(["a", "d", "m", "i", "n"]), HOST, set(), False),
        ({"required_roles": ["admin"]}, User([Role("admin")]), HOST, set(), True),
        ({"required_roles": ["admin"]}, User([Role("ops")]), HOST, set(), False),
        ({"required_roles": ["admin"]}, User("administrator"), HOST, set(), False),
        ({"required_roles": ["admin"]}, User(None), HOST, set(), False),
        ({"required_roles": ["admin"]}, User(has_role=lambda name: name == "admin"), HOST, set(), True),
        ({"required_roles": ["admin"]}, User(["admin"], has_role=lambda name: False), HOST, set(), False),
        ({"required_roles": ["admin"], "required_permission": "See"}, User(["admin"]), HOST, set(), False),
        # 5: otherwise
        ({}, User(), HOST, set(), True),
    ],
)
def test_users_are_let_in_by_the_decision_table(
    arguments: dict[str, Any], user: Any, tenant_id: str | None, granted: set[str], expected: bool
) -> None:
    assert decide(AbpJobsAuthorizationFilter(**arguments), user, tenant_id, granted) is expected


def test_the_first_argument_is_enable_tenant_as_in_abp() -> None:
    assert decide(AbpJobsAuthorizationFilter(True, "See"), User(), TENANT, {"See"})


def test_a_filter_must_say_how_it_decides() -> None:
    with pytest.raises(TypeError, match="authorize"):
        DashboardAuthorizationFilter()  # type: ignore[abstract]


def test_nobody_is_signed_in_to_an_app_without_flask_login() -> None:
    with Flask("desk").test_request_context():
        assert find_user() is None
