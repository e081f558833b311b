"""What a job is: names, signatures, functions and classes, and the settings of one call."""

from __future__ import annotations

import asyncio
import functools
import inspect
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Generic, TypeVar

import pytest
from flask import Flask

from flask_abpjobs import AbpJobs, AsyncBackgroundJob, BackgroundJob, JobPriority, JobRegistry, RetryPolicy
from flask_abpjobs.errors import AbpJobsError, ArgumentsError, ConfigError, UnknownJobError
from flask_abpjobs.jobs import JobDefinition
from flask_abpjobs.model import JobState
from flask_abpjobs.options import JobOptions

HERE = __name__
T = TypeVar("T")


@dataclass
class MailArgs:
    to: str
    subject: str = "Hi"


@dataclass
class ReportArgs:
    day: date


@dataclass
class LostArgs:
    x: Nowhere  # type: ignore[name-defined]  # noqa: F821


@dataclass
class MixedArgs:
    x: MailArgs | ReportArgs


def build(job_class: type[Any]) -> Any:
    return job_class()


def travelled(definition: JobDefinition, *args: Any, **kwargs: Any) -> Any:
    """Return the result of a call that went through JSON."""
    payload = definition.encode(definition.bind(*args, **kwargs))
    return definition.run(definition.decode(payload), build)


@pytest.fixture
def registry() -> JobRegistry:
    return JobRegistry()


@pytest.fixture
def jobs() -> AbpJobs:
    return AbpJobs()


def top_level(a: int) -> int:
    return a


class TestNames:
    def test_a_function_is_named_by_its_module_and_qualified_name(self, jobs: AbpJobs) -> None:
        assert jobs.job(top_level).name == f"{HERE}.top_level"

    def test_a_class_is_named_by_its_argument_type(self, registry: JobRegistry) -> None:
        class Send(BackgroundJob[MailArgs]):
            def execute(self, args: MailArgs) -> None: ...

        assert registry.define(Send).name == f"{HERE}.MailArgs"

    def test_a_name_can_be_given(self, jobs: AbpJobs) -> None:
        job = jobs.job(name="mail.welcome-2:x_<y>")(top_level)
        assert job.name == "mail.welcome-2:x_<y>"
        assert jobs.registry.get(job.name).target is top_level

    @pytest.mark.parametrize("name", ["a b", "a/b", "ä", "a\n", "x" * 201, "$"])
    def test_a_name_that_cannot_be_used_is_refused(self, jobs: AbpJobs, name: str) -> None:
        with pytest.raises(ConfigError, match=r"^The job name '.* is not usable: use 1 to 200 letters, digits and _ "):
            jobs.job(name=name)(top_level)
        assert list(jobs.registry) == []

    def test_two_jobs_of_one_name_are_refused_and_both_places_named(self, registry: JobRegistry) -> None:
        def other() -> None: ...

        registry.define(top_level, name="same")
        with pytest.raises(ConfigError) as refused:
            registry.define(other, name="same")
        place = f"{HERE}.TestNames.test_two_jobs_of_one_name_are_refused_and_both_places_named.<locals>.other"
        assert str(refused.value) == (
            f"Two jobs have the name same: {HERE}.top_level and {place}. "
            "Give one of them another with @jobs.job(name=...)."
        )
        assert [definition.target for definition in registry] == [top_level]

    def test_two_classes_of_one_argument_type_are_refused(self, registry: JobRegistry) -> None:
        class First(BackgroundJob[MailArgs]):
            def execute(self, args: MailArgs) -> None: ...

        class Second(BackgroundJob[MailArgs]):
            def execute(self, args: MailArgs) -> None: ...

        registry.define(First)
        with pytest.raises(
            ConfigError, match=r"^Two job classes take MailArgs: .*First and .*Second\. The type of the"
        ):
            registry.define(Second, name="second")
        assert [definition.target for definition in registry] == [First]

    def test_jobs_are_listed_by_name(self, registry: JobRegistry) -> None:
        for name in ("c", "a", "b"):
            registry.define(top_level, name=name)
        assert [definition.name for definition in registry] == ["a", "b", "c"]

    def test_an_unknown_name_is_answered_with_similar_ones(self, registry: JobRegistry) -> None:
        registry.define(top_level, name="mail.welcome")
        with pytest.raises(UnknownJobError) as unknown:
            registry.get("mail.welcom")
        assert str(unknown.value) == "No job of the name 'mail.welcom' is registered. Did you mean mail.welcome?"
        with pytest.raises(UnknownJobError, match=r"registered\. Is the module that declares it imported\?$"):
            registry.get("qqq")
        assert registry.find("qqq") is None

    def test_an_unknown_argument_type_is_answered_with_the_known_ones(self, registry: JobRegistry) -> None:
        advice = "Decorate its job class with @jobs.job, or call enqueue on the job itself."
        with pytest.raises(UnknownJobError) as unknown:
            registry.get_by_type(ReportArgs)
        assert str(unknown.value) == (
            f"No job takes arguments of type {HERE}.ReportArgs. {advice} Registered argument types: none yet."
        )

        class Send(BackgroundJob[MailArgs]):
            def execute(self, args: MailArgs) -> None: ...

        definition = registry.define(Send)
        assert registry.get_by_type(MailArgs) is definition
        with pytest.raises(UnknownJobError, match=r"Registered argument types: MailArgs\.$"):
            registry.get_by_type(ReportArgs)


