"""An app for tests that kill its servers. Its jobs write into a ledger outside of the store, to be counted by."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from flask import Flask

from flask_abpjobs import AbpJobs, RetryPolicy

jobs = AbpJobs()


def note(line: str) -> None:
    """Append a line to the ledger in one write."""
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(ledger, f"{line}\n".encode())
    finally:
        os.close(ledger)


@jobs.job
def work(number: int, seconds: float = 0.02) -> int:
    note(f"start {number} {os.getpid()}")
    time.sleep(seconds)
    note(f"done {number} {os.getpid()}")
    return number


@jobs.job
async def work_async(number: int) -> int:
    await asyncio.sleep(0.05)
    return number


@jobs.job
def kill_worker() -> None:
    note("kill")
    os.kill(os.getpid(), signal.SIGKILL)


@jobs.job(retry=RetryPolicy.none())
def leave(how: str) -> object:
    if how == "exit":
        raise SystemExit(3)
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "recursion":
        return leave(how)
    if how == "unprintable":
        raise Unprintable
    if how == "surrogate":
        raise ValueError("broken \ud800 text and \x00")
    return object()


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def create_app() -> Flask:
    app = Flask(__name__, instance_path=os.environ["INSTANCE"])
    app.config["ABPJOBS_HEARTBEAT_SECONDS"] = 0.5
    app.config["ABPJOBS_SERVER_TIMEOUT_SECONDS"] = 3.0
    app.config.from_prefixed_env()
    jobs.init_app(app, dashboard=None)
    return app
