"""On what was measured."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from .contenders import Entry
from .redis_server import RedisServer

LIBRARIES = {
    "flask_abpjobs": "Flask-AbpJobs",
    "huey": "Huey",
    "rq": "RQ",
    "dramatiq": "Dramatiq",
    "celery": "Celery",
    "flexiq": "FlexiQ",
    "redis": "redis-py",
}


def describe(entries: Sequence[Entry], server: RedisServer) -> list[str]:
    """Return sentences about hardware, versions, and how busy the machine is."""
    versions = []
    for library in dict.fromkeys([*(entry.library for entry in entries), "redis"]):
        name = LIBRARIES[library]
        try:
            version = importlib.metadata.version(name if library == "flask_abpjobs" else library)
            versions.append(f"{name} {version}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} from its sources")
    busy = os.getloadavg()[0]
    return [
        f"{os.cpu_count()} cores of {_processor()}, {platform.system()} {platform.release().partition('-')[0]}.",
        f"Python {platform.python_version()}, Redis {server.version()} without persistence, "
        f"SQLite {sqlite3.sqlite_version}.",
        f"{', '.join(versions)}.",
        f"Load of the machine before the run: {busy:.1f}"
        + (", so it was busy with other work." if busy > 0.5 else "."),
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown kind")
