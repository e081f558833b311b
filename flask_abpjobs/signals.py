"""Blinker signals about jobs. Receivers are told what has happened; nothing depends on them.

The sender is the app. A signal is sent after the change is stored, by the process that made it: enqueueing, requeueing
and deleting usually in a web process, what a worker does in the worker's. A receiver that raises is logged.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from blinker import NamedSignal, Namespace

from .model import JobRecord, JobState

_signals: Final = Namespace()

job_enqueued: Final = _signals.signal("job-enqueued", "A job was stored: ``job`` is its JobRecord.")
job_state_changed: Final = _signals.signal(
    "job-state-changed",
    "A job came into another state: ``job`` is its JobRecord as the sender had it, ``state`` the new JobState, "
    "``reason`` a sentence or None. Changes by sweeps of the storage (promoting, recovering, pruning) are not sent.",
)
job_failed: Final = _signals.signal(
    "job-failed", "A job failed for good: ``job`` is its JobRecord, ``error`` a JobError or None."
)

logger = logging.getLogger(__name__)


def tell(signal: NamedSignal, sender: Any, **facts: Any) -> None:
    """Send a signal; a receiver that raises is logged and does not keep the others from hearing it."""
    if not signal.receivers:
        return
    for receiver in signal.receivers_for(sender):
        try:
            receiver(sender, **facts)
        except Exception:
            logger.exception("A receiver of the signal %s failed", signal.name)


def tell_change(sender: Any, job: JobRecord, state: JobState, reason: str | None) -> None:
    """Tell that a job came from the state it has in ``job`` into another."""
    tell(job_state_changed, sender, job=job, state=state, reason=reason)
