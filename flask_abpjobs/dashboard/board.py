"""One mounted dashboard: its options and services, and what follows from both."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ..model import JobRecord
from .options import DashboardOptions
from .services import DashboardServices


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """What every view of one dashboard is given."""

    options: DashboardOptions
    services: DashboardServices
    fingerprints: Mapping[str, str]

    @property
    def title(self) -> str:
        """The name in the head of each page."""
        return self.services.config.dashboard_title if self.options.title is None else self.options.title

    @property
    def page_size(self) -> int:
        """Jobs in a list unless the visitor asks for another number."""
        return self.options.page_size or self.services.config.dashboard_page_size

    @property
    def poll_seconds(self) -> float:
        """Seconds between two looks unless the visitor asks for another number."""
        return self.options.poll_seconds or self.services.config.dashboard_poll_seconds

    def is_read_only(self) -> bool:
        """Return whether actions are off now."""
        option = self.options.read_only
        return self.services.config.dashboard_read_only or bool(option() if callable(option) else option)

    def name_of(self, job: JobRecord) -> str:
        """Return what to call a job."""
        return job.name if self.options.display_name is None else str(self.options.display_name(job))
