"""What every storage promises of queues: pausing, resuming, purging."""

from __future__ import annotations

import threading
from collections.abc import Callable

from flask_abpjobs.model import JobRecord, JobState
from flask_abpjobs.storage import JobStorage
from flask_abpjobs.storage.base import BATCH
from tests.contracts.steps import CLAIM, OK, claim, lease_of

MakeJob = Callable[..., JobRecord]


def test_a_paused_queue_is_passed_over_until_it_is_resumed(storage: JobStorage, make_job: MakeJob) -> None:
    storage.add_many([first := make_job(queue="a"), second := make_job(queue="b")])
    storage.pause("a")
    storage.pause("a")
    assert claim(storage, "a", "b").id == second.id
    assert storage.claim(CLAIM.__class__("s1", "w1", ("a", "b"))) is None
    storage.resume("a")
    storage.resume("a")
    assert claim(storage, "a", "b").id == first.id


def test_a_running_job_of_a_paused_queue_ends_and_no_next_is_claimed(storage: JobStorage, make_job: MakeJob) -> None:
    storage.add_many([make_job(), make_job()])
    running = claim(storage)
    storage.pause("default")
    assert storage.finish(lease_of(running), OK, CLAIM) is None


def test_pausing_is_seen_and_enqueueing_goes_on(storage: JobStorage, make_job: MakeJob) -> None:
    storage.pause("alpha")
    storage.add(make_job(queue="alpha"))
    queues = {queue.name: queue for queue in storage.queues()}
    assert (queues["alpha"].is_paused, queues["alpha"].length) == (True, 1)
    assert not queues["default"].is_paused


def test_an_empty_paused_queue_is_listed(storage: JobStorage) -> None:
    storage.pause("alpha")
    assert "alpha" in {queue.name for queue in storage.queues()}
    storage.resume("alpha")
    assert "alpha" not in {queue.name for queue in storage.queues()}


def test_applications_pause_their_own_queues_only(open_named: Callable[..., JobStorage]) -> None:
    ours, theirs = open_named("ours"), open_named("theirs")
    ours.pause("default")
    assert [queue.is_paused for queue in theirs.queues()] == []


def test_a_resumed_queue_wakes_the_workers(storage: JobStorage, make_job: MakeJob) -> None:
    storage.add(make_job())
    storage.pause("default")
    found: list[JobRecord] = []
    ready = threading.Event()

    def wait() -> None:
        while not found:
            job = storage.claim(CLAIM)
            ready.set()
            if job is not None:
                found.append(job)
            else:
                storage.wait(20.0)

    thread = threading.Thread(target=wait)
    thread.start()
    ready.wait(5.0)
    storage.resume("default")
    thread.join(10.0)
    assert not thread.is_alive()


def test_a_purge_deletes_what_waits_in_a_queue_in_batches(storage: JobStorage, make_job: MakeJob) -> None:
    storage.add_many([make_job(queue="alpha") for _ in range(BATCH)])
    storage.add_many([last := make_job(queue="alpha"), other := make_job()])
    purged = [storage.purge("alpha", reason="Purged", by="ayla") for _ in range(3)]
    assert purged == [BATCH, 1, 0]
    assert storage.get(other.id).state is JobState.ENQUEUED
    entry = storage.history(last.id)[-1]
    assert (entry.state, entry.reason, entry.data["by"]) == (JobState.DELETED, "Purged", "ayla")
