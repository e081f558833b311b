"""Which tenant's jobs a page shows: a tenant user's own, and what a host user chooses."""

from __future__ import annotations

from typing import Any

import msgspec
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest

from ..model import TenantScope
from .guard import Visitor
from .listing import MAX_TEXT

NO_TENANT = "no_tenant"


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The tenant filter of an address."""

    scope: TenantScope
    """Goes with every question of the page."""
    tenant: str | None = None
    """The tenant a host user has chosen."""
    is_without_tenant: bool = False
    """Whether a host user has chosen the jobs of no tenant."""

    @property
    def is_chosen(self) -> bool:
        """Whether a host user has narrowed the page."""
        return self.tenant is not None or self.is_without_tenant

    @property
    def arguments(self) -> dict[str, Any]:
        """What keeps the choice in the links of the page."""
        if self.is_without_tenant:
            return {NO_TENANT: "1"}
        return {} if self.tenant is None else {"tenant": self.tenant}


def choose(visitor: Visitor, values: MultiDict[str, str]) -> Choice:
    """Return which jobs to show. The address decides for host users only: it never widens a tenant's view.

    :raises BadRequest: the name is too long for a tenant.
    """
    if not visitor.is_host:
        return Choice(scope=visitor.scope)
    tenant = values.get("tenant", "").strip()
    if len(tenant) > MAX_TEXT:
        raise BadRequest(f"A filter has at most {MAX_TEXT} characters.")
    if values.get(NO_TENANT) == "1":
        return Choice(scope=None, is_without_tenant=True)
    return Choice(scope=tenant, tenant=tenant) if tenant else Choice(scope=visitor.scope)
