"""The files that people upload: under random names, in a folder of their tenant."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import IO

from flask import current_app

from .database import required_tenant

KEPT = 20
"""Newest uploads kept for each tenant."""


def save(tenant_id: str | None, stream: IO[bytes]) -> str:
    """Keep a file and return its id."""
    upload_id = secrets.token_hex(16)
    path = path_of(tenant_id, upload_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        while chunk := stream.read(64 * 1024):
            file.write(chunk)
    for old in sorted(path.parent.glob("*.csv"), key=lambda each: each.stat().st_mtime, reverse=True)[KEPT:]:
        old.unlink(missing_ok=True)
    return upload_id


def remove(tenant_id: str | None, upload_id: str) -> None:
    """Forget a file."""
    path_of(tenant_id, upload_id).unlink(missing_ok=True)


def path_of(tenant_id: str | None, upload_id: str) -> Path:
    """Return where a tenant's upload is.

    :raises ValueError: this is no id of an upload.
    """
    if not re.fullmatch(r"[0-9a-f]{32}", upload_id):
        raise ValueError(f"{upload_id[:40]!r} is no id of an upload.")
    return Path(current_app.instance_path) / "uploads" / required_tenant(tenant_id) / f"{upload_id}.csv"
