"""A payment gateway that is pretended, and about as reliable as some real ones."""

from __future__ import annotations

import hashlib


class GatewayTimeoutError(Exception):
    """The gateway did not answer. Whether the money moved, a second request with the same key will tell."""


def charge(key: str, cents: int, currency: str, attempt: int) -> str:
    """Take an amount from a customer's card and return the gateway's reference.

    About one attempt in three times out. Which one is settled by the key and the attempt, so that a run can be
    repeated.

    :param key: names the payment: asking twice with one key moves the money once.
    :param cents: the amount.
    :param currency: its currency.
    :param attempt: which attempt this is, from 1.
    :raises GatewayTimeoutError: no answer.
    """
    if hashlib.sha256(f"{key}/{attempt}".encode()).digest()[0] % 3 == 0:
        raise GatewayTimeoutError(f"gateway.example did not answer about {key}, attempt {attempt}.")
    return f"pay_{hashlib.sha256(f'{key}/{cents}/{currency}'.encode()).hexdigest()[:16]}"
