"""Huey's messages and values as JSON. Nothing that is read can run code."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import math
import uuid
from collections.abc import Callable
from typing import Any, Final

import msgspec
from huey.exceptions import TaskException
from huey.registry import Message
from huey.serializer import Serializer
from huey.utils import SKIPPED, Error

from ..errors import ArgumentsError


class JsonSerializer(Serializer):  # type: ignore[misc]
    """Writes what JSON has, and a closed set of other types as ``{"$tag": value}``.

    Exceptions are written as text. A handler given to ``Task.error`` receives a :class:`huey.exceptions.TaskException`
    that carries the name and the ``repr`` of the original one.
    """

    def _serialize(self, data: Any) -> bytes:
        try:
            return msgspec.json.encode(_pack(data))
        except RecursionError as error:
            raise ArgumentsError("A value nested this deeply, or containing itself, cannot be stored.") from error

    def _deserialize(self, data: bytes) -> Any:
        try:
            return _unpack(msgspec.json.decode(bytes(data)))
        except (
            msgspec.DecodeError,
            ValueError,
            TypeError,
            KeyError,
            RecursionError,
            decimal.DecimalException,
        ) as error:
            raise ArgumentsError(f"Stored bytes cannot be read: {error}") from error


def _pack(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, Message):
        return {"$message": [_pack(item) for item in value]}
    if isinstance(value, Error):
        return {"$error": _pack(value.metadata)}
    if value is SKIPPED:
        return {"$skipped": None}
    if isinstance(value, list):
        return [_pack(item) for item in value]
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: _pack(item) for key, item in value.items()}
        return {"$dict": [[_pack(key), _pack(item)] for key, item in value.items()]}
    for kind, tag, pack in _PACKERS:
        if isinstance(value, kind):
            return {tag: pack(value)}
    raise ArgumentsError(
        f"A value of type {type(value).__module__}.{type(value).__qualname__} cannot be stored as JSON. "
        "Pass plain values, or the key of a record."
    )


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpack(item) for item in value]
    if isinstance(value, dict):
        if len(value) == 1:
            ((tag, inner),) = value.items()
            if tag.startswith("$"):
                return _UNPACKERS[tag](inner)
        return {key: _unpack(item) for key, item in value.items()}
    return value


def _items(value: Any) -> list[Any]:
    return [_pack(item) for item in value]


def _exception(value: BaseException) -> Any:
    return {"error": repr(value), "type": type(value).__name__}


def _described(metadata: dict[str, str]) -> TaskException:
    """Return an exception that reads like the original: a new class of its name, for no stored text may name code."""
    name = metadata["type"] if metadata["type"].isidentifier() else "TaskException"
    kind = type(name, (TaskException,), {"__module__": __name__, "__repr__": lambda self: metadata["error"]})
    return kind(metadata, metadata["error"])


_PACKERS: Final[list[tuple[type, str, Callable[[Any], Any]]]] = [
    (tuple, "$tuple", _items),
    (set, "$set", _items),
    (frozenset, "$frozenset", _items),
    (bytes, "$bytes", lambda value: base64.b64encode(value).decode()),
    (dt.datetime, "$datetime", dt.datetime.isoformat),
    (dt.date, "$date", dt.date.isoformat),
    (dt.time, "$time", dt.time.isoformat),
    (dt.timedelta, "$timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    (decimal.Decimal, "$decimal", str),
    (uuid.UUID, "$uuid", str),
    (BaseException, "$exception", _exception),
]
_UNPACKERS: Final[dict[str, Callable[[Any], Any]]] = {
    "$float": float,
    "$message": lambda inner: Message(*_unpack(inner)),
    "$error": lambda inner: Error(_unpack(inner)),
    "$skipped": lambda inner: SKIPPED,
    "$dict": lambda inner: {_unpack(key): _unpack(item) for key, item in inner},
    "$tuple": lambda inner: tuple(_unpack(inner)),
    "$set": lambda inner: set(_unpack(inner)),
    "$frozenset": lambda inner: frozenset(_unpack(inner)),
    "$bytes": lambda inner: base64.b64decode(inner, validate=True),
    "$datetime": dt.datetime.fromisoformat,
    "$date": dt.date.fromisoformat,
    "$time": dt.time.fromisoformat,
    "$timedelta": lambda inner: dt.timedelta(*inner),
    "$decimal": decimal.Decimal,
    "$uuid": uuid.UUID,
    "$exception": lambda inner: _described({"error": str(inner["error"]), "type": str(inner["type"])}),
}
