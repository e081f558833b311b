"""Flask-AbpJobs, without Flask: the engine, and the manager that enqueues."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from flask_abpjobs.engine import open_huey
from flask_abpjobs.manager import HueyJobManager
from flask_abpjobs.options import DEFAULT_OPTIONS

from ..place import Place
from ..stamps import stamp
from . import Contender, Kind
from .huey import OPTIONS


class _Ours(Contender):
    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.huey = open_huey(self.url(), name="bench")
        self.job = self.huey.jobs.define(stamp, name="stamp")
        self.manager = HueyJobManager(self.huey)

    def url(self) -> str:
        raise NotImplementedError

    def put(self, number: int) -> None:
        self.manager.submit(self.job, (self.job.bind(number),), DEFAULT_OPTIONS)

    def put_many(self, numbers: Sequence[int]) -> None:
        self.manager.submit(self.job, [self.job.bind(number) for number in numbers])

    def put_due(self, numbers: Sequence[int], at: datetime) -> None:
        self.manager.submit(self.job, [self.job.bind(number) for number in numbers], DEFAULT_OPTIONS.changed(eta=at))

    def serve(self, kind: Kind) -> None:
        self.huey.create_consumer(**OPTIONS[kind]).run()


class OnRedis(_Ours):
    def url(self) -> str:
        return self.place.redis


class OnSqlite(_Ours):
    def url(self) -> str:
        return f"sqlite:///{self.place.folder}/ours.db"
