"""Typed arguments to JSON and back."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime as dt
import decimal
import enum
import inspect
import math
import re
import typing
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import msgspec

from .errors import ArgumentsError
from .model import Argument

MAX_PAYLOAD: Final = 1_048_576
"""Bytes of JSON that the arguments of one job may take. Larger data belongs into a file or table of its own."""
MAX_TEXT: Final = 1_000
MAX_ARGUMENTS: Final = 50
REDACTED: Final = "<redacted>"
NO_NAN: Final = "An argument is or holds NaN or infinity, which JSON does not have."
_MODULES: Final = re.compile(r"('[^']*')|\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])")
_OPEN: Final = (Any, list, dict, tuple, collections.abc.Mapping, collections.abc.Sequence)
_PLAIN: Final = frozenset({bool, int, float, type(None)})
"""Types whose ``repr`` is their source, and short."""
_SECRET_NAME: Final = re.compile(
    r"(passw|passwd|pwd|secret|token|api_?key|apikey|authorization|cookie|connection_?string|card|iban|cvv|credential)",
    re.IGNORECASE,
)


class Parameters:
    """The parameters of one job: checks arguments at enqueue, writes them as JSON and reads them before the call.

    :param struct: a msgspec structure with one field for each parameter, or the argument type of a job class.
    :param sensitive: parameters whose values are never shown, nor those of the same name inside other values. Names
        that look like secrets are not shown anyway.
    """

    def __init__(self, struct: Any, *, sensitive: Collection[str] = (), untyped: Collection[str] = ()) -> None:
        self.type = struct
        self._sensitive = frozenset(sensitive)
        self._untyped = frozenset(untyped)
        self._types = _field_types(struct)
        self._shown = [
            (name, None if annotation is Any else type_name(annotation), _is_secret(name, self._sensitive))
            for name, annotation in list(self._types.items())[:MAX_ARGUMENTS]
        ]
        """Name, type in words (``None``: that of the value) and whether it is secret, of the parameters on pages."""
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(struct, dec_hook=_decode_foreign)
        unknown = self._sensitive - self._types.keys()
        if unknown:
            raise ArgumentsError(
                f"sensitive names {', '.join(sorted(unknown))}, which is no parameter. "
                f"There are {', '.join(self._types) or 'none'}."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names, in their order."""
        return tuple(self._types)

    @property
    def json_names(self) -> frozenset[str] | None:
        """The parameters' names as JSON has them, ``None`` where the type itself decides what it reads."""
        if isinstance(self.type, type) and issubclass(self.type, msgspec.Struct):
            return frozenset(self.type.__struct_encode_fields__)
        return None if hasattr(self.type, "model_fields") else frozenset(self._types)

    def given(self, value: Any) -> dict[str, Any]:
        """Return the arguments by name; those that were left out are missing."""
        if isinstance(value, Mapping):
            return dict(value)
        values = ((name, getattr(value, name, msgspec.UNSET)) for name in self._types)
        return {name: argument for name, argument in values if argument is not msgspec.UNSET}

    def encode(self, value: Any) -> bytes:
        """Return ``value`` as JSON, proven to be readable again.

        :raises ArgumentsError: it does not fit, is not JSON, or takes more than :data:`MAX_PAYLOAD` bytes.
        """
        try:
            payload = _encoder.encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ArgumentsError(f"An argument cannot be written as JSON: {error}.") from error
        if len(payload) > MAX_PAYLOAD:
            raise ArgumentsError(
                f"The arguments take {len(payload):,} bytes of JSON; at most {MAX_PAYLOAD:,} are stored with a job. "
                "Put the data into a file or table and pass its key."
            )
        if b"null" in payload and holds_nan(value):
            raise ArgumentsError(NO_NAN)
        read = self.decode(payload)
        for name in self._untyped:
            before, after = getattr(value, name, None), getattr(read, name, None)
            if _as_json(before) != after:
                raise ArgumentsError(
                    f"{name}={before!r:.100} would arrive as {after!r:.100}: "
                    f"give the parameter {name!r} a type annotation."
                )
        return payload

    def decode(self, payload: bytes) -> Any:
        """Return the value that JSON means.

        :raises ArgumentsError: it does not fit the parameters.
        """
        try:
            return self._decoder.decode(payload)
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
            raise ArgumentsError(_in_words(str(error))) from error

    def display(self, value: Any) -> tuple[Argument, ...]:
        """Return the arguments as a person reads them, secrets redacted."""
        shown = []
        is_mapping = isinstance(value, Mapping)
        for name, kind, is_secret in self._shown:
            argument = value.get(name, msgspec.UNSET) if is_mapping else getattr(value, name, None)
            if argument is not msgspec.UNSET:
                shown.append(_argument(name, argument, kind or type(argument).__name__, is_secret, self._sensitive))
        return tuple(shown)


