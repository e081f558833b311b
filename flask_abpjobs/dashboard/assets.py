"""Static files and their fingerprints."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

STATIC_FOLDER: Final = Path(__file__).with_name("static")
_SERVED: Final = frozenset({".css", ".js", ".svg"})


def fingerprints() -> Mapping[str, str]:
    """Return the fingerprint of each static file by its path, read from the files now."""
    return {
        path.relative_to(STATIC_FOLDER).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        for path in sorted(STATIC_FOLDER.rglob("*"))
        if path.suffix in _SERVED
    }
