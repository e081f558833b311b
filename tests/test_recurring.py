"""Recurring jobs: declared and changed, and each slot run once, whatever servers do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask import Flask

from flask_abpjobs import (
    AbpJobs,
    ArgumentsError,
    BackgroundJob,
    ConfigError,
    JobNotFoundError,
    JobPriority,
    JobQuery,
    JobRecord,
    JobState,
    UnknownJobError,
    tenant_scope,
)
from flask_abpjobs.config import JobsConfig
from flask_abpjobs.context import current_tenant
from flask_abpjobs.engine import JobHuey
from flask_abpjobs.engine.performer import build
from flask_abpjobs.manager import ManagerSetup
from flask_abpjobs.manager.records import Caller
from flask_abpjobs.model import Misfire, RecurringRecord
from flask_abpjobs.recurring import RecurringJobs
from flask_abpjobs.storage import open_storage
from flask_abpjobs.storage.base import BATCH

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Clock:
    """The clock of a storage, which stands still until a test moves it."""

    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> float:
        return self.at.timestamp()

    def move(self, **duration: float) -> None:
        self.at += timedelta(**duration)


class Program:
    """One process of an application: its code, and a server that ticks when it is told to."""

    def __init__(self, folder: Path, clock: Clock, **settings: Any) -> None:
        self.jobs = AbpJobs()
        self.storage = open_storage(f"sqlite:///{folder}/jobs.db", "shop", clock=clock)
        config = JobsConfig.from_mapping(settings, import_name="shop")
        self.setup = ManagerSetup(
            registry=self.jobs.registry,
            config=config,
            caller=lambda: Caller(tenant_id=current_tenant.id, user_id="ada"),
            sender=self,
            huey=JobHuey("shop", self.storage, jobs=self.jobs.registry),
            activator=build,
        )
        self.recurring = RecurringJobs(self.jobs.registry, self.jobs.job, lambda: self.setup)
        self.server = self.recurring.tick_of(self.setup)

    def with_job(self, name: str = "count", **settings: Any) -> Program:
        @self.jobs.job(name=name, **settings)
        def count(number: int = 1) -> int:
            return number

        return self

    def tick(self) -> None:
        self.server.tick()

    def runs(self, name: str | None = None) -> list[JobRecord]:
        """The jobs made so far, oldest first."""
        return list(self.storage.find(JobQuery(name=name, limit=1000)).jobs)[::-1]

    def slots(self, name: str | None = None) -> list[datetime | None]:
        return sorted(job.first_due_at for job in self.runs(name) if job.first_due_at is not None)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_program(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Program]]:
    """A function that starts one more process on the same file."""
    made: list[Program] = []

    def make(**settings: Any) -> Program:
        made.append(Program(tmp_path, clock, **settings))
        return made[-1]

    yield make
    for program in made:
        assert program.storage.check() == []
        program.storage.close()


@pytest.fixture
def shop(make_program: Callable[..., Program]) -> Program:
    return make_program().with_job()


def together(*actions: Callable[[], Any]) -> None:
    """Do all at the same moment, each in a thread of its own."""
    barrier = threading.Barrier(len(actions))
    errors: list[BaseException] = []

    def act(action: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            action()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=act, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@dataclass
class LetterArgs:
    to: str


class TestDeclaring:
    def test_a_plain_function_becomes_a_job(self) -> None:
        jobs = AbpJobs()

        @jobs.recurring("0 3 * * *", id="nightly", timezone="Europe/Istanbul", misfire="skip", queue="slow")
        def clean(days: int = 30) -> int:
            return days

        assert clean(7) == 7
        assert jobs.registry.find(clean.name) is clean.definition
        record = jobs.recurring.declared["nightly"]
        assert (record.name, record.cron, record.timezone) == (clean.name, "0 3 * * *", "Europe/Istanbul")
        assert (record.misfire, record.queue, record.priority) == (Misfire.SKIP, "slow", None)
        assert (record.payload, record.is_declared) == (b"{}", True)

    def test_one_job_may_recur_in_several_ways_with_arguments(self) -> None:
        jobs = AbpJobs()

        @jobs.recurring("@daily", id="all", args=(1, "a"))
        @jobs.recurring("@hourly", id="some", args={"number": 2})
        @jobs.recurring("@hourly", id="bare", args=3, priority=JobPriority.HIGH)
        @jobs.job(name="report")
        def report(number: int, kind: str = "b") -> None: ...

        declared = jobs.recurring.declared
        assert {key: record.payload for key, record in declared.items()} == {
            "all": b'{"number":1,"kind":"a"}',
            "some": b'{"number":2}',
            "bare": b'{"number":3}',
        }
        assert [argument.text for argument in declared["all"].arguments] == ["1", "'a'"]
        assert declared["bare"].priority == 25
        assert {record.name for record in declared.values()} == {"report"}

    def test_a_job_class_is_given_its_argument(self) -> None:
        jobs = AbpJobs()

        @jobs.recurring("@daily", id="letter", args=LetterArgs("ada"))
        @jobs.job(name="letter")
        class SendLetter(BackgroundJob[LetterArgs]):
            def execute(self, args: LetterArgs) -> None: ...

        assert SendLetter.using(queue="mail")
        assert jobs.recurring.declared["letter"].payload == b'{"to":"ada"}'

    def test_without_an_id_it_has_the_name_of_the_job(self) -> None:
        jobs = AbpJobs()

        @jobs.recurring("@daily")
        @jobs.job(name="sweep")
        def sweep() -> None: ...

        assert list(jobs.recurring.declared) == ["sweep"]

    @pytest.mark.parametrize(
        ("cron", "settings", "words"),
        [
            ("every day", {}, "The cron expression 'every day' cannot be used: it has 2 fields"),
            ("@daily", {"timezone": "istanbul"}, "There is no time zone 'istanbul'. Did you mean"),
            ("@daily", {"misfire": "never"}, "misfire is 'never': use once, all, skip."),
            ("@daily", {"id": "a b"}, "The recurring job's id is 'a b': use 1 to 128 letters"),
            ("@daily", {"id": "x" * 129}, "use 1 to 128 letters"),
            ("@daily", {"id": ""}, "use 1 to 128 letters"),
            ("@daily", {"queue": "a b"}, "queue is 'a b'"),
            ("@daily", {"priority": "high"}, "priority is 'high'"),
        ],
    )
    def test_what_cannot_work_is_refused_at_import(self, cron: str, settings: dict[str, Any], words: str) -> None:
        jobs = AbpJobs()
        with pytest.raises(ConfigError) as caught:

            @jobs.recurring(cron, **{"id": "a", **settings})
            def job() -> None: ...

        assert words in str(caught.value)
        assert jobs.recurring.declared == {}

    def test_arguments_that_do_not_fit_are_refused_at_import(self) -> None:
        jobs = AbpJobs()

        @jobs.job(name="report")
        def report(number: int) -> None: ...

        with pytest.raises(ArgumentsError, match="missing a required argument: 'number'"):
            jobs.recurring("@daily", id="a")(report)
        with pytest.raises(ArgumentsError, match="Expected `int`, got `str`"):
            jobs.recurring("@daily", id="a", args="x")(report)

    def test_an_id_is_taken_once(self) -> None:
        jobs = AbpJobs()

        @jobs.recurring("@daily", id="a")
        @jobs.job(name="sweep")
        def sweep() -> None: ...

        with pytest.raises(ConfigError, match="Two recurring jobs have the id 'a'"):
            jobs.recurring("@hourly", id="a")(sweep)


class TestTakingOver:
    def test_what_the_code_declares_is_stored_with_its_next_slot(self, shop: Program) -> None:
        shop.recurring("30 12 * * *", id="lunch")(shop.jobs.job(name="eat")(lambda: None))
        shop.recurring.sync(shop.setup)
        (record,) = shop.recurring.list()
        assert (record.id, record.is_declared, record.version) == ("lunch", True, 1)
        assert (record.created_at, record.next_at) == (NOON, NOON + timedelta(minutes=30))

    def test_nothing_is_written_that_has_not_changed(self, make_program: Callable[..., Program], clock: Clock) -> None:
        for _ in range(3):
            program = make_program().with_job()
            program.recurring("@hourly", id="a")(program.jobs.job(name="x")(lambda: None))
            program.recurring.sync(program.setup)
            clock.move(hours=5)
        record = program.recurring.get("a")
        assert (record.version, record.next_at) == (1, NOON + timedelta(hours=1))

    @pytest.mark.parametrize(
        ("change", "next_at"),
        [
            ({"cron": "0 18 * * *"}, NOON + timedelta(hours=6)),
            ({"timezone": "Europe/Istanbul"}, NOON + timedelta(hours=20)),  # 11:00 in Istanbul is 08:00
            ({"queue": "mail"}, NOON + timedelta(hours=23)),
            ({"misfire": "all"}, NOON + timedelta(hours=23)),
            ({"args": 7}, NOON + timedelta(hours=23)),
        ],
    )
    def test_the_next_slot_moves_only_with_the_expression_or_the_zone(
        self, make_program: Callable[..., Program], change: dict[str, Any], next_at: datetime
    ) -> None:
        settings: dict[str, Any] = {"cron": "0 11 * * *", "id": "a"}
        for given in (settings, {**settings, **change}):
            program = make_program()

            @program.jobs.job(name="count")
            def count(number: int = 1) -> None: ...

            program.recurring(given.pop("cron"), **given)(count)
            program.recurring.sync(program.setup)
        record = program.recurring.get("a")
        assert (record.version, record.next_at) == (2, next_at)

    def test_a_pause_outlives_restarts(self, make_program: Callable[..., Program]) -> None:
        for _ in range(2):
            program = make_program()
            program.recurring("@hourly", id="a")(program.jobs.job(name="x")(lambda: None))
            program.recurring.sync(program.setup)
            program.recurring.pause("a")
        assert program.recurring.get("a").is_paused

    def test_what_left_the_code_stays_is_known_as_such_and_can_be_removed(
        self, make_program: Callable[..., Program]
    ) -> None:
        old, new = make_program(), make_program().with_job()
        old.recurring("@hourly", id="a")(old.jobs.job(name="x")(lambda: None))
        old.recurring.sync(old.setup)
        new.recurring.sync(new.setup)
        record = new.recurring.get("a")
        assert record.is_declared
        assert record.id not in new.recurring.declared
        assert new.recurring.remove("a")
        assert new.recurring.list() == []

    def test_many_processes_may_start_at_once(self, make_program: Callable[..., Program]) -> None:
        programs = [make_program() for _ in range(4)]
        for number, program in enumerate(programs):
            for key in "abcde":  # the last one to write wins, and no write is half of two
                program.recurring(f"{number} * * * *", id=key)(program.jobs.job(name=f"x{key}")(lambda: None))
        together(*(lambda program=program: program.recurring.sync(program.setup) for program in programs))
        for record in programs[0].recurring.list():
            assert record.next_at is not None
            assert f"{record.next_at.minute} * * * *" == record.cron
            assert 1 <= record.version <= 4

    def test_code_does_not_take_the_recurring_job_of_a_tenant(
        self, shop: Program, caplog: pytest.LogCaptureFixture
    ) -> None:
        shop.recurring.add_or_update("a", "count", cron="@daily", tenant="acme")
        shop.recurring("@hourly", id="a")(shop.jobs.job(name="x")(lambda: None))
        shop.recurring("@hourly", id="b")(shop.jobs.job(name="y")(lambda: None))
        shop.recurring.sync(shop.setup)
        assert (shop.recurring.get("a").cron, shop.recurring.get("b").cron) == ("@daily", "@hourly")
        assert "The id 'a' is taken by a recurring job of another tenant" in caplog.text

    def test_an_app_takes_over_when_it_starts_also_in_testing_mode(self) -> None:
        jobs = AbpJobs()

        @jobs.recurring("@daily", id="a")
        def sweep() -> None: ...

        for _ in range(2):
            app = Flask("shop")
            app.config["TESTING"] = True
            jobs.init_app(app, dashboard=None)
            with app.app_context():
                assert [record.id for record in jobs.recurring.list()] == ["a"]

    def test_a_storage_that_fails_at_the_start_is_synced_by_the_first_tick_that_can(
        self, shop: Program, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        shop.recurring("@daily", id="a")(shop.jobs.job(name="x")(lambda: None))
        shop.storage.close()
        (tmp_path / "jobs.db").rename(tmp_path / "aside")
        for rest in ("jobs.db-wal", "jobs.db-shm"):
            (tmp_path / rest).unlink(missing_ok=True)
        (tmp_path / "jobs.db").write_bytes(b"no database" * 1000)
        shop.recurring.start(shop.setup)
        assert "the first tick of a server does it" in caplog.text
        shop.storage.close()
        (tmp_path / "aside").rename(tmp_path / "jobs.db")
        shop.tick()
        assert [record.id for record in shop.recurring.list()] == ["a"]

    def test_what_is_declared_later_is_taken_over_by_a_tick(self, shop: Program) -> None:
        shop.tick()
        shop.recurring("@daily", id="a")(shop.jobs.job(name="x")(lambda: None))
        shop.tick()
        assert [record.id for record in shop.recurring.list()] == ["a"]


class TestSlots:
    def test_a_slot_becomes_a_job(self, shop: Program, clock: Clock) -> None:
        shop.recurring.add_or_update("a", "count", 7, cron="@hourly", queue="slow", priority=JobPriority.LOW)
        shop.tick()
        assert shop.runs() == []
        clock.move(hours=1)
        shop.tick()
        (job,) = shop.runs()
        assert (job.id, job.name, job.recurring_id) == ("a:20261124T130000Z", "count", "a")
        assert (job.state, job.queue, job.priority) == (JobState.ENQUEUED, "slow", 5)
        assert (job.payload, [argument.text for argument in job.arguments]) == (b'{"number":7}', ["7"])
        assert (job.created_at, job.first_due_at, job.due_at) == (clock.at, clock.at, None)
        assert (job.tenant_id, job.enqueued_by) == (None, None)
        record = shop.recurring.get("a")
        assert (record.last_at, record.last_job_id) == (clock.at, job.id)
        assert record.next_at == clock.at + timedelta(hours=1)

    def test_the_settings_of_the_job_apply_where_the_recurring_job_says_nothing(
        self, make_program: Callable[..., Program], clock: Clock
    ) -> None:
        shop = make_program(ABPJOBS_QUEUE_PREFIX="x-").with_job(
            queue="slow", priority=JobPriority.HIGH, max_concurrent=1, expires=60
        )
        shop.recurring.add_or_update("a", "count", cron="@hourly")
        clock.move(hours=1)
        shop.tick()
        (job,) = shop.runs()
        assert (job.queue, job.priority, job.max_concurrent) == ("x-slow", 25, 1)
        assert (job.concurrency_key, job.begin_before) == ("count", clock.at + timedelta(minutes=1))

    def test_two_servers_that_look_at_the_same_moment_run_it_once(
        self, make_program: Callable[..., Program], clock: Clock
    ) -> None:
        servers = [make_program().with_job() for _ in range(2)]
        for key in "abc":
            servers[0].recurring.add_or_update(key, "count", cron="* * * * *")
        for _ in range(20):
            clock.move(minutes=1)
            together(*(server.tick for server in servers))
        expected = sorted(NOON + timedelta(minutes=number) for number in range(1, 21) for _ in "abc")
        assert servers[0].slots() == expected

    def test_restarts_inside_a_slot_run_it_once(self, make_program: Callable[..., Program], clock: Clock) -> None:
        make_program().with_job().recurring.add_or_update("a", "count", cron="* * * * *")
        for number in range(1, 25):
            server = make_program().with_job()
            clock.move(seconds=20)
            server.tick()
            assert len(server.runs()) == number // 3
            server.storage.close()

    def test_a_slot_whose_unique_job_still_waits_makes_no_other(
        self, make_program: Callable[..., Program], clock: Clock
    ) -> None:
        shop = make_program().with_job(unique_key="one")
        shop.recurring.add_or_update("a", "count", cron="* * * * *")
        for _ in range(3):
            clock.move(minutes=1)
            shop.tick()
        assert shop.slots() == [NOON + timedelta(minutes=1)]

    def test_a_server_that_read_too_early_writes_nothing(
        self, make_program: Callable[..., Program], clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        quick, slow = make_program().with_job(), make_program().with_job()
        quick.recurring.add_or_update("a", "count", cron="* * * * *")
        clock.move(minutes=1)
        (seen,) = slow.storage.due_recurring()
        quick.tick()
        before = quick.recurring.get("a")
        monkeypatch.setattr(slow.storage, "due_recurring", lambda: [seen])
        clock.move(seconds=70)
        slow.tick()
        assert slow.recurring.get("a") == before
        assert len(quick.runs()) == 1

    def test_a_clock_that_goes_back_runs_no_slot_again(self, shop: Program, clock: Clock) -> None:
        shop.recurring.add_or_update("a", "count", cron="* * * * *")
        clock.move(minutes=10, seconds=1)
        shop.tick()
        clock.move(minutes=-5)
        for _ in range(400):
            clock.move(seconds=1)
            shop.tick()
        assert shop.slots() == [NOON + timedelta(minutes=number) for number in (10, 11)]

    def test_a_slot_of_a_changed_expression_that_ran_already_is_not_run_again(
        self, shop: Program, clock: Clock
    ) -> None:
        shop.recurring.add_or_update("a", "count", cron="* * * * *")
        clock.move(minutes=1)
        shop.tick()
        clock.move(seconds=-30)
        shop.recurring.add_or_update("a", "count", cron="*/1 * * * *")
        clock.move(seconds=30)
        shop.tick()
        assert shop.slots() == [NOON + timedelta(minutes=1)]

    @pytest.mark.parametrize(("misfire", "count"), [("skip", 0), ("once", 1), ("all", 10)])
    def test_ten_missed_slots_make_so_many_runs(
        self, make_program: Callable[..., Program], clock: Clock, misfire: str, count: int
    ) -> None:
        make_program().with_job().recurring.add_or_update("a", "count", cron="* * * * *", misfire=misfire)
        clock.move(minutes=10, seconds=30)
        servers = [make_program().with_job() for _ in range(2)]
        together(*(server.tick for server in servers))
        assert len(servers[0].runs()) == count
        clock.move(seconds=30)
        together(*(server.tick for server in servers))
        assert len(servers[0].runs()) == count + 1

    def test_very_many_missed_slots_come_in_batches(self, shop: Program, clock: Clock) -> None:
        shop.recurring.add_or_update("a", "count", cron="* * * * * *", misfire="all")
        clock.move(seconds=250)
        counts = []
        for _ in range(4):
            shop.tick()
            counts.append(len(shop.runs()))
            clock.move(microseconds=500)
        assert counts == [100, 200, 250, 250]
        assert shop.slots() == [NOON + timedelta(seconds=number) for number in range(1, 251)]
        assert [job.first_due_at for job in shop.runs()] == shop.slots()

    def test_more_due_at_once_than_one_answer_holds_all_run(
        self, make_program: Callable[..., Program], clock: Clock
    ) -> None:
        other, shop = make_program().with_job("theirs"), make_program().with_job()
        for number in range(BATCH + 5):
            other.recurring.add_or_update(f"theirs-{number}", "theirs", cron="* * * * *")
        clock.move(seconds=30)
        for number in range(5):
            shop.recurring.add_or_update(f"ours-{number}", "count", cron="*/2 * * * *")
        clock.move(minutes=2)
        shop.tick()
        assert len(shop.runs()) == 5
        other.tick()
        assert len(other.runs()) == BATCH + 10


class TestTrouble:
    def spoil(self, program: Program, recurring_id: str, **changes: Any) -> None:
        """Store what the API refuses, as an older or newer version of the program may have."""
        record = program.recurring.get(recurring_id)
        assert program.storage.put_recurring(msgspec.structs.replace(record, **changes))

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"cron": "every day"}, "The cron expression 'every day' cannot be used"),
            ({"timezone": "Mars/Olympus"}, "There is no time zone 'Mars/Olympus'."),
        ],
    )
    def test_one_that_cannot_be_scheduled_says_why_and_does_not_stop_the_others(
        self, shop: Program, clock: Clock, changes: dict[str, Any], words: str
    ) -> None:
        for key in "abc":
            shop.recurring.add_or_update(key, "count", cron="* * * * *")
        self.spoil(shop, "a", **changes)
        clock.move(minutes=1)
        shop.tick()
        broken = shop.recurring.get("a")
        assert broken.error is not None
        assert broken.error.startswith(words)
        assert broken.next_at is None
        assert sorted(job.recurring_id or "" for job in shop.runs()) == ["b", "c"]
        healed = shop.recurring.add_or_update("a", "count", cron="* * * * *")
        assert (healed.error, healed.next_at) == (None, NOON + timedelta(minutes=2))

    def test_code_that_comes_back_heals_what_it_declares(
        self, make_program: Callable[..., Program], clock: Clock
    ) -> None:
        for attempt in range(2):
            program = make_program()
            program.recurring("* * * * *", id="a")(program.jobs.job(name="x")(lambda: None))
            program.recurring.sync(program.setup)
            if attempt == 0:
                self.spoil(program, "a", error="broken", next_at=None)
        record = program.recurring.get("a")
        assert (record.error, record.next_at) == (None, NOON + timedelta(minutes=1))

    def test_a_job_that_is_unknown_here_is_left_to_a_server_that_knows_it(
        self, make_program: Callable[..., Program], clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        new, old = make_program().with_job(), make_program()
        new.recurring.add_or_update("a", "count", cron="* * * * *")
        before = new.recurring.get("a")
        clock.move(minutes=1)
        for _ in range(3):
            old.tick()
        assert old.recurring.get("a") == before
        assert caplog.text.count("The recurring job a needs the job count, which is not registered here") == 1
        new.tick()
        assert len(new.runs()) == 1

    def test_arguments_that_do_not_fit_the_code_any_more_are_told_until_they_do(
        self, make_program: Callable[..., Program], clock: Clock
    ) -> None:
        old, new = make_program().with_job(), make_program()

        @new.jobs.job(name="count")
        def count(number: str) -> None: ...

        old.recurring.add_or_update("a", "count", 7, cron="* * * * *")
        clock.move(minutes=1)
        new.tick()
        record = new.recurring.get("a")
        assert "cannot take the stored arguments: number: Expected `str`, got `int`" in (record.error or "")
        assert record.next_at == NOON + timedelta(minutes=2)
        clock.move(minutes=1)
        old.tick()
        assert old.recurring.get("a").error is None
        assert old.slots() == [NOON + timedelta(minutes=2)]


class TestChanging:
    def test_it_is_added_changed_and_removed(self, shop: Program, clock: Clock) -> None:
        added = shop.recurring.add_or_update("a", "count", cron="@hourly")
        assert added == shop.recurring.get("a")
        assert (added.version, added.is_declared, added.payload) == (1, False, b"{}")
        assert shop.recurring.add_or_update("a", "count", cron="@hourly").version == 1
        clock.move(minutes=10)
        changed = shop.recurring.add_or_update("a", "count", number=5, cron="@hourly", misfire=Misfire.ALL)
        assert (changed.version, changed.payload, changed.next_at) == (2, b'{"number":5}', NOON + timedelta(hours=1))
        assert shop.recurring.remove("a")
        assert not shop.recurring.remove("a")
        with pytest.raises(JobNotFoundError):
            shop.recurring.get("a")

    def test_a_job_is_given_by_itself_by_its_class_or_by_name(self, shop: Program) -> None:
        function = shop.jobs.job(name="f")(lambda: None)

        @shop.jobs.job(name="letter")
        class SendLetter(BackgroundJob[LetterArgs]):
            def execute(self, args: LetterArgs) -> None: ...

        assert shop.recurring.add_or_update("a", function, cron="@daily").name == "f"
        assert shop.recurring.add_or_update("b", SendLetter, LetterArgs("x"), cron="@daily").payload == b'{"to":"x"}'
        by_name = shop.recurring.add_or_update_by_name("c", "letter", {"to": "y"}, cron="@daily", queue="mail")
        assert (by_name.payload, by_name.queue) == (b'{"to":"y"}', "mail")
        assert [record.id for record in shop.recurring.list()] == ["a", "b", "c"]

    def test_what_does_not_fit_is_refused_and_nothing_is_stored(self, shop: Program) -> None:
        @AbpJobs().job(name="count")
        def stranger() -> None: ...

        known = shop.jobs.job(name="known")(lambda: None)
        for job, error in (
            ("nope", UnknownJobError),
            (stranger, ConfigError),
            (len, ConfigError),
            (known.using(delay=5), ConfigError),
        ):
            with pytest.raises(error):
                shop.recurring.add_or_update("a", job, cron="@daily")
        with pytest.raises(ArgumentsError):
            shop.recurring.add_or_update("a", "count", "seven", cron="@daily")
        with pytest.raises(ConfigError, match="has no setting speed"):
            shop.recurring.add_or_update_by_name("a", "count", {}, cron="@daily", speed=1)
        with pytest.raises(ConfigError, match="needs cron"):
            shop.recurring.add_or_update_by_name("a", "count", {})
        with pytest.raises(ConfigError, match="id is 'a/b'"):
            shop.recurring.add_or_update("a/b", "count", cron="@daily")
        assert shop.recurring.list() == []

    def test_a_paused_one_does_not_run_and_what_passed_meanwhile_is_not_caught_up(
        self, shop: Program, clock: Clock
    ) -> None:
        shop.recurring.add_or_update("a", "count", cron="* * * * *", misfire="all")
        assert shop.recurring.pause("a")
        clock.move(minutes=5, seconds=30)
        shop.tick()
        shop.recurring.add_or_update("a", "count", cron="*/2 * * * *", misfire="all")
        assert shop.recurring.get("a").is_paused
        assert shop.recurring.resume("a")
        shop.tick()
        assert shop.runs() == []
        clock.move(minutes=1)
        shop.tick()
        assert shop.slots() == [NOON + timedelta(minutes=6)]
        assert not shop.recurring.pause("nope")
        assert not shop.recurring.resume("nope")

    def test_resuming_what_is_not_paused_changes_nothing(self, shop: Program, clock: Clock) -> None:
        shop.recurring.add_or_update("a", "count", cron="* * * * *")
        clock.move(minutes=5)
        assert shop.recurring.resume("a")
        assert shop.recurring.get("a").version == 1

    def test_a_trigger_enqueues_a_run_beside_the_slots(self, shop: Program, clock: Clock) -> None:
        shop.recurring.add_or_update("a", "count", 7, cron="@hourly")
        shop.recurring.pause("a")
        clock.move(minutes=1)
        job_id = shop.recurring.trigger("a")
        assert job_id is not None
        job = shop.storage.get(job_id)
        assert (job.recurring_id, job.first_due_at, job.payload) == ("a", None, b'{"number":7}')
        assert (job.enqueued_by, job.state) == ("ada", JobState.ENQUEUED)
        record = shop.recurring.get("a")
        assert (record.last_at, record.last_job_id) == (clock.at, job_id)
        assert record.next_at == NOON + timedelta(hours=1)
        assert shop.recurring.trigger("nope") is None

    def test_a_trigger_while_the_unique_run_waits_makes_none(self, make_program: Callable[..., Program]) -> None:
        shop = make_program().with_job(unique_key="one")
        shop.recurring.add_or_update("a", "count", cron="@hourly")
        assert shop.recurring.trigger("a") is not None
        assert shop.recurring.trigger("a") is None
        assert len(shop.runs()) == 1

    def test_changes_at_the_same_moment_all_happen(self, make_program: Callable[..., Program], clock: Clock) -> None:
        programs = [make_program().with_job() for _ in range(4)]
        programs[0].recurring.add_or_update("a", "count", cron="* * * * *")
        clock.move(minutes=1)
        together(
            programs[0].tick,
            programs[1].tick,
            *(lambda program=program: program.recurring.trigger("a") for program in programs),
        )
        programs[0].tick()  # a tick that comes second leaves the slot to the next
        assert len(programs[0].runs()) == 5
        assert programs[0].slots() == [clock.at]
        assert programs[0].recurring.get("a").version == 6


class TestTenants:
    def test_it_belongs_to_the_tenant_of_its_caller_and_so_do_its_jobs(self, shop: Program, clock: Clock) -> None:
        with tenant_scope("acme"):
            shop.recurring.add_or_update("a", "count", cron="* * * * *")
        shop.recurring.add_or_update("b", "count", cron="* * * * *", tenant="umbrella")
        shop.recurring.add_or_update("c", "count", cron="* * * * *")
        clock.move(minutes=1)
        shop.tick()
        assert {job.recurring_id: job.tenant_id for job in shop.runs()} == {"a": "acme", "b": "umbrella", "c": None}
        assert [record.id for record in shop.recurring.list(tenant="acme")] == ["a"]
        assert [record.id for record in shop.recurring.list(tenant=None)] == ["c"]

    def test_another_tenant_can_neither_see_nor_touch_it(self, shop: Program) -> None:
        added = shop.recurring.add_or_update("a", "count", cron="* * * * *", tenant="acme")
        with pytest.raises(JobNotFoundError):
            shop.recurring.get("a", tenant="umbrella")
        for verb in (shop.recurring.remove, shop.recurring.pause, shop.recurring.resume, shop.recurring.trigger):
            assert not verb("a", tenant="umbrella")
        with tenant_scope("umbrella"), pytest.raises(ConfigError, match="taken by a recurring job of another tenant"):
            shop.recurring.add_or_update("a", "count", cron="@daily")
        assert shop.recurring.get("a", tenant="acme") == added
        assert shop.runs() == []


MODULE = """
from flask import Flask
from flask_abpjobs import AbpJobs

