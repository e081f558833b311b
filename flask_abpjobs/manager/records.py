"""Calls of jobs as records."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from ..config import QUEUE_PATTERN
from ..errors import ConfigError
from ..ids import new_job_id
from ..jobs import JobDefinition
from ..model import JobPriority, JobRecord, JobState, ParentEnd, Retention
from ..options import JobOptions, check_key, filled_key
from ..retry import encode_policy


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """On whose behalf a job is enqueued."""

    tenant_id: str | None = None
    user_id: str | None = None
    correlation_id: str | None = None


class Defaults(msgspec.Struct, frozen=True, kw_only=True):
    """What an app says, where neither a job nor an enqueue says anything."""

    queue: str = "default"
    queue_prefix: str = ""
    retention: Retention = Retention()


NO_DEFAULTS: Final = Defaults()


def record_of(
    definition: JobDefinition,
    value: Any,
    options: JobOptions,
    *,
    caller: Caller,
    defaults: Defaults,
    now: datetime,
    job_id: str | None = None,
) -> JobRecord:
    """Return the record of a new job.

    :param value: the bound arguments, see :meth:`JobDefinition.bind`.
    :param job_id: a new one when left out.
    :param options: of this enqueue; what they leave out comes from the definition, then from the defaults.
    :raises ArgumentsError: the arguments cannot be stored.
    :raises ConfigError: a key or the queue's name does not work out.
    """
    chosen = options.over(definition.options)
    tenant_id = caller.tenant_id if options.tenant is msgspec.UNSET else options.tenant
    due_at = chosen.eta if chosen.delay is None else now + chosen.delay
    if due_at is not None and due_at <= now:
        due_at = None
    state = JobState.ENQUEUED if due_at is None else JobState.SCHEDULED
    record = JobRecord(
        id=job_id or new_job_id(now.timestamp()),
        name=definition.name,
        queue=full_queue(defaults, chosen.queue),
        priority=int(JobPriority.NORMAL if chosen.priority is None else chosen.priority),
        state=state,
        state_at=now,
        created_at=now,
        due_at=due_at,
        first_due_at=due_at,
        payload=definition.encode(value),
        arguments=definition.parameters.display(value),
        tenant_id=tenant_id,
        enqueued_by=caller.user_id,
        correlation_id=caller.correlation_id,
        retry=None if options.retry is None else encode_policy(options.retry),
        timeout=_seconds(options.timeout),
    )
    if chosen.after is not None:
        record = _awaiting(record, chosen)
    if chosen.unique_key is not None or chosen.max_concurrent is not None:
        record = _limited(record, definition, value, chosen)
    if chosen.expires is not None or chosen.retention is not None:
        record = msgspec.structs.replace(
            record,
            begin_before=None if chosen.expires is None else (due_at or now) + chosen.expires,
            retention=_retention(chosen.retention, defaults),
        )
    return record


def full_queue(defaults: Defaults, queue: str | None) -> str:
    """Return the name of a queue with the app's prefix.

    :raises ConfigError: it is too long then.
    """
    name = queue or defaults.queue
    if not defaults.queue_prefix:
        return name
    name = defaults.queue_prefix + name
    if not QUEUE_PATTERN.match(name):
        raise ConfigError(f"The queue name {name!r:.200} is too long with its prefix: use at most 64 characters.")
    return name


def _awaiting(record: JobRecord, chosen: JobOptions) -> JobRecord:
    return msgspec.structs.replace(
        record,
        state=JobState.AWAITING,
        parent_id=chosen.after,
        parent_on=chosen.on or ParentEnd.SUCCEEDED,
        delay=_seconds(chosen.delay),
        due_at=None if chosen.delay is not None else record.due_at,
        first_due_at=None if chosen.delay is not None else record.due_at,
    )


def _limited(record: JobRecord, definition: JobDefinition, value: Any, chosen: JobOptions) -> JobRecord:
    values = {**definition.parameters.given(value), "tenant_id": record.tenant_id or ""}
    unique_key, concurrency_key = chosen.unique_key, chosen.concurrency_key
    for template in (unique_key, concurrency_key):
        if template is not None:
            check_key(template, definition.parameters.names)
    if unique_key is not None:  # a tenant must not learn, by a key, of the jobs of another
        unique_key = f"{record.name}|{record.tenant_id or ''}|{filled_key(unique_key, values)}"
    if chosen.max_concurrent is not None:
        concurrency_key = definition.name if concurrency_key is None else filled_key(concurrency_key, values)
    return msgspec.structs.replace(
        record,
        unique_key=unique_key,
        unique_for=_seconds(chosen.unique_for),
        concurrency_key=concurrency_key,
        max_concurrent=chosen.max_concurrent,
    )


def _retention(given: Retention | timedelta | None, defaults: Defaults) -> Retention | None:
    if isinstance(given, timedelta):
        return msgspec.structs.replace(defaults.retention, succeeded=given, deleted=given)
    return given


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()
