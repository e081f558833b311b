"""``flask abpjobs recurring``: look at recurring jobs and change them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from ..errors import AbpJobsError
from ..model import Misfire, RecurringRecord
from .command import Command, act_on, app_state, as_json
from .given import arguments_of, priority_of, takes_arguments, takes_priority
from .printing import age, ahead, plain, print_json, print_table


def create_group() -> click.Group:
    """Return the commands about recurring jobs."""
    group = click.Group("recurring", help="Look at recurring jobs, add and remove them, pause, resume and run them.")
    for command in (list_recurring, add, remove, trigger, pause, resume):
        group.add_command(command)
    return group


@click.command("list", cls=Command)
@click.option("--tenant", help="A tenant's id.")
@as_json
def list_recurring(tenant: str | None, is_json: bool) -> None:
    """List the recurring jobs."""
    recurring = app_state().jobs.recurring
    found = recurring.list() if tenant is None else recurring.list(tenant=tenant)
    if is_json:
        declared = recurring.declared
        print_json({"recurring": [{**plain(each), "in_code": each.id in declared} for each in found]})
        return
    rows = [
        (
            each.id,
            each.name,
            each.cron,
            each.timezone,
            each.tenant_id or "",
            "" if each.next_at is None or each.is_paused else ahead(each.next_at),
            "" if each.last_at is None else age(each.last_at),
            _remark(each, recurring.declared),
        )
        for each in found
    ]
    print_table(("id", "job", "cron", "zone", "tenant", "next", "last", "remark"), rows, "No recurring jobs.")


@click.command(cls=Command)
@click.argument("recurring_id", metavar="ID")
@click.argument("name")
@takes_arguments
@click.option("--cron", required=True, help="Five fields, six with the second first, or a macro such as @daily.")
@click.option("--timezone", default="UTC", show_default=True, help="IANA name of the zone whose clock counts.")
@click.option(
    "--misfire",
    type=click.Choice([misfire.value for misfire in Misfire]),
    default=Misfire.ONCE.value,
    show_default=True,
    help="How many runs make up for slots that passed while no server ran: one, all, or none.",
)
@click.option("--queue", help="Default: that of the job.")
@takes_priority
@click.option("--tenant", help="Id of the tenant whose job it is.")
def add(
    recurring_id: str,
    name: str,
    assignments: Sequence[str],
    document: str | None,
    cron: str,
    timezone: str,
    misfire: str,
    queue: str | None,
    priority: str | None,
    tenant: str | None,
) -> None:
    """Let the job NAME recur under an ID, or change how it does."""
    record = app_state().jobs.recurring.add_or_update_by_name(
        recurring_id,
        name,
        arguments_of(assignments, document),
        cron=cron,
        timezone=timezone,
        misfire=misfire,
        queue=queue,
        priority=priority_of(priority),
        tenant=tenant,
    )
    following = "paused" if record.is_paused or record.next_at is None else f"next {ahead(record.next_at)}"
    click.echo(f"{record.id} stored, {following}")


@click.command(cls=Command)
@click.argument("ids", nargs=-1, required=True)
def remove(ids: Sequence[str]) -> None:
    """Remove recurring jobs; what they have enqueued stays."""
    act_on(ids, "removed", _existing(app_state().jobs.recurring.remove))


@click.command(cls=Command)
@click.argument("ids", nargs=-1, required=True)
def trigger(ids: Sequence[str]) -> None:
    """Enqueue a run of recurring jobs now, beside their slots."""
    recurring = app_state().jobs.recurring

    def run_now(recurring_id: str) -> None:
        if recurring.trigger(recurring_id) is None:
            if all(each.id != recurring_id for each in recurring.list()):
                raise _missing(recurring_id)
            raise AbpJobsError(f"{recurring_id} was not enqueued: another job holds its unique key.")

    act_on(ids, "triggered", run_now)


@click.command(cls=Command)
@click.argument("ids", nargs=-1, required=True)
def pause(ids: Sequence[str]) -> None:
    """Let recurring jobs not run until they are resumed."""
    act_on(ids, "paused", _existing(app_state().jobs.recurring.pause))


@click.command(cls=Command)
@click.argument("ids", nargs=-1, required=True)
def resume(ids: Sequence[str]) -> None:
    """Let paused recurring jobs go on with their next slot."""
    act_on(ids, "resumed", _existing(app_state().jobs.recurring.resume))


def _existing(action: Callable[[str], bool]) -> Callable[[str], None]:
    def act(recurring_id: str) -> None:
        if not action(recurring_id):
            raise _missing(recurring_id)

    return act


def _missing(recurring_id: str) -> AbpJobsError:
    return AbpJobsError(f"There is no recurring job {recurring_id!r}.")


def _remark(record: RecurringRecord, declared: Any) -> str:
    remarks = []
    if record.is_paused:
        remarks.append("paused")
    if record.error is not None:
        remarks.append(record.error)
    if record.is_declared and record.id not in declared:
        remarks.append("no longer in the code")
    return "; ".join(remarks)
