"""Questions to Redis: nothing here writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ...errors import ConfigError, JobNotFoundError
from ...model import (
    ANY_TENANT,
    AnyTenant,
    JobPage,
    JobQuery,
    JobRecord,
    JobState,
    Lease,
    LogLine,
    QueueRecord,
    RecurringRecord,
    Retention,
    ServerRecord,
    StateEntry,
    TenantScope,
)
from ..base import TOTALS, JobStorage
from . import layout
from .address import parse_address
from .connection import Wire
from .consistency import inconsistencies
from .listing import Listing
from .raw import RedisRawQueue
from .scope import scope_of
from .scripts import FIRST_ENTRY
from .settings import endangering, version_of

_decode_recurring: Final = msgspec.msgpack.Decoder(RecurringRecord).decode


class RedisQuestions(RedisRawQueue, JobStorage):
    """The part of the storage contract that only reads."""

    _retention: Retention

    def __init__(self, url: str, name: str) -> None:
        if "{" in name or "}" in name:
            raise ConfigError(f"The application's name {name!r} has a brace; on Redis it must have none.")
        super().__init__(name, Wire(parse_address(url), f"abpjobs:{{{name}}}:".encode()))

    def get(self, job_id: str, *, tenant: TenantScope = ANY_TENANT) -> JobRecord:
        elements = self._wire.command(b"LRANGE", self._job_key(job_id), 0, FIRST_ENTRY - 1)
        if not elements:
            raise JobNotFoundError(job_id)
        record = self._record(job_id, elements)
        if not isinstance(tenant, AnyTenant) and record.tenant_id != tenant:
            raise JobNotFoundError(job_id)
        return record

    def history(self, job_id: str) -> list[StateEntry]:
        elements = self._wire.command(b"LRANGE", self._job_key(job_id), 0, -1)
        if not elements:
            raise JobNotFoundError(job_id)
        return [layout.entry_of(element) for element in elements[FIRST_ENTRY:]]

    def log(self, job_id: str) -> list[LogLine]:
        lines = self._wire.command(b"LRANGE", self._wire.prefix + b"log:" + job_id.encode(), 0, -1)
        if not lines and not self._wire.command(b"EXISTS", self._job_key(job_id)):
            raise JobNotFoundError(job_id)
        return [layout.line_of(line) for line in lines]

    def find(self, query: JobQuery) -> JobPage:
        return Listing(query).page(self._wire, self._retention)

    def counts(self, *, tenant: TenantScope = ANY_TENANT) -> Mapping[str, int]:
        totals = dict.fromkeys([state.value for state in JobState] + list(TOTALS), 0)
        for what, number in self._counters(tenant):
            totals["enqueued" if what.startswith("q:") else what] += number
        return totals

    def queues(self, *, tenant: TenantScope = ANY_TENANT) -> list[QueueRecord]:
        servers, paused = self._servers_and_paused()
        lengths: dict[str, int] = {}
        for what, number in self._counters(tenant):
            if what.startswith("q:") and number:
                lengths[what[2:]] = lengths.get(what[2:], 0) + number
        return self._queue_records(lengths, servers, paused, tenant)

    def servers(self) -> list[ServerRecord]:
        return self._servers_and_paused()[0]

    def holds(self, lease: Lease) -> bool:
        mutable = self._wire.command(b"LINDEX", self._job_key(lease.job_id), 1)
        return mutable is not None and layout.state_of(mutable) == (JobState.PROCESSING, lease.fence)

    def find_recurring(self, recurring_id: str, *, tenant: TenantScope = ANY_TENANT) -> RecurringRecord | None:
        element = self._wire.command(b"HGET", self._wire.prefix + b"recurring", recurring_id)
        if element is None:
            return None
        record = _decode_recurring(element)
        return record if isinstance(tenant, AnyTenant) or record.tenant_id == tenant else None

    def list_recurring(self, *, tenant: TenantScope = ANY_TENANT) -> list[RecurringRecord]:
        found = map(_decode_recurring, self._wire.command(b"HVALS", self._wire.prefix + b"recurring"))
        seen = [record for record in found if isinstance(tenant, AnyTenant) or record.tenant_id == tenant]
        return sorted(seen, key=lambda record: record.id)

    def due_recurring(self) -> list[RecurringRecord]:
        return [_decode_recurring(element) for element in self._wire.call("due_recurring")]

    def now(self) -> float:
        return self._wire.now()

    def describe(self) -> str:
        return f"{version_of(self._wire)}, {self._wire.address.place}"

    def warnings(self) -> list[str]:
        return endangering(self._wire)

    def check(self) -> list[str]:
        return inconsistencies(self._wire)

    def _record(self, job_id: str, elements: list[bytes]) -> JobRecord:
        return layout.record_of(job_id, elements, self._retention)

    def _job_key(self, job_id: str) -> bytes:
        return self._wire.prefix + b"job:" + job_id.encode("utf-8", "surrogatepass")

    def _counters(self, tenant: TenantScope) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        for counters in self._wire.call("count", scope_of(tenant)):
            found += [(what.decode(), int(number)) for what, number in zip(counters[::2], counters[1::2], strict=True)]
        return found

    def _servers_and_paused(self) -> tuple[list[ServerRecord], set[str]]:
        kept: list[Any]
        kept, paused = self._wire.call("servers")
        servers = [
            layout.server_of(server_id.decode(), element, float(heartbeat or 0), running)
            for server_id, element, heartbeat, running in kept
        ]
        return sorted(servers, key=lambda server: (server.started_at, server.id)), {each.decode() for each in paused}
