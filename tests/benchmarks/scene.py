"""The place in which one thing is measured: empty before, and taken away after."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .contenders import Contender, Entry, load
from .place import Place
from .redis_server import RedisServer
from .stamps import Stamps


class Scene(NamedTuple):
    """A contender, where it keeps its jobs, and when they began."""

    entry: Entry
    contender: Contender
    place: Place
    stamps: Stamps


@contextmanager
def scene(entry: Entry, server: RedisServer, count: int, database: int = 0) -> Iterator[Scene]:
    """Give an empty place to a contender.

    :param count: the jobs that have a slot for their time stamp.
    :param database: of the Redis; all are emptied for database 0.
    """
    if database == 0:
        server.empty()
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        place = Place(server.url(database), Path(folder), Path(folder) / "stamps")
        stamps = Stamps(place.stamps, count)
        yield Scene(entry, load(entry)(place), place, stamps)
