"""Who may come in: filters of the dashboard, and what the host app says about users, permissions and tenants."""

from .filters import (
    AbpJobsAuthorizationFilter,
    DashboardAuthorizationFilter,
    DashboardContext,
    LocalRequestsOnlyFilter,
)
from .permissions import default_permission_checker
from .tenants import default_tenant_resolver

__all__ = [
    "AbpJobsAuthorizationFilter",
    "DashboardAuthorizationFilter",
    "DashboardContext",
    "LocalRequestsOnlyFilter",
    "default_permission_checker",
    "default_tenant_resolver",
]
