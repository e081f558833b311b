"""A server of jobs inside the process that serves the web pages."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from typing import Final

import click
from flask import Flask
from flask.cli import ScriptInfo

from .config import JobsConfig
from .engine import JobHuey
from .engine.consumer import consumer_options
from .engine.greenlets import require_gevent
from .errors import StorageError

LOOK_INTERVAL: Final = 0.02
"""Seconds between looks whether ``flask run`` has loaded the app; Flask does not tell."""

logger = logging.getLogger(__name__)


class EmbeddedWorker:
    """Starts one server of jobs in the serving process, once, and stops it when the process ends.

    It starts with the first request, so never in a process that only loads the app: not in the parent of the reloader,
    not before a pre-forking server forks, not in a command. Under ``flask run`` it starts as soon as the app is loaded:
    not earlier, or jobs would run in an app whose factory has not come to its end.
    """

    def __init__(self, app: Flask, huey: JobHuey, config: JobsConfig) -> None:
        if config.worker_type == "greenlet":
            require_gevent()
        self._huey = huey
        self._config = config
        self._lock = threading.Lock()
        self._pid: int | None = None
        app.before_request(self.ensure_started)
        if _is_development_server():
            threading.Thread(
                target=self._start_when_loaded, args=(_script(),), name="abpjobs-start", daemon=True
            ).start()

    def ensure_started(self) -> None:
        """Start the server unless this process has one."""
        if self._pid == os.getpid():
            return
        with self._lock:
            if self._pid != os.getpid():
                try:
                    self._start()
                except StorageError:
                    logger.exception("The embedded worker cannot start now; the next request tries again")
                else:
                    self._pid = os.getpid()

    def _start_when_loaded(self, script: ScriptInfo | None) -> None:
        while script is not None and getattr(script, "_loaded_app", script) is None:
            time.sleep(LOOK_INTERVAL)
        self.ensure_started()

    def _start(self) -> None:
        options = consumer_options(self._config)
        if options["worker_type"] == "process":
            options["worker_type"] = "thread"  # a process that serves pages has threads, and must not fork
        consumer = self._huey.create_consumer(**options, handle_signals=False)
        consumer.start()
        thread = threading.Thread(target=consumer.watch, name="abpjobs-server", daemon=True)
        thread.start()

        def stop() -> None:
            consumer.stop(graceful=True)
            thread.join(timeout=1.0)

        atexit.register(stop)
        logger.info("Embedded worker started: %d %s workers", options["workers"], options["worker_type"])


def _is_development_server() -> bool:
    """Whether this process is the one that ``flask run`` serves from."""
    context = click.get_current_context(silent=True)
    if context is None or context.info_name != "run":
        return False
    uses_reloader = bool(context.params.get("reload") if context.params.get("reload") is not None else _is_debug())
    return not uses_reloader or os.environ.get("WERKZEUG_RUN_MAIN") == "true"


def _script() -> ScriptInfo | None:
    return click.get_current_context().find_object(ScriptInfo)


def _is_debug() -> bool:
    return os.environ.get("FLASK_DEBUG", "").lower() in {"1", "true", "yes", "on"} or "--debug" in sys.argv
