"""Monthly sales reports of one tenant: a chart and a table for download, kept as files, and a line about each."""

from __future__ import annotations

import csv
import io
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from flask import current_app

from .database import connection, required_tenant
from .orders import Day

FILES = {"chart.svg": "image/svg+xml", "chart-dark.svg": "image/svg+xml", "days.csv": "text/csv"}
"""What a report consists of, and of which type it is."""


@dataclass(frozen=True)
class Report:
    """A drawn report."""

    month: str
    orders: int
    units: int
    euro_cents: int
    drawn_at: datetime

    @property
    def title(self) -> str:
        """The month in words."""
        return month_in_words(self.month)


class Reports:
    """Keeps the reports of one tenant, one for each month.

    :param tenant_id: whose reports.
    :raises NoTenantError: there is no tenant.
    """

    def __init__(self, tenant_id: str | None) -> None:
        self._tenant = required_tenant(tenant_id)

    def keep(self, month: str, days: list[Day], files: dict[str, str]) -> None:
        """Store a report, in place of the month's older one."""
        for name in FILES:
            _write(self.path_of(month, name), files[name])
        connection().execute(
            "INSERT OR REPLACE INTO reports (tenant_id, month, orders, units, euro_cents, drawn_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                self._tenant,
                month,
                sum(day.orders for day in days),
                sum(day.units for day in days),
                sum(day.euro_cents for day in days),
                datetime.now(UTC).isoformat(),
            ),
        )

    def find(self, month: str) -> Report | None:
        """Return a month's report, ``None`` when none is drawn."""
        return next((report for report in self.list() if report.month == month), None)

    def list(self) -> list[Report]:
        """Return all reports, the newest month first."""
        rows = connection().execute(
            "SELECT month, orders, units, euro_cents, drawn_at FROM reports WHERE tenant_id = ? ORDER BY month DESC",
            (self._tenant,),
        )
        return [Report(**{**dict(row), "drawn_at": datetime.fromisoformat(row["drawn_at"])}) for row in rows]

    def list_days(self, month: str) -> Sequence[Day]:
        """Return the days of a drawn report, as they were when it was drawn."""
        with self.path_of(month, "days.csv").open(encoding="utf-8", newline="") as file:
            return [
                Day(date.fromisoformat(row["date"]), int(row["orders"]), int(row["units"]), _cents(row["sales_eur"]))
                for row in csv.DictReader(file)
            ]

    def path_of(self, month: str, name: str) -> Path:
        """Return where a file of a report is.

        :raises ValueError: the month is none, or a report has no such file.
        """
        if name not in FILES:
            raise ValueError(f"A report has no file {name[:40]!r}.")
        return Path(current_app.instance_path) / "reports" / self._tenant / f"{checked_month(month)}-{name}"


def checked_month(text: str) -> str:
    """Return a month such as ``2026-06``.

    :raises ValueError: it is none.
    """
    if not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", text):
        raise ValueError(f"{text[:40]!r} is no month: write it as 2026-06.")
    return text


def month_in_words(month: str) -> str:
    """Return ``2026-06`` as ``June 2026``."""
    return f"{date.fromisoformat(f'{month}-01'):%B %Y}"


def write_table(days: list[Day]) -> str:
    """Return the days as CSV."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["date", "orders", "units", "sales_eur"])
    for day in days:
        writer.writerow(
            [day.date.isoformat(), day.orders, day.units, f"{day.euro_cents // 100}.{day.euro_cents % 100:02}"]
        )
    return text.getvalue()


def _cents(amount: str) -> int:
    return int(amount.replace(".", ""))


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all: a second attempt, or a reader, never meets half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    draft.write_text(text, encoding="utf-8", newline="")
    os.replace(draft, path)
