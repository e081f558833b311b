"""The e-mails about orders, and the sender that hands them to the mailbox by SMTP."""

from __future__ import annotations

import enum
import smtplib
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

from flask import render_template

from .accounts import Tenant
from .orders import Order

ORDER_HEADER = "X-Order-Number"


class Letter(enum.StrEnum):
    """Which e-mail."""

    CONFIRMATION = "confirmation"
    RECEIPT = "receipt"


class MailboxClosedError(ConnectionError):
    """Nobody takes mail now."""


class Sender:
    """Sends by SMTP to the desk's own mailbox, whichever process serves it.

    :param port_file: where the serving process writes the port, see :class:`example.smtp.Mailbox`.
    """

    def __init__(self, port_file: Path) -> None:
        self._port_file = port_file

    def send(self, message: EmailMessage) -> None:
        """Hand over one message.

        :raises MailboxClosedError: the mailbox is not open. It opens with the first page that somebody looks at.
        :raises smtplib.SMTPException: it did not take the message.
        """
        try:
            port = int(self._port_file.read_text(encoding="ascii"))
            connection = smtplib.SMTP("127.0.0.1", port, local_hostname="order-desk", timeout=10)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise MailboxClosedError("The mailbox is not open yet: it opens with the first look at a page.") from error
        with connection:
            connection.send_message(message)


def write(letter: Letter, order: Order, tenant: Tenant, reference: str) -> EmailMessage:
    """Return an e-mail about an order.

    :param reference: makes the Message-ID, by which the mailbox knows a message that comes twice.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = f"{tenant.name} order desk <orders@{tenant.domain}>"
    message["To"] = order.email
    message["Subject"] = {
        Letter.CONFIRMATION: f"Your order {order.number}",
        Letter.RECEIPT: f"Receipt for order {order.number}",
    }[letter]
    message["Message-ID"] = f"<{reference}@{tenant.domain}>"
    message[ORDER_HEADER] = order.number
    message.set_content(render_template(f"mail/{letter}.txt", order=order, tenant=tenant))
    return message
