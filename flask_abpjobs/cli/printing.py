"""Records as tables, as JSON, and as words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import click
import msgspec

from ..arguments import MAX_TEXT, REDACTED
from ..model import JobRecord, RecurringRecord

_BYTES = ("payload", "result", "retry")


def plain(record: JobRecord | RecurringRecord) -> dict[str, Any]:
    """Return a record for JSON, without the secrets among its arguments."""
    fields = builtins(record)
    for name in _BYTES:
        if name in fields:
            value = getattr(record, name)
            fields[name] = None if value is None else value.decode("utf-8", "backslashreplace")
    fields["arguments"] = {each.name: None if each.redacted else each.text for each in record.arguments}
    if any(each.redacted or REDACTED in each.text or len(each.text) >= MAX_TEXT for each in record.arguments):
        fields["payload"] = None  # it holds the secrets in clear
    return cast("dict[str, Any]", fields)


def builtins(value: Any) -> Any:
    """Return records as JSON has them."""
    return msgspec.to_builtins(value)


def print_json(value: Any) -> None:
    """Print a value for other programs."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """Print rows below their heads.

    :param empty: what is printed where there is no row.
    """
    if not rows:
        click.echo(empty)
        return
    widths = [max(len(str(row[column])) for row in (heads, *rows)) for column in range(len(heads))]
    for row in (heads, *rows):
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def age(at: datetime) -> str:
    """Return how long ago a moment was: ``5 min``."""
    return _length((datetime.now(UTC) - at).total_seconds())


def ahead(at: datetime) -> str:
    """Return how far a moment is: ``in 5 min``, ``5 min late``."""
    seconds = (at - datetime.now(UTC)).total_seconds()
    return f"in {_length(seconds)}" if seconds > -1 else f"{_length(-seconds)} late"


def exact(at: datetime) -> str:
    """Return a moment in UTC, to the second."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _length(seconds: float) -> str:
    whole = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{whole} s"
