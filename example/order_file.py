"""Reads orders from a CSV file, row by row; a broken row does not stop it."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path

from .money import RATES

COLUMNS = ("number", "date", "customer", "email", "item", "quantity", "unit_price", "currency")
MAX_TEXT = 200
MAX_QUANTITY = 100_000
MAX_PRICE = Decimal(1_000_000)


@dataclass(frozen=True)
class OrderLine:
    """An order as the file has it."""

    number: str
    placed_on: date
    customer: str
    email: str
    item: str
    quantity: int
    unit_cents: int
    currency: str


@dataclass(frozen=True)
class BrokenRow:
    """A row that is no order, and why."""

    row: int
    """Counted from 1, the head included, as a spreadsheet does."""
    why: str


class OrderFileError(ValueError):
    """The file as a whole is not one of orders."""


def count_rows(path: Path) -> int:
    """Return how many rows follow the head.

    :raises OrderFileError: the head is not the right one.
    """
    return sum(1 for _ in _rows(path))


def read_orders(path: Path) -> Iterator[OrderLine | BrokenRow]:
    """Yield each row as an order, or as what is wrong with it.

    :raises OrderFileError: the head is not the right one.
    """
    for number, fields in _rows(path):
        try:
            if isinstance(fields, csv.Error):
                raise ValueError(str(fields))
            yield _parse(fields)
        except ValueError as error:
            yield BrokenRow(number, str(error))


def _rows(path: Path) -> Iterator[tuple[int, Sequence[str] | csv.Error]]:
    # What is not UTF-8 comes through as lone surrogates, so that one bad row does not end the file
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file)
        head = tuple(name.strip().lower() for name in next(reader, []))
        if head != COLUMNS:
            raise OrderFileError(f"The first row must name the columns: {', '.join(COLUMNS)}.")
        for number in itertools.count(2):
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:  # such as a field without end; the reader goes on with the next line
                yield number, error
            else:
                if fields:
                    yield number, fields


def _parse(fields: Sequence[str]) -> OrderLine:
    if any("\udc80" <= character <= "\udcff" for field in fields for character in field):
        raise ValueError("it is not UTF-8 text")
    if len(fields) != len(COLUMNS):
        raise ValueError(f"it has {len(fields)} fields, not {len(COLUMNS)}")
    number, day, customer, email, item, quantity, price, currency = (field.strip() for field in fields)
    for name, text in zip(("number", "customer", "email", "item"), (number, customer, email, item), strict=True):
        if not text:
            raise ValueError(f"the {name} is missing")
        if len(text) > MAX_TEXT or not text.isprintable():
            raise ValueError(f"the {name} is not a line of at most {MAX_TEXT} characters")
    if "@" not in email or set(email) & set(" ,;<>"):
        raise ValueError(f"{_shown(email)} is no e-mail address")
    if currency not in RATES:
        raise ValueError(f"the currency {_shown(currency)} is not known")
    return OrderLine(number, _day(day), customer, email, item, _quantity(quantity), _cents(price), currency)


def _day(text: str) -> date:
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text)
    except ValueError:  # such as 30 February
        pass
    raise ValueError(f"{_shown(text)} is no date")


def _quantity(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]+", text):
        raise ValueError(f"the quantity {_shown(text)} is not a whole number")
    if len(text) > len(str(MAX_QUANTITY)) or not 1 <= int(text) <= MAX_QUANTITY:
        raise ValueError(f"the quantity {_shown(text)} is not from 1 to {MAX_QUANTITY:,}")
    return int(text)


def _cents(text: str) -> int:
    try:
        price = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"the price {_shown(text)} is not a number") from None
    if not (price.is_finite() and 0 <= price <= MAX_PRICE and price == round(price, 2)):
        raise ValueError(f"the price {_shown(text)} is not an amount of 0 to {MAX_PRICE:,} with two decimals")
    return int(price * 100)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:39]}…")
