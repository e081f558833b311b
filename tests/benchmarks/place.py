"""Where one contender keeps its jobs and its time stamps. A worker process is told by its environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_REDIS = "ABPJOBS_BENCH_REDIS"
_FOLDER = "ABPJOBS_BENCH_FOLDER"
_STAMPS = "ABPJOBS_BENCH_STAMPS"


class Place(NamedTuple):
    """A Redis database, a folder for files, and the file of time stamps; all of them empty at first."""

    redis: str
    folder: Path
    stamps: Path

    @classmethod
    def from_environment(cls) -> Place:
        return cls(os.environ[_REDIS], Path(os.environ[_FOLDER]), Path(os.environ[_STAMPS]))

    def environment(self) -> dict[str, str]:
        return {_REDIS: self.redis, _FOLDER: str(self.folder), _STAMPS: str(self.stamps)}
