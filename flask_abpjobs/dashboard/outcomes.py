"""What an action did, told on the page it leads to. It travels in the address, signed, and needs no session."""

from __future__ import annotations

from typing import Final

import msgspec
from flask import current_app
from itsdangerous import BadData, URLSafeSerializer

from . import words

ARGUMENT: Final = "done"
DONE_WORDS: Final = {"requeue": "requeued", "run-now": "put into the queue", "delete": "deleted"}


class Outcome(msgspec.Struct, frozen=True):
    """An action and how many jobs it changed."""

    action: str
    done: int
    skipped: int

    @property
    def what(self) -> str:
        """The outcome in words."""
        if not self.done:
            return "Nothing was changed."
        return f"{words.count_of(self.done, 'job')} {DONE_WORDS[self.action]}."

    @property
    def why(self) -> str:
        """What did not happen, and why."""
        if not self.skipped:
            return ""
        were = "was" if self.skipped == 1 else "were"
        return f"{words.count_of(self.skipped, 'job')} had moved on and {were} left alone."


def sign(outcome: Outcome) -> str:
    """Return an outcome as text for an address."""
    return _serializer().dumps([outcome.action, outcome.done, outcome.skipped])


def read(text: str | None) -> Outcome | None:
    """Return a signed outcome, ``None`` when there is none or somebody made it up."""
    if not text:
        return None
    try:
        action, done, skipped = _serializer().loads(text)
    except (BadData, ValueError, TypeError):
        return None
    return Outcome(action, done, skipped) if action in DONE_WORDS else None


def _serializer() -> URLSafeSerializer:
    key = current_app.secret_key
    if not key:
        raise RuntimeError("Set SECRET_KEY: the dashboard signs with it.")
    return URLSafeSerializer(key, salt="abpjobs-outcome")
