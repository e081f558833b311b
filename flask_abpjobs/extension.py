"""The extension: the only place that knows the app and builds the parts."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, Final, ParamSpec, TypeVar, overload

import click
import msgspec
from flask import Flask, current_app, url_for

from .access import default_permission_checker, default_tenant_resolver
from .access.callers import find_caller
from .cli import create_group
from .config import JobsConfig
from .dashboard import DashboardOptions, DashboardServices, create_blueprint
from .embedded import EmbeddedWorker
from .engine import JobHuey
from .engine.performer import build
from .errors import AbpJobsError, ConfigError
from .jobs import Activator, FunctionJob, JobCall, JobDefinition, bind_class
from .manager import BackgroundJobManager, HueyJobManager, ManagerSetup
from .model import FINISHED, JobError, JobPriority, JobRecord, JobState, Retention
from .options import JobOptions
from .recurring import RecurringJobs
from .registry import JobRegistry
from .retry import RetryPolicy
from .signals import job_failed, tell, tell_change
from .storage import JobStorage, open_storage
from .version import __version__

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type[Any])
PermissionChecker = Callable[[Any, str, str | None], bool]
TenantResolver = Callable[[], str | None]

KEY: Final = "abpjobs"

logger = logging.getLogger(__name__)


class AppState(msgspec.Struct, frozen=True, kw_only=True):
    """What one app has of an :class:`AbpJobs`, at ``app.extensions["abpjobs"]``."""

    jobs: AbpJobs
    config: JobsConfig
    huey: JobHuey
    manager: BackgroundJobManager
    """Enqueues jobs: the provider that ``ABPJOBS_MANAGER`` names."""
    stored: HueyJobManager
    """Acts on the jobs in the app's storage."""
    setup: ManagerSetup
    """What the app's managers are made of."""
    dashboards: list[str]
    """Names of the mounted dashboards' blueprints."""

    @property
    def storage(self) -> JobStorage:
        """Where the app's jobs are kept."""
        return self.huey.records

    def tenant_resolver(self) -> str | None:
        """Return the tenant of the present caller."""
        return self.jobs._tenant()


