"""Arguments of jobs as they are given on a command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
import msgspec

from ..model import JobPriority

F = TypeVar("F", bound=Callable[..., Any])


def takes_arguments(command: F) -> F:
    """Give a command ``[ARG=VALUE]...`` and ``--json``, for :func:`arguments_of`."""
    command = click.argument("assignments", metavar="[ARG=VALUE]...", nargs=-1)(command)
    return click.option("--json", "document", metavar="OBJECT", help="The arguments as a JSON object.")(command)


takes_priority = click.option(
    "--priority",
    type=click.Choice([priority.name.lower() for priority in JobPriority], case_sensitive=False),
    help="Default: that of the job.",
)


def arguments_of(assignments: Sequence[str], document: str | None) -> dict[str, Any]:
    """Return arguments by name. A value is read as JSON, and where it is none, taken as text.

    :raises click.UsageError: the document is no JSON object, or an assignment has no name or comes twice.
    """
    arguments: dict[str, Any] = {}
    if document is not None:
        try:
            arguments = msgspec.json.decode(document, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise click.UsageError(f"--json is no JSON object: {error}.") from error
    for assignment in assignments:
        name, sign, text = assignment.partition("=")
        if not sign or not name:
            raise click.UsageError(f"{assignment!r} is no argument: write ARG=VALUE.")
        if name in arguments:
            raise click.UsageError(f"The argument {name} is given twice.")
        try:
            arguments[name] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            arguments[name] = text
    return arguments


def priority_of(name: str | None) -> JobPriority | None:
    """Return the priority of an option's value."""
    return None if name is None else JobPriority[name.upper()]