class TestFunctions:
    def test_calling_a_job_runs_it_here_and_now_and_it_stays_what_it_was(self, jobs: AbpJobs) -> None:
        @jobs.job(queue="alpha")
        def add(a: int, b: int = 2) -> int:
            """Add."""
            return a + b

        assert (add(1), add(1, b=5)) == (3, 6)
        assert (add.__name__, add.__doc__, add.__module__) == ("add", "Add.", HERE)
        assert list(inspect.signature(add).parameters) == ["a", "b"]
        assert repr(add) == f"<job {add.name}(a: int, b: int = 2)>"

    def test_calling_an_async_job_gives_its_coroutine(self, jobs: AbpJobs) -> None:
        @jobs.job
        async def double(a: int) -> int:
            return 2 * a

        assert asyncio.run(double(4)) == 8

    def test_arguments_travel_typed(self, registry: JobRegistry) -> None:
        seen: list[Any] = []

        def job(day: date, mail: MailArgs, *, times: int = 1) -> None:
            seen.append((day, mail, times))

        travelled(registry.define(job), date(2026, 1, 2), MailArgs("a"), times=3)
        assert seen == [(date(2026, 1, 2), MailArgs("a"), 3)]

    def test_positional_only_and_keyword_only_parameters_work(self, registry: JobRegistry) -> None:
        def job(a: int, b: int = 2, /, c: int = 3, *, d: int = 4) -> list[int]:
            return [a, b, c, d]

        definition = registry.define(job)
        assert travelled(definition, 1) == [1, 2, 3, 4]
        assert travelled(definition, 1, 5, 6, d=7) == [1, 5, 6, 7]
        assert travelled(definition, 1, d=7) == [1, 2, 3, 7]
        with pytest.raises(ArgumentsError, match="positional.only"):
            definition.bind(a=1)

    def test_parameters_may_have_the_names_that_python_likes_to_use_itself(self, registry: JobRegistry) -> None:
        def job(self: int, cls: int, type: str, name: str = "n") -> list[Any]:  # noqa: A002
            return [self, cls, type, name]

        assert travelled(registry.define(job), 1, 2, "t") == [1, 2, "t", "n"]

    def test_an_async_job_is_run_to_its_end(self, registry: JobRegistry) -> None:
        async def job(a: int) -> int:
            await asyncio.sleep(0)
            return a + 1

        assert travelled(registry.define(job), 1) == 2

    @pytest.mark.parametrize(
        ("args", "kwargs", "words"),
        [
            ((), {}, "missing a required argument: 'day'"),
            ((1, 2, 3, 4), {}, "too many positional arguments"),
            ((date(2026, 1, 1),), {"dya": 1}, "got an unexpected keyword argument 'dya'"),
            ((date(2026, 1, 1),), {"day": 1}, "multiple values for argument 'day'"),
        ],
    )
    def test_arguments_that_do_not_fit_are_refused_with_the_signature(
        self, registry: JobRegistry, args: tuple[Any, ...], kwargs: dict[str, Any], words: str
    ) -> None:
        def job(day: date, note: str | None = None, *, untyped=1) -> None: ...  # type: ignore[no-untyped-def]

        definition = registry.define(job, name="report")
        with pytest.raises(ArgumentsError) as refused:
            definition.bind(*args, **kwargs)
        assert str(refused.value) == f"report(day: date, note: str | None = None, untyped=1): {words}."

    def test_a_value_of_the_wrong_type_is_refused_with_the_signature(self, registry: JobRegistry) -> None:
        definition = registry.define(top_level, name="n")
        with pytest.raises(ArgumentsError) as refused:
            definition.encode(definition.bind("one"))
        assert str(refused.value) == "n(a: int): a: Expected `int`, got `str`."
        with pytest.raises(
            ArgumentsError, match=r"^n\(a: int\) cannot take the stored arguments: Object missing requir"
        ):
            definition.decode(b"{}")

    @pytest.mark.parametrize("target", [5, functools.partial(top_level, 1), AbpJobs().job(top_level), object()])
    def test_what_is_neither_function_nor_class_is_refused(self, jobs: AbpJobs, target: Any) -> None:
        with pytest.raises(ConfigError, match=r" is neither a function nor a class: decorate the function itself\.$"):
            jobs.job(target)


