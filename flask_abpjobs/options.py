"""The settings of one enqueue."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from .config import QUEUE_PATTERN
from .errors import ConfigError
from .model import JobPriority
from .retry import RetryPolicy

MAX_AHEAD: Final = timedelta(days=36_525)


class JobOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one enqueue; what is left out comes from the job's definition."""

    queue: str | None = None
    priority: JobPriority | None = None
    delay: timedelta | None = None
    eta: datetime | None = None
    tenant: str | None | msgspec.UnsetType = msgspec.UNSET
    retry: RetryPolicy | None = None

    def changed(self, **changes: Any) -> JobOptions:
        """Return a copy with other settings.

        :raises ConfigError: an unknown setting, or a value that does not fit.
        """
        unknown = changes.keys() - set(self.__struct_fields__)
        if unknown:
            known = ", ".join(self.__struct_fields__)
            raise ConfigError(f"There is no option {', '.join(sorted(unknown))}; there are {known}.")
        if isinstance(delay := changes.get("delay"), (int, float)) and abs(delay) <= MAX_AHEAD.total_seconds():
            changes["delay"] = timedelta(seconds=delay)
        options = msgspec.structs.replace(self, **changes)
        options._check()
        return options

    def _check(self) -> None:
        def require(is_right: bool, field: str, advice: str) -> None:
            if not is_right:
                raise ConfigError(f"{field} is {getattr(self, field)!r:.100}: {advice}")

        queue, priority, delay, eta = self.queue, self.priority, self.delay, self.eta
        is_queue = queue is None or (isinstance(queue, str) and bool(QUEUE_PATTERN.match(queue)))
        require(is_queue, "queue", "use 1 to 64 letters, digits and _ . -")
        is_priority = isinstance(priority, int) and not isinstance(priority, bool) and abs(priority) < 1 << 31
        require(priority is None or is_priority, "priority", "use a JobPriority.")
        is_delay = isinstance(delay, timedelta) and abs(delay) <= MAX_AHEAD
        require(delay is None or is_delay, "delay", "use seconds or a timedelta, at most 100 years.")
        require(eta is None or isinstance(eta, datetime), "eta", "use a datetime with a time zone.")
        if eta is not None:
            require(eta.tzinfo is not None, "eta", "give it a time zone, such as datetime.now(UTC).")
            require(eta.year < 9999, "eta", "use an earlier year.")
        if delay is not None and eta is not None:
            raise ConfigError("Give delay or eta, not both.")
        if self.tenant == "":
            raise ConfigError("tenant is empty: use None for a job of no tenant.")
        is_tenant = self.tenant is msgspec.UNSET or self.tenant is None or isinstance(self.tenant, str)
        require(is_tenant, "tenant", "use text, or None for a job of no tenant.")
        require(self.retry is None or isinstance(self.retry, RetryPolicy), "retry", "use a RetryPolicy.")


DEFAULT_OPTIONS: Final = JobOptions()
