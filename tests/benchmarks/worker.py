"""A worker of one contender in processes of its own, and the program that is run in them."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from .contenders import Kind, entry_of, load
from .place import Place

ROOT = Path(__file__).parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")


class Worker:
    """Started by ``with``; at its end the worker and all its children are killed, for nothing of them is kept."""

    def __init__(self, key: str, kind: Kind, place: Place) -> None:
        self._words = [sys.executable, "-m", __name__, key, kind.name]
        self._place = place
        self._complaints = place.folder / "worker.txt"
        self.key = key

    def __enter__(self) -> Worker:
        environment = {**os.environ, **self._place.environment(), "PYTHONWARNINGS": "ignore"}
        with self._complaints.open("wb") as file:
            self._process = subprocess.Popen(
                self._words, cwd=ROOT, env=environment, stdout=file, stderr=file, start_new_session=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        while members := self._members():
            for pid in members:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self._process.poll()
            time.sleep(0.01)
        self._process.wait()

    def check(self) -> None:
        """Raise a RuntimeError when the worker has ended."""
        if self._process.poll() is not None:
            raise RuntimeError(f"The worker ended with {self._process.returncode}.\n{self.complaints()}")

    def complaints(self) -> str:
        """Return the end of what the worker wrote."""
        return self._complaints.read_text(errors="replace")[-2000:]

    def cpu(self) -> float:
        """Return the seconds of processor time of the worker and its children, ended ones included."""
        return sum(sum(map(int, _stat(pid)[11:15])) for pid in self._members()) / _TICKS

    def _members(self) -> list[int]:
        # Children may leave the group of their parent, as RQ's do, but not its session
        pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
        session = str(self._process.pid)
        return [pid for pid in pids if (stat := _stat(pid)) and stat[3] == session and stat[0] != "Z"]


def _stat(pid: int) -> list[str]:
    """Return what the kernel tells of a process, from its state on; nothing when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def main() -> None:
    logging.disable(logging.CRITICAL)
    key, kind = sys.argv[1:]
    load(entry_of(key))(Place.from_environment()).serve(Kind[kind])


if __name__ == "__main__":
    main()
