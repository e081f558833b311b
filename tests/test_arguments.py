"""Typed arguments become JSON and the same values again; what would not is refused; what is shown keeps secrets."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, TypedDict
from zoneinfo import ZoneInfo

import msgspec
import pydantic
import pytest
from hypothesis import given, strategies as st

from flask_abpjobs.arguments import (
    MAX_ARGUMENTS,
    MAX_PAYLOAD,
    MAX_TEXT,
    Parameters,
    encode_result,
    parameters_of,
    source_of,
    type_name,
)
from flask_abpjobs.errors import ArgumentsError
from flask_abpjobs.model import Argument


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


@dataclass
class Address:
    street: str
    since: dt.date | None = None


@dataclass
class Customer:
    id: uuid.UUID
    addresses: list[Address]
    password: str = "hunter2"


class Point(msgspec.Struct):
    x: int
    y: float = 0.0
    token: str = "t0ken"


class Named(msgspec.Struct, rename="camel"):
    first_name: str


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Invoice(pydantic.BaseModel):
    number: int
    total: decimal.Decimal
    issued: dt.datetime | None = None
    api_key: str = "k3y"


class Aliased(pydantic.BaseModel):
    first_name: str = pydantic.Field(alias="firstName")


class Login(pydantic.BaseModel):
    user: str
    pin: pydantic.SecretStr


class Wrapper(pydantic.BaseModel):
    invoice: Invoice


@dataclass
class Holder:
    invoice: Invoice
    limit: float | None = None


class Plain: ...


class BrokenRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no repr today")


class WrongRepr:
    def __repr__(self) -> str:
        return 5  # type: ignore[return-value]


def taking(annotation: Any, **settings: Any) -> Parameters:
    """Return the parameters of a function with one parameter ``value`` of that type."""

    def job(value: Any) -> None: ...

    job.__annotations__ = {} if annotation is None else {"value": annotation}
    return parameters_of(job, **settings)


def arrives(annotation: Any, value: Any) -> Any:
    """Return what a job would receive for an argument."""
    parameters = taking(annotation)
    return parameters.decode(parameters.encode(parameters.type(value=value))).value


def refusal(annotation: Any, value: Any) -> str:
    """Return the words by which an argument is refused at enqueue."""
    parameters = taking(annotation)
    with pytest.raises(ArgumentsError) as refused:
        parameters.encode(parameters.type(value=value))
    return str(refused.value)


ISTANBUL = dt.timezone(dt.timedelta(hours=3))
CUSTOMER = Customer(uuid.UUID(int=7), [Address("Ağaç Sok. 5", dt.date(2020, 2, 29)), Address("Main St")])


class TestRoundTrip:
    @pytest.mark.parametrize(
        ("annotation", "value"),
        [
            (bool, True),
            (int, 2**53 + 1),
            (int, 2**64),
            (int, -(2**200)),
            (float, 0.1),
            (float, 1e308),
            (str, ""),
            (str, "مرحبا بالعالم"),
            (str, "שלום \u202e abc"),
            (str, "👩\u200d👩\u200d👧 🎉"),
            (str, "NUL \x00 and \x1f and \u2028"),
            (bytes, bytes(range(256))),
            (dt.datetime, dt.datetime(2026, 11, 24, 12, 30, 15, 123456)),
            (dt.datetime, dt.datetime(2026, 11, 24, 12, 30, tzinfo=dt.UTC)),
            (dt.datetime, dt.datetime(2026, 11, 24, 12, 30, tzinfo=ISTANBUL)),
            (dt.date, dt.date(1, 1, 1)),
            (dt.time, dt.time(23, 59, 59, 999999)),
            (dt.time, dt.time(8, tzinfo=ISTANBUL)),
            (dt.timedelta, dt.timedelta(days=-3, microseconds=1)),
            (dt.timedelta, dt.timedelta.max),
            (decimal.Decimal, decimal.Decimal("0.1000000000000000000000000001")),
            (decimal.Decimal, decimal.Decimal("-1E+400")),
            (uuid.UUID, uuid.UUID(int=2**128 - 1)),
            (Color, Color.BLUE),
            (Level, Level.LOW),
            (Literal["a", "b"], "b"),
            (Annotated[int, msgspec.Meta(gt=0)], 1),
            (list[dt.date], [dt.date(2026, 1, 1)]),
            (tuple[int, str, Color], (1, "a", Color.RED)),
            (set[int], {1, 2, 3}),
            (frozenset[str], frozenset({"a"})),
            (dict[str, list[decimal.Decimal]], {"prices": [decimal.Decimal("1.10")]}),
            (dict[int, str], {7: "seven"}),
            (dt.datetime | None, None),
            (list[Address] | None, [Address("a")]),
            (int | str, "5"),
            (int | str, 5),
            (Customer, CUSTOMER),
            (dict[str, Customer], {"first": CUSTOMER}),
            (Point, Point(1, 2.5)),
            (Named, Named("Ada")),
            (Movie, {"title": "Metropolis", "year": 1927}),
            (Movie, {"title": "Metropolis"}),
            (Invoice, Invoice(number=1, total="9.90", issued=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))),
            (list[Invoice], [Invoice(number=1, total=2)]),
            (Invoice | None, None),
            (Wrapper, Wrapper(invoice=Invoice(number=1, total=2))),
            (Aliased, Aliased(firstName="Ada")),
            (Holder, Holder(Invoice(number=1, total=2), 1.5)),
        ],
        ids=lambda value: re.sub(r"\W+", "-", ascii(value))[:40],
    )
    def test_a_value_comes_back_as_its_own_type(self, annotation: Any, value: Any) -> None:
        back = arrives(annotation, value)
        assert back == value
        assert type(back) is type(value)

    def test_an_aware_datetime_keeps_its_offset_and_a_naive_one_stays_naive(self) -> None:
        aware = arrives(dt.datetime, dt.datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")))
        assert aware.utcoffset() == dt.timedelta(hours=2)
        assert arrives(dt.datetime, dt.datetime(2026, 7, 1, 12)).tzinfo is None

    def test_a_decimal_keeps_its_trailing_zeros(self) -> None:
        assert str(arrives(decimal.Decimal, decimal.Decimal("1.100"))) == "1.100"

    def test_an_int_for_a_float_arrives_as_a_float(self) -> None:
        back = arrives(float, 3)
        assert (back, type(back)) == (3.0, float)

    def test_what_was_left_out_is_not_stored_and_the_present_default_applies(self) -> None:
        def today(a: int, b: str = "old", *, c: int | None = 5) -> None: ...

        parameters = parameters_of(today)
        payload = parameters.encode(parameters.type(a=1))
        assert payload == b'{"a":1}'
        value = parameters.decode(payload)
        assert (value.a, value.b, value.c) == (1, msgspec.UNSET, msgspec.UNSET)
        assert parameters.encode(parameters.type(a=1, c=None)) == b'{"a":1,"c":null}'

    @pytest.mark.parametrize("type_", [Address, Point, Movie, Invoice])
    def test_fields_that_todays_code_does_not_know_are_ignored(self, type_: Any) -> None:
        known = {
            Address: (b'"street":"a"', Address("a")),
            Point: (b'"x":1', Point(1)),
            Movie: (b'"title":"M"', {"title": "M"}),
            Invoice: (b'"number":1,"total":"2"', Invoice(number=1, total=2)),
        }
        written, expected = known[type_]
        assert Parameters(type_).decode(b'{"of tomorrow":[1],%s}' % written) == expected

    def test_a_parameter_that_is_gone_is_ignored(self) -> None:
        assert taking(int).decode(b'{"value":1,"gone":{"a":2}}').value == 1


class TestRefused:
    @pytest.mark.parametrize(
        ("annotation", "value", "words"),
        [
            (int, "1", "value: Expected `int`, got `str`."),
            (int, True, "value: Expected `int`, got `bool`."),
            (int, 1.5, "value: Expected `int`, got `float`."),
            (str, None, "value: Expected `str`, got `null`."),
            (list[int], [1, "2"], "value[1]: Expected `int`, got `str`."),
            (Literal["a", "b"], "c", "value: Invalid enum value 'c'."),
            (Color, "green", "value: Invalid enum value 'green'."),
            (Annotated[int, msgspec.Meta(gt=0)], 0, "value: Expected `int` >= 1."),
            (dt.date, "yesterday", "value: Invalid RFC3339 encoded date."),
            (Customer, {"id": str(uuid.UUID(int=1))}, "value: Object missing required field `addresses`."),
        ],
    )
    def test_a_value_of_another_type_is_refused_and_the_place_is_named(
        self, annotation: Any, value: Any, words: str
    ) -> None:
        assert refusal(annotation, value) == words

    def test_pydantics_refusal_is_one_line_without_the_value(self) -> None:
        wrong = {"number": "s3cret", "total": "x"}
        assert refusal(Invoice, wrong) == (
            "value: number: Input should be a valid integer, unable to parse string as an integer; "
            "total: Input should be a valid decimal."
        )
        with pytest.raises(ArgumentsError, match=r"^number: Field required; total: Field required\.$"):
            Parameters(Invoice).decode(b"{}")

    @pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
    @pytest.mark.parametrize(
        ("annotation", "around"),
        [
            (float, lambda number: number),
            (float | None, lambda number: number),
            (None, lambda number: number),
            (list[float | None], lambda number: [1.0, number]),
            (dict[str, Any], lambda number: {"a": {"b": (number,)}}),
            (Holder, lambda number: Holder(Invoice(number=1, total=1), number)),
        ],
        ids=["float", "optional", "unannotated", "list", "dict", "dataclass"],
    )
    def test_a_number_that_json_does_not_have_is_refused_at_any_depth(
        self, annotation: Any, around: Callable[[float], Any], number: float
    ) -> None:
        expected = "An argument is or holds NaN or infinity, which JSON does not have."
        assert refusal(annotation, around(number)) == expected

    def test_a_lone_surrogate_is_refused(self) -> None:
        assert "surrogates not allowed" in refusal(str, "a\ud800b")
        assert "surrogates not allowed" in refusal(dict[str, int], {"\udfff": 1})

    def test_a_value_that_contains_itself_or_is_too_deep_is_refused(self) -> None:
        cyclic: dict[str, Any] = {}
        cyclic["self"] = cyclic
        deep: Any = []
        for _ in range(20_000):
            deep = [deep]
        assert "recursion" in refusal(dict[str, Any], cyclic)
        assert "recursion" in refusal(None, deep)
        with pytest.raises(ArgumentsError):
            taking(None).decode(b'{"value":' + b"[" * 200_000)

    def test_a_payload_may_have_one_mebibyte_and_not_a_byte_more(self) -> None:
        frame = len(b'{"value":""}')
        assert len(arrives(str, "x" * (MAX_PAYLOAD - frame))) == MAX_PAYLOAD - frame
        assert refusal(str, "x" * (MAX_PAYLOAD - frame + 1)) == (
            "The arguments take 1,048,577 bytes of JSON; at most 1,048,576 are stored with a job. "
            "Put the data into a file or table and pass its key."
        )

    @pytest.mark.parametrize(
        "value",
        [
            dt.datetime(2026, 1, 1),
            dt.timedelta(1),
            decimal.Decimal(1),
            uuid.UUID(int=1),
            b"x",
            {1, 2},
            {1: "a"},
            Color.RED,
            Address("a"),
            Invoice(number=1, total=1),
            [dt.date(2026, 1, 1)],
        ],
        ids=lambda value: type(value).__name__,
    )
    @pytest.mark.parametrize("annotation", [None, Any], ids=["unannotated", "Any"])
    def test_a_parameter_without_a_type_refuses_what_would_change(self, value: Any, annotation: Any) -> None:
        words = refusal(annotation, value)
        assert words.startswith("value=")
        assert "would arrive as" in words
        assert words.endswith("give the parameter 'value' a type annotation.")

    @pytest.mark.parametrize("value", [None, True, 2**70, 1.5, "a", [1, (2,)], {"a": {"b": [None]}}, Level.LOW])
    def test_a_parameter_without_a_type_takes_what_json_has(self, value: Any) -> None:
        back = arrives(None, value)
        assert back == ([1, [2]] if value == [1, (2,)] else value)

    def test_a_pydantic_secret_is_refused_because_its_value_would_be_lost(self) -> None:
        assert refusal(Login, Login(user="ada", pin="1234")) == (
            "An argument cannot be written as JSON: Login would not come back from JSON as it is."
        )

    def test_a_foreign_object_is_refused(self) -> None:
        expected = "An argument cannot be written as JSON: Plain is not a type that JSON can carry."
        assert refusal(Plain, Plain()) == expected
        assert refusal(None, Plain()) == expected
        with pytest.raises(ArgumentsError, match=r"^value: Plain is not a type that JSON can carry\.$"):
            taking(Plain).decode(b'{"value":{}}')

    @pytest.mark.parametrize("payload", [b"", b"{", b"null", b"[]", b"\xff", b'{"value":1}x', b'{"value":"\xff"}'])
    def test_damaged_bytes_are_refused(self, payload: bytes) -> None:
        with pytest.raises(ArgumentsError):
            taking(int).decode(payload)


class TestDeclaring:
    def test_star_arguments_are_refused(self) -> None:
        def many(*things: int) -> None: ...

        def named(**options: int) -> None: ...

        for function, words in ((many, "takes *things"), (named, "takes *options")):
            with pytest.raises(ArgumentsError, match=re.escape(f"{words}: a job needs named parameters.")):
                parameters_of(function)

    def test_an_annotation_that_names_nothing_is_refused(self) -> None:
        def lost(value: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

        with pytest.raises(ArgumentsError, match=r"An annotation of .*lost cannot be resolved: name 'Nowhere' is not"):
            parameters_of(lost)

    def test_an_annotation_that_json_cannot_tell_apart_is_refused(self) -> None:
        with pytest.raises(
            ArgumentsError, match=r"The parameters of .* cannot be carried as JSON: Type unions may not"
        ):
            taking(Address | Point)

    def test_sensitive_must_name_parameters(self) -> None:
        with pytest.raises(ArgumentsError) as refused:
            taking(int, sensitive=["pin", "pan"])
        assert str(refused.value) == "sensitive names pan, pin, which is no parameter. There are value."
        with pytest.raises(ArgumentsError, match="There are street, since"):
            Parameters(Address, sensitive=["x"])

    @pytest.mark.parametrize(
        ("type_", "names"),
        [
            (Customer, ("id", "addresses", "password")),
            (Point, ("x", "y", "token")),
            (Movie, ("title", "year")),
            (Invoice, ("number", "total", "issued", "api_key")),
        ],
    )
    def test_the_parameters_of_a_type_are_its_fields(self, type_: Any, names: tuple[str, ...]) -> None:
        assert Parameters(type_).names == names


class TestShown:
    def test_each_argument_has_name_source_and_type(self) -> None:
        def job(
            a: int, when: dt.datetime, color: Color, point: Point, days: list[dt.date], b: str | None = None
        ) -> None: ...

        parameters = parameters_of(job)
        value = parameters.type(
            a=1,
            when=dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
            color=Color.RED,
            point=Point(1, 2.0),
            days=[dt.date(2026, 1, 2)],
        )
        assert parameters.display(value) == (
            Argument("a", "1", "int"),
            Argument("when", "datetime(2026, 1, 2, 0, 0, tzinfo=UTC)", "datetime"),
            Argument("color", "Color.RED", "Color"),
            Argument("point", "Point(x=1, y=2.0, token=<redacted>)", "Point"),
            Argument("days", "[date(2026, 1, 2)]", "list[date]"),
        )

    @pytest.mark.parametrize(
        "name",
        [
            "password",
            "new_Password2",
            "passwd",
            "PWD",
            "client_secret",
            "access_token",
            "api_key",
            "apikey",
            "APIKey",
            "authorization",
            "Cookie",
            "connection_string",
            "ConnectionString",
            "card_number",
            "iban",
            "cvv",
            "credentials",
        ],
    )
    def test_a_name_that_looks_like_a_secret_hides_its_value_at_every_depth(self, name: str) -> None:
        def job(plain: Any) -> None: ...

        outer = msgspec.defstruct("Outer", [(name, str)])
        top = Parameters(outer).display(outer("s3cr3t"))
        assert top == (Argument(name, "", "str", redacted=True),)
        nested = source_of({"a": [{name: "s3cr3t"}, (outer("s3cr3t"),)]})
        assert nested == f"{{'a': [{{'{name}': <redacted>}}, (Outer({name}=<redacted>),)]}}"

    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            (CUSTOMER, "password=<redacted>)"),
            (Point(1), "token=<redacted>)"),
            (Invoice(number=1, total=1), "api_key=<redacted>)"),
            ({"deep": {"password": "hunter2"}}, "{'password': <redacted>}}"),
        ],
        ids=["dataclass", "struct", "pydantic", "dict"],
    )
    def test_secrets_inside_of_values_are_not_shown(self, value: Any, shown: str) -> None:
        assert source_of(value).endswith(shown)

    def test_a_sensitive_parameter_is_not_shown_nor_its_name_inside_of_others(self) -> None:
        def job(diagnosis: str, visit: dict[str, Any], address: Address) -> None: ...

        parameters = parameters_of(job, sensitive=["diagnosis"])
        value = parameters.type(diagnosis="flu", visit={"by": {"diagnosis": "flu", "on": 1}}, address=Address("a"))
        assert parameters.display(value) == (
            Argument("diagnosis", "", "str", redacted=True),
            Argument("visit", "{'by': {'diagnosis': <redacted>, 'on': 1}}", "dict[str, Any]"),
            Argument("address", "Address(street='a', since=None)", "Address"),
        )

    @pytest.mark.parametrize("value", [Address("a"), Point(1), {"title": "M"}, Invoice(number=1, total=1)])
    def test_a_field_of_an_argument_type_may_be_sensitive(self, value: Any) -> None:
        type_: Any = Movie if isinstance(value, dict) else type(value)
        first = Parameters(type_).names[0]
        shown = Parameters(type_, sensitive=[first]).display(value)[0]
        assert (shown.name, shown.text, shown.redacted) == (first, "", True)

    def test_a_long_value_is_cut(self) -> None:
        for value in ("x" * 5_000, b"x" * 5_000, list(range(5_000)), {n: n for n in range(5_000)}, 10**4_000):
            text = source_of(value)
            assert len(text) == MAX_TEXT
            assert text.endswith("…")

    def test_many_arguments_are_cut(self) -> None:
        wide = msgspec.defstruct("Wide", [(f"a{number}", int) for number in range(80)])
        assert len(Parameters(wide).display(wide(*range(80)))) == MAX_ARGUMENTS

    def test_an_object_that_cannot_describe_itself_is_shown_all_the_same(self) -> None:
        cyclic: list[Any] = []
        cyclic.append(cyclic)
        assert source_of(BrokenRepr()) == "<BrokenRepr without repr: RuntimeError>"
        assert source_of(WrongRepr()) == "<WrongRepr without repr: TypeError>"
        assert source_of(cyclic) == "<list without repr: RecursionError>"
        assert source_of(object.__new__(Address)) == "<Address without repr: AttributeError>"
        assert source_of(10**5_000) == "<int without repr: ValueError>"
        (shown,) = taking(Plain).display(taking(Plain).type(value=BrokenRepr()))
        assert shown.text == "<BrokenRepr without repr: RuntimeError>"

    @pytest.mark.parametrize(
        ("annotation", "name"),
        [
            (int, "int"),
            (None.__class__, "None"),
            (dt.datetime | None, "datetime | None"),
            (dict[str, list[decimal.Decimal]], "dict[str, list[Decimal]]"),
            (Annotated[int, msgspec.Meta(gt=0)], "int"),
            (Literal["a.b"], "Literal['a.b']"),
        ],
    )
    def test_a_type_is_written_without_its_modules(self, annotation: Any, name: str) -> None:
        assert type_name(annotation) == name


class TestResults:
    def test_a_result_is_written_as_json(self) -> None:
        assert encode_result({"a": [decimal.Decimal("1.10"), Color.RED]}) == b'{"a":["1.10","red"]}'

    def test_a_result_that_cannot_be_written_says_so(self) -> None:
        with pytest.raises(ArgumentsError) as refused:
            encode_result(Plain())
        cannot = "The result cannot be written as JSON: Plain is not a type that JSON can carry."
        assert str(refused.value) == f"{cannot} Return plain values, or None."


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=15,
)
ANYTHING = st.recursive(
    st.none()
    | st.integers()
    | st.floats()
    | st.text(max_size=40)
    | st.binary(max_size=40)
    | st.decimals()
    | st.datetimes()
    | st.timedeltas()
    | st.uuids()
    | st.complex_numbers()
    | st.builds(BrokenRepr)
    | st.builds(WrongRepr)
    | st.sampled_from([Color.RED, Plain, ..., type])
    | st.builds(Address, st.text(max_size=10)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(JSON)
def test_whatever_json_has_comes_back_the_same(value: Any) -> None:
    assert arrives(None, value) == value


@given(ANYTHING, st.integers(1, 200))
def test_source_is_never_longer_than_allowed_and_never_fails(value: Any, limit: int) -> None:
    assert len(source_of(value, limit=limit)) <= limit


@given(ANYTHING)
def test_display_never_fails_and_is_always_text_that_fits(value: Any) -> None:
    parameters = taking(None)
    (shown,) = parameters.display(parameters.type(value=value))
    assert shown.name == "value"
    assert len(shown.text) <= MAX_TEXT


@given(st.binary(max_size=200))
def test_hostile_bytes_are_read_or_refused_and_nothing_else(payload: bytes) -> None:
    try:
        value = taking(int).decode(payload).value
    except ArgumentsError:
        return
    assert isinstance(value, int)
