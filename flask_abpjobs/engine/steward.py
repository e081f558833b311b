"""The thread that keeps a server alive in the storage, and takes back the jobs of dead ones."""

from __future__ import annotations

import logging
import threading

from ..errors import StorageError
from .huey import JobHuey
from .liveness import Watch

logger = logging.getLogger(__name__)


class Steward:
    """Renews the heartbeat, which renews all leases of the server, and looks after the other servers.

    :param heartbeat: seconds between signs of life.
    :param server_timeout: seconds without one after which a server is dead.
    """

    def __init__(self, huey: JobHuey, heartbeat: float, server_timeout: float) -> None:
        self._huey = huey
        self._heartbeat = heartbeat
        self._watch = Watch(server_timeout, heartbeat)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="abpjobs-steward", daemon=True)

    def start(self) -> None:
        """Begin. The first look at other servers is taken at once: a server that was killed may have left jobs."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the step under way."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def tick(self) -> None:
        """Take one look."""
        server, records = self._huey.server, self._huey.records
        if server is None:
            return
        if not records.heartbeat(server.id):
            logger.warning("This server was taken for dead; it signs on again. Its running jobs went to others.")
            records.announce(server)
        others = [other for other in records.servers() if other.id != server.id]
        for dead in self._watch.look(others, records.now()):
            recovered = records.recover_server(dead.id, dead)
            if recovered is not None:
                logger.warning("Server %s is dead; %d of its jobs went back", dead.id, recovered)

    def _run(self) -> None:
        while True:
            try:
                self.tick()
            except StorageError:
                logger.warning("Cannot renew the heartbeat now", exc_info=True)
            except Exception:
                logger.exception("The steward failed and goes on")
            if self._stopped.wait(self._heartbeat):
                return
