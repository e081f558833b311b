"""The provider on Huey: jobs are kept in the storage, and the servers that share it run them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Self

import msgspec

from ..engine import JobHuey
from ..errors import ArgumentsError
from ..model import ANY_TENANT, DELETABLE, REQUEUABLE, JobRecord, JobState, TenantScope
from ..options import DEFAULT_OPTIONS
from ..retry import decode_policy
from ..signals import tell_change
from ..storage.base import BATCH
from .base import BackgroundJobManager, ManagerSetup, decoded
from .records import Caller, Defaults


class HueyJobManager(BackgroundJobManager):
    """Keeps jobs in the storage of a :class:`~flask_abpjobs.engine.JobHuey`, whose workers run them.

    :param huey: the engine.
    :param caller: tells on whose behalf a job is enqueued.
    :param defaults: what jobs have that name nothing else; left out, the engine's default queue.
    :param sender: of signals.
    """

    def __init__(
        self,
        huey: JobHuey,
        caller: Callable[[], Caller] = Caller,
        *,
        defaults: Defaults | None = None,
        sender: Any = None,
    ) -> None:
        defaults = Defaults(queue=huey.default_queue) if defaults is None else defaults
        super().__init__(huey.jobs, caller=caller, defaults=defaults, clock=huey.records.now, sender=sender)
        self._records = huey.records

    @classmethod
    def from_setup(cls, setup: ManagerSetup) -> Self:
        return cls(setup.huey, setup.caller, defaults=setup.defaults, sender=setup.sender)

    def store(self, records: Sequence[JobRecord]) -> list[str]:
        if len(records) == 1 and records[0].unique_key is None:
            self._records.add(records[0])
            return [records[0].id]
        return self._records.add_batches([records[start : start + BATCH] for start in range(0, len(records), BATCH)])

    def requeue(
        self,
        job_id: str,
        *,
        expected: Collection[JobState] = REQUEUABLE,
        reason: str = "Requeued",
        by: str | None = None,
        tenant: TenantScope = ANY_TENANT,
    ) -> JobRecord:
        """Put a job that is not running into its queue, its retries counted anew. "Run now" is this, too.

        :raises JobNotFoundError: there is no such job in this tenant scope.
        :raises StateChangedError: the job is in none of the expected states; nothing was changed.
        """
        record = self._records.requeue(job_id, expected=expected, reason=reason, by=by, tenant=tenant)
        tell_change(self._sender, record, record.state, reason)
        return record

    def delete(
        self,
        job_id: str,
        *,
        expected: Collection[JobState] = DELETABLE,
        reason: str = "Deleted",
        by: str | None = None,
        tenant: TenantScope = ANY_TENANT,
    ) -> JobRecord:
        """Move a job to deleted, where it is kept for a day.

        A running one is told through ``current_job.is_cancelled``. Raises as :meth:`requeue` does.
        """
        record = self._records.delete(job_id, expected=expected, reason=reason, by=by, tenant=tenant)
        tell_change(self._sender, record, record.state, reason)
        return record

    def rerun(
        self,
        job_id: str,
        *,
        arguments: Mapping[str, Any] | None = None,
        by: str | None = None,
        tenant: TenantScope = ANY_TENANT,
        **options: Any,
    ) -> str:
        """Enqueue a copy of a job, linked to it by ``rerun_of``, and return the new job's id.

        It has the tenant, queue, priority and retry policy of the first one, and its arguments; the old job stays as it
        is.

        :param arguments: changes of the arguments by name, as JSON has them.
        :param by: who does it.
        :param options: changes of the settings, see :meth:`flask_abpjobs.jobs.JobCall.using`.
        :raises JobNotFoundError: there is no such job in this tenant scope.
        :raises UnknownJobError: its job is not registered here; one of Huey's own tasks cannot be copied.
        :raises ArgumentsError: the arguments do not fit.
        :raises ConfigError: an unknown option.
        """
        old = self._records.get(job_id, tenant=tenant)
        definition = self._registry.get(old.name)
        if arguments:
            value = decoded(definition, {**_as_mapping(old), **arguments})
        else:
            value = definition.decode(old.payload)
        kept = {"priority": old.priority, "tenant": old.tenant_id, **options}
        if old.retry is not None and (policy := decode_policy(old.retry)) is not None:
            kept.setdefault("retry", policy)
        (record,) = self._made([(definition, value)], DEFAULT_OPTIONS.changed(**kept))
        queue = record.queue if "queue" in options else old.queue
        by = by if by is not None else record.enqueued_by
        record = msgspec.structs.replace(record, rerun_of=old.id, enqueued_by=by, queue=queue)
        return self._handed_over([record])[0]


def _as_mapping(record: JobRecord) -> dict[str, Any]:
    try:
        return msgspec.json.decode(record.payload, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ArgumentsError(f"The stored arguments of job {record.id} cannot be read: {error}.") from error
