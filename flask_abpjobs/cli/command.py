"""What every command is: a step in the app's context that tells errors in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import click
from flask import current_app
from flask.cli import ScriptInfo

from ..errors import AbpJobsError

as_json = click.option("--json", "is_json", is_flag=True, help="Print JSON instead of a table.")


class Command(click.Command):
    """A command that runs in the app's context and tells the package's own errors in one line."""

    def invoke(self, ctx: click.Context) -> Any:
        if not current_app:  # "flask" brings a context, app.test_cli_runner() does not
            ctx.with_resource(ctx.ensure_object(ScriptInfo).load_app().app_context())
        try:
            return super().invoke(ctx)
        except AbpJobsError as error:
            raise click.ClickException(str(error)) from error


def app_state() -> Any:
    """Return the ``AppState`` of the current app."""
    return current_app.extensions["abpjobs"]


def act_on(names: Iterable[str], done: str, action: Callable[[str], Any]) -> None:
    """Do something with each name and tell of it; one that cannot be done does not keep the others from it.

    :param done: what has become of a name then: ``deleted``.
    :param action: raises an error of this package where it cannot be done.
    """
    failed = 0
    for name in names:
        try:
            action(name)
        except AbpJobsError as error:
            failed += 1
            click.echo(f"Error: {error}", err=True)
        else:
            click.echo(f"{name} {done}")
    if failed:
        sys.exit(1)
