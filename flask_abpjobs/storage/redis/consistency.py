"""Counters, indexes and records of a Redis storage held against each other by a full scan, page by page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from ...model import JobState
from . import layout
from .connection import Wire

PAGE: Final = 1000
_decode: Final = msgspec.msgpack.Decoder().decode
_TOTALS: Final = ("created", "expired", "recovered", "refused")


class _Job(NamedTuple):
    static: dict[str, Any]
    mutable: dict[str, Any]
    last_entry: int | None

    @property
    def state(self) -> JobState:
        code: int = self.mutable["state"]
        return layout.STATES[code - 1]


def inconsistencies(wire: Wire) -> list[str]:
    """Return each inconsistency in words; an empty list is a sound storage."""
    jobs = dict(_jobs(wire))
    return [
        *_wrong_records(wire, jobs),
        *_wrong_indexes(wire, jobs),
        *_wrong_counts(wire, jobs),
        *_wrong_slots(wire, jobs),
    ]


def _jobs(wire: Wire) -> Iterator[tuple[str, _Job]]:
    ids = wire.scan(b"job:")
    while page := list(islice(ids, PAGE)):
        for job_id, static, mutable, entry in wire.call("look", *page):
            values = (None if value is False else value for value in _decode(mutable))
            yield (
                job_id.decode(),
                _Job(
                    dict.fromkeys(layout.STATIC) | dict(zip(layout.STATIC, _decode(static), strict=False)),
                    dict(zip(layout.MUTABLE, values, strict=True)),
                    _entry_state(entry),
                ),
            )


def _entry_state(entry: bytes) -> int | None:
    try:
        return int(_decode(entry)[0])
    except (msgspec.DecodeError, TypeError, ValueError, IndexError):
        return None


def _wrong_records(wire: Wire, jobs: dict[str, _Job]) -> list[str]:
    announced = {key.decode() for key in wire.command(b"HKEYS", wire.prefix + b"servers")}
    found = []
    for job_id, job in jobs.items():
        if job.state is JobState.PROCESSING and job.mutable["server_id"] not in announced:
            found.append(f"Job {job_id} is processing on a server that is not announced.")
        if job.state is JobState.SCHEDULED and job.mutable["due_at"] is None:
            found.append(f"Job {job_id} is scheduled without a time.")
        if job.last_entry != job.mutable["state"]:
            found.append(f"The newest history entry of job {job_id} does not tell its state.")
    return found


def _wrong_indexes(wire: Wire, jobs: dict[str, _Job]) -> list[str]:
    """Hold the index entries that the records call for against those that are there."""
    wanted: Counter[tuple[str, str]] = Counter()
    for job_id, job in jobs.items():
        wanted.update(_index_entries(job_id, job))
    present: Counter[tuple[str, str]] = Counter()
    for kind in ("by:", "tenant:", "ready:", "parked:", "held:", "children:"):
        for rest in wire.scan(kind.encode()):
            present.update(_members(wire, kind + rest.decode()))
    for key in ("due", "retrying", "expiring"):
        present.update(_members(wire, key))
    missing, superfluous = wanted - present, present - wanted
    return [
        *(f"Job {job_id} is missing in index {key!r}." for key, job_id in sorted(missing)),
        *(f"Index {key!r} has {job_id}, which does not belong there." for key, job_id in sorted(superfluous)),
    ]


def _index_entries(job_id: str, job: _Job) -> Iterator[tuple[str, str]]:
    state, static, mutable = job.state, job.static, job.mutable
    queue, tenant = static["queue"], static["tenant_id"]
    if state is JobState.PROCESSING:
        yield f"held:{mutable['server_id']}", job_id
        return
    flags = (tenant is not None) + 2 * (static["retention"] is not None)
    yield f"by:{state.value}:{flags}:{len(queue.encode())}:{queue}:{static['name']}", job_id
    if tenant is not None:
        yield f"tenant:{state.value}:{tenant}", job_id
    if state is JobState.ENQUEUED:
        place = f"{int(mutable['position'] * 1000000 + 0.5):016d}{job_id}"
        parked = f"parked:{len(queue.encode())}:{queue}:{static['max_concurrent']}:{static['concurrency_key']}"
        yield parked if mutable["parked"] else f"ready:{queue}", place
    elif state is JobState.SCHEDULED:
        yield "due", job_id
        if mutable["failures"] > 0:
            yield "retrying", job_id
    elif state is JobState.AWAITING:
        if static["parent_id"] is not None:
            yield f"children:{static['parent_id']}", job_id
    elif static["retention"] and static["retention"][("succeeded", "deleted", "failed").index(state.value)] is not None:
        yield "expiring", job_id


def _members(wire: Wire, key: str) -> Iterator[tuple[str, str]]:
    cursor = b"0"
    while True:
        cursor, found = wire.command(b"ZSCAN", wire.prefix + key.encode(), cursor, b"COUNT", PAGE)
        for member in found[::2]:
            yield key, member.decode()
        if cursor == b"0":
            return


def _wrong_counts(wire: Wire, jobs: dict[str, _Job]) -> list[str]:
    scanned: Counter[tuple[str, str]] = Counter()
    for job in jobs.values():
        tenant = job.static["tenant_id"]
        places = (f"counts:of:{tenant}", "counts:tenants") if tenant is not None else ("counts",)
        what = f"q:{job.static['queue']}" if job.state is JobState.ENQUEUED else job.state.value
        for place in places:
            scanned[place, what] += 1
            if job.state is JobState.SCHEDULED and job.mutable["failures"] > 0:
                scanned[place, "retrying"] += 1
    found, kept_jobs = [], 0
    for place in ("counts", *("counts:" + rest.decode() for rest in wire.scan(b"counts:"))):
        answer = wire.command(b"HGETALL", wire.prefix + place.encode())
        counted = {what.decode(): int(number) for what, number in zip(answer[::2], answer[1::2], strict=True)}
        if not place.startswith("counts:of:"):
            kept_jobs += counted.get("created", 0) - counted.get("expired", 0)
        for what in sorted({*counted, *(name for where, name in scanned if where == place)} - {*_TOTALS}):
            if counted.get(what, 0) != scanned[place, what]:
                found.append(
                    f"The counter {what!r} in {place!r} says {counted.get(what, 0)} jobs, "
                    f"a scan finds {scanned[place, what]}."
                )
    if kept_jobs != len(jobs):
        found.append(f"{kept_jobs} jobs were created and have not expired, but {len(jobs)} are present.")
    return found


def _wrong_slots(wire: Wire, jobs: dict[str, _Job]) -> list[str]:
    running: Counter[str] = Counter()
    for job in jobs.values():
        key = job.static["concurrency_key"]
        if key is not None and job.state is JobState.PROCESSING:
            running[key] += 1
    answer = wire.command(b"HGETALL", wire.prefix + b"slots")
    slots = {key.decode(): int(number) for key, number in zip(answer[::2], answer[1::2], strict=True)}
    return [
        f"{slots.get(key, 0)} slots of {key!r} are taken, but {running[key]} of its jobs run."
        for key in sorted(running.keys() | slots.keys())
        if slots.get(key, 0) != running[key]
    ]
