"""Ids of jobs: ULIDs, which sort by time."""

from __future__ import annotations

import base64
import os
import time
from typing import Final

_TO_CROCKFORD: Final = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789ABCDEFGHJKMNPQRSTVWXYZ")


def new_job_id(at: float | None = None) -> str:
    """Return a new ULID: 26 characters, 48 bits of milliseconds and 80 random bits, sortable by time.

    :param at: epoch seconds; the system's clock when left out.
    """
    milliseconds = int((time.time() if at is None else at) * 1000) & ((1 << 48) - 1)
    number = milliseconds.to_bytes(10, "big") + os.urandom(10)  # 160 bits, of which the last 26 characters are the ULID
    return base64.b32encode(number)[6:].translate(_TO_CROCKFORD).decode()


def new_job_ids(number: int, at: float) -> list[str]:
    """Return new ULIDs of one moment, made together."""
    prefix = new_job_id(at)[:10]
    text = base64.b32encode(os.urandom(10 * number)).translate(_TO_CROCKFORD).decode()  # 10 bytes are 16 characters
    return [prefix + text[start : start + 16] for start in range(0, 16 * number, 16)]
