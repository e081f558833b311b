"""The default answer to "may this user do that"."""

from __future__ import annotations

from typing import Any


def default_permission_checker(user: Any, permission: str, tenant_id: str | None) -> bool:
    """Return whether a user has a permission.

    Asks ``user.has_permission(name)`` where there is one (Flask-Security has it), else looks into
    ``user.permissions``. A user with neither, and an anonymous visitor, has none.

    :param user: Flask-Login's user, ``None`` for an anonymous visitor.
    :param permission: the permission's name.
    :param tenant_id: the tenant the user acts in; not used here, other checkers may.
    """
    if user is None:
        return False
    has_permission = getattr(user, "has_permission", None)
    if callable(has_permission):
        return bool(has_permission(permission))
    permissions = getattr(user, "permissions", None)
    if permissions is None or isinstance(permissions, str):  # "in" of a string would match a part of a name
        return permissions == permission
    return permission in permissions


def has_role(user: Any, role: str) -> bool:
    """Return whether a user has a role, by ``user.has_role(name)`` or by the names in ``user.roles``."""
    ask = getattr(user, "has_role", None)
    if callable(ask):
        return bool(ask(role))
    roles = getattr(user, "roles", None) or ()
    if isinstance(roles, str):
        return roles == role
    return any(role == (each if isinstance(each, str) else getattr(each, "name", None)) for each in roles)
