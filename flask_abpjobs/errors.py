"""Every error this package raises, in one tree."""

from __future__ import annotations


class AbpJobsError(Exception):
    """Base of all errors of Flask-AbpJobs."""


class ConfigError(AbpJobsError):
    """A setting is missing, unknown or not of the right form."""


class UnknownJobError(AbpJobsError):
    """No job of that name or argument type is registered."""


class ArgumentsError(AbpJobsError):
    """The arguments do not fit the job's parameters, or cannot be written as JSON."""


class JobNotFoundError(AbpJobsError):
    """There is no job of that id, or the caller may not see it."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id!r}.")
        self.job_id = job_id


class StateChangedError(AbpJobsError):
    """The job has moved on: it is no longer in the state the action expects.

    Nothing was changed. ``state`` is the state the job is in now.
    """

    def __init__(self, job_id: str, state: str, action: str) -> None:
        super().__init__(f"Job {job_id} is {state} now, so it cannot be {action}. Nothing was changed.")
        self.job_id = job_id
        self.state = state


class LeaseLostError(AbpJobsError):
    """A worker reports on a job that is no longer its own.

    The job was deleted, or given to another worker because this one's server stopped answering. The report is
    refused and changes nothing.
    """


class StorageError(AbpJobsError):
    """The storage did not answer, is full, or cannot be read."""


class AccessDeniedError(AbpJobsError):
    """The caller may not do this."""
