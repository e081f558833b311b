"""Exceptions as text that every storage can keep and every page can show."""

from __future__ import annotations

import traceback
from typing import Final

from ..model import JobError, storable
from ..retry import qualified

MAX_MESSAGE: Final = 2_000
MAX_TRACEBACK: Final = 65_536


def describe(error: BaseException) -> JobError:
    """Return an exception as text; never fails, whatever the exception's own code does."""
    name = qualified(type(error))
    try:
        message = str(error)
    except Exception as broken:
        message = f"(its message cannot be printed: {type(broken).__name__})"
    try:
        trace = "".join(traceback.format_exception(error, limit=-100))
    except Exception as broken:
        trace = f"(its traceback cannot be printed: {type(broken).__name__})"
    if len(trace) > MAX_TRACEBACK:
        half = MAX_TRACEBACK // 2
        trace = f"{trace[:half]}\n  … {len(trace) - MAX_TRACEBACK:,} characters left out …\n{trace[-half:]}"
    return JobError(storable(name), storable(message[:MAX_MESSAGE]), storable(trace))
