"""What the jobs of a tenant are doing, in the words of the desk."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask_abpjobs import JobQuery, JobRecord, JobState

from . import sales
from .database import required_tenant
from .jobs import charge_card, draw_sales_report, import_orders, jobs
from .letters import Letter
from .orders import Orders

AT_WORK = (JobState.PROCESSING, JobState.SCHEDULED, JobState.ENQUEUED)
ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.DELETED})
WORDS = {
    "scheduled": "Scheduled",
    "enqueued": "Waiting",
    "awaiting": "Awaiting",
    "processing": "Running",
    "succeeded": "Done",
    "failed": "Failed",
    "deleted": "Deleted",
    "retrying": "Retrying",
}


@dataclass(frozen=True)
class Activity:
    """One job as the desk's people see it."""

    job: JobRecord
    title: str
    outcome: str

    @property
    def state(self) -> str:
        """The job's state; a retry has a word of its own."""
        return "retrying" if self.job.is_retrying else self.job.state.value

    @property
    def word(self) -> str:
        """The state in a word."""
        return WORDS[self.state]

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.job.state in ENDED


def list_recent(tenant_id: str | None, *, name: str | None = None, limit: int = 10) -> list[Activity]:
    """Return jobs of a tenant: what is at work, then the newest.

    :param name: of this job only.
    """
    tenant = required_tenant(tenant_id)
    orders = Orders(tenant)
    found = {
        job.id: job
        for state in (*AT_WORK, None)
        for job in jobs.storage.find(JobQuery(state=state, tenant=tenant, name=name, limit=limit)).jobs
    }
    return [Activity(job, _title(job, orders), _outcome(job)) for job in list(found.values())[:limit]]


def _title(job: JobRecord, orders: Orders) -> str:
    given = json.loads(job.payload)

    def number() -> str:
        order = orders.find(given["order_id"])
        return "a removed order" if order is None else order.number

    titles: dict[str, Callable[[], str]] = {
        import_orders.name: lambda: f"Import {given['filename']}",
        draw_sales_report.name: lambda: f"Draw {sales.month_in_words(given['month'])}",
        charge_card.name: lambda: f"Charge the card for {number()}",
        "mail.send_order_email": lambda: (
            f"Send the {'receipt' if given['letter'] == Letter.RECEIPT else 'confirmation'} for {number()}"
        ),
    }
    return titles[job.name]() if job.name in titles else job.name


def _outcome(job: JobRecord) -> str:
    """Return what is to say beside the state."""
    if job.state is JobState.PROCESSING:
        return job.progress.message if job.progress else ""
    if job.state is not JobState.SUCCEEDED:
        return job.reason or ""
    result: Any = json.loads(job.result) if job.result else None
    if job.name == import_orders.name and isinstance(result, dict):
        parts = [f"{result['added']:,} added"]
        parts += [f"{result['known']:,} known already"] if result["known"] else []
        return ", ".join([*parts, f"{result['skipped']:,} skipped"])
    if job.name == draw_sales_report.name and isinstance(result, dict):
        return f"{result['orders']:,} orders on {result['days']} days"
    return f"At attempt {job.attempt}" if job.attempt > 1 else ""
