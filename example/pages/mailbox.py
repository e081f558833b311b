"""The mailbox: what the desk sent."""

from __future__ import annotations

from flask import Blueprint, abort, render_template

from flask_abpjobs import current_tenant

from ..messages import PAGE_SIZE, Messages
from .frame import for_tenants
from .pager import Pager

pages = Blueprint("mailbox", __name__, url_prefix="/mailbox")
pages.before_request(for_tenants)


@pages.get("")
def list_messages() -> str:
    """Show a page of the messages."""
    messages = Messages(current_tenant.id)
    pager = Pager.of_request(messages.count(), PAGE_SIZE)
    return render_template("mailbox.html", messages=messages.list_page(pager.page), pager=pager)


@pages.get("/<int:message_id>")
def show(message_id: int) -> str:
    """Show a message."""
    message = Messages(current_tenant.id).find(message_id) if message_id < 1 << 63 else None
    return render_template("message.html", message=message or abort(404))
