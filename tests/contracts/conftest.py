"""The storages that must keep the contract. A new one joins by a line in ``STORAGES``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flask_abpjobs.ids import new_job_id
from flask_abpjobs.model import JobRecord, JobState, ServerRecord
from flask_abpjobs.storage import JobStorage, open_storage

STORAGES = {"memory": "memory://", "sqlite": "sqlite:////{folder}/jobs.db", "redis": "", "valkey": ""}

MakeJob = Callable[..., JobRecord]
MakeServer = Callable[..., ServerRecord]


@pytest.fixture(params=list(STORAGES))
def open_named(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., JobStorage]]:
    """A function that opens the storage under test: ``open_named("app", retention=...)``."""
    is_server = request.param in {"redis", "valkey"}
    server = request.getfixturevalue(f"{request.param}_server") if is_server else None
    url = server.url if server else STORAGES[request.param].format(folder=str(tmp_path).lstrip("/"))
    suffix = f"-{new_job_id()}" if server else ""  # the tests of a run share a server
    opened: list[JobStorage] = []

    def open_one(name: str = "app", **options: Any) -> JobStorage:
        storage = open_storage(url, name + suffix, **options)
        opened.append(storage)
        return storage

    yield open_one
    problems = [problem for storage in opened for problem in storage.check()]
    for storage in opened:
        storage.close()
        if server:
            server.empty(storage.name)
    assert problems == []


@pytest.fixture
def storage(open_named: Callable[..., JobStorage], make_server: MakeServer) -> JobStorage:
    """An empty storage with one announced server, ``s1``. Whatever a test does, it ends consistent."""
    storage = open_named()
    storage.announce(make_server("s1"))
    return storage


@pytest.fixture
def make_job() -> MakeJob:
    """A function that makes records, each a millisecond later than the one before."""
    made = 0

    def make(**fields: Any) -> JobRecord:
        nonlocal made
        made += 1
        at = datetime.now(UTC) - timedelta(seconds=100) + timedelta(milliseconds=made)
        values: dict[str, Any] = {
            "id": new_job_id(),
            "name": "shop.send",
            "payload": b'{"to":"a"}',
            "created_at": at,
            "state_at": at,
        }
        if "due_at" in fields:
            values["state"] = JobState.SCHEDULED
        return JobRecord(**{**values, **fields})

    return make


@pytest.fixture
def make_server() -> MakeServer:
    """A function that makes servers: ``make_server("s1", workers=4)``."""

    def make(server_id: str, **fields: Any) -> ServerRecord:
        now = datetime.now(UTC)
        values: dict[str, Any] = {"host": "h", "pid": 1, "worker_type": "thread", "workers": 2, "queues": ("default",)}
        return ServerRecord(**{**values, "id": server_id, "started_at": now, "heartbeat_at": now, **fields})

    return make
