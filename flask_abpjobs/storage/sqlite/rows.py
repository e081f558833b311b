"""Rows of the SQLite tables as values, and back: the one place that knows the columns."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from ...model import (
    Argument,
    JobProgress,
    JobRecord,
    JobState,
    LogLine,
    ParentEnd,
    RecurringRecord,
    Retention,
    ServerRecord,
    StateEntry,
)

COLUMNS: Final = (
    "sequence, id, shelf, name, queue, priority, state, state_at, position, parked, created_at, payload, arguments, "
    "tenant_id, enqueued_by, due_at, first_due_at, begin_before, parent_id, unique_key, concurrency_key, "
    "max_concurrent, rare, attempt, failures, crashes, fence, server_id, worker, started_at, latency, duration, "
    "reason, error_type, error_message, result, progress, expires_at, entry, entries, lines"
)
"""Of ``abpjobs_job``, in the order in which :func:`record_of` takes them."""
INSERT: Final = (
    "INSERT OR IGNORE INTO abpjobs_job (app, id, shelf, name, queue, priority, state, state_at, position, created_at, "
    "payload, arguments, tenant_id, enqueued_by, due_at, first_due_at, begin_before, parent_id, unique_key, "
    "concurrency_key, max_concurrent, rare, attempt, failures, crashes, fence, reason, progress, entry, entries) "
    f"VALUES ({', '.join('?' * 29)}, 1)"
)
"""Takes what :func:`values_of` returns."""


class Rare(msgspec.Struct, frozen=True, omit_defaults=True):
    """What few jobs have and nothing looks for: the fields of :class:`JobRecord` in one column."""

    correlation_id: str | None = None
    retry: bytes | None = None
    retention: Retention | None = None
    timeout: float | None = None
    parent_on: ParentEnd | None = None
    delay: float | None = None
    unique_for: float | None = None
    rerun_of: str | None = None
    recurring_id: str | None = None


FINISHED: Final = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.DELETED})
_STATES: Final = {state.value: state for state in JobState}
NOTHING_RARE: Final = Rare()
_decode_rare = msgspec.json.Decoder(Rare).decode
_decode_arguments = msgspec.json.Decoder(tuple[Argument, ...]).decode
_decode_progress = msgspec.json.Decoder(JobProgress).decode
_decode_recurring = msgspec.json.Decoder(RecurringRecord).decode
_decode_data = msgspec.json.Decoder(dict[str, Any]).decode
encode = msgspec.json.Encoder().encode
_from_seconds = datetime.fromtimestamp


def time_of(seconds: float | None) -> datetime | None:
    """Return epoch seconds as an aware time."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def seconds_of(time: datetime | None) -> float | None:
    """Return an aware time as epoch seconds."""
    return None if time is None else time.timestamp()


def record_of(row: sqlite3.Row, retention: Retention) -> JobRecord:
    """Return the job of a row with :data:`COLUMNS`.

    :param retention: of the storage; it says when a job that has none of its own expires.
    """
    (
        _sequence,
        job_id,
        _shelf,
        name,
        queue,
        priority,
        state_name,
        state_at,
        _position,
        _parked,
        created_at,
        payload,
        arguments,
        tenant_id,
        enqueued_by,
        due_at,
        first_due_at,
        begin_before,
        parent_id,
        unique_key,
        concurrency_key,
        max_concurrent,
        rare_data,
        attempt,
        failures,
        crashes,
        fence,
        server_id,
        worker,
        started_at,
        latency,
        duration,
        reason,
        error_type,
        error_message,
        result,
        progress,
        expires_at,
        _entry,
        _entries,
        _lines,
    ) = row
    state = _STATES[state_name]
    rare = NOTHING_RARE if rare_data is None else _decode_rare(rare_data)
    if rare.retention is None and state in FINISHED:
        expires_at = retention.expiry(state, state_at)
    return JobRecord(
        id=job_id,
        name=name,
        queue=queue,
        priority=priority,
        state=state,
        state_at=_from_seconds(state_at, UTC),
        created_at=_from_seconds(created_at, UTC),
        payload=payload,
        arguments=() if arguments is None else _arguments_of(arguments),
        tenant_id=tenant_id,
        enqueued_by=enqueued_by,
        correlation_id=rare.correlation_id,
        due_at=None if due_at is None else _from_seconds(due_at, UTC),
        first_due_at=None if first_due_at is None else _from_seconds(first_due_at, UTC),
        retry=rare.retry,
        attempt=attempt,
        failures=failures,
        crashes=crashes,
        fence=fence,
        server_id=server_id,
        worker=worker,
        started_at=None if started_at is None else _from_seconds(started_at, UTC),
        latency=latency,
        duration=duration,
        reason=reason,
        error_type=error_type,
        error_message=error_message,
        result=result,
        progress=None if progress is None else _decode_progress(progress),
        expires_at=None if expires_at is None else _from_seconds(expires_at, UTC),
        retention=rare.retention,
        timeout=rare.timeout,
        begin_before=None if begin_before is None else _from_seconds(begin_before, UTC),
        parent_id=parent_id,
        parent_on=rare.parent_on,
        delay=rare.delay,
        unique_key=unique_key,
        unique_for=rare.unique_for,
        concurrency_key=concurrency_key,
        max_concurrent=max_concurrent,
        rerun_of=rare.rerun_of,
        recurring_id=rare.recurring_id,
    )


