"""Huey's messages and values as JSON."""

from __future__ import annotations

import datetime as dt
import decimal
import math
import uuid

import pytest
from huey.exceptions import TaskException
from huey.registry import Message
from huey.utils import SKIPPED, Error
from hypothesis import given, strategies as st

from flask_abpjobs.engine.serializer import JsonSerializer
from flask_abpjobs.errors import ArgumentsError

serializer = JsonSerializer()

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8"))
other = (
    st.binary(max_size=20)
    | st.datetimes(timezones=st.none() | st.just(dt.UTC))
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
)
keys = st.text(max_size=5) | st.integers()
values = st.recursive(
    plain | other,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(keys.filter(lambda key: key == key), inner, max_size=4)
        | st.tuples(inner, inner)
        | st.frozensets(plain, max_size=3)
        | st.sets(plain, max_size=3)
    ),
    max_leaves=12,
)


@given(values)
def test_what_is_written_reads_back_as_it_was(value: object) -> None:
    try:
        written = serializer.serialize(value)
    except UnicodeEncodeError:
        return
    assert serializer.deserialize(written) == value


def test_types_keep_their_kind() -> None:
    value = (1, [2, (3,)], {4: {"$x": b"\x00"}}, {decimal.Decimal("1.10"), uuid.UUID(int=5)}, math.inf)
    read = serializer.deserialize(serializer.serialize(value))
    assert read == value
    assert isinstance(read[1][1], tuple)


def test_a_message_is_a_message_again() -> None:
    message = Message("id", "name", dt.datetime(2026, 1, 1), 1, 0, None, (1, "a"), {"k": b"v"})
    assert serializer.deserialize(serializer.serialize(message)) == message


def test_hueys_marks_survive() -> None:
    assert serializer.deserialize(serializer.serialize(SKIPPED)) is SKIPPED
    error = Error({"error": "ValueError('x')", "retries": 0})
    assert serializer.deserialize(serializer.serialize(error)) == error


def test_an_exception_becomes_its_text_and_nothing_of_it_is_imported() -> None:
    read = serializer.deserialize(serializer.serialize(ValueError("no")))
    assert isinstance(read, TaskException)
    assert str(read) == "ValueError('no')"


@pytest.mark.parametrize("value", [object(), lambda: 1, {"a": {1, object}}])
def test_what_json_cannot_carry_is_refused_with_its_type(value: object) -> None:
    with pytest.raises(ArgumentsError, match="cannot be stored as JSON"):
        serializer.serialize(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(ArgumentsError, match="containing itself"):
        serializer.serialize(value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04\x95\x0e\x00",
        b'{"$unknown": 1}',
        b'{"$tuple": 1}',
        b'{"$datetime": "yesterday"}',
        b'{"$bytes": "%%%"}',
        b'{"$message": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}',
        b'{"$decimal": "x"}',
        b"[" * 100_000,
        b'"\xff"',
    ],
)
def test_bytes_that_are_none_of_ours_are_one_typed_error(data: bytes) -> None:
    with pytest.raises(ArgumentsError, match="cannot be read"):
        serializer.deserialize(data)
