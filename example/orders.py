"""The orders of one tenant."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from . import money
from .database import connection, required_tenant, transaction
from .order_file import OrderLine

PAGE_SIZE = 25


@dataclass(frozen=True)
class Order:
    """One order."""

    id: int
    number: str
    placed_on: date
    customer: str
    email: str
    item: str
    quantity: int
    unit_cents: int
    currency: str
    euro_cents: int
    paid_at: datetime | None

    @property
    def total(self) -> str:
        """What the customer pays."""
        return money.written(self.quantity * self.unit_cents, self.currency)


@dataclass(frozen=True)
class Totals:
    """All orders of a tenant in numbers."""

    orders: int
    paid: int
    euro_cents: int

    @property
    def open(self) -> int:
        """Orders not paid yet."""
        return self.orders - self.paid


@dataclass(frozen=True)
class Day:
    """What was sold on one day."""

    date: date
    orders: int
    units: int
    euro_cents: int


class Orders:
    """Reads and writes the orders of one tenant, and cannot reach another's.

    :param tenant_id: whose orders.
    :raises NoTenantError: there is no tenant.
    """

    def __init__(self, tenant_id: str | None) -> None:
        self._tenant = required_tenant(tenant_id)

    def add(self, lines: Iterable[OrderLine]) -> int:
        """Store orders in one step and return how many were new: a number that is known is left as it is."""
        rows = [
            (
                self._tenant,
                line.number,
                line.placed_on.isoformat(),
                line.customer,
                line.email,
                line.item,
                line.quantity,
                line.unit_cents,
                line.currency,
                money.to_euro_cents(line.quantity * line.unit_cents, line.currency),
            )
            for line in lines
        ]
        with transaction() as database:
            before = database.total_changes
            database.executemany(
                "INSERT INTO orders (tenant_id, number, placed_on, customer, email, item, quantity, unit_cents,"
                " currency, euro_cents) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (tenant_id, number) DO NOTHING",
                rows,
            )
            return database.total_changes - before

    def find(self, order_id: int) -> Order | None:
        """Return an order, ``None`` when this tenant has none of that id."""
        rows = self._list("AND id = ?", order_id)
        return rows[0] if rows else None

    def list_page(self, text: str = "", page: int = 1) -> list[Order]:
        """Return a page of the orders whose number, customer or item holds a text, newest first."""
        return self._list(
            f"{_MATCHES} ORDER BY placed_on DESC, id DESC LIMIT ? OFFSET ?",
            *_pattern(text),
            PAGE_SIZE,
            (page - 1) * PAGE_SIZE,
        )

    def list_open(self, limit: int) -> list[Order]:
        """Return the newest orders that nobody has paid."""
        return self._list("AND paid_at IS NULL ORDER BY placed_on DESC, id DESC LIMIT ?", limit)

    def count(self, text: str = "") -> int:
        """Return how many orders hold a text, see :meth:`list_page`."""
        query = f"SELECT count(*) FROM orders WHERE tenant_id = ? {_MATCHES}"  # noqa: S608 (constants only)
        return int(connection().execute(query, (self._tenant, *_pattern(text))).fetchone()[0])

    def totals(self) -> Totals:
        """Return the numbers of all orders."""
        row = connection().execute(
            "SELECT count(*), count(paid_at), coalesce(sum(euro_cents), 0) FROM orders WHERE tenant_id = ?",
            (self._tenant,),
        )
        return Totals(*row.fetchone())

    def list_months(self) -> list[str]:
        """Return the months that have orders, such as ``2026-06``, newest first."""
        rows = connection().execute(
            "SELECT DISTINCT substr(placed_on, 1, 7) FROM orders WHERE tenant_id = ? ORDER BY 1 DESC", (self._tenant,)
        )
        return [row[0] for row in rows]

    def list_days(self, month: str) -> list[Day]:
        """Return what was sold on each day of a month; days without orders are left out."""
        rows = connection().execute(
            "SELECT placed_on, count(*), sum(quantity), sum(euro_cents) FROM orders"
            " WHERE tenant_id = ? AND placed_on >= ? AND placed_on < ? GROUP BY placed_on ORDER BY placed_on",
            (self._tenant, f"{month}-01", f"{month}-99"),
        )
        return [Day(date.fromisoformat(row[0]), *row[1:]) for row in rows]

    def mark_paid(self, order_id: int) -> None:
        """Note that an order is paid, now."""
        connection().execute(
            "UPDATE orders SET paid_at = ? WHERE tenant_id = ? AND id = ? AND paid_at IS NULL",
            (datetime.now(UTC).isoformat(), self._tenant, order_id),
        )

    def _list(self, conditions: str, *values: object) -> list[Order]:
        query = f"SELECT {_COLUMNS} FROM orders WHERE tenant_id = ? {conditions}"  # noqa: S608 (constants only)
        return [_order(row) for row in connection().execute(query, (self._tenant, *values))]


_COLUMNS = "id, number, placed_on, customer, email, item, quantity, unit_cents, currency, euro_cents, paid_at"
_MATCHES = r"AND (number LIKE ? ESCAPE '\' OR customer LIKE ? ESCAPE '\' OR item LIKE ? ESCAPE '\')"


def _pattern(text: str) -> Sequence[str]:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return (f"%{escaped}%",) * 3


def _order(row: sqlite3.Row) -> Order:
    paid_at = row["paid_at"]
    return Order(
        **{
            **dict(row),
            "placed_on": date.fromisoformat(row["placed_on"]),
            "paid_at": None if paid_at is None else datetime.fromisoformat(paid_at),
        }
    )
