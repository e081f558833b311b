"""The signed-in user, as Flask-Login knows them."""

from __future__ import annotations

from typing import Any

from flask import current_app
from flask_login import current_user


def find_user() -> Any | None:
    """Return the signed-in user, or ``None`` for an anonymous visitor and in an app without Flask-Login."""
    if not hasattr(current_app, "login_manager"):
        return None
    user = current_user._get_current_object()
    return user if user is not None and bool(getattr(user, "is_authenticated", False)) else None


def name_of(user: Any) -> str:
    """Return what to call a user in the history of a job: a name if there is one, else the id."""
    for attribute in ("username", "name", "email"):
        name = getattr(user, attribute, None)
        if isinstance(name, str) and name:
            return name[:200]
    return str(user.get_id())[:200]


def has_login_page() -> bool:
    """Return whether the host app can send an anonymous visitor to a login page."""
    manager: Any = getattr(current_app, "login_manager", None)
    return manager is not None and bool(
        manager.unauthorized_callback or manager.login_view or manager.blueprint_login_views
    )


def ask_to_sign_in() -> Any:
    """Return the host app's answer to an anonymous visitor: what its ``login_manager.unauthorized()`` says."""
    manager: Any = current_app.login_manager  # type: ignore[attr-defined]
    return manager.unauthorized()
