"""The messages that came by mail, kept by tenant."""

from __future__ import annotations

import email
import email.policy
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage

from .accounts import TENANTS
from .database import connection, required_tenant
from .letters import ORDER_HEADER

PAGE_SIZE = 25


class UnknownSenderError(ValueError):
    """The sender's domain belongs to no tenant."""


@dataclass(frozen=True)
class Message:
    """A message as it came."""

    id: int
    order_number: str | None
    sender: str
    recipient: str
    subject: str
    source: bytes
    received_at: datetime

    @property
    def text(self) -> str:
        """What it says."""
        body = _parsed(self.source).get_body(("plain",))
        return "" if body is None else str(body.get_content())

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Its headers, in order."""
        return [(name, str(value)) for name, value in _parsed(self.source).items()]


def keep(sender: str, recipients: Sequence[str], source: bytes) -> None:
    """Keep a message for the tenant whose domain it comes from; one that came before is not kept twice.

    :raises UnknownSenderError: no tenant has this domain.
    """
    domain = sender.rpartition("@")[2].lower()
    tenant = next((tenant for tenant in TENANTS.values() if tenant.domain == domain), None)
    if tenant is None:
        raise UnknownSenderError("This mailbox takes mail of its tenants only")
    message = _parsed(source)
    connection().execute(
        "INSERT INTO messages (tenant_id, message_id, order_number, sender, recipient, subject, source, received_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant_id, message_id) DO NOTHING",
        (
            tenant.id,
            str(message["Message-ID"] or f"<{datetime.now(UTC).timestamp()}>"),
            str(message[ORDER_HEADER]) if message[ORDER_HEADER] else None,
            str(message["From"] or sender),
            ", ".join(recipients),
            str(message["Subject"] or ""),
            source,
            datetime.now(UTC).isoformat(),
        ),
    )


class Messages:
    """Reads the messages of one tenant.

    :param tenant_id: whose messages.
    :raises NoTenantError: there is no tenant.
    """

    def __init__(self, tenant_id: str | None) -> None:
        self._tenant = required_tenant(tenant_id)

    def count(self) -> int:
        """Return how many there are."""
        row = connection().execute("SELECT count(*) FROM messages WHERE tenant_id = ?", (self._tenant,))
        return int(row.fetchone()[0])

    def list_page(self, page: int = 1) -> list[Message]:
        """Return a page, newest first."""
        return self._list("ORDER BY id DESC LIMIT ? OFFSET ?", PAGE_SIZE, (page - 1) * PAGE_SIZE)

    def list_of_order(self, number: str) -> list[Message]:
        """Return the messages about an order, newest first."""
        return self._list("AND order_number = ? ORDER BY id DESC LIMIT ?", number, PAGE_SIZE)

    def find(self, message_id: int) -> Message | None:
        """Return a message, ``None`` when this tenant has none of that id."""
        rows = self._list("AND id = ?", message_id)
        return rows[0] if rows else None

    def _list(self, conditions: str, *values: object) -> list[Message]:
        query = f"SELECT {_COLUMNS} FROM messages WHERE tenant_id = ? {conditions}"  # noqa: S608 (constants only)
        return [_message(row) for row in connection().execute(query, (self._tenant, *values))]


_COLUMNS = "id, order_number, sender, recipient, subject, source, received_at"


def _message(row: sqlite3.Row) -> Message:
    return Message(**{**dict(row), "received_at": datetime.fromisoformat(row["received_at"])})


def _parsed(source: bytes) -> EmailMessage:
    return email.message_from_bytes(source, policy=email.policy.default)
