"""The job of every contender, and what it leaves behind: the time at which it began.

The times are in a file that all processes map into their memory. Each job has a slot of its own, so that no lock is
needed, and the same few instructions are done for each contender, outside its queue. ``CLOCK_MONOTONIC`` is one clock
for all processes of a machine.
"""

from __future__ import annotations

import functools
import mmap
import time
from collections.abc import Callable
from pathlib import Path

from .place import Place

POLL: float = 0.05
STUCK_AFTER: float = 60.0
"""Seconds without a first job after which a worker is given up."""


def stamp(number: int) -> None:
    """The job: write the present time into a slot."""
    _own_slots()[number] = time.monotonic_ns()


@functools.cache
def _own_slots() -> memoryview:
    return _mapped(Place.from_environment().stamps)


def _mapped(path: Path) -> memoryview:
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 0)).cast("q")


class Stamps:
    """The slots of jobs 0 to ``count`` - 1, as the measuring process sees them."""

    def __init__(self, path: Path, count: int) -> None:
        path.write_bytes(bytes(8 * count))
        self._slots = _mapped(path)
        self.count = count

    def done(self) -> int:
        """Return how many jobs have begun."""
        return self.count - self._slots.tolist().count(0)

    def rate(self) -> float:
        """Return the jobs per second from the first job's beginning to the last one's."""
        begun = [at for at in self._slots.tolist() if at]
        return (len(begun) - 1) / (max(begun) - min(begun)) * 1e9

    def wait(self, count: int, check: Callable[[], None], seconds: float) -> int:
        """Return how many jobs have begun: ``count`` of them, or as many as did in ``seconds`` after the first.

        :param check: raises when no more are to be expected.
        :raises TimeoutError: none has begun for a minute.
        """
        begin_by = time.monotonic() + STUCK_AFTER
        deadline: float | None = None
        while (done := self.done()) < count:
            check()
            now = time.monotonic()
            if done and deadline is None:
                deadline = now + seconds
            if deadline is None and now > begin_by:
                raise TimeoutError(f"No job has begun for {STUCK_AFTER:g} s.")
            if deadline is not None and now > deadline:
                break
            time.sleep(POLL)
        return done

    def wait_for(self, number: int, timeout: float) -> int:
        """Return when a job began, in nanoseconds.

        :raises TimeoutError: it has not after ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while not self._slots[number]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"Job {number} has not begun within {timeout:g} s.")
            time.sleep(0.002)
        return self._slots[number]
