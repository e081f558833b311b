"""Orders: the list, and one."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for

from flask_abpjobs import current_tenant

from .. import activity
from ..jobs import charge_card
from ..messages import Messages
from ..orders import PAGE_SIZE, Order, Orders
from .desk import send_confirmation
from .frame import for_tenants, tell
from .pager import Pager

pages = Blueprint("orders", __name__, url_prefix="/orders")
pages.before_request(for_tenants)


@pages.get("")
def list_orders() -> str:
    """Show a page of the orders, all or those that hold a text."""
    orders = Orders(current_tenant.id)
    text = request.args.get("q", "").strip()[:100]
    found = orders.count(text)
    pager = Pager.of_request(found, PAGE_SIZE)
    return render_template(
        "orders.html", totals=orders.totals(), orders=orders.list_page(text, pager.page), text=text, pager=pager
    )


@pages.get("/<int:order_id>")
def show(order_id: int) -> str:
    """Show one order with its e-mails, and the latest jobs."""
    order = _existing(order_id)
    tenant = current_tenant.id
    return render_template(
        "order.html",
        order=order,
        messages=Messages(tenant).list_of_order(order.number),
        activities=activity.list_recent(tenant, limit=5),
    )


@pages.post("/<int:order_id>/confirm")
def confirm(order_id: int) -> Any:
    """Send the confirmation."""
    order = _existing(order_id)
    tell(f"The confirmation for {order.number} is on the way.", send_confirmation(order.id))
    return redirect(url_for("orders.show", order_id=order.id))


@pages.post("/<int:order_id>/charge")
def charge(order_id: int) -> Any:
    """Charge the card."""
    order = _existing(order_id)
    tell(f"The card for {order.number} is being charged.", charge_card.enqueue(order.id))
    return redirect(url_for("orders.show", order_id=order.id))


def _existing(order_id: int) -> Order:
    # SQLite has numbers of 64 bits
    order = Orders(current_tenant.id).find(order_id) if order_id < 1 << 63 else None
    return order or abort(404)
