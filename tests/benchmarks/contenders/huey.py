"""Stock Huey."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from huey import PriorityRedisHuey, RedisHuey, SqliteHuey

from ..place import Place
from ..stamps import stamp
from . import Contender, Kind

OPTIONS: dict[Kind, dict[str, Any]] = {
    Kind.ONE: {"workers": 1, "worker_type": "thread"},
    Kind.THREADS: {"workers": 4, "worker_type": "thread"},
    Kind.PROCESSES: {"workers": 2, "worker_type": "process"},
}


class _Huey(Contender):
    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.huey = self.make()
        self.task = self.huey.task(name="stamp")(stamp)

    def make(self) -> Any:
        raise NotImplementedError

    def put(self, number: int) -> None:
        self.task(number)

    def put_due(self, numbers: Sequence[int], at: datetime) -> None:
        for number in numbers:
            self.task.schedule((number,), eta=at.astimezone().replace(tzinfo=None))

    def serve(self, kind: Kind) -> None:
        self.huey.create_consumer(**OPTIONS[kind]).run()


class OnRedis(_Huey):
    def make(self) -> Any:
        return RedisHuey("bench", url=self.place.redis)


class OnPriorityRedis(_Huey):
    def make(self) -> Any:
        return PriorityRedisHuey("bench", url=self.place.redis)


class OnSqlite(_Huey):
    def make(self) -> Any:
        return SqliteHuey("bench", filename=str(self.place.folder / "huey.db"))
