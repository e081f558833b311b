"""Recurring jobs: written with the jobs of their slots in one step."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import structs

from flask_abpjobs.model import Argument, JobRecord, Misfire, RecurringRecord
from flask_abpjobs.storage import JobStorage
from flask_abpjobs.storage.base import BATCH
from tests.contracts.steps import MakeJob, OpenNamed, ago, claim_all, ids, is_there

MakeRecurring = Callable[..., RecurringRecord]


@pytest.fixture
def make_recurring() -> MakeRecurring:
    """A function that makes recurring jobs: ``make_recurring("nightly", next_at=...)``."""

    def make(recurring_id: str, **fields: Any) -> RecurringRecord:
        values: dict[str, Any] = {
            "name": "shop.clean",
            "cron": "0 3 * * *",
            "payload": b'{"days":\xc3\xa97}',
            "created_at": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        }
        return RecurringRecord(**{**values, "id": recurring_id, **fields})

    return make


def stored(storage: JobStorage, recurring_id: str) -> RecurringRecord:
    record = storage.find_recurring(recurring_id)
    assert record is not None
    return record


class TestWriting:
    def test_it_reads_back_with_the_next_version(self, storage: JobStorage, make_recurring: MakeRecurring) -> None:
        record = make_recurring(
            "nightly",
            timezone="Europe/Istanbul",
            misfire=Misfire.ALL,
            queue="alpha",
            priority=20,
            arguments=(Argument("days", "7", "int"),),
            tenant_id="acme",
            is_declared=True,
            is_paused=True,
            next_at=ago(-3600),
            last_at=ago(3600),
            last_job_id="01J",
            error="The job is not known.",
        )
        assert storage.put_recurring(record)
        assert stored(storage, "nightly") == structs.replace(record, version=1)

    def test_a_bare_one_reads_back_too(self, storage: JobStorage, make_recurring: MakeRecurring) -> None:
        storage.put_recurring(record := make_recurring("bare"))
        assert stored(storage, "bare") == structs.replace(record, version=1)

    def test_only_the_version_that_was_read_can_be_replaced(
        self, storage: JobStorage, make_recurring: MakeRecurring, make_job: MakeJob
    ) -> None:
        record = make_recurring("nightly")
        assert storage.put_recurring(record)
        first = stored(storage, "nightly")
        assert not storage.put_recurring(structs.replace(record, cron="1 1 * * *")), "a new one, but it exists"
        assert storage.put_recurring(structs.replace(first, cron="2 2 * * *"))
        assert not storage.put_recurring(structs.replace(first, cron="3 3 * * *"), [late := make_job()])
        assert not is_there(storage, late.id)
        assert (stored(storage, "nightly").cron, stored(storage, "nightly").version) == ("2 2 * * *", 2)
        assert not storage.put_recurring(make_recurring("unknown", version=1)), "it has been removed"
        assert storage.find_recurring("unknown") is None

    def test_its_jobs_come_with_it(self, storage: JobStorage, make_recurring: MakeRecurring, make_job: MakeJob) -> None:
        storage.add(known := make_job(id="nightly:1"))
        new = [make_job(id=f"nightly:{number}", recurring_id="nightly") for number in (1, 2, 3)]
        assert storage.put_recurring(make_recurring("nightly"), new)
        assert [job.id for job in claim_all(storage)] == ids(known, *new[1:])
        assert storage.get("nightly:1").recurring_id is None
        assert storage.get("nightly:2").recurring_id == "nightly"

    def test_more_jobs_than_a_batch_are_refused_whole(
        self, storage: JobStorage, make_recurring: MakeRecurring, make_job: MakeJob
    ) -> None:
        with pytest.raises(ValueError, match="101 jobs"):
            storage.put_recurring(make_recurring("nightly"), [make_job() for _ in range(BATCH + 1)])
        assert storage.find_recurring("nightly") is None

    def test_of_many_servers_that_see_one_slot_one_enqueues_it(
        self, storage: JobStorage, make_recurring: MakeRecurring, make_job: MakeJob
    ) -> None:
        storage.put_recurring(make_recurring("nightly", next_at=ago(1)))
        (due,) = storage.due_recurring()
        jobs = [make_job(id=f"by-{number}") for number in range(6)]
        won: list[bool] = []

        def serve(job: JobRecord) -> None:
            won.append(storage.put_recurring(structs.replace(due, next_at=ago(-3600)), [job]))

        threads = [threading.Thread(target=serve, args=(job,)) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(won) == [False] * 5 + [True]
        assert storage.counts()["created"] == 1
        assert storage.due_recurring() == []

    def test_removing_leaves_its_jobs(
        self, storage: JobStorage, make_recurring: MakeRecurring, make_job: MakeJob
    ) -> None:
        storage.put_recurring(make_recurring("nightly"), [job := make_job(recurring_id="nightly")])
        assert storage.remove_recurring("nightly")
        assert not storage.remove_recurring("nightly")
        assert storage.find_recurring("nightly") is None
        assert is_there(storage, job.id)
        assert storage.put_recurring(make_recurring("nightly")), "it may be made anew"
        assert stored(storage, "nightly").version == 1


class TestAsking:
    def test_they_are_listed_by_id(self, storage: JobStorage, make_recurring: MakeRecurring) -> None:
        for name in ("b", "a", "c"):
            storage.put_recurring(make_recurring(name))
        assert [record.id for record in storage.list_recurring()] == ["a", "b", "c"]

    def test_each_tenant_sees_its_own(self, storage: JobStorage, make_recurring: MakeRecurring) -> None:
        for name, tenant in (("ours", "acme"), ("theirs", "globex"), ("of-none", None)):
            storage.put_recurring(make_recurring(name, tenant_id=tenant))
        assert [record.id for record in storage.list_recurring(tenant="acme")] == ["ours"]
        assert [record.id for record in storage.list_recurring(tenant=None)] == ["of-none"]
        assert len(storage.list_recurring()) == 3
        assert storage.find_recurring("theirs", tenant="acme") is None
        assert storage.find_recurring("of-none", tenant="acme") is None
        assert storage.find_recurring("ours", tenant="acme") == stored(storage, "ours")
        assert not storage.remove_recurring("theirs", tenant="acme")
        assert not storage.remove_recurring("theirs", tenant=None)
        assert storage.remove_recurring("theirs", tenant="globex")

    def test_each_application_has_its_own(self, open_named: OpenNamed, make_recurring: MakeRecurring) -> None:
        ours, theirs = open_named("ours"), open_named("theirs")
        ours.put_recurring(make_recurring("nightly", next_at=ago(1)))
        assert (theirs.list_recurring(), theirs.due_recurring(), theirs.find_recurring("nightly")) == ([], [], None)
        assert theirs.put_recurring(make_recurring("nightly"))

    def test_those_that_are_due_come_longest_due_first(
        self, storage: JobStorage, make_recurring: MakeRecurring
    ) -> None:
        for name, fields in {
            "late": {"next_at": ago(60)},
            "later": {"next_at": ago(30)},
            "latest": {"next_at": ago(90)},
            "future": {"next_at": ago(-60)},
            "paused": {"next_at": ago(60), "is_paused": True},
            "broken": {"next_at": None},
        }.items():
            storage.put_recurring(make_recurring(name, **fields))
        assert [record.id for record in storage.due_recurring()] == ["latest", "late", "later"]
        paused = stored(storage, "paused")
        assert paused.next_at is not None
        storage.put_recurring(structs.replace(paused, is_paused=False))
        assert "paused" in [record.id for record in storage.due_recurring()]

    def test_at_most_a_batch_of_them_comes_at_once(self, storage: JobStorage, make_recurring: MakeRecurring) -> None:
        for number in range(BATCH + 5):
            storage.put_recurring(make_recurring(f"r{number:03}", next_at=ago(1000 - number)))
        due = storage.due_recurring()
        assert [record.id for record in due] == [f"r{number:03}" for number in range(BATCH)]
