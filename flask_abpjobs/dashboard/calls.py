"""A job as the call it makes."""

from __future__ import annotations

from typing import Final

import msgspec

from ..model import Argument, JobRecord

UNREADABLE: Final = "cannot be read"
"""The type that the storage gives to arguments whose bytes are damaged."""
MAX_RAW: Final = 200
MAX_RESULT: Final = 4096
_MAX_PAD: Final = 48


class CallLine(msgspec.Struct, frozen=True):
    """One argument of a call, with the spaces that bring its comment into line."""

    argument: Argument
    pad: str


def is_readable(job: JobRecord) -> bool:
    """Return whether the job's arguments can be shown as arguments."""
    if any(argument.type == UNREADABLE for argument in job.arguments):
        return False
    return bool(job.arguments) or _is_json(job.payload)


def raw_text(job: JobRecord) -> str:
    """Return the beginning of a payload that is not JSON, as text without control characters."""
    return repr(job.payload[:MAX_RAW])[2:-1]


def call_lines(job: JobRecord) -> tuple[CallLine, ...]:
    """Return the arguments of a job, ready to be printed below each other."""
    lengths = [len(each.name) + (8 if each.redacted else len(each.text)) for each in job.arguments]
    widest = max((length for length in lengths if length <= _MAX_PAD), default=0)
    return tuple(
        CallLine(argument, " " * max(0, widest - length))
        for argument, length in zip(job.arguments, lengths, strict=True)
    )


def result_text(job: JobRecord) -> str | None:
    """Return what a job returned, as JSON for people; ``None`` when it returned nothing."""
    if job.result is None or job.result == b"null":
        return None
    try:
        text = msgspec.json.format(job.result, indent=2).decode("utf-8", "replace")
    except msgspec.DecodeError:
        text = job.result.decode("utf-8", "backslashreplace")
    return text if len(text) <= MAX_RESULT else f"{text[:MAX_RESULT]}…"


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except msgspec.DecodeError:
        return False
    return True
