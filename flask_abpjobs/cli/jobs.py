"""``flask abpjobs enqueue``, ``list``, ``show``, ``requeue``, ``delete`` and ``rerun``: one job, and pages of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import msgspec

from ..model import JobQuery, JobState
from .command import Command, act_on, app_state, as_json
from .given import arguments_of, priority_of, takes_arguments, takes_priority
from .printing import age, builtins, exact, plain, print_json, print_table


@click.command(cls=Command)
@click.argument("name")
@takes_arguments
@click.option("--queue", help="Default: that of the job.")
@takes_priority
@click.option("--delay", type=click.FloatRange(min=0), help="Seconds before which the job does not run.")
@click.option("--tenant", help="Id of the tenant whose job it is.")
def enqueue(
    name: str,
    assignments: Sequence[str],
    document: str | None,
    queue: str | None,
    priority: str | None,
    delay: float | None,
    tenant: str | None,
) -> None:
    """Put the job NAME into its queue and print its id.

    A VALUE is read as JSON, and where it is none, taken as text.
    """
    options: dict[str, Any] = {"queue": queue, "priority": priority_of(priority), "delay": delay, "tenant": tenant}
    given = {option: value for option, value in options.items() if value is not None}
    click.echo(app_state().manager.enqueue_by_name(name, arguments_of(assignments, document), **given))


@click.command("list", cls=Command)
@click.option("--state", type=click.Choice([state.value for state in JobState]))
@click.option("--queue")
@click.option("--name", help="The job's registered name.")
@click.option("--tenant", help="A tenant's id.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--after", help="Go on after the cursor that the page before ended with.")
@as_json
def list_jobs(
    state: str | None,
    queue: str | None,
    name: str | None,
    tenant: str | None,
    limit: int,
    after: str | None,
    is_json: bool,
) -> None:
    """List jobs, a page at a time."""
    query = JobQuery(state=None if state is None else JobState(state), queue=queue, name=name, limit=limit, after=after)
    if tenant is not None:
        query = msgspec.structs.replace(query, tenant=tenant)
    try:
        page = app_state().storage.find(query)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if is_json:
        print_json({"jobs": [plain(job) for job in page.jobs], "next": page.next})
        return
    rows = [(job.id, job.state, job.name, job.queue, job.tenant_id or "", age(job.state_at)) for job in page.jobs]
    print_table(("id", "state", "job", "queue", "tenant", "since"), rows, "No jobs.")
    if page.next is not None:
        click.echo(f"More: --after {page.next}")


@click.command(cls=Command)
@click.argument("job_id")
@as_json
def show(job_id: str, is_json: bool) -> None:
    """Show a job with its history and log."""
    storage = app_state().storage
    job, history, log = storage.get(job_id), storage.history(job_id), storage.log(job_id)
    if is_json:
        print_json({**plain(job), "history": builtins(history), "log": builtins(log)})
        return
    arguments = ", ".join(f"{each.name}={'<redacted>' if each.redacted else each.text}" for each in job.arguments)
    click.echo(f"{job.name}({arguments})")
    click.echo(f"{job.id}, {job.state}, queue {job.queue}, attempt {job.attempt}, tenant {job.tenant_id or 'none'}")
    for entry in history:
        click.echo(f"  {exact(entry.at)}  {entry.state:<10}  {entry.reason or ''}".rstrip())
    for line in log:
        click.echo(f"  {exact(line.at)}  {line.level:<7}  {line.text}")
    if history and history[-1].data.get("traceback"):
        click.echo(history[-1].data["traceback"].rstrip())


@click.command(cls=Command)
@click.argument("job_ids", nargs=-1, required=True)
def requeue(job_ids: Sequence[str]) -> None:
    """Put jobs that are not running back into their queue."""
    act_on(
        job_ids, "requeued", lambda job_id: app_state().stored.requeue(job_id, reason="Requeued by the command line")
    )


@click.command(cls=Command)
@click.argument("job_ids", nargs=-1, required=True)
def delete(job_ids: Sequence[str]) -> None:
    """Move jobs to deleted."""
    stored = app_state().stored
    act_on(job_ids, "deleted", lambda job_id: stored.delete(job_id, reason="Deleted by the command line"))


@click.command(cls=Command)
@click.argument("job_id")
@takes_arguments
def rerun(job_id: str, assignments: Sequence[str], document: str | None) -> None:
    """Enqueue a copy of a job, with other arguments where they are given, and print its id.

    A VALUE is read as JSON, and where it is none, taken as text.
    """
    click.echo(app_state().stored.rerun(job_id, arguments=arguments_of(assignments, document) or None))
