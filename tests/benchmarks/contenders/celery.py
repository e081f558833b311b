"""Celery on Redis, without a result backend: acknowledging a job before it runs, the default, and after."""

from __future__ import annotations

from celery import Celery

from ..place import Place
from ..stamps import stamp
from . import Contender, Kind

POOLS = {Kind.ONE: ("threads", 1), Kind.THREADS: ("threads", 4), Kind.PROCESSES: ("prefork", 2)}


class Early(Contender):
    acks_late = False

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.app = Celery("bench", broker=place.redis)
        self.app.conf.update(broker_connection_retry_on_startup=True, task_acks_late=self.acks_late)
        self.task = self.app.task(stamp, name="stamp")

    def put(self, number: int) -> None:
        self.task.delay(number)

    def serve(self, kind: Kind) -> None:
        pool, number = POOLS[kind]
        self.app.worker_main(["worker", f"--pool={pool}", f"--concurrency={number}", "--loglevel=CRITICAL"])


class Late(Early):
    acks_late = True
