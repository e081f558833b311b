"""The same random steps on two kinds of storage: what they return, and what is to be seen, is the same."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_abpjobs.errors import JobNotFoundError, LeaseLostError, StateChangedError
from flask_abpjobs.model import (
    ANY_TENANT,
    DELETABLE,
    REQUEUABLE,
    Claim,
    JobError,
    JobProgress,
    JobQuery,
    JobRecord,
    JobState,
    Lease,
    LogLine,
    Outcome,
    ParentEnd,
    Retention,
    ServerRecord,
    new_job_id,
)
from flask_abpjobs.storage import JobStorage, open_storage

STEPS = 150
BEGIN = time.time() - 1000
FAR = timedelta(days=1)
TENANTS = (ANY_TENANT, None, "acme")
OF_THE_CLOCK = {"state_at", "started_at", "expires_at", "due_at", "first_due_at", "latency"}
"""Fields whose values are the moment's: only whether they are there is compared."""


class Play:
    """Two storages that are told the same."""

    def __init__(self, storages: list[JobStorage], chance: random.Random) -> None:
        self.storages = storages
        self.chance = chance
        self.ids: list[str] = []
        self.leases: list[Lease] = []
        for server_id in ("s1", "s2"):
            self.announce(server_id)

    def announce(self, server_id: str) -> None:
        now = datetime.now(UTC)
        own: dict[str, Any] = {"host": "h", "pid": 1, "worker_type": "thread", "workers": 1, "queues": ("a", "b")}
        server = ServerRecord(id=server_id, started_at=now, heartbeat_at=now, **own)
        self.tell(lambda storage: storage.announce(server))

    def tell(self, step: Callable[[JobStorage], Any]) -> Any:
        """Take a step on both, and return the answer if it is the same."""
        first, second = (answer_of(step, storage) for storage in self.storages)
        assert known_by(first) == known_by(second)
        return first

    def new_job(self) -> JobRecord:
        choice, share = self.chance.choice, self.chance.random
        at = datetime.fromtimestamp(BEGIN + len(self.ids) / 1000, UTC)
        fields: dict[str, Any] = {"queue": choice("aab"), "priority": choice([5, 15, 15, 25]), "name": choice("mn")}
        fields["tenant_id"] = choice([None, None, "acme", "globex"])
        if share() < 0.2:
            fields |= {"unique_key": choice("uv"), "unique_for": choice([None, 1.0, 1e5])}
        if share() < 0.3:
            fields |= {"concurrency_key": choice("kl"), "max_concurrent": choice([1, 1, 2])}
        if share() < 0.1:
            fields["begin_before"] = at
        kind = share()
        if kind < 0.3 and self.ids:
            fields |= {"state": JobState.AWAITING, "parent_id": choice(self.ids[-6:])}
            fields |= {"parent_on": choice([None, *ParentEnd]), "delay": choice([None, None, 1e5, 1e-9])}
        elif kind < 0.45:
            fields |= {"state": JobState.SCHEDULED, "due_at": at + choice([timedelta(seconds=-3), FAR])}
        job = JobRecord(id=f"job-{len(self.ids):04d}", payload=b"{}", created_at=at, state_at=at, **fields)
        self.ids.append(job.id)
        return job

    def outcome(self) -> Outcome:
        choice = self.chance.choice
        state = choice([JobState.SUCCEEDED] * 3 + [JobState.FAILED, JobState.SCHEDULED, JobState.ENQUEUED])
        has_failed = state is not JobState.SUCCEEDED
        return Outcome(
            state=state,
            reason="why",
            duration=0.5,
            result=choice([None, b"1"]),
            error=JobError("Boom", "it broke", "Traceback ...") if has_failed else None,
            due_at=datetime.now(UTC) + FAR if state is JobState.SCHEDULED else None,
            payload=choice([None, None, b"again"]),
            progress=choice([None, JobProgress(3, 3)]),
            children=tuple(self.new_job() for _ in range(choice([0, 0, 0, 2]))),
        )

    def claim(self) -> Claim:
        choice = self.chance.choice
        return Claim(choice(["s1", "s2"]), choice(["w1", "w2"]), choice([("a", "b"), ("b", "a"), ("a",)]))

    def step(self) -> None:
        name = self.chance.choice(list(STEPS_BY_NAME))
        answer = STEPS_BY_NAME[name](self)
        if isinstance(answer, JobRecord) and answer.state is JobState.PROCESSING:
            self.leases.append(Lease(answer.id, answer.fence))

    def compare(self) -> None:
        first, second = self.storages
        for job_id in self.ids:
            assert seen_of(first, job_id) == seen_of(second, job_id)
        for tenant in TENANTS:
            assert first.counts(tenant=tenant) == second.counts(tenant=tenant)
            assert lengths(first, tenant) == lengths(second, tenant)
            for state in (None, *JobState):
                for conditions in ({}, {"queue": "a"}, {"name": "m"}, {"retrying": True}, {"server_id": "s1"}):
                    query = JobQuery(state=state, tenant=tenant, limit=1000, **conditions)
                    assert ids_of(first, query) == ids_of(second, query)
        assert first.check() == second.check() == []


