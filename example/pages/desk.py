"""The first page: how things stand, what can be done, what the jobs are doing. For the host, its tenants."""

from __future__ import annotations

import secrets
from typing import Any

from flask import Blueprint, redirect, render_template, url_for
from flask_login import current_user, login_required

from flask_abpjobs import current_tenant

from .. import activity, sales
from ..accounts import TENANTS
from ..jobs import OrderEmailArgs, charge_card, jobs
from ..letters import Letter
from ..messages import Messages
from ..orders import Orders
from .frame import tell

MANY = 10

pages = Blueprint("desk", __name__)
pages.before_request(login_required(lambda: None))


@pages.get("/")
def home() -> str:
    """Show the desk, or the tenants to a host user."""
    if current_user.tenant_id is None:
        rows = [
            (tenant, Orders(tenant.id).totals(), Messages(tenant.id).count(), jobs.storage.counts(tenant=tenant.id))
            for tenant in TENANTS.values()
        ]
        return render_template("tenants.html", rows=rows)
    tenant = current_tenant.id
    orders = Orders(tenant)
    months = orders.list_months()
    return render_template(
        "desk.html",
        totals=orders.totals(),
        messages=Messages(tenant).count(),
        month=(months[0], sales.month_in_words(months[0])) if months else None,
        many=MANY,
        activities=activity.list_recent(tenant),
    )


@pages.post("/charge")
def charge_many() -> Any:
    """Charge the newest open orders."""
    found = Orders(current_tenant.id).list_open(MANY)
    ids = [charge_card.enqueue(order.id) for order in found]
    tell(_told(len(ids), "card is", "cards are", "being charged"), *ids)
    return redirect(url_for("desk.home"))


@pages.post("/confirm")
def confirm_many() -> Any:
    """Send a confirmation for the newest orders."""
    ids = [send_confirmation(order.id) for order in Orders(current_tenant.id).list_page()[:MANY]]
    tell(_told(len(ids), "e-mail is", "e-mails are", "on the way"), *ids)
    return redirect(url_for("desk.home"))


def send_confirmation(order_id: int) -> str:
    """Have an order confirmed by e-mail and return the job's id."""
    reference = f"confirmation-{order_id}-{secrets.token_hex(4)}"
    return jobs.manager.enqueue(OrderEmailArgs(order_id, Letter.CONFIRMATION, reference))


def _told(number: int, one: str, many: str, what: str) -> str:
    return f"{number} {one if number == 1 else many} {what}." if number else "There was nothing to do."