class OpenParameters(Parameters):
    """Whatever JSON object a handler is given that was registered by name only."""

    def __init__(self) -> None:
        self.type = dict
        self._sensitive = self._untyped = frozenset()
        self._types = {}
        self._decoder = msgspec.json.Decoder(dict[str, Any])

    @property
    def json_names(self) -> None:
        return None

    def display(self, value: Any) -> tuple[Argument, ...]:
        some = list(value.items())[:MAX_ARGUMENTS]
        return tuple(
            _argument(name, argument, type(argument).__name__, _is_secret(name, self._sensitive), self._sensitive)
            for name, argument in some
        )


def _is_secret(name: str, hidden: Collection[str]) -> bool:
    return name in hidden or _SECRET_NAME.search(name) is not None


def _argument(name: str, argument: Any, kind: str, is_secret: bool, hidden: Collection[str]) -> Argument:
    if is_secret:
        return Argument(name, "", kind, redacted=True)
    text = repr(argument) if type(argument) in _PLAIN else source_of(argument, hidden=hidden)
    return Argument(name, text, kind)


def parameters_of(function: Callable[..., Any], *, sensitive: Collection[str] = ()) -> Parameters:
    """Return the parameters of a function, which its annotations describe.

    :raises ArgumentsError: it takes ``*args`` or ``**kwargs``, or has an annotation that JSON cannot carry.
    """
    where = f"{function.__module__}.{function.__qualname__}"
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ArgumentsError(f"An annotation of {where} cannot be resolved: {error}.") from error
    fields: list[tuple[str, Any, Any]] = []
    untyped = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ArgumentsError(f"{where} takes *{parameter.name}: a job needs named parameters.")
        annotation = hints.get(parameter.name, Any)
        if _is_open(annotation):
            untyped.append(parameter.name)
        if parameter.default is parameter.empty:
            fields.append((parameter.name, annotation, msgspec.NODEFAULT))
        else:  # left out at enqueue: the default of the code that runs the job applies
            optional: Any = typing.Union[annotation, msgspec.UnsetType]  # noqa: UP007 - made at run time
            fields.append((parameter.name, optional, msgspec.UNSET))
    try:
        struct = msgspec.defstruct("Arguments", fields, kw_only=True, frozen=True)
        return Parameters(struct, sensitive=sensitive, untyped=untyped)
    except (TypeError, ValueError) as error:
        raise ArgumentsError(f"The parameters of {where} cannot be carried as JSON: {error}.") from error


def encode_result(value: Any) -> bytes:
    """Return what a job returned as JSON.

    :raises ArgumentsError: it cannot be written so.
    """
    try:
        encoded = _encoder.encode(value)
        if b"null" in encoded and holds_nan(value):
            raise ValueError("it is or holds NaN or infinity")
        return encoded
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ArgumentsError(f"The result cannot be written as JSON: {error}. Return plain values, or None.") from error


def type_name(annotation: Any) -> str:
    """Return a type as one writes it, without modules."""
    if annotation is type(None):
        return "None"
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    if typing.get_origin(annotation) is typing.Annotated:
        return type_name(typing.get_args(annotation)[0])
    return _MODULES.sub(r"\1", str(annotation))


