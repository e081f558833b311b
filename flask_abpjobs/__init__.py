"""Background jobs for Flask: one way to enqueue, a durable engine on Huey, a dashboard, and a guard around it."""

from .access import (
    AbpJobsAuthorizationFilter,
    DashboardAuthorizationFilter,
    DashboardContext,
    LocalRequestsOnlyFilter,
)
from .config import JobsConfig
from .context import JobCancelledError, JobContext, JobTimeoutError, current_job, current_tenant, tenant_scope
from .dashboard import DashboardOptions
from .errors import (
    AbpJobsError,
    AccessDeniedError,
    ArgumentsError,
    ConfigError,
    JobNotFoundError,
    LeaseLostError,
    StateChangedError,
    StorageError,
    UnknownJobError,
)
from .extension import AbpJobs
from .jobs import AsyncBackgroundJob, BackgroundJob
from .manager import BackgroundJobManager, HueyJobManager, InlineJobManager, NullJobManager
from .model import (
    ANY_TENANT,
    JobPriority,
    JobProgress,
    JobQuery,
    JobRecord,
    JobState,
    Misfire,
    RecurringRecord,
    Retention,
    StateEntry,
)
from .registry import JobRegistry
from .retry import RetryPolicy
from .signals import job_enqueued, job_failed, job_state_changed
from .storage import JobStorage
from .version import __version__ as __version__

__all__ = [
    "ANY_TENANT",
    "AbpJobs",
    "AbpJobsAuthorizationFilter",
    "AbpJobsError",
    "AccessDeniedError",
    "ArgumentsError",
    "AsyncBackgroundJob",
    "BackgroundJob",
    "BackgroundJobManager",
    "ConfigError",
    "DashboardAuthorizationFilter",
    "DashboardContext",
    "DashboardOptions",
    "HueyJobManager",
    "InlineJobManager",
    "JobCancelledError",
    "JobContext",
    "JobNotFoundError",
    "JobPriority",
    "JobProgress",
    "JobQuery",
    "JobRecord",
    "JobRegistry",
    "JobState",
    "JobStorage",
    "JobTimeoutError",
    "JobsConfig",
    "LeaseLostError",
    "Misfire",
    "NullJobManager",
    "RecurringRecord",
    "Retention",
    "LocalRequestsOnlyFilter",
    "RetryPolicy",
    "StateChangedError",
    "StateEntry",
    "StorageError",
    "UnknownJobError",
    "current_job",
    "current_tenant",
    "job_enqueued",
    "job_failed",
    "job_state_changed",
    "tenant_scope",
]
