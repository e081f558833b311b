"""Rows of the SQLite tables as values, and back: the one place that knows the columns."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from ...model import (
    FINISHED,
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
from ...moments import seconds_of


class JobRow(msgspec.Struct, frozen=True, gc=False):
    """A row of ``abpjobs_job``: :data:`COLUMNS` in this order."""

    sequence: int
    id: str
    shelf: int
    name: str
    queue: str
    priority: int
    state: str
    state_at: float
    position: float
    parked: int
    created_at: float
    payload: bytes
    arguments: bytes | None
    tenant_id: str | None
    enqueued_by: str | None
    due_at: float | None
    first_due_at: float | None
    begin_before: float | None
    parent_id: str | None
    unique_key: str | None
    concurrency_key: str | None
    max_concurrent: int | None
    rare: bytes | None
    attempt: int
    failures: int
    crashes: int
    fence: int
    server_id: str | None
    worker: str | None
    started_at: float | None
    latency: float | None
    duration: float | None
    reason: str | None
    error_type: str | None
    error_message: str | None
    result: bytes | None
    progress: bytes | None
    expires_at: float | None
    entry: int
    entries: int
    lines: int


COLUMNS: Final = ", ".join(JobRow.__struct_fields__)
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


class EntryData(msgspec.Struct, frozen=True, omit_defaults=True):
    """``StateEntry.data``; what does not apply is left out."""

    queue: str | None = None
    due_at: float | None = None
    by: str | None = None
    attempt: int | None = None
    server: str | None = None
    worker: str | None = None
    latency: float | None = None
    duration: float | None = None
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    recovered: bool = False


_STATES: Final = {state.value: state for state in JobState}
NOTHING_RARE: Final = Rare()
_decode_rare = msgspec.json.Decoder(Rare).decode
_decode_arguments = msgspec.json.Decoder(tuple[Argument, ...]).decode
_decode_progress = msgspec.json.Decoder(JobProgress).decode
_decode_recurring = msgspec.json.Decoder(RecurringRecord).decode
_decode_data = msgspec.json.Decoder(dict[str, Any]).decode
encode = msgspec.json.Encoder().encode
_from_seconds = datetime.fromtimestamp


def record_of(row: JobRow, retention: Retention) -> JobRecord:
    """Return the job of a row.

    :param retention: of the storage; it says when a job that has none of its own expires.
    """
    state = _STATES[row.state]
    rare = rare_of(row)
    expires_at = row.expires_at
    if rare.retention is None and state in FINISHED:
        expires_at = retention.expiry(state, row.state_at)
    return JobRecord(
        id=row.id,
        name=row.name,
        queue=row.queue,
        priority=row.priority,
        state=state,
        state_at=_from_seconds(row.state_at, UTC),
        created_at=_from_seconds(row.created_at, UTC),
        payload=row.payload,
        arguments=() if row.arguments is None else _arguments_of(row.arguments),
        tenant_id=row.tenant_id,
        enqueued_by=row.enqueued_by,
        correlation_id=rare.correlation_id,
        due_at=None if row.due_at is None else _from_seconds(row.due_at, UTC),
        first_due_at=None if row.first_due_at is None else _from_seconds(row.first_due_at, UTC),
        retry=rare.retry,
        attempt=row.attempt,
        failures=row.failures,
        crashes=row.crashes,
        fence=row.fence,
        server_id=row.server_id,
        worker=row.worker,
        started_at=None if row.started_at is None else _from_seconds(row.started_at, UTC),
        latency=row.latency,
        duration=row.duration,
        reason=row.reason,
        error_type=row.error_type,
        error_message=row.error_message,
        result=row.result,
        progress=None if row.progress is None else _decode_progress(row.progress),
        expires_at=None if expires_at is None else _from_seconds(expires_at, UTC),
        retention=rare.retention,
        timeout=rare.timeout,
        begin_before=None if row.begin_before is None else _from_seconds(row.begin_before, UTC),
        parent_id=row.parent_id,
        parent_on=rare.parent_on,
        delay=rare.delay,
        unique_key=row.unique_key,
        unique_for=rare.unique_for,
        concurrency_key=row.concurrency_key,
        max_concurrent=row.max_concurrent,
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


def rare_of(row: JobRow) -> Rare:
    """Return the rare fields of a row."""
    return NOTHING_RARE if row.rare is None else _decode_rare(row.rare)


def recurring_of(row: sqlite3.Row) -> RecurringRecord:
    """Return the recurring job of a row with ``record`` and ``version``."""
    return msgspec.structs.replace(_decode_recurring(row["record"]), version=row["version"])


NO_ENTRY: Final = 0
"""In the place of a job's first entry, where it says nothing that the job itself does not say: it was enqueued when it
was made. Most jobs begin so, and the entry need not be written."""


def first_entry_of(row: JobRow) -> StateEntry:
    """Return the first entry of a job that has none stored."""
    data = {"queue": row.queue} if row.enqueued_by is None else {"queue": row.queue, "by": row.enqueued_by}
    return StateEntry(state=JobState.ENQUEUED, at=datetime.fromtimestamp(row.created_at, UTC), data=data)


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
