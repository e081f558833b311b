"""The Lua scripts: one for each verb, each one atomic step of the server."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from typing import Final

from ...model import TRANSITIONS
from ..base import BATCH, MAX_CRASHES, MAX_HISTORY, MAX_LOG_LINES, SUSPECT_DELAYS
from . import layout

MAX_TOKENS: Final = 64
"""Tokens kept for idle workers of one queue."""
FIRST_ENTRY: Final = 5
"""Index of the first history entry in a job's list."""

_LIBRARIES: Final = {
    "act": ("jobs", "moving"),
    "add": ("jobs", "moving", "adding"),
    "claim": ("jobs", "moving", "claiming"),
    "find": ("jobs", "merging"),
    "finish": ("jobs", "moving", "adding", "holding", "claiming"),
    "flush": ("jobs", "moving", "removing", "merging"),
    "promote": ("jobs", "moving"),
    "prune": ("jobs", "moving", "removing", "merging"),
    "purge": ("jobs", "moving", "merging"),
    "put_recurring": ("jobs", "moving", "adding"),
    "recover": ("jobs", "moving", "holding"),
    "release": ("jobs", "moving", "holding"),
    "report": ("jobs", "moving", "holding"),
    "resume": ("jobs",),
    "retire": ("jobs", "moving", "holding"),
    "start_children": ("jobs", "moving"),
}
"""The files that stand above a verb's own, below ``base``; the others need none."""


_FIELD: Final = re.compile(r"\b([SM])\.(\w+)")
"""A field of a job's element 0 (``S.queue``) or 1 (``M.state``)."""


class Script:
    """One verb's script. Servers know it by its digest and are sent the text when they do not."""

    def __init__(self, verb: str) -> None:
        parts = [_read(name) for name in ("base", *_LIBRARIES.get(verb, ()), verb)]
        self.verb = verb
        self.text = _FIELD.sub(_place_of, "\n".join((_constants(), *parts))).encode()
        self.digest = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()


def _place_of(field: re.Match[str]) -> str:
    """Return the place of a field that a script names: a number, so that no call builds a table of names."""
    fields = layout.STATIC if field[1] == "S" else layout.MUTABLE
    return str(fields.index(field[2]) + 1)


def _read(name: str) -> str:
    return files(__package__).joinpath("lua", f"{name}.lua").read_text("utf-8")


def _constants() -> str:
    """Return Lua that knows the states and the bounds as Python does."""
    lines = [f"local {state.name} = {code}" for state, code in layout.CODES.items()]
    names = ", ".join(f"'{state.value}'" for state in layout.STATES)
    following = (
        "{" + ", ".join(f"[{layout.CODES[each]}] = true" for each in sorted(TRANSITIONS[state])) + "}"
        for state in layout.STATES
    )
    delays = ", ".join(map(str, SUSPECT_DELAYS))
    return "\n".join(
        (
            *lines,
            f"local NAMES = {{{names}}}",
            f"local TRANSITIONS = {{{', '.join(following)}}}",
            f"local BATCH, MAX_CRASHES, MAX_HISTORY = {BATCH}, {MAX_CRASHES}, {MAX_HISTORY}",
            f"local MAX_LOG_LINES, MAX_TOKENS, FIRST_ENTRY = {MAX_LOG_LINES}, {MAX_TOKENS}, {FIRST_ENTRY}",
            f"local SUSPECT_DELAYS, TOMBSTONE = {{{delays}}}, '\\0'",
        )
    )
