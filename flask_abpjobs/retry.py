"""When a failed job is tried again."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final, Literal

import msgspec

from .errors import ConfigError

MAX_DELAY: Final = timedelta(days=366).total_seconds()


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a failed job is tried again, and how often.

    ``RetryPolicy()`` is Hangfire's default: ten retries, the n-th after ``(n-1)**4 + 15 + random(0..29) * n`` seconds;
    the first comes after 15 to 44 seconds, the last after about two hours. ``RetryPolicy(delays=[2, 5, 10])`` waits
    these seconds and then gives up. See also :meth:`exponential` and :meth:`none`.
    """

    attempts: int = 10
    """The most retries after the first failure; with ``delays`` their number counts."""
    delays: Sequence[float] | None = None
    """Seconds before each retry."""
    first: float | None = None
    """Seconds before the first retry of an exponential policy."""
    factor: float = 2.0
    """By what the delay of an exponential policy grows."""
    timeout: float | None = None
    """Seconds from when the job first became due, after which an exponential policy gives up."""
    on: Sequence[Any] = ()
    """Only these exceptions, given as classes or full names, and their subclasses are tried again; empty: all."""
    except_on: Sequence[Any] = ()
    """These exceptions and their subclasses are not tried again."""
    on_exceeded: Literal["fail", "delete"] = "fail"
    """What becomes of a job whose retries are used up."""

    def __post_init__(self) -> None:
        for name in ("on", "except_on"):
            msgspec.structs.force_setattr(self, name, _names_of(name, getattr(self, name)))
        if self.on_exceeded not in ("fail", "delete"):
            raise ConfigError(f'RetryPolicy: on_exceeded is {self.on_exceeded!r:.50}; use "fail" or "delete".')
        if self.delays is not None:
            msgspec.structs.force_setattr(self, "delays", tuple(float(delay) for delay in self.delays))
            msgspec.structs.force_setattr(self, "attempts", len(self.delays or ()))
        if not 0 <= self.attempts <= 1000:
            raise ConfigError(f"RetryPolicy: attempts is {self.attempts}; use 0 to 1000.")
        if any(not 0 <= delay <= MAX_DELAY for delay in self.delays or ()):
            raise ConfigError(
                f"RetryPolicy: delays is {list(self.delays or ())}; use seconds from 0 to {MAX_DELAY:.0f}."
            )
        if self.first is not None and not (0 < self.first <= MAX_DELAY and 1 <= self.factor < math.inf):
            raise ConfigError("RetryPolicy.exponential: first must be positive seconds and factor at least 1.")
        if self.timeout is not None and not self.timeout >= 0:
            raise ConfigError(f"RetryPolicy.exponential: timeout is {self.timeout}; use seconds, at least 0.")

    @classmethod
    def none(cls, **options: Any) -> RetryPolicy:
        """Return the policy that never tries again.

        :param options: ``on_exceeded``.
        """
        return cls(attempts=0, **options)

    @classmethod
    def exponential(
        cls, first: float = 60.0, factor: float = 2.0, timeout: float = 172_800.0, **options: Any
    ) -> RetryPolicy:
        """Return ABP's policy: ``first * factor**(n-1)`` seconds before retry n, until ``timeout`` seconds have passed.

        With the defaults the twelfth attempt, 34 hours after the first, is the last.

        :param options: ``on``, ``except_on``, ``on_exceeded``, and ``attempts`` for fewer than 1,000.
        """
        return cls(**{"attempts": 1000, **options}, first=first, factor=factor, timeout=timeout)

    def covers(self, error: BaseException) -> bool:
        """Return whether an exception is one that is tried again: of its class or a class above it, by name."""
        names = {qualified(kind) for kind in type(error).__mro__}
        return (not self.on or not names.isdisjoint(self.on)) and names.isdisjoint(self.except_on)

    def next_delay(self, failures: int, age: float, *, draw: Callable[[], int] | None = None) -> float | None:
        """Return seconds to wait before the next retry, ``None`` to give up.

        :param failures: how many attempts have failed, this one included.
        :param age: seconds since the job first became due.
        :param draw: returns a number from 0 to 29; random when left out.
        """
        if failures > self.attempts:
            return None
        if self.delays is not None:
            return self.delays[failures - 1]
        if self.first is not None:
            delay = self._grown(failures - 1)
            return None if self.timeout is not None and age + delay > self.timeout else delay
        jitter = random.randrange(30) if draw is None else draw()
        return min(float((failures - 1) ** 4 + 15 + jitter * failures), MAX_DELAY)

    def _grown(self, steps: int) -> float:
        assert self.first is not None
        try:
            return min(float(self.first) * float(self.factor) ** steps, MAX_DELAY)
        except OverflowError:
            return MAX_DELAY


def qualified(kind: type) -> str:
    """Return the name of a class with its module, without one for built-in classes."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _names_of(field: str, kinds: Any) -> tuple[str, ...]:
    several = tuple(kinds) if isinstance(kinds, (list, tuple, set, frozenset)) else (kinds,)
    for kind in several:
        if not isinstance(kind, str) and not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise ConfigError(f"RetryPolicy: {field} names {kind!r:.100}; use exception classes or their full names.")
    return tuple(kind if isinstance(kind, str) else qualified(kind) for kind in several)


def encode_policy(policy: RetryPolicy) -> bytes:
    """Return a policy as JSON, to travel with a job."""
    return msgspec.json.encode(policy)


def decode_policy(data: bytes) -> RetryPolicy | None:
    """Return the policy that JSON means, ``None`` when the bytes are damaged: the job's own policy applies then."""
    try:
        return msgspec.json.decode(data, type=RetryPolicy)
    except (msgspec.MsgspecError, ConfigError):
        return None
