"""``flask abpjobs queues``: look at queues, stop and empty them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from ..config import QUEUE_PATTERN
from .command import Command, act_on, app_state, as_json
from .printing import age, builtins, print_json, print_table


def create_group() -> click.Group:
    """Return the commands about queues."""
    group = click.Group("queues", help="Look at queues, pause, resume and empty them.")
    for command in (list_queues, pause, resume, purge):
        group.add_command(command)
    return group


def _checked(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
    for name in (value,) if isinstance(value, str) else value:
        if not QUEUE_PATTERN.match(name):
            raise click.BadParameter(f"{name!r} is no name of a queue: use 1 to 64 letters, digits and _ . -")
    return value


@click.command("list", cls=Command)
@as_json
def list_queues(is_json: bool) -> None:
    """List the queues that have waiting jobs or listeners, or are paused."""
    found = app_state().storage.queues()
    if is_json:
        print_json({"queues": builtins(found)})
        return
    rows = [
        (
            queue.name,
            f"{queue.length:,}",
            "" if queue.oldest_at is None else age(queue.oldest_at),
            str(queue.servers),
            "paused" if queue.is_paused else "",
        )
        for queue in found
    ]
    print_table(("queue", "waiting", "oldest", "servers", "state"), rows, "No queues.")


@click.command(cls=Command)
@click.argument("queues", nargs=-1, required=True, callback=_checked)
def pause(queues: Sequence[str]) -> None:
    """Let no worker take jobs from queues. Running jobs end, and enqueueing goes on."""
    act_on(queues, "paused", app_state().storage.pause)


@click.command(cls=Command)
@click.argument("queues", nargs=-1, required=True, callback=_checked)
def resume(queues: Sequence[str]) -> None:
    """Let workers take jobs from paused queues again."""
    act_on(queues, "resumed", app_state().storage.resume)


@click.command(cls=Command)
@click.argument("queue", callback=_checked)
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(queue: str, yes: bool) -> None:
    """Delete the jobs that wait in a queue. Scheduled and running ones stay."""
    storage = app_state().storage
    waiting = sum(found.length for found in storage.queues() if found.name == queue)
    if not waiting:
        click.echo(f"No jobs wait in {queue}.")
        return
    if not yes:
        click.confirm(f"Delete {waiting:,} waiting jobs of {queue}?", abort=True, err=True)
    deleted = 0
    progress: Any = click.progressbar(length=waiting, label="Deleting", show_pos=True, file=sys.stderr)
    with progress as bar:
        # Jobs that are enqueued meanwhile are not what was asked about: it need not end with an empty queue
        while deleted < waiting and (batch := storage.purge(queue, reason="Purged by the command line")):
            deleted += batch
            bar.update(batch)
    click.echo(f"{deleted:,} jobs of {queue} deleted")