def adding(play: Play) -> Any:
    job = play.new_job()
    return play.tell(lambda storage: storage.add(job))


def adding_many(play: Play) -> Any:
    jobs = [play.new_job() for _ in range(play.chance.randrange(1, 6))]
    return play.tell(lambda storage: storage.add_many(jobs))


def claiming(play: Play) -> Any:
    claim = play.claim()
    return play.tell(lambda storage: storage.claim(claim))


def finishing(play: Play) -> Any:
    if not play.leases:
        return None
    lease = play.leases.pop(play.chance.randrange(len(play.leases)))
    outcome, claim = play.outcome(), play.chance.choice([None, play.claim()])
    return play.tell(lambda storage: storage.finish(lease, outcome, claim))


def releasing(play: Play) -> Any:
    if not play.leases:
        return None
    lease = play.leases.pop()
    return play.tell(lambda storage: storage.release(lease, "The server stops"))


def reporting(play: Play) -> Any:
    if not play.leases:
        return None
    lease, line = play.chance.choice(play.leases), LogLine(at=datetime.now(UTC), attempt=1, level="info", text="é")
    return play.tell(lambda storage: storage.report(lease, JobProgress(1, 2, "half"), [line]))


def requeueing(play: Play) -> Any:
    if not play.ids:
        return None
    job_id, tenant = play.chance.choice(play.ids), play.chance.choice(TENANTS)
    return play.tell(lambda storage: storage.requeue(job_id, expected=REQUEUABLE, reason="x", by="me", tenant=tenant))


def deleting(play: Play) -> Any:
    if not play.ids:
        return None
    job_id, tenant = play.chance.choice(play.ids), play.chance.choice(TENANTS)
    return play.tell(lambda storage: storage.delete(job_id, expected=DELETABLE, reason="x", tenant=tenant))


def retiring(play: Play) -> Any:
    play.tell(lambda storage: storage.retire("s2"))
    return play.announce("s2")


STEPS_BY_NAME: dict[str, Callable[[Play], Any]] = {
    **dict.fromkeys(("add 1", "add 2", "add 3", "add 4"), adding),
    **dict.fromkeys(("claim 1", "claim 2", "claim 3"), claiming),
    **dict.fromkeys(("finish 1", "finish 2", "finish 3"), finishing),
    **dict.fromkeys(("requeue 1", "requeue 2"), requeueing),
    "add many": adding_many,
    "release": releasing,
    "report": reporting,
    "delete": deleting,
    "retire": retiring,
    "promote": lambda play: play.tell(lambda storage: storage.promote()),
    "prune": lambda play: play.tell(lambda storage: storage.prune()),
    "start children": lambda play: play.tell(lambda storage: storage.start_children()),
    "pause": lambda play: play.tell(lambda storage: storage.pause("b")),
    "resume": lambda play: play.tell(lambda storage: storage.resume("b")),
    "purge": lambda play: play.tell(lambda storage: storage.purge("b", reason="x")),
}


def answer_of(step: Callable[[JobStorage], Any], storage: JobStorage) -> Any:
    try:
        return step(storage)
    except (JobNotFoundError, StateChangedError, LeaseLostError) as error:
        return f"{type(error).__name__}: {error}"


def known_by(answer: Any) -> Any:
    return answer.id if isinstance(answer, JobRecord) else answer


def seen_of(storage: JobStorage, job_id: str) -> Any:
    try:
        job = storage.get(job_id)
    except JobNotFoundError:
        return None
    fields = {name: getattr(job, name) for name in job.__struct_fields__}
    entries = [(entry.state, entry.reason, without_clock(dict(entry.data))) for entry in storage.history(job_id)]
    return without_clock(fields), entries, [line.text for line in storage.log(job_id)]


def without_clock(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value is not None if name in OF_THE_CLOCK else value for name, value in fields.items()}


def lengths(storage: JobStorage, tenant: Any) -> Any:
    return [(each.name, each.length, each.is_paused, each.oldest_at is None) for each in storage.queues(tenant=tenant)]


def ids_of(storage: JobStorage, query: JobQuery) -> list[str]:
    return sorted(job.id for job in storage.find(query).jobs)


@pytest.mark.requires_redis
@pytest.mark.parametrize("kind", ["redis", "valkey"])
@pytest.mark.parametrize("seed", range(4))
def test_random_steps_end_alike(request: pytest.FixtureRequest, kind: str, seed: int) -> None:
    server = request.getfixturevalue(f"{kind}_server")
    chance = random.Random(seed)
    most = chance.choice([None, 4])
    retention = Retention(succeeded=chance.choice([FAR, timedelta(0)]), max_succeeded=most, max_deleted=most)
    name = f"alike-{new_job_id()}"
    storages = [open_storage(url, name, retention=retention) for url in ("memory://", server.url)]
    play = Play(storages, chance)
    for number in range(STEPS):
        play.step()
        if number % 10 == 9:
            play.compare()
    for storage in storages:
        storage.close()
    server.empty(name)
