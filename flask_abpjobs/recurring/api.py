"""What ``jobs.recurring`` is: the declarations, and the verbs that change recurring jobs in the storage."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, ParamSpec, TypeVar, overload

from msgspec import UNSET, UnsetType, structs

from ..engine.recurring import RecurringTick
from ..errors import AbpJobsError, ConfigError, JobNotFoundError, StorageError
from ..jobs import FunctionJob, JobBase, JobCall, JobDefinition
from ..manager import ManagerSetup
from ..manager.base import decoded
from ..model import ANY_TENANT, JobPriority, JobRecord, Misfire, RecurringRecord, TenantScope
from ..moments import moment_of
from ..options import DEFAULT_OPTIONS
from ..recurrence import Schedule
from ..registry import JobRegistry
from ..signals import job_enqueued, tell
from ..storage import JobStorage
from .records import bound, job_of, merged, slot_id, wanted_record

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type[Any])

TRIES: Final = 20
"""How often a change begins anew because somebody else was first."""

logger = logging.getLogger(__name__)


class RecurringJobs:
    """The recurring jobs of the current app.

    Call it to declare one above a job, when no app exists yet; all other methods need an app context. Everything that
    is changed here is seen by all servers with their next tick, which they take about once a second.
    """

    def __init__(
        self, registry: JobRegistry, define: Callable[[Any], Any], find_setup: Callable[[], ManagerSetup]
    ) -> None:
        self._registry = registry
        self._define = define
        self._find_setup = find_setup
        self._declared: dict[str, RecurringRecord] = {}

    # Declaring

    def __call__(
        self,
        cron: str,
        *,
        id: str | None = None,
        timezone: str = "UTC",
        misfire: Misfire | str = Misfire.ONCE,
        queue: str | None = None,
        priority: JobPriority | None = None,
        args: Any = UNSET,
    ) -> _Declare:
        """Declare a recurring job: ``@jobs.recurring("0 3 * * *", id="nightly")`` above a job.

        A plain function becomes a job by it. Apps take over what is declared when they start.

        :param cron: see :class:`flask_abpjobs.recurrence.Schedule`.
        :param id: by default the job's name.
        :param timezone: the IANA name of the zone whose clock counts.
        :param misfire: what becomes of slots that passed while no server ran: ``once`` (one run for all of them),
            ``all`` (one run for each), ``skip``.
        :param queue: by default that of the job.
        :param priority: by default that of the job.
        :param args: the arguments of each run: a tuple of positional ones, a mapping of keyword ones, or one bare
            value. A job class takes its one argument.
        :raises ConfigError: the expression, the zone, the id or an option is not of the right form, or the id is taken.
        :raises ArgumentsError: the arguments do not fit the job.
        """

        def declare(definition: JobDefinition) -> None:
            wanted = wanted_record(
                definition.name if id is None else id,
                definition,
                bound(definition, args),
                {"cron": cron, "timezone": timezone, "misfire": misfire, "queue": queue, "priority": priority},
            )
            if wanted.id in self._declared:
                raise ConfigError(f"Two recurring jobs have the id {wanted.id!r}: give one of them another.")
            self._declared[wanted.id] = structs.replace(wanted, is_declared=True)

        return _Declare(self._job_of, declare)

    @property
    def declared(self) -> Mapping[str, RecurringRecord]:
        """What the code of this process declares, by id. What was declared once and is not here has left the code."""
        return dict(self._declared)

    # Changing

    def add_or_update(
        self,
        recurring_id: str,
        job: Any,
        /,
        *args: Any,
        cron: str,
        timezone: str = "UTC",
        misfire: Misfire | str = Misfire.ONCE,
        queue: str | None = None,
        priority: JobPriority | None = None,
        tenant: str | None | UnsetType = UNSET,
        **kwargs: Any,
    ) -> RecurringRecord:
        """Let a job recur, or change how it does.

        The next slot is counted from now when the job is new, its expression or zone has changed, or it had an error.
        Otherwise it stays. A paused one stays paused.

        :param recurring_id: 1 to 128 letters, digits and ``_ . : -``.
        :param job: a declared job, or its name.
        :param args: the arguments of each run, with ``kwargs``. A parameter of the same name as one of the settings
            here is given by its position.
        :param tenant: whose job it is; left out, that of the caller.

        The other settings are those of a declaration.

        :returns: the recurring job as it is stored.
        :raises ConfigError: a setting is not of the right form, or another tenant has a recurring job of this id.
        :raises ArgumentsError: the arguments do not fit the job.
        :raises UnknownJobError: there is no such job.
        """
        definition = self._definition_of(job)
        settings = {"cron": cron, "timezone": timezone, "misfire": misfire, "queue": queue, "priority": priority}
        return self._add(recurring_id, definition, definition.bind(*args, **kwargs), settings, tenant)

    def add_or_update_by_name(
        self,
        recurring_id: str,
        name: str,
        payload: Mapping[str, Any],
        /,
        *,
        tenant: str | None | UnsetType = UNSET,
        **settings: Any,
    ) -> RecurringRecord:
        """Let the job of a name recur; see :meth:`add_or_update`.

        :param payload: its arguments by name, as JSON has them.
        """
        definition = self._registry.get(name)
        return self._add(recurring_id, definition, decoded(definition, payload), settings, tenant)

    def remove(self, recurring_id: str, *, tenant: TenantScope = ANY_TENANT) -> bool:
        """Let a job not recur any more; its jobs stay. One that the code declares comes back with the next start.

        :returns: ``False`` when there is none of this id in this tenant scope.
        """
        return self._storage.remove_recurring(recurring_id, tenant=tenant)

    def trigger(self, recurring_id: str, *, tenant: TenantScope = ANY_TENANT) -> str | None:
        """Enqueue a run now, beside the slots; also one of a paused job.

        :returns: the new job's id, or ``None`` when there is no such recurring job in this tenant scope, or a job that
            waits or runs holds its ``unique_key``.
        :raises UnknownJobError: the job's code is not in this process.
        :raises ArgumentsError: the stored arguments do not fit the job's code.
        """
        setup = self._find_setup()
        storage = setup.huey.records
        for _ in range(TRIES):
            record = storage.find_recurring(recurring_id, tenant=tenant)
            if record is None:
                return None
            now = moment_of(storage.now())
            job = job_of(setup, record, self._registry.get(record.name), now)
            why = f"The recurring job {record.id}, triggered beside its slots"
            job = structs.replace(job, enqueued_by=setup.caller().user_id, reason=why)
            if storage.put_recurring(structs.replace(record, last_at=now, last_job_id=job.id), (job,)):
                return _added(storage, setup, job)
        raise _contended(recurring_id)

    def pause(self, recurring_id: str, *, tenant: TenantScope = ANY_TENANT) -> bool:
        """Let no slot run until :meth:`resume`. It stays paused through restarts.

        :returns: ``False`` when there is none of this id in this tenant scope.
        """
        return self._change(recurring_id, tenant, lambda record, now: structs.replace(record, is_paused=True))

    def resume(self, recurring_id: str, *, tenant: TenantScope = ANY_TENANT) -> bool:
        """Go on with the first slot from now on. What passed meanwhile was not missed, and does not run.

        :returns: ``False`` when there is none of this id in this tenant scope.
        """

        def go_on(record: RecurringRecord, now: datetime) -> RecurringRecord:
            if not record.is_paused:
                return record
            schedule = Schedule(record.cron, record.timezone)
            return structs.replace(record, is_paused=False, next_at=schedule.next_after(now), error=None)

        return self._change(recurring_id, tenant, go_on)

    # Asking

    def get(self, recurring_id: str, *, tenant: TenantScope = ANY_TENANT) -> RecurringRecord:
        """Return a recurring job.

        :raises JobNotFoundError: there is none of this id in this tenant scope.
        """
        record = self._storage.find_recurring(recurring_id, tenant=tenant)
        if record is None:
            raise JobNotFoundError(recurring_id)
        return record

    def list(self, *, tenant: TenantScope = ANY_TENANT) -> Sequence[RecurringRecord]:
        """Return the recurring jobs by id."""
        return self._storage.list_recurring(tenant=tenant)

    # Wiring

    def sync(self, setup: ManagerSetup) -> None:
        """Bring what the code declares into an app's storage. Nothing is written that has not changed.

        :raises StorageError: the storage does not answer.
        """
        if not self._declared:
            return
        storage = setup.huey.records
        kept = {record.id: record for record in storage.list_recurring()}
        for wanted in tuple(self._declared.values()):
            try:
                _put(storage, wanted, kept.get(wanted.id))
            except StorageError:
                raise
            except AbpJobsError as error:
                logger.error("The declared recurring job %s was not taken over: %s", wanted.id, error)

    def start(self, setup: ManagerSetup) -> None:
        """Do as :meth:`sync` when an app starts; it starts also when its storage cannot be reached."""
        try:
            self.sync(setup)
        except StorageError:
            logger.exception("Recurring jobs are not taken over now; the first tick of a server does it")

    def tick_of(self, setup: ManagerSetup) -> RecurringTick:
        """Return what an app's servers call about once a second."""
        synced = 0

        def sync() -> None:
            nonlocal synced
            if synced != len(self._declared):
                self.sync(setup)
                synced = len(self._declared)

        def make_job(record: RecurringRecord, definition: JobDefinition, slot: datetime, now: datetime) -> JobRecord:
            job = job_of(setup, record, definition, now)
            why = f"Slot {slot:%Y-%m-%d %H:%M:%S} UTC of the recurring job {record.id}"
            return structs.replace(job, id=slot_id(record.id, slot), first_due_at=slot, reason=why)

        return RecurringTick(
            setup.huey.records,
            self._registry,
            make_job,
            sync=sync,
            tell=lambda job: tell(job_enqueued, setup.sender, job=job),
        )

    @property
    def _storage(self) -> JobStorage:
        return self._find_setup().huey.records

    def _add(
        self,
        recurring_id: str,
        definition: JobDefinition,
        value: Any,
        settings: Mapping[str, Any],
        tenant: str | None | UnsetType,
    ) -> RecurringRecord:
        setup = self._find_setup()
        tenant_id = setup.caller().tenant_id if tenant is UNSET else tenant
        wanted = wanted_record(recurring_id, definition, value, {**settings, "tenant": tenant_id})
        storage = setup.huey.records
        return _put(storage, wanted, storage.find_recurring(wanted.id))

    def _change(
        self,
        recurring_id: str,
        tenant: TenantScope,
        change: Callable[[RecurringRecord, datetime], RecurringRecord],
    ) -> bool:
        storage = self._storage
        for _ in range(TRIES):
            record = storage.find_recurring(recurring_id, tenant=tenant)
            if record is None:
                return False
            changed = change(record, moment_of(storage.now()))
            if changed == record or storage.put_recurring(changed):
                return True
        raise _contended(recurring_id)

    def _job_of(self, target: Any) -> tuple[Any, JobDefinition]:
        """Return a job, made of a plain function or class where it is none yet, and its definition."""
        is_job = isinstance(target, JobCall) or (isinstance(target, type) and target.__dict__.get("_call") is not None)
        job = target if is_job else self._define(target)
        return job, self._definition_of(job)

    def _definition_of(self, job: Any) -> JobDefinition:
        if isinstance(job, str):
            return self._registry.get(job)
        call = job._registered() if isinstance(job, type) and issubclass(job, JobBase) else job
        if not isinstance(call, JobCall):
            raise ConfigError(f"{job!r:.100} is no job: decorate it with @jobs.job, or give a job's name.")
        if call._options != DEFAULT_OPTIONS:
            raise ConfigError(f"Give queue and priority of a recurring job as its own settings, not by using(): {call}")
        if self._registry.find(call.name) is not call.definition:
            raise ConfigError(f"{call!r} belongs to another AbpJobs.")
        return call.definition


