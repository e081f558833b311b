"""A server: Huey's consumer with leases, a heartbeat, recovery and an orderly stop."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from typing import Any, Final

from huey.consumer import Consumer, ConsumerStopped, ProcessEnvironment, Scheduler, Worker

from ..config import JobsConfig
from ..errors import StorageError
from .greenlets import OneLoop, require_gevent
from .huey import JobHuey
from .liveness import process_key
from .steward import Steward

IDLE_WAIT: Final = 0.5
"""Seconds after which an idle worker looks by itself, and sees that it is to stop."""

logger = logging.getLogger(__name__)


def consumer_options(config: JobsConfig) -> dict[str, Any]:
    """Return what the settings say about a server, as options of :class:`JobConsumer`."""
    return {
        "workers": config.workers,
        "worker_type": config.worker_type,
        "heartbeat": config.heartbeat_seconds,
        "server_timeout": config.server_timeout_seconds,
        "shutdown_timeout": config.shutdown_timeout_seconds,
    }


class _Child:
    """What workers and the scheduler share: as processes they end when their parent was killed."""

    _parent = 0
    _look_at = 0.0

    def belong_to(self, parent: int) -> None:
        """Note the process that makes this one."""
        self._parent = parent

    def leave_if_orphaned(self) -> None:
        """End this process when its parent is gone: nobody renews its leases or looks after it any more.

        It looks twice a second at most, for a busy worker asks before each job.
        """
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + 0.5
        if os.getpid() != self._parent and os.getppid() != self._parent:
            logger.warning("The server's main process is gone; process %d ends", os.getpid())
            raise KeyboardInterrupt


class JobWorker(_Child, Worker):  # type: ignore[misc]
    """Huey's worker, which waits for a notification instead of sleeping longer and longer."""

    huey: JobHuey
    name: str

    def loop(self, now: Any = None) -> None:
        self.leave_if_orphaned()
        super().loop(now)

    def initialize(self) -> None:
        self.huey.work_as(self.name)
        super().initialize()

    def sleep(self) -> None:
        try:
            self.huey.records.wait(IDLE_WAIT)
        except StorageError:
            logger.warning("Cannot wait for jobs", exc_info=True)
            self.stop_flag.wait(1.0)

    def shutdown(self) -> None:
        self.huey.put_back()
        super().shutdown()


class JobScheduler(_Child, Scheduler):  # type: ignore[misc]
    """Huey's scheduler, which also enqueues recurring jobs, removes what has expired and reports what runs too long."""

    def loop(self, now: Any = None) -> None:
        self.leave_if_orphaned()
        self._enqueue_recurring()
        self.huey.report_overruns()
        try:
            self.huey.prune()
        except StorageError:
            logger.warning("Cannot prune finished jobs now", exc_info=True)
        super().loop(now)

    def _enqueue_recurring(self) -> None:
        if self.huey.recurring is not None:
            try:
                self.huey.recurring.tick()
            except StorageError:
                logger.warning("Cannot look for recurring jobs now", exc_info=True)
            except Exception:
                logger.exception("Looking for recurring jobs failed, and goes on with the next tick")


class QuietProcessEnvironment(ProcessEnvironment):  # type: ignore[misc]
    """Worker processes that leave stopping to their parent: a Ctrl-C in a terminal reaches them too."""

    def __init__(self) -> None:
        super().__init__(signal.SIGTERM, signal.SIGUSR1)

    def init_child(self, process: Any) -> None:
        super().init_child(process)
        signal.signal(signal.SIGINT, signal.SIG_IGN)


