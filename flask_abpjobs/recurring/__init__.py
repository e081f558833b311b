"""``jobs.recurring``: declares recurring jobs, and changes them while the program runs."""

from .api import RecurringJobs as RecurringJobs
