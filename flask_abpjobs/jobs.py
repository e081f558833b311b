"""What a job is: a function or class with a name, typed arguments and settings."""

from __future__ import annotations

import asyncio
import difflib
import inspect
import re
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Coroutine, Iterator
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Generic, ParamSpec, TypeVar

import msgspec

from .arguments import Parameters, parameters_of, type_name
from .config import QUEUE_PATTERN
from .errors import ArgumentsError, ConfigError, UnknownJobError
from .model import JobPriority
from .retry import RetryPolicy

P = ParamSpec("P")
R = TypeVar("R")
Args = TypeVar("Args")
Activator = Callable[[type[Any]], Any]
RunCoroutine = Callable[[Coroutine[Any, Any, Any]], Any]

MAX_NAME: Final = 200
MAX_AHEAD: Final = timedelta(days=36_525)
_NAME: Final = re.compile(r"[A-Za-z0-9_.<>:-]+\Z")


class JobOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one enqueue; what is left out comes from the job's definition."""

    queue: str | None = None
    priority: JobPriority | None = None
    delay: timedelta | None = None
    eta: datetime | None = None
    tenant: str | None | msgspec.UnsetType = msgspec.UNSET
    retry: RetryPolicy | None = None

    def changed(self, **changes: Any) -> JobOptions:
        """Return a copy with other settings.

        :raises ConfigError: an unknown setting, or a value that does not fit.
        """
        unknown = changes.keys() - set(self.__struct_fields__)
        if unknown:
            known = ", ".join(self.__struct_fields__)
            raise ConfigError(f"There is no option {', '.join(sorted(unknown))}; there are {known}.")
        if isinstance(delay := changes.get("delay"), (int, float)) and abs(delay) <= MAX_AHEAD.total_seconds():
            changes["delay"] = timedelta(seconds=delay)
        options = msgspec.structs.replace(self, **changes)
        options._check()
        return options

    def _check(self) -> None:
        def require(is_right: bool, field: str, advice: str) -> None:
            if not is_right:
                raise ConfigError(f"{field} is {getattr(self, field)!r:.100}: {advice}")

        queue, priority, delay, eta = self.queue, self.priority, self.delay, self.eta
        is_queue = queue is None or (isinstance(queue, str) and bool(QUEUE_PATTERN.match(queue)))
        require(is_queue, "queue", "use 1 to 64 letters, digits and _ . -")
        is_priority = isinstance(priority, int) and not isinstance(priority, bool) and abs(priority) < 1 << 31
        require(priority is None or is_priority, "priority", "use a JobPriority.")
        is_delay = isinstance(delay, timedelta) and abs(delay) <= MAX_AHEAD
        require(delay is None or is_delay, "delay", "use seconds or a timedelta, at most 100 years.")
        require(eta is None or isinstance(eta, datetime), "eta", "use a datetime with a time zone.")
        if eta is not None:
            require(eta.tzinfo is not None, "eta", "give it a time zone, such as datetime.now(UTC).")
            require(eta.year < 9999, "eta", "use an earlier year.")
        if delay is not None and eta is not None:
            raise ConfigError("Give delay or eta, not both.")
        if self.tenant == "":
            raise ConfigError("tenant is empty: use None for a job of no tenant.")
        is_tenant = self.tenant is msgspec.UNSET or self.tenant is None or isinstance(self.tenant, str)
        require(is_tenant, "tenant", "use text, or None for a job of no tenant.")
        require(self.retry is None or isinstance(self.retry, RetryPolicy), "retry", "use a RetryPolicy.")


DEFAULT_OPTIONS: Final = JobOptions()


class JobDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A registered job."""

    name: str
    target: Callable[..., Any]
    """The function, or the job class."""
    parameters: Parameters
    queue: str | None = None
    priority: JobPriority = JobPriority.NORMAL
    retry: RetryPolicy | None = None
    display_name: str | None = None

    @property
    def is_class(self) -> bool:
        """Whether the activator builds an object whose ``execute`` is the job."""
        return isinstance(self.target, type)

    @property
    def signature(self) -> str:
        """The call as one writes it."""
        if self.is_class:
            return f"{self.name}({type_name(self.parameters.type)})"
        return f"{self.name}{_written(inspect.signature(self.target))}"

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """Return the arguments of a call as one value.

        :raises ArgumentsError: they do not fit the signature.
        """
        if self.is_class:
            if len(args) != 1 or kwargs:
                raise ArgumentsError(f"{self.signature} takes one argument of type {type_name(self.parameters.type)}.")
            if type(args[0]) is not self.parameters.type and not typing.is_typeddict(self.parameters.type):
                raise ArgumentsError(f"{self.signature} cannot take {type_name(type(args[0]))}.")
            return args[0]
        try:
            bound = inspect.signature(self.target).bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentsError(f"{self.signature}: {error}.") from error
        return self.parameters.type(**bound.arguments)

    def encode(self, value: Any) -> bytes:
        """Return bound arguments as JSON; raises as :meth:`Parameters.encode` does, naming the job."""
        try:
            return self.parameters.encode(value)
        except ArgumentsError as error:
            raise ArgumentsError(f"{self.signature}: {error}") from error

    def decode(self, payload: bytes) -> Any:
        """Return the bound arguments that JSON means; raises as :meth:`Parameters.decode` does, naming the job."""
        try:
            return self.parameters.decode(payload)
        except ArgumentsError as error:
            raise ArgumentsError(f"{self.signature} cannot take the stored arguments: {error}") from error

    def run(self, value: Any, activator: Activator, run_coroutine: RunCoroutine = asyncio.run) -> Any:
        """Call the job with bound arguments and return its result.

        :param run_coroutine: runs the coroutine of an async job to its end.
        """
        if self.is_class:
            result = activator(typing.cast("type[Any]", self.target)).execute(value)
        else:
            given = {name: getattr(value, name) for name in value.__struct_fields__}
            given = {name: argument for name, argument in given.items() if argument is not msgspec.UNSET}
            positional = [
                given.pop(parameter.name)
                for parameter in inspect.signature(self.target).parameters.values()
                if parameter.kind is parameter.POSITIONAL_ONLY and parameter.name in given
            ]
            result = self.target(*positional, **given)
        if inspect.iscoroutine(result):
            return run_coroutine(result)
        return result


Submit = Callable[[JobDefinition, Any, JobOptions], str]


class JobCall(Generic[P]):
    """A job with the settings of its next enqueue."""

    def __init__(self, definition: JobDefinition, submit: Submit, options: JobOptions = DEFAULT_OPTIONS) -> None:
        self.definition = definition
        self._submit = submit
        self._options = options

    @property
    def name(self) -> str:
        """The job's name."""
        return self.definition.name

    def using(self, **options: Any) -> JobCall[P]:
        """Return a copy with other settings.

        :param options: ``queue``, ``priority``, ``delay`` (seconds or timedelta), ``eta`` (aware datetime), ``tenant``,
            ``retry`` (a :class:`RetryPolicy`).
        :raises ConfigError: an unknown setting, or a value that does not fit.
        """
        return JobCall(self.definition, self._submit, self._options.changed(**options))

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Put a call into the queue of the current app and return the new job's id.

        :raises ArgumentsError: the arguments do not fit; nothing is stored.
        :raises StorageError: the storage did not take the job.
        """
        return self._submit(self.definition, self.definition.bind(*args, **kwargs), self._options)

    def __repr__(self) -> str:
        return f"<job {self.definition.signature}>"


class FunctionJob(JobCall[P], Generic[P, R]):
    """A function that is also a job. Calling it runs it here and now, :meth:`enqueue` leaves it to a worker."""

    def __init__(self, definition: JobDefinition, submit: Submit, function: Callable[P, R]) -> None:
        super().__init__(definition, submit)
        self._function = function
        self.__wrapped__ = function
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__module__ = function.__module__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._function(*args, **kwargs)


class _JobClass(ABC, Generic[Args]):
    """What the two base classes share. A subclass names its argument type: ``class Send(BackgroundJob[SendArgs])``."""

    _call: ClassVar[JobCall[Any] | None] = None

    @classmethod
    def enqueue(cls, args: Args) -> str:
        """Put the job into the queue of the current app; see :meth:`JobCall.enqueue`."""
        return cls._registered().enqueue(args)

    @classmethod
    def using(cls, **options: Any) -> JobCall[Any]:
        """Return the job with other settings; see :meth:`JobCall.using`."""
        return cls._registered().using(**options)

    @classmethod
    def _registered(cls) -> JobCall[Any]:
        call: JobCall[Any] | None = cls.__dict__.get("_call")  # a subclass of a job is no job by that
        if call is None:
            raise UnknownJobError(f"{cls.__qualname__} is not a job yet: decorate the class with @jobs.job.")
        return call


class BackgroundJob(_JobClass[Args]):
    """Base of job classes. The activator builds a new object for each attempt."""

    @abstractmethod
    def execute(self, args: Args) -> Any:
        """Do the work. What is returned is kept as the job's result; what is raised fails the attempt."""


class AsyncBackgroundJob(_JobClass[Args]):
    """Base of job classes whose work is a coroutine, run to its end in an event loop of its own."""

    @abstractmethod
    async def execute(self, args: Args) -> Any:
        """Do the work; see :meth:`BackgroundJob.execute`."""


def bind_class(job_class: type[Any], call: JobCall[Any]) -> None:
    """Give a job class its call, for ``enqueue`` and ``using`` on the class itself."""
    job_class._call = call


