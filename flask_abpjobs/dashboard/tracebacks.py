"""A traceback as a person reads it: own frames, those of libraries folded away."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Iterator
from typing import Final

import msgspec

_FRAME: Final = re.compile(r'  File "(?P<file>[^"]*)", line \d+')
_HEADER: Final = "Traceback (most recent call last):"
_LIBRARIES: Final = ("site-packages", "dist-packages", "flask_abpjobs")
_STDLIB: Final = re.compile(r"/lib(?:64)?/python\d[\d.]*/|\A<frozen ")
_STDLIB_HERE: Final = sysconfig.get_path("stdlib").replace("\\", "/") + "/"
MAX_LENGTH: Final = 65_536


class TracePart(msgspec.Struct, frozen=True):
    """Lines of a traceback that belong together."""

    text: str
    is_own: bool
    """Whether they are the application's, or the exception itself."""


class Traceback(msgspec.Struct, frozen=True):
    """A traceback, short and whole."""

    short: tuple[TracePart, ...]
    whole: str
    frames: int
    hidden: int
    """Frames that the short form leaves out."""


def read_traceback(text: str) -> Traceback | None:
    """Return a traceback in both forms, ``None`` when there is none.

    :param text: as Python prints it; of a chain of exceptions the last one is shown short.
    """
    text = text[-MAX_LENGTH:].strip("\n")
    if not text:
        return None
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines) if line == _HEADER]
    last = lines[starts[-1] + 1 :] if starts else lines
    parts: list[TracePart] = [TracePart(_HEADER, False)] if starts else []
    folded = shown = 0
    for file, block in _blocks(last):
        if file is not None and _is_library(file):
            folded += 1
            continue
        if folded:
            parts.append(_fold(folded))
            folded = 0
        shown += file is not None
        parts.append(TracePart(block, True))
    if folded:
        parts.append(_fold(folded))
    frames = sum(1 for line in lines if _FRAME.match(line))
    return Traceback(tuple(parts), text, frames, frames - shown)


def _blocks(lines: list[str]) -> Iterator[tuple[str | None, str]]:
    """Yield each frame with its file and lines, then what follows the frames with ``None``."""
    file: str | None = None
    block: list[str] = []
    for line in lines:
        frame = _FRAME.match(line)
        if (frame or (file is not None and not line.startswith("    "))) and block:
            yield file, "\n".join(block)
            block, file = [], None
        if frame:
            file = frame["file"]
        block.append(line)
    if block:
        yield file, "\n".join(block)


def _fold(number: int) -> TracePart:
    return TracePart(f"  … {number} {'frame' if number == 1 else 'frames'} of libraries hidden", False)


def _is_library(file: str) -> bool:
    path = file.replace("\\", "/")
    folders = path.split("/")[:-1]
    return (
        any(name in folders for name in _LIBRARIES) or path.startswith(_STDLIB_HERE) or _STDLIB.search(path) is not None
    )
