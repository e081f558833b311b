"""Ratios against stock Huey on SQLite, measured side by side in one run: ``tox -e bench``.

Stock Huey keeps no record of a task; we keep a record, a history of three entries and counters. Both write with
``synchronous=FULL``. Each figure is the median of several rounds, which take turns so that a slow moment of the machine
meets both.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huey import SqliteHuey

from flask_abpjobs.engine import open_huey
from flask_abpjobs.manager import HueyJobManager
from flask_abpjobs.options import DEFAULT_OPTIONS

Make = Callable[[Path], Any]


def stock(folder: Path) -> Any:
    return SqliteHuey("bench", filename=str(folder / "stock.db"), results=False)


def ours(folder: Path) -> Any:
    return open_huey(f"sqlite:///{folder}/ours.db", name="bench")


class Bench:
    """One kind of Huey with one no-op task."""

    def __init__(self, make: Make, folder: Path) -> None:
        self.huey = make(folder)
        self.left = threading.Semaphore(0)

        def nothing(number: int) -> None:
            self.left.release()

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

    def run(self, count: int, workers: int) -> float:
        options: dict[str, Any] = {"workers": workers, "periodic": False}
        consumer = self.huey.create_consumer(**options)
        consumer._set_signal_handlers = lambda: None
        started = time.perf_counter()
        consumer.start()
        for _ in range(count):
            self.left.acquire()
        rate = count / (time.perf_counter() - started)
        consumer.stop(graceful=True)
        return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    rates: dict[tuple[str, str], list[float]] = {}
    for _ in range(options.rounds):
        for name, make in (("stock", stock), ("ours", ours)):
            with tempfile.TemporaryDirectory() as folder:
                bench = Bench(make, Path(folder))
                rates.setdefault((name, "enqueue"), []).append(bench.enqueue(options.jobs))
                rates.setdefault((name, "run"), []).append(bench.run(options.jobs, options.workers))
    print(f"{options.jobs} no-op jobs, {options.workers} worker threads, median of {options.rounds} rounds")
    for what in ("enqueue", "run"):
        theirs, mine = (statistics.median(rates[name, what]) for name in ("stock", "ours"))
        ratios = [mine / theirs for mine, theirs in zip(rates["ours", what], rates["stock", what], strict=True)]
        print(
            f"{what:<8} stock {theirs:8,.0f}/s   tracked {mine:8,.0f}/s   "
            f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
