"""A Redis of our own, on a free port and without persistence, and what it tells about itself."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import redis

DATABASES = 32


class Load(NamedTuple):
    """What a Redis has done since it was started."""

    reads: int
    """Times it read from a connection: one for each request, however many commands are in it."""
    commands: int
    """Commands it ran, those that scripts call included."""
    cpu: float
    """Seconds."""

    def since(self, before: Load) -> Load:
        return Load(self.reads - before.reads, self.commands - before.commands, self.cpu - before.cpu)


class RedisServer:
    """Started by ``with``, and gone after it."""

    def __init__(self) -> None:
        path = shutil.which("redis-server")
        if path is None:
            raise SystemExit("redis-server is missing: apt-get install redis-server")
        self._path = path

    def __enter__(self) -> RedisServer:
        self._folder = tempfile.mkdtemp(prefix="bench-redis-")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        options = {
            "--bind": "127.0.0.1",
            "--port": str(self.port),
            "--save": "",
            "--appendonly": "no",
            "--dir": self._folder,
            "--databases": str(DATABASES),
        }
        words = [word for option in options.items() for word in option]
        # a session of its own: the Ctrl-C of a terminal stops the benchmark first, and that stops this
        self._process = subprocess.Popen([self._path, *words], stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, database: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"

    def connect(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def empty(self) -> None:
        with self.connect() as client:
            client.flushall()

    def version(self) -> str:
        return str(self._info("server")["redis_version"])

    def memory(self) -> int:
        """Return the bytes in use."""
        return int(self._info("memory")["used_memory"])

    def load(self) -> Load:
        cpu = self._info("cpu")
        return Load(
            int(self._info("stats")["total_reads_processed"]),
            sum(entry["calls"] for entry in self._info("commandstats").values()),
            float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"]),
        )

    def _info(self, section: str) -> dict[str, Any]:
        with self.connect() as client:
            return client.info(section)

    def _wait(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            try:
                self.version()
                return
            except redis.ConnectionError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{Path(self._path).name} does not start on port {self.port}.") from None
                time.sleep(0.02)
