"""Which servers are taken for dead, and which are not."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from flask_abpjobs.engine.liveness import Watch, is_gone, process_key
from flask_abpjobs.model import ServerRecord

START = 1_800_000_000.0


class Clock:
    """A wall clock that can step, and a monotonic one that cannot."""

    def __init__(self) -> None:
        self.wall = START
        self.steady = 0.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def server(heartbeat: float, server_id: str = "s1", pid: int = 1, key: str = "") -> ServerRecord:
    at = datetime.fromtimestamp(heartbeat, UTC)
    return ServerRecord(
        id=server_id,
        host="h",
        pid=pid,
        process_key=key,
        worker_type="thread",
        workers=1,
        queues=("default",),
        started_at=at,
        heartbeat_at=at,
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> Watch:
    return Watch(timeout=30.0, interval=5.0, monotonic=lambda: clock.steady)


def dead(watch: Watch, clock: Clock, *servers: ServerRecord) -> list[str]:
    return [server.id for server in watch.look(servers, clock.wall)]


def test_a_server_with_a_fresh_heartbeat_lives(watch: Watch, clock: Clock) -> None:
    for _ in range(20):
        assert dead(watch, clock, server(clock.wall)) == []
        clock.pass_(5)


def test_an_old_heartbeat_must_be_seen_twice(watch: Watch, clock: Clock) -> None:
    old = server(clock.wall - 40)
    assert dead(watch, clock, old) == []
    clock.pass_(1)
    assert dead(watch, clock, old) == []
    clock.pass_(4)
    assert dead(watch, clock, old) == ["s1"]


def test_a_clock_that_jumps_ahead_an_hour_kills_nobody(watch: Watch, clock: Clock) -> None:
    assert dead(watch, clock, server(clock.wall)) == []
    clock.wall += 3600
    assert dead(watch, clock, server(clock.wall - 3605)) == []
    clock.pass_(5)
    assert dead(watch, clock, server(clock.wall)) == []


def test_a_dead_server_is_found_though_the_clock_was_set_back(watch: Watch, clock: Clock) -> None:
    last = server(clock.wall)
    clock.wall -= 3600
    assert dead(watch, clock, last) == []
    clock.pass_(29)
    assert dead(watch, clock, last) == []
    clock.pass_(2)
    assert dead(watch, clock, last) == ["s1"]


def test_a_process_that_is_gone_is_dead_at_once(watch: Watch, clock: Clock) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        key = process_key(child.pid)
        assert key or not sys.platform.startswith("linux")
        here = server(clock.wall, pid=child.pid, key=key)
        assert dead(watch, clock, here) == []
        child.kill()
        child.wait()
    assert dead(watch, clock, here) == ["s1"]


def test_a_process_number_that_was_given_again_is_another_process() -> None:
    key = process_key(os.getpid())
    assert not is_gone(server(START, pid=os.getpid(), key=key))
    assert is_gone(server(START, pid=os.getpid(), key=f"{key}1"))


def test_a_process_of_another_host_or_boot_is_never_judged_from_here() -> None:
    assert not is_gone(server(START, pid=999_999_999, key="another-boot/pid:[1]/7"))
    assert not is_gone(server(START, pid=999_999_999, key=""))


def test_the_window_of_suspicion_starts_anew_with_each_sign_of_life(watch: Watch, clock: Clock) -> None:
    late = clock.wall
    for _ in range(10):
        clock.pass_(29)
        assert dead(watch, clock, server(late)) == []
        late = clock.wall - timedelta(seconds=1).total_seconds()
