"""Compare with other libraries on this machine: ``tox -e bench``, or ``python -m tests.benchmarks.compare``.

Each round measures one thing after another, and each thing for all contenders in turn, in an order that changes from
round to round: a slow moment of the machine meets neighbours. What is measured, and what cannot be compared, is told in
docs/benchmarks.rst.
"""

from __future__ import annotations

import argparse
import functools
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import due, keeping, machine, pickup, speed
from .contenders import ENTRIES, Entry, Kind
from .leftovers import none_left
from .redis_server import RedisServer
from .results import Measurement, Results, Table

PARTS = ("enqueue", "drain", "pickup", "kept", "due")


def main(words: Sequence[str] | None = None) -> int:
    options = _options(words)
    signal.signal(signal.SIGTERM, _stop)  # ends as Ctrl-C does: nothing that was started stays
    signal.signal(signal.SIGINT, signal.default_int_handler)
    entries = _present([entry for entry in ENTRIES if not options.only or entry.key in options.only])
    try:
        with none_left(), RedisServer() as server:
            notes = machine.describe(entries, server)
            print("\n".join(notes), flush=True)
            tables = _measured(entries, server, options)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    if options.rst:
        page = "\n\n".join(["\n".join(f"-   {note}" for note in notes), *(table.as_rst() for table in tables)])
        options.rst.write_text(f"{page}\n", encoding="utf-8")
    return 0


def _measured(entries: list[Entry], server: RedisServer, options: argparse.Namespace) -> list[Table]:
    results = Results()
    for number in range(options.rounds):
        order = entries if number % 2 == 0 else entries[::-1]
        for title, measure in _timed(server, options):
            for entry in order:
                if title in {kind.value for kind in Kind if kind not in entry.kinds}:
                    continue
                _attempt(f"round {number + 1}, {title}: {entry.title}", measure, entry, _noting(results, entry, number))
    tables = results.tables()
    ours = [entry for entry in entries if entry.is_ours]
    if "pickup" in options.parts:
        tables += _attempt("pick-up", pickup.pick_up, entries, server, options.samples, options.idle)
    for entry in ours if "kept" in options.parts else ():
        tables += _attempt(f"kept: {entry.title}", keeping.keep, entry, server, options.kept, options.blocks)
    if "due" in options.parts:
        rivals = [entry for entry in entries if entry.key in {"huey-redis", "ours-redis"}]
        tables += _attempt("due", due.come_due, rivals, server, options.jobs, options.seconds)
    print("\n\n".join(["", *(table.as_text() for table in tables)]), flush=True)
    return tables


def _timed(server: RedisServer, options: argparse.Namespace) -> list[tuple[str, Callable[..., None]]]:
    jobs, seconds = options.jobs, options.seconds
    found: list[tuple[str, Callable[..., None]]] = []
    if "enqueue" in options.parts:
        found.append(("one by one", lambda entry, note: speed.enqueue_one_by_one(entry, server, jobs, note)))
        found.append(("many", lambda entry, note: speed.enqueue_many(entry, server, jobs, note)))
    if "drain" in options.parts:
        for kind in Kind:
            found.append((kind.value, functools.partial(_drain, server=server, jobs=jobs, seconds=seconds, kind=kind)))
    return found


def _drain(entry: Entry, note: speed.Note, *, server: RedisServer, jobs: int, seconds: float, kind: Kind) -> None:
    speed.drain(entry, server, jobs, seconds, kind, note)


def _noting(results: Results, entry: Entry, number: int) -> speed.Note:
    def note(measurement: Measurement, value: float) -> None:
        results.note(measurement, entry.key, number, value)

    return note


def _attempt(title: str, measure: Callable[..., Table | None], *arguments: Any) -> list[Table]:
    """Measure, and say how long it took. One contender that fails does not end the run, but is told."""
    started = time.perf_counter()
    try:
        table = measure(*arguments)
    except (RuntimeError, TimeoutError) as error:
        print(f"{title}: not measured. {error}", flush=True)
        return []
    print(f"{title}: {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
    return [] if table is None else [table]


def _present(entries: list[Entry]) -> list[Entry]:
    for entry in entries:
        if entry.is_missing:
            print(f"{entry.title} is left out: pip install '{entry.requirement}'")
    return [entry for entry in entries if not entry.is_missing]


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    keys = [entry.key for entry in ENTRIES]
    parser.add_argument("--quick", action="store_true", help="one round of few jobs: to see that it works")
    parser.add_argument("--jobs", type=int, help="in each queue; 10,000")
    parser.add_argument("--rounds", type=int, help="5")
    parser.add_argument("--seconds", type=float, help="after which a drain is cut short; 20")
    parser.add_argument("--samples", type=int, help="of the pick-up; 40")
    parser.add_argument("--idle", type=float, help="seconds before each sample of the pick-up; 2")
    parser.add_argument("--kept", type=int, nargs="+", help="finished jobs kept; 1,000 and 100,000")
    parser.add_argument("--blocks", type=int, help="of 100 jobs for each number kept; 30")
    parser.add_argument("--only", nargs="+", choices=keys, metavar="KEY", help=f"of {', '.join(keys)}")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rst", type=Path, help="a file for the tables as the documentation has them")
    options = parser.parse_args(words)
    full = {
        "jobs": 10_000,
        "rounds": 5,
        "seconds": 20.0,
        "samples": 40,
        "idle": 2.0,
        "kept": [1000, 100_000],
        "blocks": 30,
    }
    quick = {"jobs": 300, "rounds": 1, "seconds": 3.0, "samples": 3, "idle": 0.2, "kept": [100, 1000], "blocks": 3}
    for name, value in (quick if options.quick else full).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


if __name__ == "__main__":
    sys.exit(main())
