"""How a job lies in Redis: the one place that knows the order of the fields in a job's list.

A job is one list: 0 what never changes and scripts need, 1 what changes, 2 what never changes and only Python reads,
3 the payload, 4 the result (empty, or ``=`` and the bytes), 5 and on the history. 0 and 1 are MessagePack arrays
that scripts read; ``false`` stands for ``None`` in what a script writes, since Lua's tables have no holes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from ...model import (
    Argument,
    JobProgress,
    JobRecord,
    JobState,
    LogLine,
    ParentEnd,
    Retention,
    ServerRecord,
    StateEntry,
)
from ...moments import seconds_of, time_of

STATES: Final = tuple(JobState)
CODES: Final = {state: code for code, state in enumerate(STATES, start=1)}
"""A state's number in stored data."""

STATIC: Final = (
    "queue",
    "priority",
    "name",
    "tenant_id",
    "retention",
    "unique_key",
    "unique_for",
    "concurrency_key",
    "max_concurrent",
    "parent_id",
    "parent_on",
    "delay",
    "created_at",
)
MUTABLE: Final = (
    "state",
    "state_at",
    "position",
    "due_at",
    "attempt",
    "failures",
    "crashes",
    "fence",
    "server_id",
    "worker",
    "started_at",
    "latency",
    "duration",
    "reason",
    "error_type",
    "error_message",
    "progress",
    "begin_before",
    "first_due_at",
    "parked",
    "call",
)
DETAIL: Final = (
    "enqueued_by",
    "correlation_id",
    "retry",
    "arguments",
    "timeout",
    "rerun_of",
    "recurring_id",
)
ENTRY: Final = {
    "attempt": "a",
    "queue": "q",
    "server": "s",
    "worker": "w",
    "latency": "l",
    "duration": "d",
    "due_at": "u",
    "error_type": "e",
    "error_message": "m",
    "traceback": "t",
    "by": "b",
    "recovered": "r",
}
"""The short names under which a history entry keeps its data."""

_LONG: Final = {short: long for long, short in ENTRY.items()}
_SECONDS: Final = ("succeeded", "deleted", "failed")
_TIMES: Final = frozenset({"state_at", "due_at", "started_at", "begin_before", "first_due_at"})
_decode: Final = msgspec.msgpack.Decoder().decode
_decode_progress: Final = msgspec.json.Decoder(JobProgress).decode
_encode: Final = msgspec.msgpack.Encoder().encode
_encode_json: Final = msgspec.json.Encoder().encode
pack: Final = _encode


def elements_of(record: JobRecord, place: int = 0) -> list[bytes]:
    """Return what a script needs to add a job: its id, elements 0 to 4, and the first entry of its history.

    :param place: among jobs that are added together; it keeps those of one moment in their order.
    """
    mutable: list[Any] = [
        CODES[record.state],
        (at := record.state_at.timestamp()),
        at + place / 1e6,
        seconds_of(record.due_at),
        record.attempt,
        record.failures,
        record.crashes,
        record.fence,
        record.server_id,
        record.worker,
        seconds_of(record.started_at),
        record.latency,
        record.duration,
        record.reason,
        record.error_type,
        record.error_message,
        progress_text(record.progress),
        seconds_of(record.begin_before),
        seconds_of(record.first_due_at),
        None,
        None,
    ]
    data: dict[str, Any] = {ENTRY["queue"]: record.queue}
    if record.due_at is not None:
        data[ENTRY["due_at"]] = record.due_at.timestamp()
    if record.enqueued_by is not None:
        data[ENTRY["by"]] = record.enqueued_by
    entry = (CODES[record.state], at, False if record.reason is None else record.reason, data)
    return [
        record.id.encode(),
        _static_of(record),
        _encode([False if value is None else value for value in mutable]),
        _detail_of(record),
        record.payload,
        result_element(record.result),
        _encode(entry),
    ]


def is_plain(record: JobRecord) -> bool:
    """Return whether ``add_plain`` can add a job."""
    return record.state is JobState.ENQUEUED and record.unique_key is None


def plain_arguments(record: JobRecord, place: int = 0) -> list[bytes | str | float]:
    """Return what ``add_plain`` needs of a job: :func:`elements_of`, and the names of its places in the indexes.

    They are those that ``lua/jobs.lua`` works out.
    """
    flags = (record.tenant_id is not None) + 2 * (record.retention is not None)
    at = record.state_at.timestamp()
    return [
        *elements_of(record, place),
        record.queue,
        f"{flags}:{len(record.queue)}:{record.queue}:{record.name}",
        f"{math.floor((at + place / 1e6) * 1_000_000 + 0.5):016d}{record.id}",
        -int(record.priority),
        at,
        record.tenant_id or "",
    ]