jobs = AbpJobs()


@jobs.recurring("@every_second", id="beat")
@jobs.job(name="beat")
def beat():
    pass


@jobs.recurring("0 0 1 1 *", id="rare")
@jobs.job(name="rare")
def rare():
    pass


def create_app():
    app = Flask("shop", instance_path={folder!r})
    app.config.update(ABPJOBS_WORKERS=2, ABPJOBS_WORKER_TYPE={worker_type!r})
    jobs.init_app(app, dashboard=None)
    return app
"""


def assert_that_each_second_ran_once(jobs: list[JobRecord]) -> None:
    slots = sorted(job.first_due_at for job in jobs if job.first_due_at is not None)
    assert len(slots) == len(jobs)
    assert slots == [slots[0] + timedelta(seconds=number) for number in range(len(slots))]
    for job in jobs:
        assert job.first_due_at is not None
        assert job.recurring_id == "beat"
        assert timedelta(0) <= job.created_at - job.first_due_at < timedelta(seconds=5)


class TestWholeWay:
    def test_two_consumers_run_each_second_once(self, tmp_path: Path, eventually: Callable[..., Any]) -> None:
        jobs = AbpJobs()

        @jobs.recurring("@every_second", id="beat")
        @jobs.job(name="beat")
        def beat() -> None: ...

        apps = [Flask("shop", instance_path=str(tmp_path)) for _ in range(2)]
        consumers = []
        for app in apps:
            jobs.init_app(app, dashboard=None)
            consumers.append(app.extensions["abpjobs"].huey.create_consumer(workers=1, handle_signals=False))
        storage = apps[0].extensions["abpjobs"].storage
        for consumer in consumers:
            consumer.start()
        query = JobQuery(state=JobState.SUCCEEDED, limit=100)
        ended = eventually(lambda: len(found := storage.find(query).jobs) >= 3 and found, timeout=30)
        for consumer in consumers:
            consumer.stop(graceful=True)
        assert_that_each_second_ran_once(list(ended))
        assert [entry.reason for entry in storage.history(ended[0].id)][0].startswith("Slot 20")
        assert storage.check() == []
        for app in apps:
            app.extensions["abpjobs"].storage.close()

    @pytest.mark.parametrize("worker_type", ["thread", "process"])
    def test_a_worker_program_takes_over_what_is_declared_and_runs_it(
        self, tmp_path: Path, eventually: Callable[..., Any], worker_type: str
    ) -> None:
        (tmp_path / "shop.py").write_text(MODULE.format(folder=str(tmp_path), worker_type=worker_type))
        path = os.pathsep.join([str(tmp_path), *sys.path])
        with (tmp_path / "output").open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "flask", "--app", "shop", "abpjobs", "worker"],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": path},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            storage = open_storage(f"sqlite:///{tmp_path}/abpjobs.db", "shop")
            query = JobQuery(state=JobState.SUCCEEDED, limit=100)
            ended = eventually(lambda: len(found := storage.find(query).jobs) >= 3 and found, timeout=40)
            recurring: list[RecurringRecord] = storage.list_recurring()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()
            process.wait(timeout=10)
        assert_that_each_second_ran_once(list(ended))
        assert [(record.id, record.is_declared) for record in recurring] == [("beat", True), ("rare", True)]
        assert "Traceback" not in (tmp_path / "output").read_text()
        assert storage.check() == []
        storage.close()