class JobRegistry:
    """The jobs of an application by name and by argument type."""

    def __init__(self) -> None:
        self._by_name: dict[str, JobDefinition] = {}
        self._by_type: dict[Any, JobDefinition] = {}

    def __iter__(self) -> Iterator[JobDefinition]:
        return iter(sorted(self._by_name.values(), key=lambda definition: definition.name))

    def define(
        self,
        target: Callable[..., Any],
        *,
        name: str | None = None,
        queue: str | None = None,
        priority: JobPriority = JobPriority.NORMAL,
        retry: RetryPolicy | None = None,
        display_name: str | None = None,
        sensitive: Collection[str] = (),
    ) -> JobDefinition:
        """Register a function or a job class.

        :raises ConfigError: the name or the argument type is taken, or a setting is not of the right form.
        :raises ArgumentsError: the parameters cannot be carried as JSON.
        """
        args_type = None
        sensitive = (sensitive,) if isinstance(sensitive, str) else sensitive
        if isinstance(target, type):
            args_type = _args_type(target)
            parameters = _parameters_of_type(args_type, target, sensitive)
            name = name or f"{args_type.__module__}.{args_type.__qualname__}"
        elif not inspect.isroutine(target):
            raise ConfigError(f"{target!r:.100} is neither a function nor a class: decorate the function itself.")
        else:
            parameters = parameters_of(target, sensitive=sensitive)
            name = name or f"{target.__module__}.{target.__qualname__}"
        if not _NAME.match(name) or len(name) > MAX_NAME:
            raise ConfigError(
                f"The job name {name!r:.100} is not usable: use 1 to {MAX_NAME} letters, digits and _ . : -"
            )
        JobOptions().changed(queue=queue, priority=priority, retry=retry)
        definition = JobDefinition(
            name=name,
            target=target,
            parameters=parameters,
            queue=queue,
            priority=priority,
            retry=retry,
            display_name=display_name,
        )
        self._refuse_duplicates(definition, args_type)
        self._by_name[name] = definition
        if args_type is not None:
            self._by_type[args_type] = definition
        return definition

    def find(self, name: str) -> JobDefinition | None:
        """Return the job of that name, or ``None``."""
        return self._by_name.get(name)

    def get(self, name: str) -> JobDefinition:
        """Return the job of that name.

        :raises UnknownJobError: there is none; the message names similar ones.
        """
        definition = self._by_name.get(name)
        if definition is None:
            near = difflib.get_close_matches(name, self._by_name, n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(near)}?" if near else " Is the module that declares it imported?"
            raise UnknownJobError(f"No job of the name {name!r:.200} is registered.{hint}")
        return definition

    def get_by_type(self, args_type: type) -> JobDefinition:
        """Return the job class that takes this type of arguments.

        :raises UnknownJobError: there is none.
        """
        definition = self._by_type.get(args_type)
        if definition is None:
            known = ", ".join(sorted(type_name(known) for known in self._by_type)) or "none yet"
            raise UnknownJobError(
                f"No job takes arguments of type {args_type.__module__}.{args_type.__qualname__}. Decorate its job "
                f"class with @jobs.job, or call enqueue on the job itself. Registered argument types: {known}."
            )
        return definition

    def _refuse_duplicates(self, definition: JobDefinition, args_type: Any) -> None:
        other = self._by_name.get(definition.name)
        if other is not None:
            raise ConfigError(
                f"Two jobs have the name {definition.name}: {_place(other.target)} and {_place(definition.target)}. "
                "Give one of them another with @jobs.job(name=...)."
            )
        other = self._by_type.get(args_type)
        if other is not None:
            raise ConfigError(
                f"Two job classes take {type_name(args_type)}: {_place(other.target)} and {_place(definition.target)}. "
                "The type of the arguments names the job, so each needs a type of its own."
            )


def _args_type(job_class: type) -> Any:
    for base in job_class.__mro__:
        for generic in getattr(base, "__orig_bases__", ()):
            origin = typing.get_origin(generic)
            if isinstance(origin, type) and issubclass(origin, _JobClass):
                (argument,) = typing.get_args(generic)
                if not isinstance(argument, TypeVar):
                    return argument
    raise ConfigError(
        f"{_place(job_class)} does not say what arguments it takes: derive it from BackgroundJob[ArgsType] or "
        "AsyncBackgroundJob[ArgsType]."
    )


def _parameters_of_type(args_type: Any, job_class: type, sensitive: Collection[str]) -> Parameters:
    try:
        return Parameters(args_type, sensitive=sensitive)
    except (NameError, TypeError, ValueError) as error:
        raise ArgumentsError(
            f"{_place(job_class)} takes {type_name(args_type)}, which cannot be carried as JSON: {error}. "
            "Use a dataclass, msgspec.Struct, TypedDict or pydantic model."
        ) from error


def _place(target: Callable[..., Any]) -> str:
    return f"{target.__module__}.{target.__qualname__}"


def _written(signature: inspect.Signature) -> str:
    def written(parameter: inspect.Parameter) -> str:
        annotation = parameter.annotation
        text = parameter.name
        if annotation is not parameter.empty:
            text += f": {annotation if isinstance(annotation, str) else type_name(annotation)}"
        if parameter.default is not parameter.empty:
            text += f" = {parameter.default!r}" if ":" in text else f"={parameter.default!r}"
        return text

    return f"({', '.join(written(parameter) for parameter in signature.parameters.values())})"
