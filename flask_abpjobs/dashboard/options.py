"""How one dashboard looks, and who may use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from ..access import DashboardAuthorizationFilter, LocalRequestsOnlyFilter
from ..config import is_mount
from ..errors import ConfigError
from ..model import JobRecord

RIGHTS: Final = ("view", "view_arguments", "requeue", "delete")
"""What a visitor may be allowed to do. "Run now" is a requeue."""


class DashboardOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of one dashboard. What is ``None`` is left to the ``ABPJOBS_DASHBOARD_`` settings.

    :raises ConfigError: a value that cannot be meant.
    """

    path: str | None = None
    """Where it answers, such as ``/admin/jobs``."""
    title: str | None = None
    authorization: Sequence[DashboardAuthorizationFilter] | None = None
    """Filters that must all let a request pass. ``None``: only requests of this machine. An empty list is an error."""
    permissions: Mapping[str, str] = {}
    """The permission each right needs; keys are of :data:`RIGHTS`. Whoever may view has the rights not named here."""
    read_only: bool | Callable[[], bool] = False
    """Whether actions are off; a function is asked on each request."""
    display_name: Callable[[JobRecord], str] | None = None
    """Names a job on the pages, instead of its registered name."""
    app_path: str | None = "/"
    """Where "Back to the application" leads; ``None`` shows no such link."""
    page_size: int | None = None
    """Jobs in a list, 1 to 100."""
    poll_seconds: float | None = None
    """Seconds between two looks of a live page."""

    def __post_init__(self) -> None:
        path = self.path
        if path is not None and not is_mount(path):
            raise ConfigError(
                f'DashboardOptions(path={path!r}): start with one slash and name a place below it, like "/jobs".'
            )
        unknown = sorted(set(self.permissions) - set(RIGHTS))
        if unknown:
            raise ConfigError(
                f"DashboardOptions(permissions=...) has no right {unknown[0]!r}. Known rights: {', '.join(RIGHTS)}."
            )
        nameless = sorted(right for right, permission in self.permissions.items() if not permission)
        if nameless:
            raise ConfigError(
                f"DashboardOptions(permissions={{{nameless[0]!r}: ...}}) names no permission. "
                "Leave the right out to let everyone who may view have it."
            )
        if self.authorization is not None:
            _check_filters(self.authorization)
        if self.page_size is not None and not 1 <= self.page_size <= 100:
            raise ConfigError(f"DashboardOptions(page_size={self.page_size!r}): use 1 to 100.")
        if self.poll_seconds is not None and not 0.5 <= self.poll_seconds <= 3600:
            raise ConfigError(f"DashboardOptions(poll_seconds={self.poll_seconds!r}): use 0.5 to 3600 seconds.")
        if self.app_path is not None and not self.app_path.startswith(("/", "https://", "http://")):
            raise ConfigError(f"DashboardOptions(app_path={self.app_path!r}): use a path like /, an address, or None.")

    @property
    def filters(self) -> tuple[DashboardAuthorizationFilter, ...]:
        """The filters in force."""
        return (LocalRequestsOnlyFilter(),) if self.authorization is None else tuple(self.authorization)

    @property
    def is_local_only(self) -> bool:
        """Whether the only filter is the one for local requests."""
        return all(type(each) is LocalRequestsOnlyFilter for each in self.filters)


def _check_filters(filters: Sequence[DashboardAuthorizationFilter]) -> None:
    if not filters:
        raise ConfigError(
            "DashboardOptions(authorization=[]) would leave the dashboard without a guard. "
            "Name a filter, or leave it out to let in local requests only."
        )
    for each in filters:
        if not isinstance(each, DashboardAuthorizationFilter):
            raise ConfigError(
                f"DashboardOptions(authorization=...) holds {each!r}, which is no DashboardAuthorizationFilter. "
                "Give instances, not classes or functions."
            )
