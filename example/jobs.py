"""The desk's background jobs."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flask import current_app

from flask_abpjobs import AbpJobs, AsyncBackgroundJob, JobPriority, RetryPolicy, current_job, current_tenant

from . import chart, letters, payments, sales, uploads
from .accounts import TENANTS
from .database import required_tenant
from .letters import Letter, Sender
from .order_file import BrokenRow, OrderFileError, OrderLine, count_rows, read_orders
from .orders import Order, Orders
from .smtp import port_file_of

BATCH = 100
MAX_WARNINGS = 20
SOON = RetryPolicy(delays=[2, 5, 10])

jobs = AbpJobs()


@jobs.job(name="orders.import", queue="imports", retry=SOON)
def import_orders(upload_id: str, filename: str) -> dict[str, int]:
    """Read an uploaded file into the orders of the tenant who uploaded it.

    It may run again at any time, after a crash or by a click on Requeue: an order number that is known already is left
    as it is, so no order comes in twice.

    :param upload_id: see :func:`example.uploads.save`.
    :param filename: what the person called the file.
    """
    orders = Orders(current_tenant.id)
    path = uploads.path_of(current_tenant.id, upload_id)
    if not path.exists():
        raise OrderFileError(f"{filename} is not kept any more: upload it again.")
    total = count_rows(path)
    current_job.log(f"{filename}: {total:,} rows.")
    added = known = broken = 0
    for batch in _batches(read_orders(path)):
        current_job.raise_if_cancelled()
        lines = [row for row in batch if isinstance(row, OrderLine)]
        for row in batch:
            if isinstance(row, BrokenRow):
                broken += 1
                if broken <= MAX_WARNINGS:
                    current_job.log(f"Row {row.row:,} skipped: {row.why}.", "warning")
        new = orders.add(lines)
        added += new
        known += len(lines) - new
        done = added + known + broken
        current_job.progress(done, total, f"{done:,} of {total:,} rows")
        time.sleep(current_app.config["DESK_IMPORT_PAUSE"])
    if broken > MAX_WARNINGS:
        current_job.log(f"{broken - MAX_WARNINGS:,} more broken rows skipped.", "warning")
    current_job.log(f"{added:,} orders added, {known:,} known already, {broken:,} rows skipped.")
    return {"added": added, "known": known, "skipped": broken}


@jobs.job(name="reports.draw_sales")
def draw_sales_report(month: str) -> dict[str, int]:
    """Draw the chart of a month's sales and write its table.

    :param month: such as ``2026-06``.
    """
    tenant = TENANTS[required_tenant(current_tenant.id)]
    title = f"{tenant.name}, sales of {sales.month_in_words(sales.checked_month(month))}"
    current_job.progress(0, 3, "Adding up the days")
    days = Orders(tenant.id).list_days(month)
    current_job.progress(1, 3, "Drawing the chart")
    files = {
        "chart.svg": chart.draw_chart(month, title, days, chart.LIGHT),
        "chart-dark.svg": chart.draw_chart(month, title, days, chart.DARK),
        "days.csv": sales.write_table(days),
    }
    current_job.progress(2, 3, "Keeping the files")
    sales.Reports(tenant.id).keep(month, days, files)
    current_job.progress(3, 3, "Done")
    return {"days": len(days), "orders": sum(day.orders for day in days)}


@jobs.job(name="payments.charge_card", retry=SOON)
def charge_card(order_id: int) -> str:
    """Take the money for an order, then send the receipt. The gateway times out now and then: the job is retried."""
    orders = Orders(current_tenant.id)
    order = _existing(orders, order_id)
    if order.paid_at is not None:
        return "paid already"
    current_job.log(f"Asking the gateway for {order.total}.")
    payment = payments.charge(
        f"{current_tenant.id}/{order.number}", order.quantity * order.unit_cents, order.currency, current_job.attempt
    )
    # First the receipt, then the note: a crash in between may lose neither, and the mailbox knows a receipt of the
    # same reference.
    receipt = OrderEmailArgs(order_id, Letter.RECEIPT, reference=f"receipt-{order_id}")
    jobs.manager.enqueue(receipt, priority=JobPriority.HIGH)
    orders.mark_paid(order_id)
    return payment


@dataclass
class OrderEmailArgs:
    """Which e-mail to send about which order."""

    order_id: int
    letter: Letter
    reference: str
    """The same for every attempt to send one letter, another for each letter."""


@jobs.job(name="mail.send_order_email", queue="mail", retry=RetryPolicy(delays=[2, 5, 10, 30]))
class OrderEmailJob(AsyncBackgroundJob[OrderEmailArgs]):
    """Sends a customer an e-mail about an order. The activator below gives it its sender."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def execute(self, args: OrderEmailArgs) -> None:
        """Write the letter and send it."""
        tenant = TENANTS[required_tenant(current_tenant.id)]
        order = _existing(Orders(tenant.id), args.order_id)
        message = letters.write(args.letter, order, tenant, args.reference)
        await asyncio.to_thread(self._sender.send, message)
        current_job.log(f"{message['Subject']} sent to {order.email}.")


@jobs.activator
def build(job_class: type[Any]) -> Any:
    """Return an object of a job class with what it needs."""
    if job_class is OrderEmailJob:
        return OrderEmailJob(Sender(port_file_of(current_app)))
    return job_class()


def _batches(rows: Iterator[OrderLine | BrokenRow]) -> Iterator[list[OrderLine | BrokenRow]]:
    while batch := list(itertools.islice(rows, BATCH)):
        yield batch


def _existing(orders: Orders, order_id: int) -> Order:
    order = orders.find(order_id)
    if order is None:
        raise LookupError(f"{current_tenant.id} has no order {order_id}.")
    return order
