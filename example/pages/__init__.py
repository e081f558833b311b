"""The desk's pages."""

from __future__ import annotations

from flask import Flask

from . import desk, frame, imports, mailbox, orders, reports, session


def init_app(app: Flask) -> None:
    """Give the app its pages."""
    frame.init_app(app)
    for room in (session, desk, orders, imports, reports, mailbox):
        app.register_blueprint(room.pages)
