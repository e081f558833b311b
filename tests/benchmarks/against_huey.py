"""Ratios against stock Huey on SQLite, measured side by side in one run: ``python tests/benchmarks/against_huey.py``.

Stock Huey keeps no record of a task; we keep a record, a history of three entries and counters. Both write with
``synchronous=FULL``. Each figure is the median of several rounds, which take turns so that a slow moment of the machine
meets both. "Enqueue many" is our one step for a hundred jobs against stock's one by one, which is all it has.

``--processes`` drains by so many server processes at once instead of by one in this process. ``--kept`` compares one
step of a busy worker (a job finished, the next claimed) beside a thousand finished jobs and beside so many.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from huey import SqliteHuey

from flask_abpjobs.engine import open_huey
from flask_abpjobs.ids import new_job_id
from flask_abpjobs.manager import HueyJobManager
from flask_abpjobs.model import Claim, JobRecord, JobState, Lease, Outcome
from flask_abpjobs.options import DEFAULT_OPTIONS
from flask_abpjobs.storage.base import BATCH

Make = Callable[[Path], Any]
FORK = multiprocessing.get_context("fork")


def stock(folder: Path) -> Any:
    return SqliteHuey("bench", filename=str(folder / "stock.db"), results=False)


def ours(folder: Path) -> Any:
    return open_huey(f"sqlite:///{folder}/ours.db", name="bench")


MAKERS: dict[str, Make] = {"stock": stock, "ours": ours}


class Bench:
    """One kind of Huey with one no-op task.

    :param ran: called once for each job that runs.
    """

    def __init__(self, make: Make, folder: Path, ran: Callable[[], Any]) -> None:
        self.huey = make(folder)

        def nothing(number: int) -> None:
            ran()

        if hasattr(self.huey, "jobs"):
            definition = self.huey.jobs.define(nothing, name="nothing")
            manager = HueyJobManager(self.huey)
            self.put = lambda number: manager.submit(definition, (definition.bind(number),), DEFAULT_OPTIONS)
        else:
            self.put = self.huey.task(name="nothing")(nothing)

    def enqueue(self, count: int) -> float:
        started = time.perf_counter()
        for number in range(count):
            self.put(number)
        return count / (time.perf_counter() - started)

    def enqueue_many(self, count: int) -> float:
        if not hasattr(self.huey, "jobs"):
            return self.enqueue(count)
        started = time.perf_counter()
        for start in range(0, count, BATCH):
            self.huey.records.add_many([record(number) for number in range(start, min(start + BATCH, count))])
        return count / (time.perf_counter() - started)

    def start(self, workers: int) -> Any:
        consumer = self.huey.create_consumer(workers=workers, periodic=False)
        consumer._set_signal_handlers = lambda: None
        consumer.start()
        return consumer


def record(number: int) -> JobRecord:
    now = datetime.now(UTC)
    return JobRecord(id=new_job_id(), name="nothing", payload=b'{"number":%d}' % number, created_at=now, state_at=now)


def drain_here(make: Make, folder: Path, put: str, count: int, workers: int) -> tuple[float, float]:
    """Return jobs enqueued and run in a second, by worker threads of this process."""
    ran, over = itertools.count(1), threading.Event()
    bench = Bench(make, folder, lambda: next(ran) == count and over.set())
    enqueued = getattr(bench, put)(count)
    started = time.perf_counter()
    consumer = bench.start(workers)
    over.wait()
    rate = count / (time.perf_counter() - started)
    consumer.stop(graceful=True)
    return enqueued, rate


def drain_by_processes(
    make: Make, folder: Path, put: str, count: int, workers: int, processes: int
) -> tuple[float, float]:
    """Return jobs enqueued and run in a second, by server processes."""
    ran = FORK.RawArray("q", processes)
    ready, over = FORK.Barrier(processes + 1), FORK.Event()

    def serve(place: int) -> None:
        def count_one() -> None:
            ran[place] += 1

        bench = Bench(make, folder, count_one)
        ready.wait()
        consumer = bench.start(workers)
        over.wait()
        consumer.stop(graceful=True)

    servers = [FORK.Process(target=serve, args=(place,)) for place in range(processes)]
    for server in servers:
        server.start()
    enqueued = getattr(Bench(make, folder, lambda: None), put)(count)
    ready.wait()
    started = time.perf_counter()
    while sum(ran) < count:
        time.sleep(0.002)
    rate = count / (time.perf_counter() - started)
    over.set()
    for server in servers:
        server.join()
    return enqueued, rate


def step_beside(kept: int, folder: Path, steps: int) -> float:
    """Return the microseconds of one step of a busy worker beside so many finished jobs."""
    huey = ours(folder)
    storage, server = huey.records, huey.serve()
    claim, done = Claim(server.id, "1", ("default",)), Outcome(state=JobState.SUCCEEDED, duration=0.1)
    storage.add(record(0))
    job = storage.claim(claim)
    storage.finish(Lease(job.id, job.fence), done)
    with storage.writing() as cursor:
        columns = [row["name"] for row in cursor.execute("PRAGMA table_info(abpjobs_job)")]
        other = {"sequence": "NULL", "id": "'k' || i", "entry": "1000000 + i"}
        values = ", ".join(other.get(name, name) for name in columns)
        numbers = f"WITH RECURSIVE numbers (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {kept})"
        cursor.execute(
            f"{numbers} INSERT INTO abpjobs_entry SELECT 1000000 + i, NULL, 'succeeded', at, reason, data "
            "FROM numbers, (SELECT * FROM abpjobs_entry WHERE state = 'succeeded')"
        )
        cursor.execute(f"{numbers} INSERT INTO abpjobs_job SELECT {values} FROM numbers, (SELECT * FROM abpjobs_job)")
        cursor.execute(
            "UPDATE abpjobs_shelf SET number = number + ?, created = created + ? WHERE state = 'succeeded'",
            (kept, kept),
        )
    for start in range(0, steps + 1, BATCH):
        storage.add_many([record(number) for number in range(start, start + BATCH)])
    with storage.lock:
        storage.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.sync()  # what was made here must not be written while the steps are measured
    job = storage.claim(claim)
    taken = []
    for _ in range(steps):
        started = time.perf_counter()
        job = storage.finish(Lease(job.id, job.fence), done, claim)
        taken.append(time.perf_counter() - started)
    storage.close()
    return 1e6 * statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1, help="threads of each server")
    parser.add_argument("--processes", type=int, default=0, help="server processes; 0: one server in this process")
    parser.add_argument("--kept", type=int, default=0, help="finished jobs beside which a step is measured")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if options.kept:
        compare_kept(options.kept, options.jobs, options.rounds)
    else:
        compare_rates(options)


def compare_kept(kept: int, steps: int, rounds: int) -> None:
    taken: dict[int, list[float]] = {1000: [], kept: []}
    for _ in range(rounds):
        for number, found in taken.items():
            with tempfile.TemporaryDirectory() as folder:
                found.append(step_beside(number, Path(folder), steps))
    few, many = (statistics.median(found) for found in taken.values())
    print(f"finish and claim, median of {rounds} rounds of {steps}: {few:.0f} us beside 1,000 finished jobs,")
    print(f"{many:.0f} us beside {kept:,}: ratio {many / few:.2f}")


def compare_rates(options: argparse.Namespace) -> None:
    rates: dict[tuple[str, str], list[float]] = {}
    for put, (name, make) in list(itertools.product(("enqueue", "enqueue_many"), MAKERS.items())) * options.rounds:
        with tempfile.TemporaryDirectory() as folder:
            place, count = Path(folder), options.jobs
            if put == "enqueue_many":
                bench = Bench(make, place, lambda: None)
                rates.setdefault((name, "enqueue many"), []).append(bench.enqueue_many(count))
                continue
            if options.processes:
                found = drain_by_processes(make, place, put, count, options.workers, options.processes)
            else:
                found = drain_here(make, place, put, count, options.workers)
            for what, rate in zip(("enqueue", "run"), found, strict=True):
                rates.setdefault((name, what), []).append(rate)
    servers = f"{options.processes} processes with " if options.processes else ""
    print(f"{options.jobs} no-op jobs, {servers}{options.workers} worker threads, median of {options.rounds} rounds")
    for what in ("enqueue", "enqueue many", "run"):
        theirs, mine = (statistics.median(rates[name, what]) for name in ("stock", "ours"))
        ratios = [mine / theirs for mine, theirs in zip(rates["ours", what], rates["stock", what], strict=True)]
        print(
            f"{what:<12} stock {theirs:8,.0f}/s   tracked {mine:8,.0f}/s   "
            f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
