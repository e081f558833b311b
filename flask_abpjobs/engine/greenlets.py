"""What greenlet workers need: gevent's patches, and event loops one after the other."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Coroutine
from typing import Any

from ..errors import ConfigError


def require_gevent() -> None:
    """Check that gevent is there and has patched the standard library.

    :raises ConfigError: it has not; without the patches one idle worker would stop all others.
    """
    try:
        monkey = importlib.import_module("gevent.monkey")
    except ImportError as error:
        raise ConfigError('Greenlet workers need gevent: pip install "Flask-AbpJobs[greenlet]".') from error
    if not monkey.is_module_patched("time") or not monkey.is_module_patched("socket"):
        raise ConfigError(
            "Greenlet workers need gevent's patches from the first line on. Start the server by: "
            'python -m gevent.monkey "$(command -v flask)" abpjobs worker --worker-type greenlet'
        )


class OneLoop:
    """Runs coroutines one at a time: greenlets share a thread, and a thread can have one event loop."""

    def __init__(self) -> None:
        self._turn = threading.Lock()  # gevent's, by its patches

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end."""
        with self._turn:
            return asyncio.run(coroutine)
