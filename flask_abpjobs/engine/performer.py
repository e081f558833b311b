"""Runs the code of a registered job: its scope, tenant and result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

import msgspec
from huey.api import Task

from ..arguments import encode_result
from ..context import JobContext, job_scope
from ..jobs import Activator, JobDefinition, RunCoroutine
from ..model import JobRecord
from .attempt import Attempt

MAX_RESULT: Final = 65_536
Scope = Callable[[], AbstractContextManager[Any]]


class DefinedTask(Task):  # type: ignore[misc]
    """A claimed job as Huey sees it: a task that runs the job's definition."""

    retry_delay: float

    def __init__(
        self,
        definition: JobDefinition,
        record: JobRecord,
        value: Any,
        scope: Scope,
        activator: Activator,
        run_coroutine: RunCoroutine,
        *,
        captures_logs: bool = False,
    ):
        super().__init__(id=record.id, priority=record.priority, timeout=timeout_of(definition, record))
        self.name = record.name
        self.definition = definition
        self.attempt: Attempt | None = None
        self._record = record
        self._value = value
        self._scope = scope
        self._activator = activator
        self._run_coroutine = run_coroutine
        self._captures_logs = captures_logs

    def __repr__(self) -> str:
        return f"{self.name} {self.id}, attempt {self._record.attempt}"

    def execute(self) -> Any:
        """Run the job in a scope of its own and keep its result as JSON."""
        assert self.attempt is not None
        context = JobContext(self._record, self.attempt.reporter, captures_logs=self._captures_logs)
        with self._scope(), job_scope(context):
            result = self.definition.run(self._value, self._activator, self._run_coroutine)
        if result is not None:
            self.attempt.result, self.attempt.reason = _kept(encode_result(result))
        return result


def timeout_of(definition: JobDefinition, record: JobRecord) -> float | None:
    """Return the seconds that an attempt may take: what the enqueue said, else the job's declaration."""
    if record.timeout is not None:
        return record.timeout
    timeout = definition.options.timeout
    return None if timeout is None else timeout.total_seconds()


def build(job_class: type[Any]) -> Any:
    """Build an object of a job class without arguments: the activator of those who plug in none."""
    return job_class()


def _kept(result: bytes) -> tuple[bytes | None, str | None]:
    if len(result) <= MAX_RESULT:
        return result, None
    note = f"The result takes {len(result):,} bytes and was not kept; the most is {MAX_RESULT:,}."
    return msgspec.json.encode({"not kept": note}), note
