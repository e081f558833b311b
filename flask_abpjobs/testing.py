"""For tests of apps and of providers. It needs pytest."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from .errors import ArgumentsError, ConfigError, UnknownJobError
from .jobs import BackgroundJob
from .manager import BackgroundJobManager
from .model import JobPriority
from .registry import JobRegistry


class Colour(enum.Enum):
    """An argument of the contract."""

    RED = "red"


@dataclass
class ContractArgs:
    """Arguments of every kind that JSON has no word for."""

    number: int
    at: dt.datetime = dt.datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=dt.UTC)
    day: dt.date = dt.date(2026, 2, 28)
    price: decimal.Decimal = decimal.Decimal("12.30")
    key: uuid.UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")
    colour: Colour = Colour.RED
    data: bytes = b"\x00\xff"
    pause: dt.timedelta = dt.timedelta(seconds=90)
    inside: list[dict[str, int]] = field(default_factory=lambda: [{"a": 1}])


@dataclass
class UnknownArgs:
    """Arguments that no job takes."""


class BackgroundJobManagerContract:
    """What every provider of background jobs promises, as tests: inherit the class, and say how to make yours and how
    to let it work. ::

        class TestMyManager(BackgroundJobManagerContract):
            def make_manager(self, registry):
                return MyManager(registry)

            def run_jobs(self, manager):
                manager.drain()
    """

    def make_manager(self, registry: JobRegistry) -> BackgroundJobManager:
        """Return a new manager that knows the jobs of the registry."""
        raise NotImplementedError("Say how to make the manager under test.")

    def run_jobs(self, manager: BackgroundJobManager) -> None:
        """Let the provider work until all enqueued jobs have ended, also in this process."""
        raise NotImplementedError("Say how the manager's jobs are run.")

    @pytest.fixture
    def ran(self) -> list[Any]:
        """What the jobs were given, in the order in which they ran."""
        return []

    @pytest.fixture
    def manager(self, ran: list[Any]) -> BackgroundJobManager:
        """The manager under test, with one job class and one function."""
        registry = JobRegistry()

        class ContractJob(BackgroundJob[ContractArgs]):
            def execute(self, args: ContractArgs) -> None:
                ran.append(args)

        def note(word: str, times: int = 1) -> None:
            ran.append((word, times))

        registry.define(ContractJob, name="contract.job")
        registry.define(note, name="contract.note")
        return self.make_manager(registry)

    def test_it_is_available(self, manager: BackgroundJobManager) -> None:
        assert manager.is_available

    def test_a_job_runs_once_with_its_typed_arguments(self, manager: BackgroundJobManager, ran: list[Any]) -> None:
        given = ContractArgs(7)
        manager.enqueue(given)
        self.run_jobs(manager)
        assert ran == [given]

    def test_every_job_gets_an_id_of_its_own(self, manager: BackgroundJobManager) -> None:
        ids = [manager.enqueue(ContractArgs(number)) for number in range(3)]
        assert len(set(ids)) == 3
        assert all(isinstance(job_id, str) and job_id for job_id in ids)

    def test_many_jobs_give_their_ids_in_order(self, manager: BackgroundJobManager, ran: list[Any]) -> None:
        ids = manager.enqueue_many(ContractArgs(number) for number in range(250))
        assert len(set(ids)) == 250
        self.run_jobs(manager)
        assert sorted(args.number for args in ran) == list(range(250))

    def test_no_jobs_are_no_error(self, manager: BackgroundJobManager) -> None:
        assert manager.enqueue_many([]) == []

    def test_a_job_is_enqueued_by_its_name(self, manager: BackgroundJobManager, ran: list[Any]) -> None:
        manager.enqueue_by_name("contract.note", {"word": "hello", "times": 2})
        self.run_jobs(manager)
        assert ran == [("hello", 2)]

    @pytest.mark.parametrize("priority", list(JobPriority))
    def test_every_priority_is_taken(
        self, manager: BackgroundJobManager, ran: list[Any], priority: JobPriority
    ) -> None:
        manager.enqueue(ContractArgs(1), priority=priority)
        self.run_jobs(manager)
        assert len(ran) == 1

    @pytest.mark.parametrize("delay", [0, 0.01, dt.timedelta(milliseconds=10)])
    def test_a_delay_is_seconds_or_a_timedelta(
        self, manager: BackgroundJobManager, ran: list[Any], delay: float | dt.timedelta
    ) -> None:
        manager.enqueue(ContractArgs(1), delay=delay)
        self.run_jobs(manager)
        assert len(ran) == 1

    def test_an_unregistered_type_is_refused(self, manager: BackgroundJobManager) -> None:
        with pytest.raises(UnknownJobError, match="UnknownArgs"):
            manager.enqueue(UnknownArgs())

    def test_an_unregistered_name_is_refused(self, manager: BackgroundJobManager) -> None:
        with pytest.raises(UnknownJobError, match=r"contract\.note"):
            manager.enqueue_by_name("contract.notes", {})

    @pytest.mark.parametrize("payload", [{}, {"word": 1}, {"word": "a", "time": 1}, {"word": "a", "times": "x"}])
    def test_arguments_that_do_not_fit_are_refused_and_nothing_runs(
        self, manager: BackgroundJobManager, ran: list[Any], payload: dict[str, Any]
    ) -> None:
        with pytest.raises(ArgumentsError):
            manager.enqueue_by_name("contract.note", payload)
        self.run_jobs(manager)
        assert ran == []

    def test_of_many_jobs_none_runs_when_one_does_not_fit(self, manager: BackgroundJobManager, ran: list[Any]) -> None:
        wrong: Any = "seven"
        with pytest.raises(ArgumentsError):
            manager.enqueue_many([ContractArgs(1), ContractArgs(wrong)])
        self.run_jobs(manager)
        assert ran == []

    def test_an_unknown_option_is_refused(self, manager: BackgroundJobManager) -> None:
        with pytest.raises(ConfigError, match="no option colour"):
            manager.enqueue(ContractArgs(1), colour="red")

    def test_a_priority_that_is_none_is_refused(self, manager: BackgroundJobManager) -> None:
        urgent: Callable[[], Any] = lambda: "urgent"  # noqa: E731
        with pytest.raises(ConfigError, match="priority"):
            manager.enqueue(ContractArgs(1), priority=urgent())


__all__ = ["BackgroundJobManagerContract"]
