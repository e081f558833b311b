"""How long others wait for Redis while many jobs come due at one moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from .contenders import Entry, Kind
from .redis_server import RedisServer
from .results import Table, quantile
from .scene import scene
from .worker import Worker

STARTS_WITHIN = 30.0
LEAD = 3.0
"""Seconds from now on to the moment at which all come due, and one more for each 2,000 jobs."""


def come_due(entries: list[Entry], server: RedisServer, count: int, seconds: float) -> Table:
    """PING from a connection of its own, without a pause: beside an idle worker, then while jobs come due and run.

    :param count: jobs that come due at once.
    :param seconds: the longest time that is looked at.
    """
    rows = []
    for entry in entries:
        with scene(entry, server, count + 1) as (_, contender, place, stamps):
            contender.put(count)
            with Worker(entry.key, Kind.ONE, place) as worker:
                stamps.wait_for(count, STARTS_WITHIN)
                quiet = list(_pings(server, 1.0, lambda: False))
                # Scheduling takes a while: the jobs are told a time that comes after it. Huey keeps whole seconds.
                due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=int(LEAD + count / 2000))
                contender.put_due(range(count), due)
                time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds() - 0.1))
                began = stamps.done()
                busy = list(_pings(server, seconds, lambda: stamps.done() > count))
                worker.check()
                ran = stamps.done() - began
        cells = [quantile(quiet, 0.99), quantile(busy, 0.5), quantile(busy, 0.99), max(busy)]
        rows.append((entry.title, *(f"{cell:,.2f}" for cell in cells), f"{ran:,}"))
    heads = ("", "idle p99", "p50", "p99", "max", "jobs run meanwhile")
    return Table(f"PING while {count:,} jobs come due at once and 1 worker runs them, ms", heads, rows)


def _pings(server: RedisServer, seconds: float, is_over: Callable[[], bool]) -> Iterator[float]:
    """Yield the milliseconds that each PING took."""
    deadline = time.perf_counter() + seconds
    with server.connect() as client:
        client.ping()
        number = 0
        while (started := time.perf_counter()) < deadline:
            client.ping()
            yield (time.perf_counter() - started) * 1e3
            time.sleep(0.0005)
            number += 1
            if number % 50 == 0 and is_over():
                return
