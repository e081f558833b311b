"""Rows of the SQLite tables as values, and back: the one place that knows the columns."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import Any

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

_TIMES = frozenset({"state_at", "created_at", "due_at", "first_due_at", "started_at", "expires_at", "begin_before"})
RECORD_COLUMNS = JobRecord.__struct_fields__
_PLAIN = tuple(
    name for name in RECORD_COLUMNS if name not in _TIMES | {"state", "arguments", "progress", "parent_on", "retention"}
)
_decode_arguments = msgspec.json.Decoder(tuple[Argument, ...]).decode
_decode_progress = msgspec.json.Decoder(JobProgress).decode
_decode_retention = msgspec.json.Decoder(Retention).decode
_decode_recurring = msgspec.json.Decoder(RecurringRecord).decode
_decode_data = msgspec.json.Decoder(dict[str, Any]).decode
encode = msgspec.json.Encoder().encode


def time_of(seconds: float | None) -> datetime | None:
    """Return epoch seconds as an aware time."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def seconds_of(time: datetime | None) -> float | None:
    """Return an aware time as epoch seconds."""
    return None if time is None else time.timestamp()


def record_of(row: sqlite3.Row) -> JobRecord:
    """Return the job of a row with all columns of ``abpjobs_job``."""
    values: dict[str, Any] = {name: row[name] for name in _PLAIN}
    for name in _TIMES:
        values[name] = time_of(row[name])
    values["state"] = JobState(row["state"])
    values["arguments"] = _arguments_of(row["arguments"])
    values["progress"] = None if row["progress"] is None else _decode_progress(row["progress"])
    values["parent_on"] = None if row["parent_on"] is None else ParentEnd(row["parent_on"])
    values["retention"] = retention_of(row)
    return JobRecord(**values)


def columns_of(record: JobRecord) -> dict[str, Any]:
    """Return the columns of a job that are not left to the table's defaults."""
    values: dict[str, Any] = {name: getattr(record, name) for name in _PLAIN}
    for name in _TIMES:
        values[name] = seconds_of(getattr(record, name))
    values["state"] = record.state.value
    values["priority"] = int(record.priority)
    values["arguments"] = encode(record.arguments)
    values["progress"] = None if record.progress is None else encode(record.progress)
    values["parent_on"] = None if record.parent_on is None else record.parent_on.value
    values["retention"] = None if record.retention is None else encode(record.retention)
    return values


def retention_of(row: sqlite3.Row) -> Retention | None:
    """Return the retention that was given for the job of a row."""
    return None if row["retention"] is None else _decode_retention(row["retention"])


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