class TestClasses:
    def test_each_run_has_an_object_of_its_own(self, registry: JobRegistry) -> None:
        class Send(BackgroundJob[MailArgs]):
            def execute(self, args: MailArgs) -> list[Any]:
                self.calls = getattr(self, "calls", 0) + 1
                return [args, self.calls]

        definition = registry.define(Send)
        assert definition.is_class
        assert travelled(definition, MailArgs("a")) == [MailArgs("a"), 1]
        assert travelled(definition, MailArgs("b")) == [MailArgs("b"), 1]

    def test_an_async_class_is_run_to_its_end(self, registry: JobRegistry) -> None:
        class Report(AsyncBackgroundJob[ReportArgs]):
            async def execute(self, args: ReportArgs) -> int:
                await asyncio.sleep(0)
                return args.day.year

        assert travelled(registry.define(Report), ReportArgs(date(2026, 1, 1))) == 2026

    def test_the_argument_type_is_found_through_inheritance(self, registry: JobRegistry) -> None:
        class Audited(BackgroundJob[T]):
            def execute(self, args: T) -> Any:
                return args

        class Mixin: ...

        class Send(Mixin, Audited[MailArgs]): ...

        class Special(Send): ...

        assert registry.define(Special).parameters.type is MailArgs

    def test_a_type_parameter_of_another_base_is_not_taken_for_it(self, registry: JobRegistry) -> None:
        class Cached(Generic[T]): ...

        class Send(Cached[int], BackgroundJob[MailArgs]):
            def execute(self, args: MailArgs) -> None: ...

        assert registry.define(Send).parameters.type is MailArgs

    def test_a_class_that_does_not_say_what_it_takes_is_refused(self, registry: JobRegistry) -> None:
        class Untyped(BackgroundJob):  # type: ignore[type-arg]
            def execute(self, args: Any) -> None: ...

        class Plain: ...

        class Open(BackgroundJob[T]):
            def execute(self, args: T) -> None: ...

        for job_class in (Untyped, Plain, Open):
            with pytest.raises(
                ConfigError, match=r"does not say what arguments it takes: derive it from BackgroundJob\["
            ):
                registry.define(job_class)

    @pytest.mark.parametrize("args_type", [LostArgs, MixedArgs, list[int]])
    def test_an_argument_type_that_json_cannot_carry_is_refused(self, registry: JobRegistry, args_type: Any) -> None:
        class Send(BackgroundJob[args_type]):
            def execute(self, args: Any) -> None: ...

        with pytest.raises(ArgumentsError, match=r"Send takes .*, which cannot be carried as JSON: .*Use a dataclass"):
            registry.define(Send)
        assert list(registry) == []

    @pytest.mark.parametrize("call", [((), {}), ((1, 2), {}), ((), {"args": 1}), ((MailArgs("a"),), {"x": 1})])
    def test_a_class_takes_one_argument(self, registry: JobRegistry, call: tuple[Any, Any]) -> None:
        class Send(BackgroundJob[MailArgs]):
            def execute(self, args: MailArgs) -> None: ...

        definition = registry.define(Send, name="send")
        with pytest.raises(ArgumentsError) as refused:
            definition.bind(*call[0], **call[1])
        assert str(refused.value) == "send(MailArgs) takes one argument of type MailArgs."

    def test_a_class_that_was_not_decorated_says_so(self, jobs: AbpJobs) -> None:
        class Send(BackgroundJob[MailArgs]):
            def execute(self, args: MailArgs) -> None: ...

        words = r"Send is not a job yet: decorate the class with @jobs\.job\.$"
        with pytest.raises(UnknownJobError, match=words):
            Send.enqueue(MailArgs("a"))
        with pytest.raises(UnknownJobError, match=words):
            Send.using(delay=1)

    def test_a_subclass_of_a_job_is_not_that_job(self, jobs: AbpJobs) -> None:
        @jobs.job
        class Send(BackgroundJob[MailArgs]):
            def execute(self, args: MailArgs) -> None: ...

        class Special(Send): ...

        with pytest.raises(UnknownJobError, match=r"Special is not a job yet"):
            Special.enqueue(MailArgs("a"))

    def test_a_decorated_class_stays_a_class(self, jobs: AbpJobs) -> None:
        @jobs.job
        class Send(BackgroundJob[MailArgs]):
            def execute(self, args: MailArgs) -> str:
                return args.to

        assert Send().execute(MailArgs("a")) == "a"
        with pytest.raises(TypeError, match="abstract"):
            BackgroundJob()  # type: ignore[abstract]