def values_of(record: JobRecord, app: str, shelf: int, entry: int) -> tuple[Any, ...]:
    """Return the values that :data:`INSERT` takes for a new job."""
    state_at = record.state_at.timestamp()
    rare = Rare(
        record.correlation_id,
        record.retry,
        record.retention,
        record.timeout,
        record.parent_on,
        record.delay,
        record.unique_for,
        record.rerun_of,
        record.recurring_id,
    )
    return (
        app,
        record.id,
        shelf,
        record.name,
        record.queue,
        int(record.priority),
        str(record.state),
        state_at,
        state_at,
        record.created_at.timestamp(),
        record.payload,
        encode(record.arguments) if record.arguments else None,
        record.tenant_id,
        record.enqueued_by,
        seconds_of(record.due_at),
        seconds_of(record.first_due_at),
        seconds_of(record.begin_before),
        record.parent_id,
        record.unique_key,
        record.concurrency_key,
        record.max_concurrent,
        None if rare == NOTHING_RARE else encode(rare),
        record.attempt,
        record.failures,
        record.crashes,
        record.fence,
        record.reason,
        None if record.progress is None else encode(record.progress),
        entry,
    )


def rare_of(row: sqlite3.Row) -> Rare:
    """Return the rare fields of a row."""
    data = row["rare"]
    return NOTHING_RARE if data is None else _decode_rare(data)


def recurring_of(row: sqlite3.Row) -> RecurringRecord:
    """Return the recurring job of a row with ``record`` and ``version``."""
    return msgspec.structs.replace(_decode_recurring(row["record"]), version=row["version"])


def entry_of(row: sqlite3.Row) -> StateEntry:
    """Return the history entry of a row."""
    at = datetime.fromtimestamp(row["at"], UTC)
    return StateEntry(state=JobState(row["state"]), at=at, reason=row["reason"], data=_decode_data(row["data"]))


def line_of(row: sqlite3.Row) -> LogLine:
    """Return the log line of a row."""
    at = datetime.fromtimestamp(row["at"], UTC)
    return LogLine(at=at, attempt=row["attempt"], level=row["level"], text=row["text"])


def server_of(row: sqlite3.Row) -> ServerRecord:
    """Return the server of a row that also counts what it is ``running``."""
    return ServerRecord(
        id=row["id"],
        host=row["host"],
        pid=row["pid"],
        process_key=row["process_key"],
        worker_type=row["worker_type"],
        workers=row["workers"],
        queues=tuple(msgspec.json.decode(row["queues"], type=list[str])),
        started_at=datetime.fromtimestamp(row["started_at"], UTC),
        heartbeat_at=datetime.fromtimestamp(row["heartbeat_at"], UTC),
        running=row["running"],
    )


def _arguments_of(data: bytes) -> tuple[Argument, ...]:
    try:
        return _decode_arguments(data)
    except msgspec.DecodeError:  # damaged bytes must not hide the job from people
        return (Argument("arguments", repr(data[:200]), "cannot be read"),)
