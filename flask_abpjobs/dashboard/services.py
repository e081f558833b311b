"""What a dashboard needs of the rest of the package."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

import msgspec

from ..config import JobsConfig
from ..model import ANY_TENANT, JobRecord, JobState, TenantScope
from ..storage.base import JobStorage


class JobActions(Protocol):
    """What the buttons do. Both raise as the storage verbs of the same names do."""

    def requeue(
        self,
        job_id: str,
        *,
        expected: Collection[JobState],
        reason: str = ...,
        by: str | None = None,
        tenant: TenantScope = ANY_TENANT,
    ) -> JobRecord:
        """Put a job that is not running into its queue."""

    def delete(
        self,
        job_id: str,
        *,
        expected: Collection[JobState],
        reason: str = ...,
        by: str | None = None,
        tenant: TenantScope = ANY_TENANT,
    ) -> JobRecord:
        """Move a job to deleted."""


class DashboardServices(msgspec.Struct, frozen=True, kw_only=True):
    """Handed in by the extension, one per app."""

    storage: JobStorage
    manager: JobActions
    config: JobsConfig
    permission_checker: Callable[[Any, str, str | None], bool]
    """``(user, permission, tenant_id)``; see :func:`~flask_abpjobs.access.default_permission_checker`."""
    tenant_resolver: Callable[[], str | None]
    """The tenant of the visitor; see :func:`~flask_abpjobs.access.default_tenant_resolver`."""
    version: str
    """Of this package, for the foot of the page."""
