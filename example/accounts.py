"""Who may sign in, to which tenant they belong, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Flask
from flask_login import LoginManager, UserMixin
from werkzeug.security import check_password_hash

DEMO_PASSWORD = "order-desk"
_HASH = (
    "scrypt:32768:8:1$w3DqWNpao0MwkHH0$5c1897312ee8c26418b072abd49c69aec03a61c0a8f879acd4c203ebeef2e1b0"
    "0843801b38fd4c9b0de98382cb5e33c2566133eae04b21a5e5cb11439ba2f7f6"
)

PERMISSIONS = {
    "Host admin": frozenset({"Jobs.Dashboard", "Jobs.Operate"}),
    "Manager": frozenset({"Jobs.Dashboard", "Jobs.Operate"}),
    "Clerk": frozenset[str](),
}
"""What each role may do. Seeing the dashboard needs the first, its buttons need the second."""


@dataclass(frozen=True)
class Tenant:
    """A company that uses the desk."""

    id: str
    name: str

    @property
    def domain(self) -> str:
        """The mail domain that is this tenant's alone."""
        return f"{self.id}.example"


TENANTS = {tenant.id: tenant for tenant in (Tenant("acme", "Acme"), Tenant("globex", "Globex"))}


@dataclass(frozen=True)
class User(UserMixin):  # type: ignore[misc]
    """Somebody who may sign in."""

    id: str
    name: str
    email: str
    role: str
    tenant_id: str | None = None
    password_hash: str = _HASH

    @property
    def tenant(self) -> Tenant | None:
        """The user's tenant, ``None`` for the host's people."""
        return None if self.tenant_id is None else TENANTS[self.tenant_id]

    @property
    def roles(self) -> tuple[str, ...]:
        """The user's one role."""
        return (self.role,)

    @property
    def permissions(self) -> frozenset[str]:
        """What the user may do: Flask-AbpJobs asks here."""
        return PERMISSIONS[self.role]


USERS = {
    user.id: user
    for user in (
        User("host", "Hedy Host", "hedy@desk.example", "Host admin"),
        User("acme-manager", "Mara Meyer", "mara@acme.example", "Manager", "acme"),
        User("acme-clerk", "Cem Çelik", "cem@acme.example", "Clerk", "acme"),
        User("globex-manager", "Milo Moreau", "milo@globex.example", "Manager", "globex"),
        User("globex-clerk", "Clara Costa", "clara@globex.example", "Clerk", "globex"),
    )
}


def find_by_password(email: str, password: str) -> User | None:
    """Return the user of an address and a password. Takes as long for an unknown address as for a wrong password."""
    user = next((user for user in USERS.values() if user.email == email.strip().lower()), None)
    is_right = check_password_hash(_HASH if user is None else user.password_hash, password)
    return user if is_right else None


def init_app(app: Flask) -> None:
    """Give the app Flask-Login."""
    manager = LoginManager(app)
    manager.login_view = "session.login"
    manager.login_message = None  # the login page needs no explanation

    @manager.user_loader  # type: ignore[untyped-decorator]
    def load(user_id: str) -> User | None:
        return USERS.get(user_id)