class TestSettings:
    def test_settings_of_a_definition_are_kept(self, jobs: AbpJobs) -> None:
        retry = RetryPolicy(delays=[1])
        job = jobs.job(
            queue="alpha", priority=JobPriority.HIGH, retry=retry, display_name="Nice", sensitive="a", name="n"
        )(top_level)
        definition, options = job.definition, job.definition.options
        assert (options.queue, options.priority, options.retry, definition.display_name) == (
            "alpha",
            JobPriority.HIGH,
            retry,
            "Nice",
        )
        assert definition.parameters.display(definition.bind(5))[0].redacted

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"queue": "a b"}, "queue is 'a b': use 1 to 64 letters, digits and _ . -"),
            ({"priority": "HIGH"}, "priority is 'HIGH': use a JobPriority."),
            ({"retry": 3}, "retry is 3: use a RetryPolicy."),
        ],
    )
    def test_a_wrong_setting_of_a_definition_is_refused(
        self, jobs: AbpJobs, settings: dict[str, Any], words: str
    ) -> None:
        with pytest.raises(ConfigError) as refused:
            jobs.job(**settings)(top_level)
        assert str(refused.value) == words
        assert list(jobs.registry) == []

    def test_using_returns_a_copy_and_leaves_the_job_alone(self, jobs: AbpJobs) -> None:
        shop = Flask("shop")
        shop.config["TESTING"] = True
        jobs.init_app(shop, dashboard=None)
        job = jobs.job(queue="own", name="j")(top_level)
        slow = job.using(queue="slow", delay=90)
        slower = slow.using(priority=JobPriority.LOW, tenant="acme", retry=RetryPolicy.none())
        with shop.app_context():
            first, second, third = (jobs.storage.get(call.enqueue(1)) for call in (job, slow, slower))
        assert (first.queue, first.priority, first.due_at, first.tenant_id, first.retry) == (
            "own",
            15,
            None,
            None,
            None,
        )
        assert (second.queue, second.priority, second.tenant_id) == ("slow", 15, None)
        assert (third.queue, third.priority, third.tenant_id) == ("slow", 5, "acme")
        assert third.retry is not None
        for late in (second, third):
            assert late.state is JobState.SCHEDULED
            assert late.due_at is not None
            assert late.due_at - late.created_at == timedelta(seconds=90)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"bogus": 1}, "There is no option bogus; there are " + ", ".join(JobOptions.__struct_fields__) + "."),
            ({"queue": ""}, "queue is '': use 1 to 64 letters, digits and _ . -"),
            ({"queue": 5}, "queue is 5: use 1 to 64 letters, digits and _ . -"),
            ({"priority": "high"}, "priority is 'high': use a JobPriority."),
            ({"priority": True}, "priority is True: use a JobPriority."),
            ({"delay": "5"}, "delay is '5': use seconds or a timedelta, at most 100 years."),
            ({"delay": float("nan")}, "delay is nan: use seconds or a timedelta, at most 100 years."),
            ({"delay": 1e300}, "delay is 1e+300: use seconds or a timedelta, at most 100 years."),
            (
                {"eta": "tomorrow"},
                "eta is 'tomorrow': use a datetime with a time zone, as datetime.now(UTC).",
            ),
            (
                {"eta": date(2026, 1, 1)},
                "eta is datetime.date(2026, 1, 1): use a datetime with a time zone, as datetime.now(UTC).",
            ),
            (
                {"eta": datetime(2026, 1, 1)},
                "eta is datetime.datetime(2026, 1, 1, 0, 0): use a datetime with a time zone, as datetime.now(UTC).",
            ),
            ({"eta": datetime(2026, 1, 1, tzinfo=UTC), "delay": 0}, "Give delay or eta, not both."),
            ({"tenant": ""}, "tenant is empty: use None for a job of no tenant."),
            ({"tenant": 42}, "tenant is 42: use text, or None for a job of no tenant."),
            ({"retry": 3}, "retry is 3: use a RetryPolicy."),
        ],
        ids=str,
    )
    def test_an_option_that_does_not_fit_is_refused(self, jobs: AbpJobs, options: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigError) as refused:
            jobs.job(top_level).using(**options)
        assert str(refused.value) == words

    def test_delay_after_eta_is_refused_in_a_second_step_too(self, jobs: AbpJobs) -> None:
        call = jobs.job(top_level).using(delay=1)
        with pytest.raises(ConfigError, match=r"^Give delay or eta, not both\.$"):
            call.using(eta=datetime(2026, 1, 1, tzinfo=UTC))


class TestBeforeAnyApp:
    def test_jobs_are_declared_before_any_app_and_enqueued_in_each(self, jobs: AbpJobs) -> None:
        job = jobs.job(name="early")(top_level)
        ids = []
        for name in ("one", "two"):
            one = Flask(name)
            one.config["TESTING"] = True
            jobs.init_app(one, dashboard=None)
            with one.app_context():
                ids.append(job.enqueue(1))
                assert jobs.storage.get(ids[-1]).name == "early"
                assert jobs.storage.counts()["created"] == 1
        assert ids[0] != ids[1]

    def test_enqueueing_without_an_app_says_what_to_do(self, jobs: AbpJobs) -> None:
        with pytest.raises(AbpJobsError) as refused:
            jobs.job(top_level).enqueue(1)
        assert str(refused.value) == (
            "There is no current app. Enqueue inside a request or a job, or within `with app.app_context():`."
        )
