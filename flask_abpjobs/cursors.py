"""Cursors of pages: opaque to those who pass them on."""

from __future__ import annotations

import base64
import binascii

MAX_LENGTH = 400


def encode_cursor(at: float, place: str) -> str:
    """Return an opaque cursor.

    :param at: the time by which the list is sorted.
    :param place: ASCII text that tells jobs of the same time apart.
    """
    return base64.urlsafe_b64encode(f"{at!r}/{place}".encode("ascii")).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[float, str]:
    """Return time and place of a cursor.

    :raises ValueError: it is none of ours.
    """
    try:
        if len(cursor) > MAX_LENGTH:
            raise ValueError
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        at, slash, place = text.partition("/")
        seconds = float(at)
        if not (slash and place and 0 <= seconds < 1e12):
            raise ValueError
    except (binascii.Error, ValueError) as error:
        raise no_cursor(cursor) from error
    return seconds, place


def no_cursor(cursor: str) -> ValueError:
    """Return the error for text that is no cursor."""
    return ValueError(f"{cursor[:80]!r} is not a page cursor")
