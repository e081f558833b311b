"""The provider of apps that have no jobs: ABP's ``NullBackgroundJobManager``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from ..errors import ConfigError
from ..model import JobRecord
from .base import BackgroundJobManager


class NullJobManager(BackgroundJobManager):
    """Refuses every job. Ask :attr:`is_available` before enqueueing where that may be the manager."""

    @property
    def is_available(self) -> bool:
        return False

    def store(self, records: Sequence[JobRecord]) -> NoReturn:
        """Refuse.

        :raises ConfigError: always.
        """
        names = ", ".join(sorted({record.name for record in records}))
        raise ConfigError(
            f"{names} cannot be enqueued: this app has no provider for background jobs. Take NullJobManager out of "
            "ABPJOBS_MANAGER, or ask jobs.manager.is_available before."
        )
