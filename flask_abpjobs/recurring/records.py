"""Recurring jobs as records, and their jobs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import UNSET, structs

from ..config import NAME_PATTERN
from ..errors import ConfigError
from ..jobs import JobDefinition
from ..manager import ManagerSetup
from ..manager.records import Caller, record_of
from ..model import JobRecord, Misfire, RecurringRecord
from ..options import DEFAULT_OPTIONS
from ..recurrence import Schedule

_NEVER: Final = datetime.fromtimestamp(0, UTC)


def slot_id(recurring_id: str, slot: datetime) -> str:
    """Return the id of a slot's job."""
    return f"{recurring_id}:{slot.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def wanted_record(
    recurring_id: str, definition: JobDefinition, value: Any, settings: Mapping[str, Any]
) -> RecurringRecord:
    """Check all that is given of a recurring job, and return it as a record that has never been stored."""
    if not isinstance(recurring_id, str) or not NAME_PATTERN.match(recurring_id):
        raise ConfigError(
            f"The recurring job's id is {recurring_id!r:.150}: use 1 to 128 letters, digits and _ . : -, as id=..."
        )
    given = {"timezone": "UTC", "misfire": Misfire.ONCE, "queue": None, "priority": None, "tenant": None, **settings}
    unknown = given.keys() - {"cron", "timezone", "misfire", "queue", "priority", "tenant"}
    if unknown or "cron" not in given:
        raise ConfigError(f"A recurring job needs cron and has no setting {', '.join(sorted(unknown)) or 'else'}.")
    Schedule(given["cron"], given["timezone"])
    if given["misfire"] not in tuple(Misfire):
        raise ConfigError(f"misfire is {given['misfire']!r:.100}: use {', '.join(Misfire)}.")
    options = DEFAULT_OPTIONS.changed(queue=given["queue"], priority=given["priority"], tenant=given["tenant"])
    return RecurringRecord(
        id=recurring_id,
        name=definition.name,
        cron=given["cron"],
        timezone=given["timezone"],
        misfire=Misfire(given["misfire"]),
        queue=options.queue,
        priority=None if options.priority is None else int(options.priority),
        payload=definition.encode(value),
        arguments=definition.parameters.display(value),
        tenant_id=given["tenant"],
        created_at=_NEVER,
    )


def merged(kept: RecurringRecord | None, wanted: RecurringRecord, now: datetime) -> RecurringRecord:
    next_at = Schedule(wanted.cron, wanted.timezone).next_after(now)
    if kept is None:
        return structs.replace(wanted, created_at=now, next_at=next_at)
    if kept.tenant_id != wanted.tenant_id:
        raise ConfigError(f"The id {wanted.id!r} is taken by a recurring job of another tenant: choose another.")
    is_same = (kept.cron, kept.timezone) == (wanted.cron, wanted.timezone)
    return structs.replace(
        wanted,
        is_declared=wanted.is_declared or kept.is_declared,
        is_paused=kept.is_paused,
        created_at=kept.created_at,
        next_at=kept.next_at if is_same and kept.error is None and kept.next_at is not None else next_at,
        last_at=kept.last_at,
        last_job_id=kept.last_job_id,
        version=kept.version,
    )


def job_of(setup: ManagerSetup, record: RecurringRecord, definition: JobDefinition, now: datetime) -> JobRecord:
    """Return a job of a recurring job. Its code says what the recurring job leaves open; nobody enqueues it."""
    options = DEFAULT_OPTIONS.changed(queue=record.queue, priority=record.priority, tenant=record.tenant_id)
    value = definition.decode(record.payload)
    job = record_of(definition, value, options, caller=Caller(), defaults=setup.defaults, now=now)
    return structs.replace(job, recurring_id=record.id)


def bound(definition: JobDefinition, args: Any) -> Any:
    if args is UNSET:
        return definition.bind()
    if definition.call is not None and isinstance(args, tuple):
        return definition.bind(*args)
    if definition.call is not None and isinstance(args, Mapping):
        return definition.bind(**args)
    return definition.bind(args)
