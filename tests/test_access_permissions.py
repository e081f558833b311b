"""What the host app is asked when it plugs in nothing: permissions and tenants of Flask-Login's user."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import flask_login
import pytest
from flask import Flask

from flask_abpjobs.access import default_permission_checker, default_tenant_resolver
from flask_abpjobs.access.users import name_of


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (None, False),
        (SimpleNamespace(), False),
        (SimpleNamespace(permissions=None), False),
        (SimpleNamespace(permissions=()), False),
        (SimpleNamespace(permissions={"Jobs.See"}), True),
        (SimpleNamespace(permissions=["Other", "Jobs.See"]), True),
        (SimpleNamespace(permissions="Jobs.See"), True),
        (SimpleNamespace(permissions="Jobs.SeeNothing"), False),
        (SimpleNamespace(has_permission=lambda name: name == "Jobs.See"), True),
        (SimpleNamespace(has_permission=lambda name: None), False),
        (SimpleNamespace(has_permission=lambda name: False, permissions=["Jobs.See"]), False),
    ],
)
def test_a_permission_is_asked_of_the_user(user: Any, expected: bool) -> None:
    assert default_permission_checker(user, "Jobs.See", None) is expected


class User(flask_login.UserMixin):
    id = "7"


def resolve(user: Any) -> str | None:
    app = Flask("desk")
    app.secret_key = "x"
    flask_login.LoginManager(app).request_loader(lambda request: user)
    with app.test_request_context(headers={"X-Tenant": "evil", "Cookie": "tenant=evil"}, query_string="tenant=evil"):
        return default_tenant_resolver()


@pytest.mark.parametrize(("tenant_id", "expected"), [(None, None), ("acme", "acme"), (12, "12")])
def test_the_tenant_is_the_users_and_nothing_else_decides(tenant_id: Any, expected: str | None) -> None:
    user = User()
    user.tenant_id = tenant_id  # type: ignore[attr-defined]
    assert resolve(user) == expected


def test_an_anonymous_visitor_and_a_user_without_the_attribute_have_no_tenant() -> None:
    assert resolve(None) is None
    assert resolve(User()) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "7"),
        ({"email": "a@b.example"}, "a@b.example"),
        ({"name": "Ayla", "email": "a@b.example"}, "Ayla"),
        ({"username": "ayla", "name": "Ayla"}, "ayla"),
        ({"username": "", "name": None}, "7"),
        ({"name": "x" * 999}, "x" * 200),
    ],
)
def test_a_user_is_called_by_name_else_by_id(values: dict[str, Any], expected: str) -> None:
    user = User()
    user.__dict__.update(values)
    assert name_of(user) == expected
