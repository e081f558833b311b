"""What a Redis server says about itself, and what in its settings endangers jobs."""

from __future__ import annotations

from typing import Final

from redis.exceptions import NoPermissionError

from ...errors import StorageError
from .connection import Wire

OLDEST: Final = (6, 2)
"""The first version of Redis whose commands suffice."""


def version_of(wire: Wire) -> str:
    """Return kind and version: ``Redis 7.0.15``, ``Valkey 9.1.2``."""
    told = _info(wire, "server")
    if "valkey_version" in told:
        return f"Valkey {told['valkey_version']}"
    return f"Redis {told.get('redis_version', 'of an unknown version')}"


def endangering(wire: Wire) -> list[str]:
    """Return what in the settings endangers jobs, in words."""
    memory, persistence, server = (_info(wire, section) for section in ("memory", "persistence", "server"))
    found = []
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        now = "" if memory.get("maxmemory", "0") != "0" else " once maxmemory is set"
        found.append(f"maxmemory-policy is {policy}: the server may throw jobs away{now}. Set it to noeviction.")
    if persistence.get("aof_enabled", "1") == "0":
        found.append(
            "appendonly is off: jobs since the last snapshot are lost when the server dies. Set it to yes, "
            "with appendfsync everysec or always."
        )
    version = tuple(int(part) for part in server.get("redis_version", "").split(".")[:2] if part.isdecimal())
    if version and version < OLDEST:
        found.append(f"The server is of version {server['redis_version']}: use 6.2 or newer.")
    return found


def _info(wire: Wire, section: str) -> dict[str, str]:
    try:
        answer = wire.command(b"INFO", section)
    except StorageError as error:
        if isinstance(error.__cause__, NoPermissionError):
            return {}  # a user who may not ask may still work
        raise
    lines = (line.partition(":") for line in answer.decode().splitlines())
    return {name: value for name, colon, value in lines if colon}
