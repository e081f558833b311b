"""``flask abpjobs``: run a server, look at jobs, act on them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import click
import msgspec
from flask import current_app
from flask.cli import AppGroup, ScriptInfo

from .arguments import MAX_TEXT, REDACTED
from .config import WORKER_TYPES
from .engine.consumer import consumer_options
from .errors import AbpJobsError
from .model import JobQuery, JobRecord, JobState

as_json = click.option("--json", "is_json", is_flag=True, help="Print JSON instead of a table.")


def create_group() -> AppGroup:
    """Return the command group of one app."""
    group = AppGroup("abpjobs", help="Background jobs.")
    for command in (worker, list_jobs, show, requeue, delete, stats, servers, check):
        group.add_command(command)
    return group


class _Command(click.Command):
    """A command that runs in the app's context and tells the package's own errors in one line."""

    def invoke(self, ctx: click.Context) -> Any:
        if not current_app:  # "flask" brings a context, app.test_cli_runner() does not
            ctx.with_resource(ctx.ensure_object(ScriptInfo).load_app().app_context())
        try:
            return super().invoke(ctx)
        except AbpJobsError as error:
            raise click.ClickException(str(error)) from error


@click.command(cls=_Command)
@click.option("--queues", help="Queues to serve, separated by commas, first served first. Default: ABPJOBS_QUEUES.")
@click.option("--workers", type=click.IntRange(1, 1000), help="How many jobs to run at once. Default: ABPJOBS_WORKERS.")
@click.option("--worker-type", type=click.Choice(WORKER_TYPES), help="Default: ABPJOBS_WORKER_TYPE.")
@click.option("-q", "--quiet", is_flag=True, help="Print warnings and errors only.")
def worker(queues: str | None, workers: int | None, worker_type: str | None, quiet: bool) -> None:
    """Run jobs until SIGTERM or Ctrl-C."""
    state = _state()
    config = state.config
    if not config.execution_enabled:
        raise click.ClickException("ABPJOBS_EXECUTION_ENABLED is false: this app may enqueue jobs but not run them.")
    if config.testing:
        raise click.ClickException("The app is in testing mode: its jobs are in the memory of this process only.")
    served = config.queues if queues is None else tuple(name.strip() for name in queues.split(",") if name.strip())
    config = _changed(config, queues=served, workers=workers, worker_type=worker_type)
    _log_to_terminal(quiet)
    huey = state.huey
    huey.queues = config.queues
    consumer = huey.create_consumer(**consumer_options(config))
    if not quiet:
        click.echo(
            f"Serving {', '.join(config.queues)} of {config.name} with {config.workers} {config.worker_type} workers, "
            f"{len(list(huey.jobs))} jobs known. {huey.records.describe()}. Stop with Ctrl-C."
        )
    consumer.run()


@click.command("list", cls=_Command)
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
        page = _state().storage.find(query)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if is_json:
        _print_json({"jobs": [_plain(job) for job in page.jobs], "next": page.next})
        return
    rows = [(job.id, job.state, job.name, job.queue, job.tenant_id or "", _age(job.state_at)) for job in page.jobs]
    _print_table(("id", "state", "job", "queue", "tenant", "since"), rows, "No jobs.")
    if page.next is not None:
        click.echo(f"More: --after {page.next}")


@click.command(cls=_Command)
@click.argument("job_id")
@as_json
def show(job_id: str, is_json: bool) -> None:
    """Show a job with its history and log."""
    storage = _state().storage
    job, history, log = storage.get(job_id), storage.history(job_id), storage.log(job_id)
    if is_json:
        _print_json({**_plain(job), "history": _builtins(history), "log": _builtins(log)})
        return
    arguments = ", ".join(f"{each.name}={'<redacted>' if each.redacted else each.text}" for each in job.arguments)
    click.echo(f"{job.name}({arguments})")
    click.echo(f"{job.id}, {job.state}, queue {job.queue}, attempt {job.attempt}, tenant {job.tenant_id or 'none'}")
    for entry in history:
        click.echo(f"  {_exact(entry.at)}  {entry.state:<10}  {entry.reason or ''}".rstrip())
    for line in log:
        click.echo(f"  {_exact(line.at)}  {line.level:<7}  {line.text}")
    if history and history[-1].data.get("traceback"):
        click.echo(history[-1].data["traceback"].rstrip())


@click.command(cls=_Command)
@click.argument("job_ids", nargs=-1, required=True)
def requeue(job_ids: Sequence[str]) -> None:
    """Put jobs that are not running back into their queue."""
    _act(job_ids, "requeued", lambda job_id: _state().manager.requeue(job_id, reason="Requeued by the command line"))


@click.command(cls=_Command)
@click.argument("job_ids", nargs=-1, required=True)
def delete(job_ids: Sequence[str]) -> None:
    """Move jobs to deleted."""
    _act(job_ids, "deleted", lambda job_id: _state().manager.delete(job_id, reason="Deleted by the command line"))


@click.command(cls=_Command)
@as_json
def stats(is_json: bool) -> None:
    """Count jobs by state, and the queues."""
    storage = _state().storage
    counts, queues = storage.counts(), storage.queues()
    if is_json:
        _print_json({"counts": dict(counts), "queues": _builtins(queues)})
        return
    for what, number in counts.items():
        click.echo(f"{what:<11} {number:>10,}")
    click.echo()
    rows = [
        (queue.name, f"{queue.length:,}", "" if queue.oldest_at is None else _age(queue.oldest_at), str(queue.servers))
        for queue in queues
    ]
    _print_table(("queue", "waiting", "oldest", "servers"), rows, "No queues.")


@click.command(cls=_Command)
@as_json
def servers(is_json: bool) -> None:
    """List the running servers."""
    found = _state().storage.servers()
    if is_json:
        _print_json({"servers": _builtins(found)})
        return
    rows = [
        (
            server.id,
            f"{server.running} of {server.workers} {server.worker_type}",
            ",".join(server.queues),
            _age(server.started_at),
            _age(server.heartbeat_at),
        )
        for server in found
    ]
    _print_table(("server", "running", "queues", "started", "heartbeat"), rows, "No servers.")


@click.command(cls=_Command)
@as_json
def check(is_json: bool) -> None:
    """Check configuration and storage, and that a server listens to every queue with jobs.

    Exit code 1 when something is wrong.
    """
    state = _state()
    problems = state.storage.check()
    alive = [
        server
        for server in state.storage.servers()
        if state.storage.now() - server.heartbeat_at.timestamp() <= state.config.server_timeout_seconds
    ]
    listening = {queue for server in alive for queue in server.queues}
    for queue in state.storage.queues():
        if queue.length and queue.name not in listening:
            problems.append(f"{queue.length:,} jobs wait in {queue.name} and no server listens.")
    if is_json:
        _print_json({"ok": not problems, "problems": problems, "storage": state.storage.describe()})
    else:
        click.echo(f"{state.storage.describe()}; {len(alive)} servers; {len(list(state.huey.jobs))} jobs known.")
        for problem in problems:
            click.echo(f"Wrong: {problem}")
        if not problems:
            click.echo("All is well.")
    if problems:
        sys.exit(1)


def _act(job_ids: Sequence[str], done: str, action: Any) -> None:
    failed = 0
    for job_id in job_ids:
        try:
            action(job_id)
        except AbpJobsError as error:
            failed += 1
            click.echo(f"Error: {error}", err=True)
        else:
            click.echo(f"{job_id} {done}")
    if failed:
        sys.exit(1)


def _state() -> Any:
    return current_app.extensions["abpjobs"]


def _changed(config: Any, **changes: Any) -> Any:
    given = {name: value for name, value in changes.items() if value is not None}
    values = {f"ABPJOBS_{name.upper()}": getattr(config, name) for name in config.__struct_fields__}
    return type(config).from_mapping({**values, **{f"ABPJOBS_{name.upper()}": value for name, value in given.items()}})


def _log_to_terminal(is_quiet: bool) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    package = logging.getLogger("flask_abpjobs")
    package.addHandler(handler)
    package.setLevel(logging.WARNING if is_quiet else logging.INFO)
    huey = logging.getLogger("huey")
    huey.addHandler(handler)
    huey.setLevel(logging.CRITICAL)  # it would print each traceback that the job's history keeps


def _plain(job: JobRecord) -> dict[str, Any]:
    fields = _builtins(job)
    for name in ("payload", "result", "retry"):
        value = getattr(job, name)
        fields[name] = None if value is None else value.decode("utf-8", "backslashreplace")
    fields["arguments"] = {each.name: None if each.redacted else each.text for each in job.arguments}
    if any(each.redacted or REDACTED in each.text or len(each.text) >= MAX_TEXT for each in job.arguments):
        fields["payload"] = None  # it holds the secrets in clear
    return cast("dict[str, Any]", fields)


def _builtins(value: Any) -> Any:
    return msgspec.to_builtins(value)


def _print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _print_table(heads: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    if not rows:
        click.echo(empty)
        return
    widths = [max(len(str(row[column])) for row in (heads, *rows)) for column in range(len(heads))]
    for row in (heads, *rows):
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _age(at: datetime) -> str:
    seconds = max(0, int((datetime.now(UTC) - at).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _exact(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
