"""``flask abpjobs worker``."""

from __future__ import annotations

import logging
from typing import Any

import click

from ..config import WORKER_TYPES
from ..engine.consumer import consumer_options
from .command import Command, app_state

logger = logging.getLogger(__name__)


@click.command(cls=Command)
@click.option("--queues", help="Queues to serve, separated by commas, first served first. Default: ABPJOBS_QUEUES.")
@click.option("--workers", type=click.IntRange(1, 1000), help="How many jobs to run at once. Default: ABPJOBS_WORKERS.")
@click.option("--worker-type", type=click.Choice(WORKER_TYPES), help="Default: ABPJOBS_WORKER_TYPE.")
@click.option("-q", "--quiet", is_flag=True, help="Print warnings and errors only.")
def worker(queues: str | None, workers: int | None, worker_type: str | None, quiet: bool) -> None:
    """Run jobs until SIGTERM or Ctrl-C."""
    state = app_state()
    config = state.config
    if not config.execution_enabled:
        raise click.ClickException("ABPJOBS_EXECUTION_ENABLED is false: this app may enqueue jobs but not run them.")
    if config.testing:
        raise click.ClickException("The app is in testing mode: its jobs are in the memory of this process only.")
    served = config.queues if queues is None else tuple(name.strip() for name in queues.split(",") if name.strip())
    config = _changed(config, queues=served, workers=workers, worker_type=worker_type)
    _log_to_terminal(quiet)
    huey = state.huey
    huey.queues = config.served_queues
    for warning in huey.records.warnings():
        logger.warning("%s", warning)
    consumer = huey.create_consumer(**consumer_options(config))
    if not quiet:
        click.echo(
            f"Serving {', '.join(huey.queues)} of {config.name} with {config.workers} {config.worker_type} workers, "
            f"{len(list(huey.jobs))} jobs known. {huey.records.describe()}. Stop with Ctrl-C."
        )
    consumer.run()


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
