"""The local mail server that takes what the desk sends."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session
from flask import Flask

from .messages import UnknownSenderError, keep

MAX_MESSAGE = 1024 * 1024


def port_file_of(app: Flask) -> Path:
    """Return the file in which the serving process notes its port, for workers in other processes."""
    return Path(app.instance_path) / "mailbox.port"


class Mailbox:
    """An SMTP server on a free loopback port, inside the serving process. It opens with the first request.

    :param app: whose mail it takes.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._pid: int | None = None
        app.extensions["mailbox"] = self
        app.before_request(self.ensure_open)

    def ensure_open(self) -> None:
        """Open unless this process has done so already."""
        with self._lock:
            if self._pid == os.getpid():
                return
            self._pid = os.getpid()
            self._loop = asyncio.new_event_loop()
            self._server = self._loop.run_until_complete(
                self._loop.create_server(self._make_protocol, host="127.0.0.1", port=0)
            )
            self._thread = threading.Thread(target=self._loop.run_forever, name="mailbox", daemon=True)
            self._thread.start()
            self._port = str(self._server.sockets[0].getsockname()[1])
            draft = port_file_of(self._app).with_suffix(f".{os.getpid()}")
            draft.write_text(self._port, encoding="ascii")
            draft.replace(port_file_of(self._app))
            atexit.register(self.close)

    def close(self) -> None:
        """Close, if it is open in this process."""
        with self._lock:
            if self._pid != os.getpid():
                return
            self._pid = None
        atexit.unregister(self.close)
        path = port_file_of(self._app)
        if path.exists() and path.read_text(encoding="ascii") == self._port:
            path.unlink()
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(timeout=5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    def _make_protocol(self) -> SMTP:
        return SMTP(
            _Handler(self._app),
            hostname="localhost",
            ident="Order desk mailbox",
            data_size_limit=MAX_MESSAGE,
            loop=self._loop,
        )


class _Handler:
    """Answers aiosmtpd's questions."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        with self._app.app_context():
            try:
                keep(envelope.mail_from or "", envelope.rcpt_tos, _as_bytes(envelope.content))
            except UnknownSenderError as error:
                return f"550 {error}"
        return "250 Kept"


def _as_bytes(content: Any) -> bytes:
    return content if isinstance(content, bytes) else str(content or "").encode()
