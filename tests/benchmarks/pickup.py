"""How soon an idle worker begins a job that another process enqueues."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import ExitStack

from .contenders import Entry, Kind
from .redis_server import RedisServer
from .results import Table, quantile
from .scene import scene
from .worker import Worker

STARTS_WITHIN = 30.0


def pick_up(entries: Sequence[Entry], server: RedisServer, samples: int, idle: float) -> Table:
    """All contenders' workers are up at once and get one job after another, in an order that changes.

    :param samples: jobs for each.
    :param idle: seconds that a worker has been idle at least before each of its jobs; the half of it is added at
        random, so that no poll keeps step with the jobs.
    """
    server.empty()
    taken: dict[str, list[float]] = {entry.key: [] for entry in entries}
    chance = random.Random(7)
    with ExitStack() as stack:
        scenes = []
        for database, entry in enumerate(entries, start=1):
            at = stack.enter_context(scene(entry, server, samples + 1, database))
            stack.enter_context(Worker(entry.key, Kind.ONE, at.place))
            scenes.append(at)
        for at in scenes:
            at.contender.put(0)
        for at in scenes:
            at.stamps.wait_for(0, STARTS_WITHIN)
        for number in range(1, samples + 1):
            time.sleep(idle * (1 + chance.random() / 2))
            chance.shuffle(scenes)
            for at in scenes:
                before = time.monotonic_ns()
                at.contender.put(number)
                taken[at.entry.key].append((at.stamps.wait_for(number, STARTS_WITHIN) - before) / 1e6)
    rows = [
        (entry.title, *(f"{value:,.1f}" for value in (quantile(found, 0.5), quantile(found, 0.95), max(found))))
        for entry in entries
        if (found := taken[entry.key])
    ]
    title = f"Pick-up by a worker that was idle for {idle:g} to {idle * 1.5:g} s, {samples} samples, ms"
    return Table(title, ("", "p50", "p95", "max"), rows)
