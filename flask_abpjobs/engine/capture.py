"""What a running job writes with ``logging``, as lines of the job's own log."""

from __future__ import annotations

import logging
from typing import Final

from ..context import find_current_job

OURS: Final = ("flask_abpjobs", "huey")


class JobLogHandler(logging.Handler):
    """Gives each record that is made inside of a capturing job to that job; all others are none of its business.

    Records reach it by the root logger, so the levels of the loggers decide what is captured.
    """

    def emit(self, record: logging.LogRecord) -> None:
        job = find_current_job()
        if job is None or not job.captures_logs or record.name.partition(".")[0] in OURS:
            return
        try:
            job.log(self.format(record), _level_of(record.levelno))
        except Exception:
            self.handleError(record)


def capture_logs() -> None:
    """Let the process capture; once is enough for all apps in it."""
    root = logging.getLogger()
    if not any(isinstance(handler, JobLogHandler) for handler in root.handlers):
        root.addHandler(JobLogHandler())


def _level_of(number: int) -> str:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"
