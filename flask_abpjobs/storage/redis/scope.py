"""Tenant scopes as scripts read them."""

from __future__ import annotations

from ...model import AnyTenant, TenantScope


def scope_of(tenant: TenantScope) -> str:
    """Return ``*`` for all jobs, ``-`` for those of no tenant, or ``=`` and the tenant's id."""
    if isinstance(tenant, AnyTenant):
        return "*"
    return "-" if tenant is None else f"={tenant}"