def record_of(job_id: str, elements: Sequence[bytes], retention: Retention) -> JobRecord:
    """Return the job of elements 0 to 4.

    :param retention: the storage's own, which tells when a finished job without a retention of its own may go.
    """
    values: dict[str, Any] = dict(zip(STATIC, _decode(elements[0]), strict=False))
    for name, value in zip(MUTABLE, _decode(elements[1]), strict=True):
        values[name] = None if value is False else datetime.fromtimestamp(value, UTC) if name in _TIMES else value
    del values["position"], values["parked"], values["call"]
    state, at = STATES[values["state"] - 1], values["state_at"].timestamp()
    values["state"] = state
    values["created_at"] = datetime.fromtimestamp(values["created_at"], UTC)
    if values["progress"] is not None:
        values["progress"] = _decode_progress(values["progress"])
    if values.get("parent_on") is not None:
        values["parent_on"] = ParentEnd(values["parent_on"])
    own = values.pop("retention", None)
    values |= _detail_values(elements[2])
    if own is not None:
        values["retention"] = retention = _retention_of(own)
    values["expires_at"] = time_of(retention.expiry(state, at))
    result = elements[4]
    return JobRecord(id=job_id, payload=elements[3], result=result[1:] if result else None, **values)


def state_of(mutable: bytes) -> tuple[JobState, int]:
    """Return state and fence of element 1."""
    values = _decode(mutable)
    return STATES[values[0] - 1], values[MUTABLE.index("fence")]


def progress_text(progress: JobProgress | None) -> str | None:
    """Return progress as a script keeps it."""
    return None if progress is None else _encode_json(progress).decode()


def result_element(result: bytes | None) -> bytes:
    """Return element 4."""
    return b"" if result is None else b"=" + result


def entry_of(element: bytes) -> StateEntry:
    """Return a history entry."""
    code, at, reason, data = _decode(element)
    return StateEntry(
        state=STATES[code - 1],
        at=datetime.fromtimestamp(at, UTC),
        reason=None if reason is False else reason,
        data={_LONG.get(short, short): value for short, value in data.items()} if data else {},
    )


def line_element(line: LogLine) -> bytes:
    """Return a log line as it is kept."""
    return _encode((line.at.timestamp(), line.attempt, line.level, line.text))


def line_of(element: bytes) -> LogLine:
    """Return a kept log line."""
    at, attempt, level, text = _decode(element)
    return LogLine(at=datetime.fromtimestamp(at, UTC), attempt=attempt, level=level, text=text)


def server_element(server: ServerRecord) -> bytes:
    """Return a server as it is kept, without heartbeat and number of running jobs."""
    return _encode(
        (
            server.host,
            server.pid,
            server.process_key,
            server.worker_type,
            server.workers,
            server.queues,
            server.started_at.timestamp(),
        )
    )


def server_of(server_id: str, element: bytes, heartbeat_at: float, running: int) -> ServerRecord:
    """Return a kept server."""
    host, pid, process_key, worker_type, workers, queues, started_at = _decode(element)
    return ServerRecord(
        id=server_id,
        host=host,
        pid=pid,
        process_key=process_key,
        worker_type=worker_type,
        workers=workers,
        queues=tuple(queues),
        started_at=datetime.fromtimestamp(started_at, UTC),
        heartbeat_at=datetime.fromtimestamp(heartbeat_at, UTC),
        running=running,
    )


def elements_of_all(records: Iterable[JobRecord]) -> list[bytes]:
    """Return what a script needs to add jobs, in this order."""
    return [element for place, record in enumerate(records) for element in elements_of(record, place)]


def _static_of(record: JobRecord) -> bytes:
    values: list[Any] = [
        record.queue,
        int(record.priority),
        record.name,
        record.tenant_id,
        None if record.retention is None else _retention_element(record.retention),
        record.unique_key,
        record.unique_for,
        record.concurrency_key,
        record.max_concurrent,
        record.parent_id,
        None if record.parent_on is None else record.parent_on.value,
        record.delay,
        record.created_at.timestamp(),
    ]
    return _encode(values)


def _retention_element(retention: Retention) -> list[Any]:
    kept = [getattr(retention, name) for name in _SECONDS]
    seconds = [None if each is None else each.total_seconds() for each in kept]
    return [*seconds, retention.max_succeeded, retention.max_deleted, retention.max_failed]


def _retention_of(element: list[Any]) -> Retention:
    kept = [None if each is None else timedelta(seconds=each) for each in element[:3]]
    return Retention(
        succeeded=kept[0],
        deleted=kept[1],
        failed=kept[2],
        max_succeeded=element[3],
        max_deleted=element[4],
        max_failed=element[5],
    )


def _detail_of(record: JobRecord) -> bytes:
    values: list[Any] = [
        record.enqueued_by,
        record.correlation_id,
        record.retry,
        record.arguments or None,
        record.timeout,
        record.rerun_of,
        record.recurring_id,
    ]
    while values and values[-1] is None:
        values.pop()
    return _encode(values) if values else b""


def _detail_values(element: bytes) -> dict[str, Any]:
    values: dict[str, Any] = dict(zip(DETAIL, _decode(element), strict=False)) if element else {}
    values["arguments"] = _arguments_of(values.get("arguments") or ())
    return values


def _arguments_of(kept: Any) -> tuple[Argument, ...]:
    try:
        return msgspec.convert(kept, tuple[Argument, ...])
    except msgspec.ValidationError:  # damaged bytes must not hide the job from people
        return (Argument("arguments", repr(kept)[:200], "cannot be read"),)
