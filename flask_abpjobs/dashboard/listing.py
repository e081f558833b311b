"""A list of jobs as its address says: which, how many, from where. Every filter, size and page is a link."""

from __future__ import annotations

from typing import Final

import msgspec
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest

from ..cursors import decode_cursor
from ..model import DELETABLE, REQUEUABLE, JobQuery, JobState, TenantScope

SIZES: Final = (10, 20, 50, 100)
MAX_TEXT: Final = 200
RETRIES: Final = "retries"
_WAITING_FOR_A_TIME: Final = frozenset({JobState.SCHEDULED, JobState.AWAITING})

COLUMNS: Final = {
    "scheduled": ("queue", "tenant", "created", "due"),
    "enqueued": ("queue", "tenant", "priority", "waiting"),
    "awaiting": ("queue", "tenant", "priority", "created"),
    "processing": ("progress", "server", "queue", "tenant", "running"),
    "succeeded": ("queue", "tenant", "latency", "duration", "ended"),
    "failed": ("failure", "queue", "tenant", "attempt", "ended"),
    "deleted": ("reason", "queue", "tenant", "ended"),
    RETRIES: ("failure", "queue", "tenant", "attempt", "due"),
}
"""What a list says beside the job itself, in this order; the partial ``cells.html`` has a macro for each."""


class ListRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which list is asked for."""

    state: JobState
    is_retries: bool
    queue: str | None
    name: str | None
    size: int
    after: str | None
    before: str | None

    @property
    def key(self) -> str:
        """The list's name in addresses."""
        return RETRIES if self.is_retries else self.state.value

    @property
    def is_filtered(self) -> bool:
        """Whether a filter is set, tenant aside."""
        return self.queue is not None or self.name is not None

    @property
    def is_first_page(self) -> bool:
        """Whether the list is shown from its beginning."""
        return self.after is None and self.before is None

    def query(self, scope: TenantScope) -> JobQuery:
        """Return the question to the storage."""
        return JobQuery(
            state=self.state,
            queue=self.queue,
            name=self.name,
            tenant=scope,
            retrying=True if self.is_retries else None,
            limit=self.size,
            after=self.after,
            before=self.before,
        )


def read_list_request(key: str, values: MultiDict[str, str], page_size: int) -> ListRequest:
    """Read a list's address.

    :param key: a state, or ``retries``.
    :param values: the query string; what is not ours is ignored.
    :param page_size: the size when none is given.
    :raises BadRequest: a size or a cursor that is not of the right form.
    """
    after, before = _cursor(values, "after"), _cursor(values, "before")
    if after is not None and before is not None:
        raise BadRequest("An address names one place in a list, after or before it, not both.")
    return ListRequest(
        state=JobState.SCHEDULED if key == RETRIES else JobState(key),
        is_retries=key == RETRIES,
        queue=_text(values, "queue"),
        name=_text(values, "name"),
        size=_size(values, page_size),
        after=after,
        before=before,
    )


def actions_on(state: JobState) -> tuple[str, ...]:
    """Return what may be done to a job in a state."""
    actions = []
    if state in REQUEUABLE:
        actions.append("run-now" if state in _WAITING_FOR_A_TIME else "requeue")
    if state in DELETABLE:
        actions.append("delete")
    return tuple(actions)


def right_for(action: str) -> str:
    """Return the right an action needs."""
    return "delete" if action == "delete" else "requeue"


def _size(values: MultiDict[str, str], default: int) -> int:
    text = values.get("size", "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= 100):
        raise BadRequest("A list shows 1 to 100 jobs.")
    return int(text)


def _cursor(values: MultiDict[str, str], name: str) -> str | None:
    cursor = values.get(name, "")
    if not cursor:
        return None
    try:
        decode_cursor(cursor)
    except ValueError as error:
        raise BadRequest("The address names no place in this list.") from error
    return cursor


def _text(values: MultiDict[str, str], name: str) -> str | None:
    text = values.get(name, "").strip()
    if len(text) > MAX_TEXT:
        raise BadRequest(f"A filter has at most {MAX_TEXT} characters.")
    return text or None
