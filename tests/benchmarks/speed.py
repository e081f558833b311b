"""How fast jobs are enqueued and run."""

from __future__ import annotations

import time
from collections.abc import Callable

from .contenders import Entry, Kind
from .redis_server import RedisServer
from .results import Measurement
from .scene import scene
from .worker import Worker

Note = Callable[[Measurement, float], None]

ONE_BY_ONE = Measurement("Enqueue one by one", "jobs per second")
ONE_BY_ONE_CPU = Measurement("Processor time of the program that enqueues one by one", "µs per job")
MANY = Measurement("Enqueue many", "jobs per second")
ENQUEUE_TRIPS = Measurement("Requests to Redis per enqueued job", "requests", 2)
ENQUEUE_LOAD = Measurement("Processor time of Redis per enqueued job", "µs per job")
DRAINS = {kind: Measurement(f"Drain, {kind.value}", "jobs per second") for kind in Kind}
DRAIN_CPU = Measurement("Processor time of 1 worker per drained job", "µs per job")
DRAIN_TRIPS = Measurement("Requests to Redis per drained job, 1 worker", "requests", 2)
DRAIN_COMMANDS = Measurement("Commands that Redis runs per drained job, 1 worker", "commands", 1)
DRAIN_LOAD = Measurement("Processor time of Redis per drained job, 1 worker", "µs per job")


def enqueue_one_by_one(entry: Entry, server: RedisServer, count: int, note: Note) -> None:
    """One thread enqueues; the first job, for which connections are made, is not counted."""
    with scene(entry, server, count) as (_, contender, _, _):
        contender.put(0)
        before, cpu, started = server.load(), time.process_time(), time.perf_counter()
        for number in range(count):
            contender.put(number)
        note(ONE_BY_ONE, count / (time.perf_counter() - started))
        note(ONE_BY_ONE_CPU, (time.process_time() - cpu) / count * 1e6)
        if entry.storage == "redis":
            load = server.load().since(before)
            note(ENQUEUE_TRIPS, load.reads / count)
            note(ENQUEUE_LOAD, load.cpu / count * 1e6)


def enqueue_many(entry: Entry, server: RedisServer, count: int, note: Note) -> None:
    """One thread hands over all jobs at once, or one by one where the library has no call for many."""
    with scene(entry, server, count) as (_, contender, _, _):
        contender.put(0)
        started = time.perf_counter()
        contender.put_many(range(count))
        note(MANY, count / (time.perf_counter() - started))


def drain(entry: Entry, server: RedisServer, count: int, seconds: float, kind: Kind, note: Note) -> None:
    """A worker is started on a full queue. What each job costs is counted from the tenth part of the jobs on, when all
    processes have started."""
    with scene(entry, server, count) as (_, contender, place, stamps):
        contender.put_many(range(count))
        with Worker(entry.key, kind, place) as worker:
            first = stamps.wait(max(1, count // 10), worker.check, seconds)
            cpu, before = worker.cpu(), server.load()
            last = stamps.wait(count, worker.check, seconds)
            cpu, load = worker.cpu() - cpu, server.load().since(before)
        note(DRAINS[kind], stamps.rate())
    if kind is Kind.ONE and last - first > count // 10:
        jobs = last - first
        note(DRAIN_CPU, cpu / jobs * 1e6)
        if entry.storage == "redis":
            note(DRAIN_TRIPS, load.reads / jobs)
            note(DRAIN_COMMANDS, load.commands / jobs)
            note(DRAIN_LOAD, load.cpu / jobs * 1e6)
