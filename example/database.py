"""The desk's own SQLite file: one connection for each request or job, and the schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask, current_app, g

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    id INTEGER PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    number TEXT NOT NULL,
    placed_on TEXT NOT NULL,
    customer TEXT NOT NULL,
    email TEXT NOT NULL,
    item TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    unit_cents INTEGER NOT NULL,
    currency TEXT NOT NULL,
    euro_cents INTEGER NOT NULL,
    paid_at TEXT,
    UNIQUE (tenant_id, number)
) STRICT;
CREATE INDEX IF NOT EXISTS orders_by_day ON orders (tenant_id, placed_on, id);
CREATE TABLE IF NOT EXISTS reports (
    tenant_id TEXT NOT NULL,
    month TEXT NOT NULL,
    orders INTEGER NOT NULL,
    units INTEGER NOT NULL,
    euro_cents INTEGER NOT NULL,
    drawn_at TEXT NOT NULL,
    PRIMARY KEY (tenant_id, month)
) STRICT;
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    order_number TEXT,
    sender TEXT NOT NULL,
    recipient TEXT NOT NULL,
    subject TEXT NOT NULL,
    source BLOB NOT NULL,
    received_at TEXT NOT NULL,
    UNIQUE (tenant_id, message_id)
) STRICT;
"""


class NoTenantError(LookupError):
    """Somebody without a tenant asked for what belongs to tenants."""


def init_app(app: Flask) -> None:
    """Make the file and its tables."""
    with app.app_context():
        connection().execute("PRAGMA journal_mode = WAL")
        connection().executescript(SCHEMA)
    app.teardown_appcontext(_close)


def connection() -> sqlite3.Connection:
    """Return the connection of the current app context."""
    if "connection" not in g:
        path = Path(current_app.instance_path) / "orders.db"
        g.connection = sqlite3.connect(path, timeout=20, isolation_level=None)
        g.connection.row_factory = sqlite3.Row
        g.connection.execute("PRAGMA synchronous = NORMAL")  # with WAL: safe when the process dies, and quick
    opened: sqlite3.Connection = g.connection
    return opened


@contextmanager
def transaction() -> Iterator[sqlite3.Connection]:
    """Do several writes as one."""
    opened = connection()
    opened.execute("BEGIN IMMEDIATE")
    try:
        yield opened
    except BaseException:
        opened.execute("ROLLBACK")
        raise
    opened.execute("COMMIT")


def required_tenant(tenant_id: str | None) -> str:
    """Return a tenant's id; every query of the desk goes through here.

    :raises NoTenantError: there is no tenant.
    """
    if not tenant_id:
        raise NoTenantError("This belongs to a tenant, and nobody said which.")
    return tenant_id


def _close(error: BaseException | None) -> None:
    opened = g.pop("connection", None)
    if opened is not None:
        opened.close()
