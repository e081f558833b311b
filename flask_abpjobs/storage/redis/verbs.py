"""The verbs of the storage contract that write, each one call of a script."""

from __future__ import annotations

import os
import secrets
import threading
import weakref
from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from ...errors import JobNotFoundError, LeaseLostError, StateChangedError, StorageError
from ...model import (
    ANY_TENANT,
    DEFAULT_RETENTION,
    Claim,
    JobProgress,
    JobRecord,
    JobState,
    Lease,
    LogLine,
    Outcome,
    RecurringRecord,
    Retention,
    ServerRecord,
    TenantScope,
)
from ...moments import seconds_of
from ..base import BATCH
from . import layout
from .connection import Argument, is_cut, is_undone
from .questions import RedisQuestions
from .scope import scope_of
from .scripts import MAX_TOKENS
from .wakeup import Wakeup

_PRUNED: Final = (JobState.SUCCEEDED, JobState.DELETED, JobState.FAILED)
_storages: weakref.WeakSet[RedisJobStorage] = weakref.WeakSet()


class RedisJobStorage(RedisQuestions):
    """The storage contract on Redis 6.2 to 8 and Valkey 8 and 9.

    All keys begin with ``abpjobs:{name}:``, so that a cluster keeps them on one node. The server's clock decides.

    :param url: see :func:`~flask_abpjobs.storage.open_storage`.
    :param name: the application whose jobs these are, without braces.
    :param retention: how long finished jobs are kept.
    :raises ConfigError: the URL or the name is not usable.
    """

    def __init__(self, url: str, name: str, *, retention: Retention = DEFAULT_RETENTION) -> None:
        super().__init__(url, name)
        self._retention = retention
        self._local = threading.local()
        self._wakeup = Wakeup(self._wire)
        _storages.add(self)

    # Jobs

    def add(self, record: JobRecord) -> bool:
        if layout.is_plain(record):
            return self._add_plain((record,)) == [1]
        elements = layout.elements_of(record)
        try:
            answer = self._wire.call("add", *elements)
        except StorageError as error:
            if not is_cut(error):
                raise
            answer = self._wire.call("add", *elements)
            return _kept(answer) == [record.id]  # the id is the caller's own: if it is there, the first call added it
        return _kept(answer) == [record.id] and bool(answer[2])

    def add_batches(self, batches: Sequence[Sequence[JobRecord]]) -> list[str]:
        is_lean = all(len(batch) <= BATCH and all(map(layout.is_plain, batch)) for batch in batches)
        if len(batches) < 2 or not is_lean:
            return super().add_batches(batches)
        try:
            self._wire.call_ahead("add_plain", map(_plain_arguments, batches))
        except StorageError as error:
            if not (is_cut(error) or is_undone(error)):
                raise
            return super().add_batches(batches)  # from the first on: what is there already is left as it is
        return [record.id for batch in batches for record in batch]

    def _add_plain(self, records: Sequence[JobRecord]) -> list[int]:
        arguments = _plain_arguments(records)
        try:
            new: list[int] = self._wire.call("add_plain", *arguments)
        except StorageError as error:
            if not is_cut(error):
                raise
            self._wire.call("add_plain", *arguments)
            return [1] * len(records)  # the ids are the caller's own: they are there now, by one call or the other
        return new

    def add_many(self, records: Sequence[JobRecord]) -> list[str]:
        if len(records) > BATCH:
            raise ValueError(f"{len(records)} jobs are too many for one step: add up to {BATCH} at once.")
        if all(map(layout.is_plain, records)):
            if records:
                self._add_plain(records)
            return [record.id for record in records]
        return _kept(self._wire.call_again("add", *layout.elements_of_all(records)))

    def claim(self, claim: Claim) -> JobRecord | None:
        self._note(claim)
        return self._claimed(self._call_once("claim", claim, claim.server_id, claim.worker, *claim.queues))

    def finish(self, lease: Lease, outcome: Outcome, claim: Claim | None = None) -> JobRecord | None:
        if claim is not None:
            self._note(claim)
        error, due_at = outcome.error, seconds_of(outcome.due_at)
        told: list[Any] = [
            layout.CODES[outcome.state],
            outcome.reason,
            outcome.duration,
            due_at,
            layout.progress_text(outcome.progress),
            None if error is None else (error.type, error.message, error.traceback),
            outcome.payload is not None,
            outcome.is_begun,
            (len(outcome.log), len(outcome.children), len(outcome.put), len(outcome.remove)),
            None if claim is None else (claim.server_id, claim.worker, *claim.queues),
        ]
        arguments: list[bytes | str | int] = [
            lease.job_id,
            lease.fence,
            layout.pack([False if each is None else each for each in told]),
            outcome.payload or b"",
            layout.result_element(outcome.result),
            *map(layout.line_element, outcome.log),
        ]
        arguments += layout.elements_of_all(outcome.children)
        for key, value in outcome.put.items():
            arguments += (key, value)
        answer = self._call_once("finish", claim, *arguments, *outcome.remove)
        if isinstance(answer, list) and answer[0] == b"missing":
            raise JobNotFoundError(answer[1].decode())
        return self._claimed(_unless_lost(answer, lease, "finish"))

    def release(self, lease: Lease, reason: str) -> None:
        _unless_lost(self._wire.call("release", lease.job_id, lease.fence, reason), lease, "release")

    def report(self, lease: Lease, progress: JobProgress | None, lines: Sequence[LogLine]) -> None:
        text = layout.progress_text(progress) or ""
        answer = self._wire.call("report", lease.job_id, lease.fence, text, *map(layout.line_element, lines))
        _unless_lost(answer, lease, "report")

    def requeue(
        self,
        job_id: str,
        *,
        expected: Collection[JobState],
        reason: str,
        by: str | None = None,
        tenant: TenantScope = ANY_TENANT,
    ) -> JobRecord:
        return self._act(job_id, "requeue", expected, tenant, reason, by)

    def delete(
        self,
        job_id: str,
        *,
        expected: Collection[JobState],
        reason: str,
        by: str | None = None,
        tenant: TenantScope = ANY_TENANT,
    ) -> JobRecord:
        return self._act(job_id, "delete", expected, tenant, reason, by)

    # Sweeps

    def promote(self) -> int:
        return int(self._wire.call("promote"))

    def prune(self) -> int:
        retention = self._retention
        kept = (getattr(retention, state.value) for state in _PRUNED)
        seconds = ["" if each is None else each.total_seconds() for each in kept]
        most = [retention.most(state) for state in _PRUNED]
        return int(self._wire.call("prune", *seconds, *("" if each is None else each for each in most)))

    def start_children(self) -> int:
        return int(self._wire.call("start_children"))

    def purge(self, queue: str, *, reason: str, by: str | None = None) -> int:
        return int(self._wire.call("purge", queue, reason, by or ""))

    # Queues

    def pause(self, queue: str) -> None:
        self._wire.call_again("pause", queue)

    def resume(self, queue: str) -> None:
        self._wire.call_again("resume", queue)

    # Recurring jobs

    def put_recurring(self, record: RecurringRecord, jobs: Sequence[JobRecord] = ()) -> bool:
        if len(jobs) > BATCH:
            raise ValueError(f"{len(jobs)} jobs are too many for one step: add up to {BATCH} at once.")
        stored = msgspec.structs.replace(record, version=record.version + 1)
        next_at: float | str = "" if record.next_at is None or record.is_paused else record.next_at.timestamp()
        elements = layout.elements_of_all(jobs)
        scope = scope_of(record.tenant_id)
        answer = self._wire.call(
            "put_recurring", record.id, record.version, scope, next_at, layout.pack(stored), *elements
        )
        if isinstance(answer, list):
            raise JobNotFoundError(answer[1].decode())
        return bool(answer)

    def remove_recurring(self, recurring_id: str, *, tenant: TenantScope = ANY_TENANT) -> bool:
        return bool(self._wire.call("remove_recurring", recurring_id, scope_of(tenant)))

    # Servers

    def announce(self, server: ServerRecord) -> None:
        self._wire.call_again("announce", server.id, layout.server_element(server))

    def heartbeat(self, server_id: str) -> bool:
        return bool(self._wire.call_again("heartbeat", server_id))

    def retire(self, server_id: str) -> int:
        return int(self._wire.call("retire", server_id))

    def recover_server(self, server_id: str, seen: ServerRecord) -> int | None:
        why = f"Server {server_id} stopped answering"
        recovered: int | None = self._wire.call("recover", server_id, "", seen.heartbeat_at.timestamp(), why)
        return recovered

    def recover_worker(self, server_id: str, worker: str) -> int:
        return int(self._wire.call("recover", server_id, worker, "", f"Worker {worker} of server {server_id} died"))

    # Waiting

    def wait(self, timeout: float) -> None:
        mark = getattr(self._local, "mark", -1)
        self._wakeup.wait(getattr(self._local, "queues", ()), mark, timeout)
        self._local.mark = self._wakeup.mark()

    def wake(self) -> None:
        self._wakeup.wake()

    def close(self) -> None:
        self._wire.close()

    # Huey's own ways to empty a storage

    def flush_queue(self) -> None:
        super().flush_queue()
        self._remove_all(*(state for state in JobState if state is not JobState.SCHEDULED))

    def flush_schedule(self) -> None:
        super().flush_schedule()
        self._remove_all(JobState.SCHEDULED)

    def _remove_all(self, *states: JobState) -> None:
        for state in states:
            while self._wire.call("flush", layout.CODES[state]):
                pass

    def _act(
        self,
        job_id: str,
        action: str,
        expected: Collection[JobState],
        tenant: TenantScope,
        reason: str,
        by: str | None,
    ) -> JobRecord:
        states = layout.pack([layout.CODES[JobState(state)] for state in expected])
        answer = self._wire.call("act", job_id, action, states, scope_of(tenant), reason, by or "")
        if answer[0] == b"missing":
            raise JobNotFoundError(job_id)
        if answer[0] == b"changed":
            raise StateChangedError(job_id, answer[1].decode(), "deleted" if action == "delete" else "requeued")
        return self._record(job_id, answer[2:])

    def _claimed(self, answer: list[bytes] | None) -> JobRecord | None:
        if not answer:
            return None
        record = self._record(answer[1].decode(), answer[2:])
        if record.started_at is not None:
            self._wire.hear(record.started_at.timestamp())
        return record

    def _call_once(self, verb: str, claim: Claim | None, *arguments: Argument) -> Any:
        """Run a script that claims or finishes, and is done once however often it must be called.

        Each call has a number, which is kept with the jobs it changes. When the answer is lost, the call comes again
        under its number: now, if the connection was cut; else, and at the latest, with this thread's next one.

        :param claim: what it asks for besides; only then is a job that an earlier call claimed given out.
        """
        number: str | None = getattr(self._local, "unanswered", None)
        is_new = number is None
        number = number or secrets.token_urlsafe(6)
        self._local.unanswered = number
        try:
            answer = self._wire.call(verb, number, "" if is_new else "again", *arguments)
        except StorageError as error:
            if not is_cut(error):
                raise
            answer = self._wire.call(verb, number, "again", *arguments)
        if is_new or claim is not None:
            self._local.unanswered = None
        return answer

    def _note(self, claim: Claim) -> None:
        self._local.mark, self._local.queues = self._wakeup.mark(), claim.queues

    def _begin_anew(self) -> None:
        """Forget the waiting threads of the process this one was forked from."""
        self._local = threading.local()
        self._wakeup = Wakeup(self._wire)


def _plain_arguments(records: Sequence[JobRecord]) -> list[Argument]:
    arguments: list[Argument] = [MAX_TOKENS]
    for place, record in enumerate(records):
        arguments += layout.plain_arguments(record, place)
    return arguments


def _kept(answer: list[Any]) -> list[str]:
    if answer[0] == b"missing":
        raise JobNotFoundError(answer[1].decode())
    return [job_id.decode() for job_id in answer[1::2]]


def _unless_lost(answer: Any, lease: Lease, action: str) -> Any:
    if answer == b"lost":
        raise LeaseLostError(f"Job {lease.job_id} is not held by lease {lease.fence} any more: cannot {action} it.")
    return answer


def _begin_all_anew() -> None:
    for storage in list(_storages):
        storage._begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_all_anew)
