"""What every storage promises of recurring jobs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from flask_abpjobs.model import Argument, JobRecord, JobState, Misfire, RecurringRecord
from flask_abpjobs.storage import JobStorage
from flask_abpjobs.storage.base import BATCH

MakeJob = Callable[..., JobRecord]
NOW = datetime.now(UTC)


def recurring(recurring_id: str = "nightly", **fields: Any) -> RecurringRecord:
    values: dict[str, Any] = {"name": "shop.report", "cron": "0 3 * * *", "payload": b"{}", "created_at": NOW}
    return RecurringRecord(**{**values, "id": recurring_id, **fields})


def read(storage: JobStorage, recurring_id: str = "nightly") -> RecurringRecord:
    record = storage.find_recurring(recurring_id)
    assert record is not None
    return record


def test_a_recurring_job_reads_back_as_it_was_written(storage: JobStorage) -> None:
    record = recurring(
        timezone="Europe/Istanbul",
        misfire=Misfire.ALL,
        queue="alpha",
        priority=25,
        payload=b'{"a":"\xc3\xa9"}',
        arguments=(Argument("a", "'é'", "str"),),
        tenant_id="acme",
        is_declared=True,
        next_at=NOW + timedelta(hours=1),
        last_at=NOW,
        last_job_id="x",
        error="no",
    )
    assert storage.put_recurring(record)
    assert read(storage) == msgspec.structs.replace(record, version=1)


def test_a_write_of_an_old_version_is_refused_and_adds_nothing(storage: JobStorage, make_job: MakeJob) -> None:
    assert storage.put_recurring(recurring())
    assert not storage.put_recurring(recurring(cron="@daily"), [make_job()])
    first = read(storage)
    assert storage.put_recurring(msgspec.structs.replace(first, cron="1 1 * * *"))
    assert not storage.put_recurring(msgspec.structs.replace(first, cron="2 2 * * *"), [make_job()])
    assert (read(storage).cron, read(storage).version) == ("1 1 * * *", 2)
    assert not storage.put_recurring(recurring("other", version=3))
    assert storage.find_recurring("other") is None
    assert storage.counts()["created"] == 0


def test_jobs_are_added_in_the_same_step_once(storage: JobStorage, make_job: MakeJob) -> None:
    job = make_job(id="nightly:20260101T000000Z", recurring_id="nightly")
    assert storage.put_recurring(recurring(), [job])
    assert storage.put_recurring(read(storage), [make_job(id=job.id, queue="other"), later := make_job()])
    assert storage.get(job.id).queue == "default"
    assert storage.get(later.id).state is JobState.ENQUEUED
    assert storage.counts()["created"] == 2


def test_due_are_those_whose_time_has_come_and_that_are_not_paused(storage: JobStorage) -> None:
    for number, (name, fields) in enumerate(
        {
            "late": {"next_at": NOW - timedelta(hours=1)},
            "later": {"next_at": NOW - timedelta(hours=2)},
            "future": {"next_at": NOW + timedelta(hours=1)},
            "paused": {"next_at": NOW - timedelta(hours=3), "is_paused": True},
            "broken": {"error": "no"},
        }.items()
    ):
        assert storage.put_recurring(recurring(name, **fields)), number
    assert [record.id for record in storage.due_recurring()] == ["later", "late"]
    paused = read(storage, "paused")
    storage.put_recurring(msgspec.structs.replace(paused, is_paused=False))
    storage.put_recurring(msgspec.structs.replace(read(storage, "late"), next_at=NOW + timedelta(hours=1)))
    assert [record.id for record in storage.due_recurring()] == ["paused", "later"]


def test_due_ones_come_in_batches(storage: JobStorage) -> None:
    for number in range(BATCH + 3):
        storage.put_recurring(recurring(f"r{number:03}", next_at=NOW - timedelta(seconds=number + 1)))
    assert len(storage.due_recurring()) == BATCH


def test_they_are_listed_by_id_and_removed(storage: JobStorage, make_job: MakeJob) -> None:
    storage.put_recurring(recurring("b", next_at=NOW - timedelta(hours=1)), [job := make_job()])
    storage.put_recurring(recurring("a"))
    assert [record.id for record in storage.list_recurring()] == ["a", "b"]
    assert storage.remove_recurring("b")
    assert not storage.remove_recurring("b")
    assert storage.due_recurring() == []
    assert [record.id for record in storage.list_recurring()] == ["a"]
    assert storage.get(job.id).state is JobState.ENQUEUED


def test_a_removed_one_can_be_written_anew(storage: JobStorage) -> None:
    storage.put_recurring(recurring())
    old = read(storage)
    storage.remove_recurring("nightly")
    assert not storage.put_recurring(old)
    assert storage.put_recurring(recurring())


def test_a_tenant_sees_its_own_only(storage: JobStorage) -> None:
    storage.put_recurring(recurring("ours", tenant_id="acme"))
    storage.put_recurring(recurring("hosts"))
    assert [record.id for record in storage.list_recurring(tenant="acme")] == ["ours"]
    assert [record.id for record in storage.list_recurring(tenant=None)] == ["hosts"]
    assert storage.find_recurring("ours", tenant="globex") is None
    assert not storage.remove_recurring("ours", tenant="globex")
    assert not storage.remove_recurring("ours", tenant=None)
    assert storage.remove_recurring("ours", tenant="acme")


def test_applications_have_their_own(open_named: Callable[..., JobStorage]) -> None:
    ours, theirs = open_named("ours"), open_named("theirs")
    ours.put_recurring(recurring(next_at=NOW - timedelta(hours=1)))
    assert theirs.list_recurring() == theirs.due_recurring() == []
    assert theirs.find_recurring("nightly") is None