class JobConsumer(Consumer):  # type: ignore[misc]
    """A server of jobs.

    SIGTERM and SIGINT stop it in order: no new jobs are begun, running ones may end within ``shutdown_timeout``
    seconds, and what still runs then is put back into its queue.

    :param heartbeat: seconds between signs of life.
    :param server_timeout: seconds without one after which another server takes this one's jobs back.
    :param handle_signals: whether to answer signals; off for a server inside another program.
    :param options: Huey's own, such as ``workers`` and ``worker_type``.
    """

    huey: JobHuey
    worker_class = JobWorker
    scheduler_class = JobScheduler

    def __init__(
        self,
        huey: JobHuey,
        *,
        heartbeat: float = 5.0,
        server_timeout: float = 30.0,
        handle_signals: bool = True,
        **options: Any,
    ) -> None:
        self._workers_made = 0
        self._lost_workers: list[str] = []
        self._handles_signals = handle_signals
        options.setdefault("graceful_signal", "TERM")
        options.setdefault("shutdown_timeout", 15.0)
        options.setdefault("health_check_interval", 1)
        super().__init__(huey, **options)
        self._signal_actions[signal.SIGINT] = (False, True)
        self._steward = Steward(huey, heartbeat, server_timeout)

    def get_environment(self, worker_type: str) -> Any:
        if worker_type == "process":
            return QuietProcessEnvironment()
        if worker_type == "greenlet":
            require_gevent()
            self.huey.run_coroutine = OneLoop().run
        return super().get_environment(worker_type)

    def start(self) -> None:
        """Announce the server, then start its workers, then the heartbeat: no thread may run while processes fork."""
        self._set_signal_handlers()  # a stop may be asked for while the workers start
        self.huey.is_stopping = self.stop_flag.is_set
        self.huey.serve(self.worker_type, self.workers, process_key(os.getpid()))
        super().start()
        self._steward.start()

    def watch(self) -> None:
        """Look after a started server until it is stopped, as ``run`` does; for a thread of another program."""
        checked_at: float | None = time.monotonic()
        with contextlib.suppress(ConsumerStopped):
            while True:
                checked_at = self.loop(checked_at)

    def stop(self, graceful: bool = False) -> None:
        """Stop in order, see the class; without ``graceful`` running jobs are put back at once."""
        try:
            self.stop_flag.set()
            self.huey.records.wake()
            super().stop(graceful)
        finally:
            self._steward.stop()
            self._leave()

    def check_worker_health(self) -> bool:
        """Replace dead workers, and take back what they were running."""
        if self.stop_flag.is_set():
            return True  # they have not died: they were told to end
        before = self.worker_threads
        is_well = bool(super().check_worker_health())
        # Those that were replaced, and no others: one may die while this looks, of a job that has just gone back
        present = {worker.name for worker, _ in self.worker_threads}
        self._lost_workers += [worker.name for worker, _ in before if worker.name not in present]
        self._take_back_lost()
        return is_well

    def _create_worker(self) -> JobWorker:
        worker: JobWorker = super()._create_worker()
        self._workers_made += 1  # a replacement is a new worker: its jobs are not those of the dead one
        worker.name = str(self._workers_made)
        worker.belong_to(os.getpid())
        return worker

    def _create_scheduler(self) -> JobScheduler:
        scheduler: JobScheduler = super()._create_scheduler()
        scheduler.belong_to(os.getpid())
        return scheduler

    def _take_back_lost(self) -> None:
        server = self.huey.server
        while self._lost_workers and server is not None:
            worker = self._lost_workers[-1]
            try:
                recovered = self.huey.records.recover_worker(server.id, worker)
            except StorageError:
                logger.warning("Cannot take back the jobs of worker %s yet", worker, exc_info=True)
                return
            self._lost_workers.pop()
            logger.warning("Worker %s died; %d of its jobs went back", worker, recovered)

    def _leave(self) -> None:
        server, self.huey.server = self.huey.server, None
        if server is None:
            return
        try:
            released = self.huey.records.retire(server.id)
        except StorageError:
            logger.exception("Cannot sign off; another server will take the jobs back")
            return
        if released:
            logger.warning("%d running jobs did not end in time and were put back", released)

    def _set_signal_handlers(self) -> None:
        if self._handles_signals and threading.current_thread() is threading.main_thread():
            super()._set_signal_handlers()
