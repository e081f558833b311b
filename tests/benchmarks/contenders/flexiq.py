"""FlexiQ, whose engine is a compiled one, on Redis and on SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flexiq import Queue

from ..place import Place
from ..stamps import stamp
from . import Contender, Kind

WORKERS = {Kind.ONE: 1, Kind.THREADS: 4, Kind.PROCESSES: 2}


class _Flexiq(Contender):
    app = ""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.queue = self.make(workers=1)
        self.task = self.queue.task(name="stamp")(stamp)

    def make(self, **options: Any) -> Queue:
        raise NotImplementedError

    def put(self, number: int) -> None:
        self.task.delay(number)

    def put_many(self, numbers: Sequence[int]) -> None:
        self.queue.enqueue_many("stamp", [(number,) for number in numbers])

    def serve(self, kind: Kind) -> None:
        queue = self.make(workers=WORKERS[kind])
        queue.task(name="stamp")(stamp)
        pool = "prefork" if kind is Kind.PROCESSES else "thread"
        queue.run_worker(pool=pool, app=f"{__package__}.flexiq_app:{self.app}")


class OnRedis(_Flexiq):
    app = "on_redis"

    def make(self, **options: Any) -> Queue:
        return Queue(backend="redis", db_url=self.place.redis, **options)


class OnSqlite(_Flexiq):
    app = "on_sqlite"

    def make(self, **options: Any) -> Queue:
        return Queue(db_path=str(self.place.folder / "flexiq.db"), **options)
