"""Huey's own tests, run on our classes: its public API works as Huey's users know it.

What differs on purpose is written down here, by reason. A test that differs and is not listed fails, and so does one
that is listed and passes.
"""

from __future__ import annotations

import os
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["HUEY_SLOW_TESTS"] = "1"  # Huey's modules ask for it when they are imported

import huey.tests.test_api
import huey.tests.test_consumer
import huey.tests.test_crontab
import huey.tests.test_immediate
import huey.tests.test_priority
import huey.tests.test_registry
import huey.tests.test_signals
import huey.tests.test_storage
import huey.tests.test_wrappers
import pytest
from huey.tests.base import BaseTestCase

from flask_abpjobs.engine import open_huey
from flask_abpjobs.engine.consumer import JobConsumer
from flask_abpjobs.ids import new_job_id

MODULES = (
    huey.tests.test_api,
    huey.tests.test_consumer,
    huey.tests.test_crontab,
    huey.tests.test_immediate,
    huey.tests.test_priority,
    huey.tests.test_registry,
    huey.tests.test_signals,
    huey.tests.test_wrappers,
)

DIFFERENT = {
    "What is due is decided by the storage's clock, and moved there; read_schedule has nothing to return.": {
        "TestChordPrimitive.test_chord_scheduling",
        "TestConsumerIntegration.test_consumer_schedule_task",
        "TestPriority.test_schedule_priority",
        "TestQueue.test_read_schedule",
        "TestQueue.test_scheduling_expires",
    },
    "A periodic task runs once in a minute, however many servers ask for it.": {
        "TestConsumerIntegration.test_consumer_periodic_tasks",
    },
    "A chord counts its members by their results, not by a counter of executions.": {
        "TestChordPrimitive.test_chord_bookkeeping_cleared",
    },
    "SIGTERM and SIGINT both stop in order.": {
        "TestConsumerShutdown.test_signal_handlers",
    },
    "A consumer that never started cannot be stopped: it waits for its workers, whatever the signal.": {
        "TestConsumerShutdown.test_immediate_stop_ignores_stop_flag",
    },
}
LISTED = set().union(*DIFFERENT.values())


STORAGES = {"memory": "memory://", "sqlite": "sqlite:///suite.db", "redis": ""}


class StorageSuite(huey.tests.test_storage.StorageTests, BaseTestCase):  # type: ignore[misc]
    """What Huey asks of every storage of its own."""

    __test__ = False  # pytest would run it on Huey's own storage


def all_tests(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from all_tests(item)
        else:
            yield item


def name_of(case: unittest.TestCase) -> str:
    return ".".join(case.id().split(".")[-2:])


LOADER = unittest.defaultTestLoader
CASES = [
    *(case for module in MODULES for case in all_tests(LOADER.loadTestsFromModule(module))),
    *all_tests(LOADER.loadTestsFromTestCase(StorageSuite)),
]


def on_our_classes(case: Any, url: str, name: str) -> Any:
    """Give a test our classes, unless it is about one it makes itself."""
    if getattr(type(case), "get_huey", None) is BaseTestCase.get_huey:
        case.get_huey = lambda: open_huey(url, name=name, utc=False)
    if getattr(type(case), "consumer_class", None) is BaseTestCase.consumer_class:
        case.consumer_class = JobConsumer
    return case


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_huey_behaves_as_its_own_tests_say(
    case: unittest.TestCase,
    storage: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # some leave a huey.db behind
    server = request.getfixturevalue("redis_server") if storage == "redis" else None
    name = f"suite-{new_job_id()}"
    result = unittest.TestResult()
    ours: Any = on_our_classes(case, server.url if server else STORAGES[storage], name)
    ours.supports_ttl = server is not None and server.ask("COMMAND", "INFO", "HEXPIRE") != [None]
    ours.run(result)
    if server:
        server.empty(name)
    passed = not (result.failures or result.errors)
    if name_of(case) in LISTED:
        assert not passed, "This test passes now: take it from the list of differences."
    else:
        assert passed, "\n".join(text for _, text in (*result.failures, *result.errors))


def test_every_listed_difference_is_a_test_of_huey() -> None:
    assert {name_of(case) for case in CASES} >= LISTED
    assert len(LISTED) <= 10
