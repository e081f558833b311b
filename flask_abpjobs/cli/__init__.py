"""``flask abpjobs``: run a server, look at jobs, act on them."""

from __future__ import annotations

from flask.cli import AppGroup

from . import jobs, overview, queues, recurring, worker


def create_group() -> AppGroup:
    """Return the command group of one app."""
    group = AppGroup("abpjobs", help="Background jobs.")
    for command in (
        worker.worker,
        jobs.enqueue,
        jobs.list_jobs,
        jobs.show,
        jobs.requeue,
        jobs.delete,
        jobs.rerun,
        recurring.create_group(),
        queues.create_group(),
        overview.stats,
        overview.servers,
        overview.check,
    ):
        group.add_command(command)
    return group
