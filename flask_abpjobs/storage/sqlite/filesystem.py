"""On what kind of file system a file lies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

NETWORKED: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "9p", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs"}
)
"""Kinds on which SQLite's write-ahead log does not work: it needs memory that all programs share."""


def network_kind(path: str, mounts: str = "/proc/mounts") -> str | None:
    """Return the kind of the network file system that ``path`` lies on, ``None`` for a local or an unknown one."""
    try:
        lines = Path(mounts).read_text("utf-8", "replace").splitlines()
    except OSError:
        return None  # a system without this list
    real, best, kind = os.path.realpath(path), "", ""
    for line in lines:
        _, point, name, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if len(point) >= len(best) and os.path.commonpath([real, point]) == point:
            best, kind = point, name
    return kind if kind in NETWORKED else None
