"""What a job is: a function or class with a name, typed arguments and settings."""

from __future__ import annotations

import asyncio
import inspect
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, ParamSpec, Protocol, TypeVar

import msgspec

from .arguments import Parameters, type_name
from .errors import ArgumentsError, UnknownJobError
from .options import DEFAULT_OPTIONS, JobOptions

P = ParamSpec("P")
R = TypeVar("R")
Args = TypeVar("Args")
Activator = Callable[[type[Any]], Any]
RunCoroutine = Callable[[Coroutine[Any, Any, Any]], Any]


class JobDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A registered job."""

    name: str
    target: Callable[..., Any]
    """The function, or the job class."""
    parameters: Parameters
    call: inspect.Signature | None = None
    """The function's; ``None`` where the one argument is the value itself."""
    options: JobOptions = DEFAULT_OPTIONS
    """What the declaration says, where an enqueue says nothing."""
    display_name: str | None = None

    @property
    def is_class(self) -> bool:
        """Whether the activator builds an object whose ``execute`` is the job."""
        return isinstance(self.target, type)

    @property
    def signature(self) -> str:
        """The call as one writes it."""
        if self.call is None:
            return f"{self.name}({type_name(self.parameters.type)})"
        return f"{self.name}{_written(self.call)}"

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """Return the arguments of a call as one value.

        :raises ArgumentsError: they do not fit the signature.
        """
        if self.call is None:
            if len(args) != 1 or kwargs:
                raise ArgumentsError(f"{self.signature} takes one argument of type {type_name(self.parameters.type)}.")
            if type(args[0]) is not self.parameters.type and not typing.is_typeddict(self.parameters.type):
                raise ArgumentsError(f"{self.signature} cannot take {type_name(type(args[0]))}.")
            return args[0]
        try:
            bound = self.call.bind(*args, **kwargs)
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
        if self.call is not None:
            given = self.parameters.given(value)
            positional = [
                given.pop(parameter.name)
                for parameter in self.call.parameters.values()
                if parameter.kind is parameter.POSITIONAL_ONLY and parameter.name in given
            ]
            result = self.target(*positional, **given)
        elif self.is_class:
            result = activator(typing.cast("type[Any]", self.target)).execute(value)
        else:
            result = self.target(value)
        if inspect.iscoroutine(result):
            return run_coroutine(result)
        return result


class Submit(Protocol):
    """Hands bound calls of a job to the manager of the current app, and returns the ids."""

    def __call__(self, definition: JobDefinition, values: Sequence[Any], options: JobOptions) -> list[str]: ...


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

        :param options: the settings of the job's declaration but its name, and: ``delay`` (seconds or timedelta),
            ``eta`` (aware datetime), ``tenant`` (``None``: of no tenant), ``after`` (the id of a job that this one
            awaits) with ``on`` (which end of it: ``succeeded``, ``deleted``, or ``finished``: both).
        :raises ConfigError: an unknown setting, or a value that does not fit.
        """
        return JobCall(self.definition, self._submit, self._options.changed(**options))

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Put a call into the queue of the current app and return the new job's id.

        :raises ArgumentsError: the arguments do not fit; nothing is stored.
        :raises JobNotFoundError: the job to be awaited does not exist; nothing is stored.
        :raises StorageError: the storage did not take the job.
        """
        return self._submit(self.definition, (self.definition.bind(*args, **kwargs),), self._options)[0]

    def map(self, items: Iterable[Any]) -> list[str]:
        """Put many calls into the queue, a hundred in one step, and return the new jobs' ids in the same order.

        All arguments are checked before anything is stored. Should the storage fail between two steps, the jobs of the
        steps before it are there.

        :param items: each a tuple of positional arguments, a mapping of keyword arguments, or one bare value.

        Raises as :meth:`enqueue` does.
        """
        values = [self._bound(item) for item in items]
        return self._submit(self.definition, values, self._options)

    def _bound(self, item: Any) -> Any:
        if isinstance(item, tuple):
            return self.definition.bind(*item)
        if isinstance(item, Mapping) and self.definition.call is not None:
            return self.definition.bind(**item)
        return self.definition.bind(item)

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


class JobBase(ABC, Generic[Args]):
    """What the two base classes share. A subclass names its argument type: ``class Send(BackgroundJob[SendArgs])``."""

    _call: ClassVar[JobCall[Any] | None] = None

    @classmethod
    def enqueue(cls, args: Args) -> str:
        """Put the job into the queue of the current app; see :meth:`JobCall.enqueue`."""
        return cls._registered().enqueue(args)

    @classmethod
    def map(cls, items: Iterable[Args]) -> list[str]:
        """Put many jobs into the queue; see :meth:`JobCall.map`."""
        return cls._registered().map(items)

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


class BackgroundJob(JobBase[Args]):
    """Base of job classes. The activator builds a new object for each attempt."""

    @abstractmethod
    def execute(self, args: Args) -> Any:
        """Do the work. What is returned is kept as the job's result; what is raised fails the attempt."""


class AsyncBackgroundJob(JobBase[Args]):
    """Base of job classes whose work is a coroutine, run to its end in an event loop of its own."""

    @abstractmethod
    async def execute(self, args: Args) -> Any:
        """Do the work; see :meth:`BackgroundJob.execute`."""


def bind_class(job_class: type[Any], call: JobCall[Any]) -> None:
    """Give a job class its call, for ``enqueue`` and ``using`` on the class itself."""
    job_class._call = call


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
