"""RQ: with its default worker, which forks for each job, and with the one that runs jobs itself."""

from __future__ import annotations

from collections.abc import Sequence

from redis import Redis
from rq import Queue, SimpleWorker, Worker
from rq.worker_pool import WorkerPool

from ..place import Place
from ..stamps import stamp
from . import Contender, Kind


class Forking(Contender):
    worker = Worker

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.connection = Redis.from_url(place.redis)
        self.queue = Queue("bench", connection=self.connection)

    def put(self, number: int) -> None:
        self.queue.enqueue(stamp, number)

    def put_many(self, numbers: Sequence[int]) -> None:
        self.queue.enqueue_many([Queue.prepare_data(stamp, (number,)) for number in numbers])

    def serve(self, kind: Kind) -> None:
        if kind is Kind.PROCESSES:
            pool = WorkerPool([self.queue], self.connection, num_workers=2, worker_class=self.worker)
            pool.start(burst=False, logging_level="CRITICAL")
        else:
            self.worker([self.queue], connection=self.connection).work(logging_level="CRITICAL")


class Simple(Forking):
    worker = SimpleWorker
