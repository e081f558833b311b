"""The jobs of an application, by name and by argument type."""

from __future__ import annotations

import difflib
import inspect
import re
import typing
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, TypeVar

from .arguments import OpenParameters, Parameters, parameters_of, type_name
from .errors import ArgumentsError, ConfigError, UnknownJobError
from .jobs import JobBase, JobDefinition
from .options import DEFAULT_OPTIONS, OF_ONE_ENQUEUE, JobOptions, check_key

MAX_NAME: Final = 200
_NAME: Final = re.compile(r"[A-Za-z0-9_.<>:-]+\Z")


class JobRegistry:
    """The jobs of an application by name and by argument type."""

    def __init__(self) -> None:
        self._by_name: dict[str, JobDefinition] = {}
        self._by_type: dict[Any, JobDefinition] = {}
        self._handlers: set[str] = set()
        """Names of which only a handler is known."""

    def __iter__(self) -> Iterator[JobDefinition]:
        return iter(sorted(self._by_name.values(), key=lambda definition: definition.name))

    def define(
        self,
        target: Callable[..., Any],
        *,
        name: str | None = None,
        display_name: str | None = None,
        sensitive: Collection[str] = (),
        **settings: Any,
    ) -> JobDefinition:
        """Register a function or a job class.

        :param settings: fields of :class:`~flask_abpjobs.options.JobOptions`.
        :raises ConfigError: the name or the argument type is taken, or a setting is not of the right form.
        :raises ArgumentsError: the parameters cannot be carried as JSON.
        """
        args_type = call = None
        sensitive = (sensitive,) if isinstance(sensitive, str) else sensitive
        if isinstance(target, type):
            args_type = _args_type(target)
            parameters = _parameters_of_type(args_type, target, sensitive)
            name = name or f"{args_type.__module__}.{args_type.__qualname__}"
        elif not inspect.isroutine(target):
            raise ConfigError(f"{target!r:.100} is neither a function nor a class: decorate the function itself.")
        else:
            parameters = parameters_of(target, sensitive=sensitive)
            call = inspect.signature(target)
            name = name or f"{target.__module__}.{target.__qualname__}"
        _check_name(name)
        options = _declared(settings, parameters)
        definition = JobDefinition(
            name=name,
            target=target,
            parameters=parameters,
            call=call,
            options=options,
            display_name=display_name,
        )
        self._refuse_duplicates(definition, args_type)
        self._by_name[name] = definition
        self._handlers.discard(name)
        if args_type is not None:
            self._by_type[args_type] = definition
        return definition

    def register_handler(self, name: str, handler: Callable[[dict[str, Any]], Any], **settings: Any) -> None:
        """Register a function for jobs that exist by name only; it is called with the payload, a dict.

        A job that is declared under the same name wins. Registering again replaces the handler.

        :param settings: fields of :class:`~flask_abpjobs.options.JobOptions`.
        :raises ConfigError: the name is not usable, or a setting is not of the right form.
        """
        if not callable(handler):
            raise ConfigError(f"The handler of {name!r:.100} is {handler!r:.100}: give a function of one argument.")
        parameters = OpenParameters()
        _check_name(name)
        definition = JobDefinition(
            name=name, target=handler, parameters=parameters, options=_declared(settings, parameters)
        )
        if name not in self._by_name or name in self._handlers:
            self._by_name[name] = definition
            self._handlers.add(name)

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
        if other is not None and definition.name not in self._handlers:
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


def _check_name(name: str) -> None:
    if not _NAME.match(name) or len(name) > MAX_NAME:
        raise ConfigError(f"The job name {name!r:.100} is not usable: use 1 to {MAX_NAME} letters, digits and _ . : -")


def _declared(settings: dict[str, Any], parameters: Parameters) -> JobOptions:
    misplaced = sorted(OF_ONE_ENQUEUE & settings.keys())
    if misplaced:
        raise ConfigError(f"{', '.join(misplaced)} is of one enqueue, not of the job: give it to using(...).")
    options = DEFAULT_OPTIONS.changed(**settings)
    for key in (options.unique_key, options.concurrency_key):
        if key is not None:
            check_key(key, parameters.names)
    return options


def _args_type(job_class: type) -> Any:
    for base in job_class.__mro__:
        for generic in getattr(base, "__orig_bases__", ()):
            origin = typing.get_origin(generic)
            if isinstance(origin, type) and issubclass(origin, JobBase):
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