class _Declare:
    """``@jobs.recurring(...)`` with its settings."""

    def __init__(
        self, job_of: Callable[[Any], tuple[Any, JobDefinition]], declare: Callable[[JobDefinition], None]
    ) -> None:
        self._job_of = job_of
        self._declare = declare

    @overload
    def __call__(self, target: FunctionJob[P, R], /) -> FunctionJob[P, R]: ...

    @overload
    def __call__(self, target: C, /) -> C: ...  # type: ignore[overload-overlap]  # a class is callable, too

    @overload
    def __call__(self, target: Callable[P, R], /) -> FunctionJob[P, R]: ...

    def __call__(self, target: Any, /) -> Any:
        job, definition = self._job_of(target)
        self._declare(definition)
        return job


def _put(storage: JobStorage, wanted: RecurringRecord, kept: RecurringRecord | None) -> RecurringRecord:
    for _ in range(TRIES):
        record = merged(kept, wanted, moment_of(storage.now()))
        if record == kept:
            return record
        if storage.put_recurring(record):
            return structs.replace(record, version=record.version + 1)
        kept = storage.find_recurring(wanted.id)
    raise _contended(wanted.id)


def _added(storage: JobStorage, setup: ManagerSetup, job: JobRecord) -> str | None:
    if job.unique_key is not None:
        try:
            storage.get(job.id)
        except JobNotFoundError:
            return None
    tell(job_enqueued, setup.sender, job=job)
    return job.id


def _contended(recurring_id: str) -> AbpJobsError:
    return AbpJobsError(f"The recurring job {recurring_id} was changed by others all the time. Try again.")
