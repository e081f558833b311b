"""Dramatiq on Redis."""

from __future__ import annotations

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.cli import main, make_argument_parser

from ..place import Place
from ..stamps import stamp
from . import Contender, Kind

SIZES = {Kind.ONE: ("1", "1"), Kind.THREADS: ("1", "4"), Kind.PROCESSES: ("2", "1")}


class Dramatiq(Contender):
    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.broker = RedisBroker(url=place.redis)
        self.actor = dramatiq.actor(stamp, actor_name="stamp", broker=self.broker)

    def put(self, number: int) -> None:
        self.actor.send(number)

    def serve(self, kind: Kind) -> None:
        processes, threads = SIZES[kind]
        words = [f"{__package__}.dramatiq_app:broker", "--processes", processes, "--threads", threads]
        main(make_argument_parser().parse_args([*words, "--skip-logging"]))
