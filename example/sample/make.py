"""Write ``orders.csv`` beside this file: 12,000 orders of half a year, seven of them broken.

The same file every time: ``python example/sample/make.py``.
"""

from __future__ import annotations

import csv
import io
import math
import random
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

ROWS = 12_000
FIRST_DAY = date(2026, 1, 1)
DAYS = 181
HEAD = ("number", "date", "customer", "email", "item", "quantity", "unit_price", "currency")

FIRST_NAMES = (
    "Ada Alan Amara Anneke Ayşe Björn Chiara Chen Daniela Dmitri Elif Emeka Fatima Femke Grace Hana Henrik Ines Jan "
    "João Kenji Lars Leyla Lucía Łukasz Maeve Malik Mei Mia Nadia Noah Olga Omar Pilar Priya Rosa Samir Sofia Tomás Zoë"
).split()
LAST_NAMES = (
    "Abadi Andersen Bianchi Costa Çelik Dubois Eriksen Fischer García Haddad Ito Jansen Kaya Kowalska Lindqvist Moreau "
    "Müller Nakamura Novák O'Connor Okafor Petrov Quist Rossi Santos Şahin Tanaka Ünal Varga Weber Yilmaz Zhang"
).split()
PLAIN = str.maketrans("şöçíãłéáëüÇŁŞÜ", "socialeaeuCLSU")  # for the addresses
ITEMS = (
    ("Desk lamp, brass", 68.00, 9),
    ("Notebook, dotted, A5", 14.50, 30),
    ("Fountain pen, fine", 42.00, 14),
    ("Ink, midnight blue", 11.90, 22),
    ("Letter tray, oak", 54.00, 8),
    ("Desk mat, felt", 36.50, 10),
    ("Monitor stand, walnut", 119.00, 5),
    ("Cable box, linen", 27.00, 9),
    ("Wall calendar", 18.00, 12),
    ("Chair, adjustable", 389.00, 2),
    ("Standing desk", 649.00, 1),
    ("Paper clips, copper", 6.20, 18),
)
CURRENCIES = (("EUR", 70), ("USD", 18), ("GBP", 12))
QUANTITIES = ((1, 58), (2, 24), (3, 9), (4, 5), (10, 3), (25, 1))
WEEKDAYS = (1.15, 1.1, 1.0, 1.0, 0.95, 0.45, 0.35)
PAYDAYS = (1, 2, 3, 26, 27)


def make_orders() -> bytes:
    """Return the file."""
    # Only random(), whose sequence no version of Python changes
    draw = random.Random(20260101).random  # noqa: S311
    days = _days(draw)
    lines = [_line(HEAD)]
    for index in range(ROWS):
        first, last = FIRST_NAMES[int(draw() * len(FIRST_NAMES))], LAST_NAMES[int(draw() * len(LAST_NAMES))]
        item, price = _pick(draw, [((name, price), weight) for name, price, weight in ITEMS])
        fields = [
            f"S-{100_001 + index}",
            days[index].isoformat(),
            f"{first} {last}",
            f"{first}.{last}@example.com".translate(PLAIN).replace("'", "").lower(),
            item,
            str(_pick(draw, QUANTITIES)),
            f"{price:.2f}",
            _pick(draw, CURRENCIES),
        ]
        lines.append(BROKEN.get(index, _line)(fields))
    return b"".join(lines)


def _without_currency(fields: list[str]) -> bytes:
    return _line(fields[:-1])


def _with_impossible_date(fields: list[str]) -> bytes:
    return _line([fields[0], "2026-02-30", *fields[2:]])


def _with_negative_quantity(fields: list[str]) -> bytes:
    return _line([*fields[:5], "-3", *fields[6:]])


def _with_quantity_in_words(fields: list[str]) -> bytes:
    return _line([*fields[:5], "twelve", *fields[6:]])


def _with_unknown_currency(fields: list[str]) -> bytes:
    return _line([*fields[:-1], "XBT"])


def _with_broken_utf8(fields: list[str]) -> bytes:
    return _line([*fields[:2], "Zoë Müller", *fields[3:]]).decode().encode("latin-1")


def _without_number(fields: list[str]) -> bytes:
    return _line(["", *fields[1:]])


BROKEN = {
    612: _without_currency,
    2_048: _with_impossible_date,
    4_711: _with_negative_quantity,
    5_999: _with_quantity_in_words,
    7_300: _with_unknown_currency,
    9_090: _with_broken_utf8,
    11_500: _without_number,
}
"""What is wrong with which row."""


def _days(draw: Callable[[], float]) -> list[date]:
    """Return a day for each row, in order: busier on Mondays, in spring and just after payday."""
    calendar = [FIRST_DAY + timedelta(days=number) for number in range(DAYS)]
    weights = [
        WEEKDAYS[day.weekday()] * (1 + 0.004 * number) * (1.35 if day.day in PAYDAYS else 1) * (0.8 + 0.4 * draw())
        for number, day in enumerate(calendar)
    ]
    return sorted(_pick(draw, list(zip(calendar, weights, strict=True))) for _ in range(ROWS))


def _pick(draw: Callable[[], float], choices: Sequence[tuple[Any, float]]) -> Any:
    """Return one of the (choice, weight) pairs' choices."""
    place = draw() * math.fsum(weight for _, weight in choices)
    for choice, weight in choices:
        place -= weight
        if place < 0:
            return choice
    return choices[-1][0]


def _line(fields: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(fields)
    return text.getvalue().encode()


if __name__ == "__main__":
    Path(__file__).with_name("orders.csv").write_bytes(make_orders())