def source_of(value: Any, *, limit: int = MAX_TEXT, hidden: Collection[str] = ()) -> str:
    """Return Python source of a value, at most ``limit`` characters; never fails.

    :param hidden: names whose values are left out, besides those that look like secrets.
    """
    try:
        text = _source(value, limit, hidden)
    except Exception as error:  # a __repr__ of foreign code
        text = f"<{type(value).__name__} without repr: {type(error).__name__}>"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _source(value: Any, limit: int, hidden: Collection[str]) -> str:
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, dt.datetime):
        return re.sub(r"datetime\.(?=datetime|timezone|timedelta)", "", repr(value)).replace("timezone.utc", "UTC")
    if isinstance(value, (dt.date, dt.time, dt.timedelta)):
        return repr(value).removeprefix("datetime.")
    if isinstance(value, (str, bytes)):
        return repr(value[: limit + 1])
    if isinstance(value, (bool, int, float, decimal.Decimal, uuid.UUID, type(None))):
        return repr(value)
    if isinstance(value, Mapping):
        pairs = (
            f"{_source(key, limit, hidden)}: {_member(str(key), item, limit, hidden)}" for key, item in value.items()
        )
        return "{" + _joined(pairs, limit) + "}"
    if isinstance(value, (list, tuple, set, frozenset)):
        inside = _joined((_source(item, limit, hidden) for item in value), limit)
        if isinstance(value, list):
            return f"[{inside}]"
        if isinstance(value, tuple):
            return f"({inside},)" if len(value) == 1 else f"({inside})"
        return f"{{{inside}}}" if value else "set()"
    names = _member_names(value)
    if names is not None:
        members = (f"{name}={_member(name, getattr(value, name), limit, hidden)}" for name in names)
        return f"{type(value).__name__}({_joined(members, limit)})"
    return repr(value)


def _member(name: str, value: Any, limit: int, hidden: Collection[str]) -> str:
    return REDACTED if _is_secret(name, hidden) else _source(value, limit, hidden)


def _member_names(value: Any) -> list[str] | None:
    if isinstance(value, msgspec.Struct):
        return list(value.__struct_fields__)
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    fields = getattr(type(value), "model_fields", None)  # pydantic
    return None if fields is None else list(fields)


def _joined(parts: collections.abc.Iterable[str], limit: int) -> str:
    kept, length = [], 0
    for part in parts:
        kept.append(part)
        length += len(part) + 2
        if length > limit:
            break
    return ", ".join(kept)


def _field_types(struct: Any) -> dict[str, Any]:
    if isinstance(struct, type) and issubclass(struct, msgspec.Struct):
        hints = typing.get_type_hints(struct)
        return {name: _without_unset(hints.get(name, Any)) for name in struct.__struct_fields__}
    if dataclasses.is_dataclass(struct):
        hints = typing.get_type_hints(struct)
        return {field.name: hints.get(field.name, Any) for field in dataclasses.fields(struct)}
    fields = getattr(struct, "model_fields", None)  # pydantic
    if fields is not None:
        return {name: field.annotation for name, field in fields.items()}
    return dict(typing.get_type_hints(struct))  # TypedDict


def _without_unset(annotation: Any) -> Any:
    members = typing.get_args(annotation)
    if msgspec.UnsetType not in members:
        return annotation
    rest = tuple(member for member in members if member is not msgspec.UnsetType)
    return rest[0] if len(rest) == 1 else typing.Union[rest]  # noqa: UP007 - made at run time


def _is_open(annotation: Any) -> bool:
    """Return whether an annotation leaves open what a value is or holds, so that JSON alone decides its type."""
    return annotation in _OPEN or any(_is_open(part) for part in typing.get_args(annotation))


def holds_nan(value: Any) -> bool:
    """Return whether a value is or holds NaN or infinity, which msgspec writes as ``null``."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(map(holds_nan, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(map(holds_nan, value))
    return any(holds_nan(getattr(value, name, None)) for name in _member_names(value) or ())


def _as_json(value: Any) -> Any:
    """Return what JSON makes of plain containers, so that only other types count as changed."""
    if isinstance(value, (list, tuple)):
        return [_as_json(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _as_json(item) for key, item in value.items()}
    return value


def _encode_foreign(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)  # pydantic
    if dump is None:
        raise TypeError(f"{type(value).__name__} is not a type that JSON can carry")
    written = dump(mode="json", by_alias=True, warnings=False)
    if _decode_foreign(type(value), written) != value:  # a SecretStr is written as asterisks
        raise TypeError(f"{type(value).__name__} would not come back from JSON as it is")
    return written


def _decode_foreign(expected: type, value: Any) -> Any:
    validate = getattr(expected, "model_validate", None)  # pydantic
    if validate is None:
        raise TypeError(f"{expected.__name__} is not a type that JSON can carry")
    try:
        return validate(value)
    except ValueError as error:
        raise ValueError(_in_one_line(error)) from error


def _in_one_line(error: Any) -> str:
    """Return pydantic's error without the values it is about, which may be secrets."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}".removeprefix(": ") for each in problems)


def _in_words(text: str) -> str:
    problem, _, path = text.partition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    return f"{field}: {problem}." if field else f"{problem}."


_encoder: Final = msgspec.json.Encoder(enc_hook=_encode_foreign, decimal_format="string")
