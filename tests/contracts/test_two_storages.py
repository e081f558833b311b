"""The same random steps on SQLite and on Redis or Valkey: whatever can be seen afterwards is the same on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from flask_abpjobs.errors import AbpJobsError
from flask_abpjobs.ids import new_job_id
from flask_abpjobs.model import (
    DELETABLE,
    REQUEUABLE,
    Claim,
    JobError,
    JobPriority,
    JobProgress,
    JobQuery,
    JobRecord,
    JobState,
    Lease,
    LogLine,
    Outcome,
    ParentEnd,
    RecurringRecord,
    Retention,
    ServerRecord,
)
from flask_abpjobs.storage import JobStorage, open_storage

QUEUES = ("alpha", "beta")
TENANTS = (None, "acme", "globex")
PAST, FUTURE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
RETENTION = Retention(succeeded=timedelta(0), deleted=None, failed=None, max_failed=3)
TIMES = ("state_at", "due_at", "first_due_at", "started_at", "expires_at", "created_at", "latency")


class Pair(RuleBasedStateMachine):
    """Two storages that are told the same things in the same order."""

    open_pair: Callable[[], tuple[JobStorage, ...]]

    def __init__(self) -> None:
        super().__init__()
        self.storages = type(self).open_pair()
        self.ids: list[str] = []
        self.held: list[Lease] = []
        self.made = 0
        now = datetime.now(UTC)
        server = ServerRecord(
            id="s1", host="h", pid=1, worker_type="thread", workers=1, queues=QUEUES, started_at=now, heartbeat_at=now
        )
        self.both(lambda storage: storage.announce(server))

    def both(self, step: Callable[[JobStorage], Any]) -> Any:
        """Take a step on both, and return its answer, which must be the same."""
        answers = []
        for storage in self.storages:
            try:
                answers.append(step(storage))
            except AbpJobsError as error:
                answers.append((type(error), getattr(error, "state", None)))
        assert plain(answers[0]) == plain(answers[1])
        return answers[0]

    def record(self, **fields: Any) -> JobRecord:
        self.made += 1
        at = PAST + timedelta(milliseconds=self.made)
        values = {"id": new_job_id(), "name": "shop.send", "payload": b"{}", "created_at": at, "state_at": at}
        return JobRecord(**{**values, **fields})

    @rule(
        queue=st.sampled_from(QUEUES),
        priority=st.sampled_from(JobPriority),
        tenant=st.sampled_from(TENANTS),
        due_at=st.sampled_from((None, None, PAST, FUTURE)),
        key=st.sampled_from((None, None, "k", "l")),
        unique_for=st.sampled_from((None, 1e9)),
        limit=st.sampled_from((None, None, 1, 2)),
        begin_before=st.sampled_from((None, None, None, PAST, FUTURE)),
        kept=st.sampled_from((None, None, Retention(succeeded=None), Retention(succeeded=timedelta(0)))),
        name=st.sampled_from(("shop.send", "shop.report")),
    )
    def add(self, due_at: datetime | None, key: str | None, limit: int | None, kept: Any, **fields: Any) -> None:
        unique_for = fields.pop("unique_for")
        record = self.record(
            tenant_id=fields.pop("tenant"),
            state=JobState.ENQUEUED if due_at is None else JobState.SCHEDULED,
            due_at=due_at,
            unique_key=key,
            unique_for=unique_for if key else None,
            concurrency_key=f"limit:{limit}" if limit else None,
            max_concurrent=limit,
            retention=kept,
            **fields,
        )
        if self.both(lambda storage: storage.add(record)) is True:
            self.ids.append(record.id)

    @rule(number=st.integers(0, 5), key=st.sampled_from((None, "k", "m")))
    def add_many(self, number: int, key: str | None) -> None:
        records = [self.record(queue="alpha", unique_key=key if place % 2 else None) for place in range(number)]
        kept = self.both(lambda storage: storage.add_many(records))
        self.ids += [job_id for job_id in kept if job_id not in self.ids]

    @precondition(lambda self: self.ids)
    @rule(
        data=st.data(),
        on=st.sampled_from(ParentEnd),
        delay=st.sampled_from((None, 1e6)),
        number=st.sampled_from((1, 1, 3)),
    )
    def add_children(self, data: Any, on: ParentEnd, delay: float | None, number: int) -> None:
        parent = data.draw(st.sampled_from(self.ids))
        for _ in range(number):
            child = self.record(
                queue="beta", state=JobState.AWAITING, parent_id=parent, parent_on=on, delay=delay, tenant_id="acme"
            )
            if self.both(lambda storage, child=child: storage.add(child)) is True:
                self.ids.append(child.id)

    @rule(queues=st.sampled_from((QUEUES, ("beta", "alpha"), ("beta",))), worker=st.sampled_from(("w1", "w2")))
    def claim(self, queues: tuple[str, ...], worker: str) -> None:
        self.take(self.both(lambda storage: storage.claim(Claim("s1", worker, queues))))

    def take(self, job: Any) -> None:
        if isinstance(job, JobRecord):
            self.held.append(Lease(job.id, job.fence))

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(),
        end=st.sampled_from(("ok", "ok", "ok", "fail", "retry", "later", "not begun", "delete")),
        claims=st.booleans(),
        children=st.integers(0, 2),
    )
    def finish(self, data: Any, end: str, claims: bool, children: int) -> None:
        lease = data.draw(st.sampled_from(self.held))
        state = {
            "ok": JobState.SUCCEEDED,
            "fail": JobState.FAILED,
            "delete": JobState.DELETED,
            "retry": JobState.ENQUEUED,
        }
        error = JobError("Boom", "no", "Traceback") if end in ("fail", "retry", "later") else None
        outcome = Outcome(
            state=state.get(end, JobState.SCHEDULED),
            reason="why",
            duration=0.5,
            due_at=FUTURE if end in ("later", "not begun") else None,
            is_begun=end != "not begun",
            result=b"1" if end == "ok" else None,
            error=error,
            progress=JobProgress(1, 2),
            log=(LogLine(at=PAST, attempt=1, level="info", text="x"),),
            children=tuple(self.record(queue="beta") for _ in range(children)),
        )
        claim = Claim("s1", "w1", QUEUES) if claims else None
        answer = self.both(lambda storage: storage.finish(lease, outcome, claim))
        if not isinstance(answer, tuple):
            self.ids += [child.id for child in outcome.children]
        self.take(answer)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release_or_report(self, data: Any) -> None:
        lease = data.draw(st.sampled_from(self.held))
        if data.draw(st.booleans()):
            self.both(lambda storage: storage.release(lease, "stop"))
        else:
            line = LogLine(at=PAST, attempt=1, level="info", text="y")
            self.both(lambda storage: storage.report(lease, JobProgress(3), [line, line]))

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), tenant=st.sampled_from(TENANTS[1:]), scoped=st.booleans())
    def act(self, data: Any, tenant: str, scoped: bool) -> None:
        job_id = data.draw(st.sampled_from(self.ids))
        scope = {"tenant": tenant} if scoped else {}
        if data.draw(st.booleans()):
            self.both(lambda storage: storage.requeue(job_id, expected=REQUEUABLE, reason="r", by="ayla", **scope))
        else:
            self.both(lambda storage: storage.delete(job_id, expected=DELETABLE, reason="d", by="ayla", **scope))

    @rule(sweep=st.sampled_from(("promote", "prune", "start_children", "purge")))
    def sweep(self, sweep: str) -> None:
        if sweep == "purge":
            self.both(lambda storage: storage.purge("beta", reason="p"))
        elif sweep == "prune":  # what is expired in one step and what in the next may differ
            for storage in self.storages:
                while storage.prune() or storage.start_children():
                    pass
        else:
            self.both(lambda storage: getattr(storage, sweep)())

    @rule(queue=st.sampled_from(QUEUES))
    def pause(self, queue: str) -> None:
        self.both(lambda storage: storage.pause(queue))

    @rule(queue=st.sampled_from(QUEUES))
    def resume(self, queue: str) -> None:
        self.both(lambda storage: storage.resume(queue))

    @rule(worker=st.sampled_from(("w1", "w2")))
    def lose_a_worker(self, worker: str) -> None:
        held = [self.storages[0].get(lease.job_id) for lease in self.held if self.storages[0].holds(lease)]
        if all(job.crashes == 0 for job in held):  # a second death waits for a time that is not the same on both
            self.both(lambda storage: storage.recover_worker("s1", worker))

    @rule(cron=st.sampled_from(("a", "b")), version=st.integers(0, 2), next_at=st.sampled_from((None, PAST, FUTURE)))
    def put_recurring(self, cron: str, version: int, next_at: datetime | None) -> None:
        record = RecurringRecord(
            id=cron, name="n", cron="@daily", payload=b"{}", created_at=PAST, next_at=next_at, version=version
        )
        job = self.record(queue="alpha")
        if self.both(lambda storage: storage.put_recurring(record, [job])) is True:
            self.ids.append(job.id)
        self.both(lambda storage: storage.due_recurring())

    @invariant()
    def everything_that_can_be_seen_is_the_same(self) -> None:
        self.both(lambda storage: dict(storage.counts()))
        for tenant in TENANTS:
            self.both(lambda storage, tenant=tenant: dict(storage.counts(tenant=tenant)))
        self.both(lambda storage: storage.queues())
        for job_id in self.ids:
            self.both(lambda storage, job_id=job_id: storage.get(job_id))
            self.both(lambda storage, job_id=job_id: storage.history(job_id))
            self.both(lambda storage, job_id=job_id: storage.log(job_id))
        for query in ({"state": JobState.ENQUEUED}, {"tenant": "acme"}, {"queue": "beta"}, {"name": "shop.report"}):
            self.both(lambda storage, query=query: {job.id for job in storage.find(JobQuery(limit=1000, **query)).jobs})
        self.held = [lease for lease in self.held if self.storages[0].holds(lease)]

    def teardown(self) -> None:
        for storage in self.storages:
            assert storage.check() == []
            storage.close()


def plain(value: Any) -> Any:
    """Return an answer without the moments at which the two storages gave it."""
    if isinstance(value, JobRecord):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        return {name: each is not None if name in TIMES else each for name, each in fields.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if hasattr(value, "__struct_fields__"):
        fields = {name: getattr(value, name) for name in value.__struct_fields__ if name not in ("at", "oldest_at")}
        data = fields.get("data")
        if data is not None:
            fields["data"] = {key: each for key, each in data.items() if key not in ("latency", "due_at")}
        return fields
    return value


@pytest.fixture(params=["redis", "valkey"])
def open_pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], tuple[JobStorage, ...]]]:
    server = request.getfixturevalue(f"{request.param}_server")
    opened = 0
    names: list[str] = []

    def open_both() -> tuple[JobStorage, ...]:
        nonlocal opened
        opened += 1
        names.append(f"pair-{new_job_id()}")
        urls = (f"sqlite:////{str(tmp_path).lstrip('/')}/{opened}.db", server.url)
        return tuple(open_storage(url, names[-1], retention=RETENTION) for url in urls)

    yield open_both
    for name in names:
        server.empty(name)


def test_the_same_steps_have_the_same_results(open_pair: Callable[[], tuple[JobStorage, ...]]) -> None:
    machine = type("SqliteAndServer", (Pair,), {"open_pair": staticmethod(open_pair)})
    patience = settings(
        max_examples=15,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.reuse, Phase.generate),  # to make a failure smaller would take minutes
        print_blob=True,
    )
    run_state_machine_as_test(machine, settings=patience)
