"""The default answer to "which tenant does this visitor belong to"."""

from __future__ import annotations

from .users import find_user


def default_tenant_resolver() -> str | None:
    """Return ``current_user.tenant_id`` as text, ``None`` for a host user and for an anonymous visitor.

    A header, a cookie or the query string never decides.
    """
    tenant_id = getattr(find_user(), "tenant_id", None)
    return None if tenant_id is None else str(tenant_id)
