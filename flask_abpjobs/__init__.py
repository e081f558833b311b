"""Background jobs for Flask: one way to enqueue, a durable engine on Huey, a dashboard, and a guard around it."""

from .access import (
    AbpJobsAuthorizationFilter,
    DashboardAuthorizationFilter,
    DashboardContext,
    LocalRequestsOnlyFilter,
)
from .config import JobsConfig
from .context import JobCancelledError, JobContext, current_job, current_tenant, tenant_scope
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
from .manager import BackgroundJobManager, HueyJobManager
from .model import ANY_TENANT, JobPriority, JobProgress, JobQuery, JobRecord, JobState, StateEntry
from .registry import JobRegistry
from .retry import RetryPolicy
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
    "JobsConfig",
    "LeaseLostError",
    "LocalRequestsOnlyFilter",
    "RetryPolicy",
    "StateChangedError",
    "StateEntry",
    "StorageError",
    "UnknownJobError",
    "current_job",
    "current_tenant",
    "tenant_scope",
]
