"""The local mail server that takes what the desk sends."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from concurrent.futures import Future
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
            opened: Future[int] = Future()
            # In a thread with a loop of its own: the thread of a request may have one that runs already
            self._thread = threading.Thread(
                target=asyncio.run, args=(self._serve(opened),), name="mailbox", daemon=True
            )
            self._thread.start()
            self._port = str(opened.result())
            self._pid = os.getpid()
            draft = port_file_of(self._app).with_suffix(f".{self._pid}")
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
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(timeout=5)

    async def _serve(self, opened: Future[int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        try:
            server = await self._loop.create_server(self._make_protocol, host="127.0.0.1", port=0)
        except OSError as error:
            opened.set_exception(error)
            return
        opened.set_result(server.sockets[0].getsockname()[1])
        await self._closing.wait()
        server.close()

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
