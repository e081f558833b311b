"""The desk's configuration, and the secret key that it makes for itself."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from flask import Flask

DEFAULTS = {
    "ABPJOBS_STORAGE_URL": "sqlite:///jobs.db",
    "ABPJOBS_NAME": "order-desk",
    "ABPJOBS_EMBEDDED_WORKER": True,
    "ABPJOBS_QUEUES": ["mail", "default", "imports"],
    "ABPJOBS_WORKERS": 4,
    "MAX_CONTENT_LENGTH": 5 * 1024 * 1024,
    "PERMANENT_SESSION_LIFETIME": timedelta(hours=12),
    "SESSION_COOKIE_NAME": "order_desk",
    "SESSION_COOKIE_SAMESITE": "Lax",
    "DESK_IMPORT_PAUSE": 0.05,
}
"""``DESK_IMPORT_PAUSE``: seconds the import rests after each 100 rows. Without it 12,000 rows are in before anyone has
seen the progress bar; it also leaves the database to others in between."""


def apply(app: Flask, overrides: Mapping[str, Any]) -> None:
    """Configure an app and make its instance folder.

    Environment variables such as ``ORDER_DESK_ABPJOBS_EMBEDDED_WORKER=false`` overrule the defaults.
    """
    Path(app.instance_path).mkdir(parents=True, exist_ok=True)
    app.config.from_mapping(DEFAULTS)
    app.config.from_prefixed_env("ORDER_DESK")
    app.config.from_mapping(overrides)
    if not app.config["SECRET_KEY"]:
        app.config["SECRET_KEY"] = _own_key(Path(app.instance_path) / "secret.key")


def _own_key(path: Path) -> str:
    """Return the key in a file that only its owner can read; the first process to come writes it."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))
    try:
        os.link(draft, path)  # whole or not at all, and never over another process's key
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text(encoding="ascii")
