"""Progress and log lines of running jobs, written at most once a second for each job."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import Final

from ..errors import LeaseLostError, StorageError
from ..model import JobProgress, JobRecord, Lease, LogLine, storable
from ..storage import JobStorage
from ..storage.base import MAX_LOG_LINES

INTERVAL: Final = 1.0
CANCEL_CHECK: Final = 2.0
MAX_TEXT: Final = 4_000

logger = logging.getLogger(__name__)


class BufferedReporter:
    """Collects what one attempt says. The first words are written at once, later ones once a second.

    :param timeout: seconds that the attempt may take.
    """

    def __init__(self, storage: JobStorage, record: JobRecord, pulse: Pulse, timeout: float | None = None) -> None:
        self._storage = storage
        self._lease = Lease(record.id, record.fence)
        self._attempt = record.attempt
        self._pulse = pulse
        self._lock = threading.Lock()
        self._progress: JobProgress | None = None
        self._lines: deque[LogLine] = deque(maxlen=MAX_LOG_LINES)
        self._written_at = float("-inf")
        self._checked_at = time.monotonic()
        self.timeout = timeout
        self._deadline = None if timeout is None else self._checked_at + timeout
        self._is_lost = False
        self._is_closed = False

    def progress(self, progress: JobProgress) -> None:
        with self._lock:
            self._progress = progress
        self._write_if_due()

    def log(self, text: str, level: str) -> None:
        kept = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
        line = LogLine(at=datetime.now(UTC), attempt=self._attempt, level=level, text=storable(kept))
        with self._lock:
            self._lines.append(line)
        self._write_if_due()

    def is_cancelled(self) -> bool:
        if not self._is_lost and time.monotonic() - self._checked_at >= CANCEL_CHECK:
            self._checked_at = time.monotonic()
            try:
                self._is_lost = not self._storage.holds(self._lease)
            except StorageError:
                logger.warning("Cannot ask whether job %s is cancelled", self._lease.job_id, exc_info=True)
        return self._is_lost

    def is_overdue(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def flush(self) -> None:
        """Write what is waiting. A storage that does not answer is tried again with the next words."""
        with self._lock:
            if self._is_closed or self._is_lost or (self._progress is None and not self._lines):
                return
            self._written_at = time.monotonic()
            try:
                self._storage.report(self._lease, self._progress, list(self._lines))
            except LeaseLostError:
                self._is_lost = True
            except StorageError:
                logger.warning("Cannot write the progress of job %s yet", self._lease.job_id, exc_info=True)
                return
            self._progress = None
            self._lines.clear()

    def close(self) -> tuple[JobProgress | None, tuple[LogLine, ...]]:
        """End the reporting and return what is not yet written, for the finishing step."""
        with self._lock:
            self._is_closed = True
            return self._progress, tuple(self._lines)

    def _write_if_due(self) -> None:
        if time.monotonic() - self._written_at >= INTERVAL:
            self.flush()
        else:
            self._pulse.expect(self)


class Pulse:
    """One thread of a process that writes what running jobs said and did not follow up."""

    _thread: threading.Thread | None

    def __init__(self) -> None:
        self._reset()

    def expect(self, reporter: BufferedReporter) -> None:
        """See to it that the reporter's words are written within about a second."""
        if self._pid != os.getpid():
            self._reset()
        with self._lock:
            self._waiting.add(reporter)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="abpjobs-pulse", daemon=True)
                self._thread.start()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._waiting: set[BufferedReporter] = set()
        self._thread = None

    def _run(self) -> None:
        while True:
            time.sleep(INTERVAL)
            with self._lock:
                waiting, self._waiting = self._waiting, set()
                if not waiting:
                    self._thread = None
                    return
            for reporter in waiting:
                try:
                    reporter.flush()
                except Exception:
                    logger.exception("Cannot write what a job reported")
