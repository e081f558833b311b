"""``flask abpjobs stats``, ``servers`` and ``check``: the whole in numbers, and whether it is well."""

from __future__ import annotations

import sys
from typing import Final

import click

from ..model import RecurringRecord
from .command import Command, app_state, as_json
from .printing import age, ahead, builtins, print_json, print_table

MAX_LATE: Final = 60.0
"""Seconds after which a slot that no server has taken is told as a problem."""


@click.command(cls=Command)
@as_json
def stats(is_json: bool) -> None:
    """Count jobs by state, and the queues."""
    storage = app_state().storage
    counts, queues = storage.counts(), storage.queues()
    if is_json:
        print_json({"counts": dict(counts), "queues": builtins(queues)})
        return
    for what, number in counts.items():
        click.echo(f"{what:<11} {number:>10,}")
    click.echo()
    rows = [
        (queue.name, f"{queue.length:,}", "" if queue.oldest_at is None else age(queue.oldest_at), str(queue.servers))
        for queue in queues
    ]
    print_table(("queue", "waiting", "oldest", "servers"), rows, "No queues.")


@click.command(cls=Command)
@as_json
def servers(is_json: bool) -> None:
    """List the running servers."""
    found = app_state().storage.servers()
    if is_json:
        print_json({"servers": builtins(found)})
        return
    rows = [
        (
            server.id,
            f"{server.running} of {server.workers} {server.worker_type}",
            ",".join(server.queues),
            age(server.started_at),
            age(server.heartbeat_at),
        )
        for server in found
    ]
    print_table(("server", "running", "queues", "started", "heartbeat"), rows, "No servers.")


@click.command(cls=Command)
@as_json
def check(is_json: bool) -> None:
    """Check configuration and storage, and that a server listens to every queue with jobs.

    Exit code 1 when something is wrong; warnings alone are not.
    """
    state = app_state()
    problems = state.storage.check()
    warnings = state.storage.warnings()
    alive = [
        server
        for server in state.storage.servers()
        if state.storage.now() - server.heartbeat_at.timestamp() <= state.config.server_timeout_seconds
    ]
    listening = {queue for server in alive for queue in server.queues}
    for queue in state.storage.queues():
        if queue.length and queue.name not in listening:
            problems.append(f"{queue.length:,} jobs wait in {queue.name} and no server listens.")
    problems += filter(None, (_trouble(each, state.storage.now()) for each in state.storage.list_recurring()))
    if is_json:
        described = state.storage.describe()
        print_json({"ok": not problems, "problems": problems, "warnings": warnings, "storage": described})
    else:
        click.echo(f"{state.storage.describe()}; {len(alive)} servers; {len(list(state.huey.jobs))} jobs known.")
        for problem in problems:
            click.echo(f"Wrong: {problem}")
        for warning in warnings:
            click.echo(f"Warning: {warning}")
        if not problems:
            click.echo("All is well.")
    if problems:
        sys.exit(1)


def _trouble(recurring: RecurringRecord, now: float) -> str | None:
    if recurring.error is not None:
        return f"The recurring job {recurring.id} cannot run: {recurring.error}"
    if recurring.is_paused or recurring.next_at is None or now - recurring.next_at.timestamp() < MAX_LATE:
        return None
    return (
        f"The recurring job {recurring.id} is {ahead(recurring.next_at)}: no server runs, or none has the code of "
        f"the job {recurring.name}."
    )