class AbpJobs:
    """Background jobs for Flask apps.

    Make one beside your jobs, before any app exists, and call :meth:`init_app` in the application factory. It keeps the
    declared jobs and the functions you plug in; everything else belongs to an app.

    :param app: calls :meth:`init_app` at once.
    :param dashboard: see :meth:`init_app`.
    """

    def __init__(self, app: Flask | None = None, *, dashboard: DashboardOptions | None | str = "default") -> None:
        self.registry = JobRegistry()
        self.recurring = RecurringJobs(self.registry, self.job, lambda: self._current.setup)
        self._activator: Activator = build
        self._permission_checker: PermissionChecker = default_permission_checker
        self._tenant_resolver: TenantResolver = default_tenant_resolver
        if app is not None:
            self.init_app(app, dashboard=dashboard)

    # Declaring

    @overload
    def job(self, target: C, /) -> C: ...  # type: ignore[overload-overlap]  # a class is callable, too

    @overload
    def job(self, target: Callable[P, R], /) -> FunctionJob[P, R]: ...

    @overload
    def job(
        self,
        *,
        name: str | None = ...,
        queue: str | None = ...,
        priority: JobPriority | None = ...,
        retry: RetryPolicy | None = ...,
        timeout: timedelta | float | None = ...,
        expires: timedelta | float | None = ...,
        max_concurrent: int | None = ...,
        concurrency_key: str | None = ...,
        unique_key: str | None = ...,
        unique_for: timedelta | float | None = ...,
        retention: Retention | timedelta | None = ...,
        display_name: str | None = ...,
        sensitive: Collection[str] = ...,
    ) -> _JobDecorator: ...

    def job(self, target: Any = None, **settings: Any) -> Any:
        """Declare a function, or a class derived from ``BackgroundJob`` or ``AsyncBackgroundJob``, as a job.

        :param name: by default the qualified name of the function, or of the class's argument type.
        :param queue: by default ``ABPJOBS_DEFAULT_QUEUE``.
        :param priority: higher runs first inside a queue.
        :param retry: by default ``ABPJOBS_DEFAULT_RETRY``, and without it Hangfire's policy, see :class:`RetryPolicy`.
        :param timeout: seconds, or a timedelta, that one attempt may take. A worker process or greenlet ends it then;
            a thread cannot: the job has to ask ``current_job.is_cancelled``.
        :param expires: seconds, or a timedelta, after which a job that no worker has begun is deleted.
        :param max_concurrent: how many jobs of one ``concurrency_key`` may run at once, over all servers. The others
            stay in the queue without holding a worker.
        :param concurrency_key: by default the job's name; fields in braces are arguments, and ``{tenant_id}``.
        :param unique_key: of the jobs of one key (and name, and tenant) only the first is kept until it has ended; a
            second enqueue returns its id. Fields as in ``concurrency_key``.
        :param unique_for: seconds, or a timedelta, for which the key stays taken even if the job ends before.
        :param retention: how long the finished job is kept, see :class:`Retention`; a timedelta is for one that has
            succeeded or was deleted.
        :param display_name: how pages call the job.
        :param sensitive: parameters whose values are never shown. Those named like secrets are not shown anyway.
        :raises ConfigError: the name or argument type is taken, or a setting is not of the right form.
        :raises ArgumentsError: the parameters cannot be carried as JSON.
        """
        decorator = _JobDecorator(self, settings)
        return decorator if target is None else decorator(target)

    def register_handler(self, name: str, handler: Callable[[dict[str, Any]], Any], **settings: Any) -> None:
        """Register a function for dynamic jobs: they exist by name only, and take whatever JSON object they are given.

        ``jobs.manager.enqueue_by_name(name, payload)`` enqueues one; the handler is called with the payload. A job that
        is declared under the same name wins.

        :param settings: those of :meth:`job` but ``name``, ``display_name`` and ``sensitive``.
        :raises ConfigError: the name is not usable, or a setting is not of the right form.
        """
        self.registry.register_handler(name, handler, **settings)

    def activator(self, build: Activator) -> Activator:
        """Plug in the function that builds an object of a job class: ``build(job_class)``."""
        self._activator = build
        return build

    def permission_checker(self, checker: PermissionChecker) -> PermissionChecker:
        """Plug in the function that tells whether a user has a permission: ``checker(user, permission, tenant_id)``."""
        self._permission_checker = checker
        return checker

    def tenant_resolver(self, resolver: TenantResolver) -> TenantResolver:
        """Plug in the function that tells the tenant of the present request's caller."""
        self._tenant_resolver = resolver
        return resolver

    # Wiring

    def init_app(self, app: Flask, *, dashboard: DashboardOptions | None | str = "default") -> None:
        """Give an app its jobs: configuration, storage, manager, commands, dashboard.

        :param dashboard: options of the dashboard; left out, one at ``ABPJOBS_DASHBOARD_PATH`` that answers requests
            of this machine only; ``None`` mounts none.
        :raises ConfigError: a setting is unknown or wrong, or the app has an ``AbpJobs`` already.
        :raises StorageError: the storage cannot be opened.
        """
        if KEY in app.extensions:
            raise ConfigError(f"The app {app.name!r} has an AbpJobs already: call init_app once for each app.")
        config = JobsConfig.from_mapping(app.config, import_name=app.import_name)
        url = "memory://" if config.testing else config.storage_url
        storage = open_storage(url, config.name, folder=app.instance_path, retention=config.retention)
        huey = JobHuey(
            config.name,
            storage,
            jobs=self.registry,
            queues=config.served_queues,
            default_queue=config.queue_prefix + config.default_queue,
            queue_prefix=config.queue_prefix,
            default_retry=config.default_retry,
            captures_logs=config.capture_logs,
            tell=_teller(app),
            scope=_scope_of(app),
            activator=self._activate,
        )
        setup = ManagerSetup(
            registry=self.registry,
            config=config,
            caller=find_caller,
            sender=app,
            huey=huey,
            scope=_scope_of(app),
            activator=self._activate,
        )
        stored = HueyJobManager.from_setup(setup)
        manager = _manager_class(config.manager).from_setup(setup) if config.manager else stored
        huey.recurring = self.recurring.tick_of(setup)
        state = AppState(
            jobs=self, config=config, huey=huey, manager=manager, stored=stored, setup=setup, dashboards=[]
        )
        app.extensions[KEY] = state
        if not _is_in_command():
            self.recurring.start(setup)
        app.cli.add_command(create_group())
        if config.embedded_worker and config.execution_enabled and not config.testing:
            EmbeddedWorker(app, huey, config)
        if isinstance(dashboard, DashboardOptions):
            self.add_dashboard(app, dashboard)
        elif dashboard is not None:
            self.add_dashboard(app, DashboardOptions())

    def add_dashboard(self, app: Flask, options: DashboardOptions) -> None:
        """Mount a dashboard; an app may have several, at different paths.

        :raises ConfigError: the app has no ``SECRET_KEY``, or the options are not of the right form.
        """
        state = self._state_of(app)
        if not app.secret_key:
            raise ConfigError(
                "The dashboard needs SECRET_KEY, which signs its forms. Set app.config['SECRET_KEY'] to a long random "
                'value, such as the output of: python -c "import secrets; print(secrets.token_hex(32))"'
            )
        if options.display_name is None:
            options = msgspec.structs.replace(options, display_name=self._display_name)
        name = KEY if not state.dashboards else f"{KEY}_{len(state.dashboards) + 1}"
        services = DashboardServices(
            storage=state.storage,
            manager=state.stored,
            config=state.config,
            permission_checker=lambda user, permission, tenant: self._permission_checker(user, permission, tenant),
            tenant_resolver=self._tenant,
            version=__version__,
        )
        blueprint = create_blueprint(options, services, name=name)
        app.register_blueprint(blueprint)
        state.dashboards.append(name)
        if options.is_local_only and not app.debug and not app.testing and not _is_in_command():
            logger.warning(
                "The dashboard at %s answers only requests of this machine. To open it to your users, give "
                "DashboardOptions(authorization=[AbpJobsAuthorizationFilter(...)]).",
                blueprint.url_prefix,
            )

    # The current app's

    @property
    def manager(self) -> BackgroundJobManager:
        """The manager of the current app."""
        return self._current.manager

    @property
    def storage(self) -> JobStorage:
        """The storage of the current app; ask it about jobs, queues and servers."""
        return self._current.storage

    @property
    def huey(self) -> JobHuey:
        """The Huey of the current app; tasks of its own are tracked and shown as jobs are."""
        return self._current.huey

    def requeue(self, job_id: str) -> JobRecord:
        """Put a job that is not running into its queue; see :meth:`HueyJobManager.requeue`."""
        return self._current.stored.requeue(job_id)

    def delete(self, job_id: str) -> JobRecord:
        """Move a job to deleted; see :meth:`HueyJobManager.delete`."""
        return self._current.stored.delete(job_id)

    def rerun(self, job_id: str, *, arguments: Mapping[str, Any] | None = None, **options: Any) -> str:
        """Enqueue a copy of a job and return the new job's id; see :meth:`HueyJobManager.rerun`."""
        return self._current.stored.rerun(job_id, arguments=arguments, **options)

    def wait(self, job_id: str, timeout: float | timedelta = 60.0) -> JobRecord:
        """Wait for a job to end, and return it as succeeded, failed or deleted.

        :param timeout: seconds, or a time.
        :raises JobNotFoundError: there is no such job.
        :raises TimeoutError: it has not ended in time.
        """
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        deadline = time.monotonic() + seconds
        while (record := self.storage.get(job_id)).state not in FINISHED:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"Job {job_id} ({record.name}) is still {record.state} after {seconds:g} s.")
            self.storage.wait(min(left, 1.0))
        return record

    def url_for_job(self, job_id: str) -> str:
        """Return the address of a job's page in the app's first dashboard.

        :raises ConfigError: the app has no dashboard.
        """
        dashboards = self._current.dashboards
        if not dashboards:
            raise ConfigError("This app has no dashboard: init_app was called with dashboard=None.")
        return url_for(f"{dashboards[0]}.job", job_id=job_id)

    @property
    def _current(self) -> AppState:
        if not current_app:
            raise AbpJobsError(
                "There is no current app. Enqueue inside a request or a job, or within `with app.app_context():`."
            )
        return self._state_of(current_app)

    def _state_of(self, app: Flask) -> AppState:
        state: AppState | None = app.extensions.get(KEY)
        if state is None or state.jobs is not self:
            which = "has no AbpJobs" if state is None else "belongs to another AbpJobs"
            raise ConfigError(
                f"The app {app.name!r} {which}: call init_app(app) of the one its jobs are declared with."
            )
        return state

    def _display_name(self, record: JobRecord) -> str:
        definition = self.registry.find(record.name)
        return record.name if definition is None or definition.display_name is None else definition.display_name

    def _submit(self, definition: JobDefinition, values: Sequence[Any], options: JobOptions) -> list[str]:
        return self.manager.submit(definition, values, options)

    def _tenant(self) -> str | None:
        tenant: Any = self._tenant_resolver()
        return None if tenant is None else str(tenant)  # ids are often numbers; jobs keep text

    def _activate(self, job_class: type[Any]) -> Any:
        return self._activator(job_class)


