"""What the finished jobs that are kept cost us: time of a claim and a finish, and room."""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from flask_abpjobs.model import Claim, JobState, Lease, Outcome

from .contenders import Entry
from .redis_server import RedisServer
from .results import Table
from .scene import Scene, scene

BLOCK = 100
DONE = Outcome(state=JobState.SUCCEEDED, duration=0.001, result=b"null")


def keep(entry: Entry, server: RedisServer, numbers: Sequence[int], blocks: int) -> Table:
    """Fill one storage for each number of finished jobs, then run the same small blocks of jobs on each in turn.

    :param numbers: finished jobs kept.
    :param blocks: of 100 jobs for each storage.
    """
    server.empty()
    wall: dict[int, list[float]] = {number: [] for number in numbers}
    cpu: dict[int, list[float]] = {number: [] for number in numbers}
    room: dict[int, float] = {}
    with ExitStack() as stack:
        shops = {}
        for database, number in enumerate(numbers, start=1):
            at = stack.enter_context(scene(entry, server, 1, database))
            shop = shops[number] = Shop(at)
            before = shop.room(server)
            for start in range(0, number, 10 * BLOCK):
                shop.run(min(10 * BLOCK, number - start))
            room[number] = (shop.room(server) - before) / number
        for _ in range(blocks):
            for number, shop in shops.items():
                seconds, used = shop.run(BLOCK)
                wall[number].append(seconds / BLOCK * 1e6)
                cpu[number].append(used / BLOCK * 1e6)
    rows = [
        (
            f"{number:,} jobs kept",
            f"{statistics.median(wall[number]):,.0f}",
            f"{min(wall[number]):,.0f} .. {max(wall[number]):,.0f}",
            f"{statistics.median(cpu[number]):,.0f}",
            f"{room[number]:,.0f}",
        )
        for number in numbers
    ]
    heads = ("", "µs", "min .. max", "µs of our processor time", "bytes for each job kept")
    return Table(f"{entry.title}: claim and finish of a job, in blocks of {BLOCK}", heads, rows)


class Shop:
    """Our storage, driven without a worker."""

    def __init__(self, at: Scene) -> None:
        self._at = at
        self._contender: Any = at.contender
        self._storage = self._contender.huey.records
        self._claim = Claim(self._contender.huey.serve().id, "1", ("default",))

    def run(self, count: int) -> tuple[float, float]:
        """Enqueue jobs, then claim and finish them. Return the seconds the latter took, and those of the processor."""
        self._contender.put_many(range(count))
        cpu, started = time.process_time(), time.perf_counter()
        job = self._storage.claim(self._claim)
        while job is not None:
            job = self._storage.finish(Lease(job.id, job.fence), DONE, self._claim)
        return time.perf_counter() - started, time.process_time() - cpu

    def room(self, server: RedisServer) -> int:
        """Return the bytes that are in use."""
        if self._at.entry.storage == "redis":
            return server.memory()
        path = self._at.place.folder / "ours.db"
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.close()
        return path.stat().st_size
