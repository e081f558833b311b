"""Amounts in cents, and the desk's fixed rates to the euro."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

RATES = {"EUR": Decimal(1), "USD": Decimal("0.86"), "GBP": Decimal("1.15")}
"""Euros for one unit of each currency that the desk takes."""
SIGNS = {"EUR": "€", "USD": "$", "GBP": "£"}


def to_euro_cents(cents: int, currency: str) -> int:
    """Return an amount in cents of the euro, at the desk's rates."""
    return int((cents * RATES[currency]).quantize(Decimal(1), ROUND_HALF_UP))


def written(cents: int, currency: str = "EUR") -> str:
    """Return an amount as a person reads it: ``€1,204.50``."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{SIGNS[currency]}{abs(cents) // 100:,}.{abs(cents) % 100:02}"


def rounded(cents: int, currency: str = "EUR") -> str:
    """Return an amount without its cents: ``€1,205``."""
    return f"{SIGNS[currency]}{(cents + 50) // 100:,}"