class _JobDecorator:
    """``@jobs.job(...)`` with its settings."""

    def __init__(self, jobs: AbpJobs, settings: dict[str, Any]) -> None:
        self._jobs = jobs
        self._settings = settings

    @overload
    def __call__(self, target: C, /) -> C: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, target: Callable[P, R], /) -> FunctionJob[P, R]: ...

    def __call__(self, target: Any, /) -> Any:
        definition = self._jobs.registry.define(target, **self._settings)
        if definition.is_class:
            bind_class(target, JobCall(definition, self._jobs._submit))
            return target
        return FunctionJob(definition, self._jobs._submit, target)


def _is_in_command() -> bool:
    """Whether a command of ``flask`` other than ``run`` loads the app, which then serves nothing."""
    context = click.get_current_context(silent=True)
    return context is not None and context.info_name != "run"


def _teller(app: Flask) -> Callable[[JobRecord, JobState, str | None, JobError | None], None]:
    def tell_what_became(job: JobRecord, state: JobState, reason: str | None, error: JobError | None) -> None:
        tell_change(app, job, state, reason)
        if state is JobState.FAILED:
            tell(job_failed, app, job=job, error=error)

    return tell_what_became


def _manager_class(path: str) -> type[BackgroundJobManager]:
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise ConfigError(f"ABPJOBS_MANAGER is {path!r}: {module} cannot be imported: {error}.") from error
    if not (isinstance(found, type) and issubclass(found, BackgroundJobManager)):
        raise ConfigError(f"ABPJOBS_MANAGER is {path!r}: that is no class derived from BackgroundJobManager.")
    return found


def _scope_of(app: Flask) -> Callable[[], AbstractContextManager[Any]]:
    return app.app_context
