"""The settings of a job and of one enqueue of it."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from .config import QUEUE_PATTERN
from .errors import ConfigError
from .model import JobPriority, ParentEnd, Retention, storable
from .retry import RetryPolicy

MAX_AHEAD: Final = timedelta(days=36_525)
MAX_KEY: Final = 200
_DURATIONS: Final = ("delay", "timeout", "unique_for", "expires")


class JobOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a job or of one enqueue; what an enqueue leaves out comes from the job. Durations may be given as
    seconds or as timedeltas."""

    queue: str | None = None
    priority: JobPriority | None = None
    retry: RetryPolicy | None = None
    timeout: timedelta | None = None
    """How long one attempt may take."""
    expires: timedelta | None = None
    """A job that no worker has begun so long after it became due is deleted."""
    max_concurrent: int | None = None
    """How many jobs of one ``concurrency_key`` may run at once, over all servers."""
    concurrency_key: str | None = None
    """By default the job's name. Fields in braces are arguments, and ``{tenant_id}``: ``"report:{customer_id}"``."""
    unique_key: str | None = None
    """Of the jobs of one name, tenant and key only the first is kept until it has ended. Fields as above."""
    unique_for: timedelta | None = None
    """The key stays taken at least so long, even if the job ends before."""
    retention: Retention | timedelta | None = None
    """How long the finished job is kept. A timedelta is for one that succeeded or was deleted."""
    delay: timedelta | None = None
    eta: datetime | None = None
    tenant: str | None | msgspec.UnsetType = msgspec.UNSET
    after: str | None = None
    """The id of the job whose end this one awaits."""
    on: ParentEnd | None = None
    """Which end of that job starts this one: ``succeeded`` (the default), ``deleted``, or ``finished``: both."""

    def changed(self, **changes: Any) -> JobOptions:
        """Return a copy with other settings.

        :raises ConfigError: an unknown setting, or a value that does not fit.
        """
        unknown = changes.keys() - set(self.__struct_fields__)
        if unknown:
            known = ", ".join(self.__struct_fields__)
            raise ConfigError(f"There is no option {', '.join(sorted(unknown))}; there are {known}.")
        for name in _DURATIONS:
            seconds = changes.get(name)
            if isinstance(seconds, (int, float)) and abs(seconds) <= MAX_AHEAD.total_seconds():
                changes[name] = timedelta(seconds=seconds)
        if changes.get("on") in tuple(ParentEnd):
            changes["on"] = ParentEnd(changes["on"])
        options = msgspec.structs.replace(self, **changes)
        options._check()
        return options

    def over(self, defaults: JobOptions) -> JobOptions:
        """Return these settings, with those of ``defaults`` where these say nothing."""
        if self is DEFAULT_OPTIONS:
            return defaults
        given = {
            name: value
            for name in self.__struct_fields__
            if (value := getattr(self, name)) is not None and value is not msgspec.UNSET
        }
        if self.tenant is None:  # says: of no tenant
            given["tenant"] = None
        return msgspec.structs.replace(defaults, **given) if given else defaults

    def _check(self) -> None:
        for name in _CHECKS:
            value = getattr(self, name)
            if value is not None and value is not msgspec.UNSET:
                is_right, advice = _CHECKS[name]
                if not is_right(value):
                    raise ConfigError(f"{name} is {value!r:.100}: {advice}")
        if self.eta is not None and self.delay is not None:
            raise ConfigError("Give delay or eta, not both.")
        if self.tenant == "":
            raise ConfigError("tenant is empty: use None for a job of no tenant.")
        if self.on is not None and self.after is None:
            raise ConfigError("on says which end of another job starts this one: give its id as after.")
        if self.unique_for is not None and self.unique_key is None:
            raise ConfigError("unique_for says how long a unique_key is taken: give the key, too.")
        if self.concurrency_key is not None and self.max_concurrent is None:
            raise ConfigError("concurrency_key says what max_concurrent counts: give max_concurrent, too.")


DEFAULT_OPTIONS: Final = JobOptions()
OF_ONE_ENQUEUE: Final = frozenset({"delay", "eta", "tenant", "after", "on"})
"""Settings that make no sense for all jobs of a name."""


def fields_of(template: str) -> set[str]:
    """Return the names in braces of a key.

    :raises ConfigError: it cannot be read.
    """
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
    except ValueError as error:
        raise ConfigError(f"The key {template!r:.100} cannot be read: {error}.") from error
    return {field.partition(".")[0].partition("[")[0] for field in fields}


def check_key(template: str, names: Collection[str]) -> None:
    """Check that the fields of a key are known.

    :raises ConfigError: one is not.
    """
    unknown = fields_of(template) - {*names, "tenant_id"}
    if unknown:
        known = ", ".join([*names, "tenant_id"])
        named = ", ".join(f"{{{name}}}" for name in sorted(unknown))
        raise ConfigError(f"The key {template!r:.100} has {named}; the fields are {known}.")


def filled_key(template: str, values: Mapping[str, Any]) -> str:
    """Return a key with its fields filled in; a long one is shortened to its beginning and a hash of all of it.

    :raises ConfigError: a field is not known, or cannot be formatted.
    """
    try:
        key = storable(template.format_map(values))
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"The key {template!r:.100} cannot be filled in: {type(error).__name__}: {error}.") from error
    if len(key) > MAX_KEY:
        digest = hashlib.sha256(key.encode()).hexdigest()
        key = f"{key[: MAX_KEY - len(digest) - 1]}:{digest}"
    return key


def _is_duration(value: Any) -> bool:
    return isinstance(value, timedelta) and abs(value) <= MAX_AHEAD


def _is_positive(value: Any) -> bool:
    return _is_duration(value) and value > timedelta(0)


def _is_key(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_KEY


def _is_retention(value: Any) -> bool:
    return isinstance(value, Retention) or (_is_duration(value) and value >= timedelta(0))


_DURATION_ADVICE: Final = "use seconds or a timedelta, more than none and at most 100 years."
_KEY_ADVICE: Final = f"use 1 to {MAX_KEY} characters."
_CHECKS: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "queue": (
        lambda value: isinstance(value, str) and bool(QUEUE_PATTERN.match(value)),
        "use 1 to 64 letters, digits and _ . -",
    ),
    "priority": (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 31,
        "use a JobPriority.",
    ),
    "delay": (_is_duration, "use seconds or a timedelta, at most 100 years."),
    "eta": (
        lambda value: isinstance(value, datetime) and value.tzinfo is not None and value.year < 9999,
        "use a datetime with a time zone, as datetime.now(UTC).",
    ),
    "tenant": (lambda value: isinstance(value, str), "use text, or None for a job of no tenant."),
    "retry": (lambda value: isinstance(value, RetryPolicy), "use a RetryPolicy."),
    "timeout": (_is_positive, _DURATION_ADVICE),
    "expires": (_is_positive, _DURATION_ADVICE),
    "unique_for": (_is_positive, _DURATION_ADVICE),
    "unique_key": (_is_key, _KEY_ADVICE),
    "concurrency_key": (_is_key, _KEY_ADVICE),
    "max_concurrent": (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 100_000,
        "use a number from 1 to 100,000.",
    ),
    "retention": (_is_retention, "use a timedelta, or a Retention."),
    "after": (lambda value: isinstance(value, str) and bool(value), "use the id of a job."),
    "on": (lambda value: isinstance(value, ParentEnd), "use succeeded, deleted or finished."),
}
