"""Jobs survive their workers: servers and worker processes are killed and stopped, and every job ends."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from flask_abpjobs.engine import JobHuey, open_huey
from flask_abpjobs.ids import new_job_id
from flask_abpjobs.model import ANY_TENANT, JobQuery, JobRecord, JobState
from flask_abpjobs.retry import RetryPolicy, encode_policy

APP = Path(__file__).parent / "apps" / "ledger.py"
NAME = "ledger"
FLASK = str(Path(sys.executable).with_name("flask"))


class Site:
    """One store, one ledger, and the servers that a test starts on them."""

    def __init__(self, folder: Path, url: str, name: str) -> None:
        self.folder = folder
        self.ledger = folder / "ledger.txt"
        self.environment = {
            **os.environ,
            "INSTANCE": str(folder),
            "LEDGER": str(self.ledger),
            "FLASK_ABPJOBS_NAME": name,
            "FLASK_ABPJOBS_STORAGE_URL": url,
        }
        self.huey: JobHuey = open_huey(url, name=name)
        self.servers: list[subprocess.Popen[bytes]] = []

    def start(
        self, *options: str, through: Sequence[str] = ("-m", "flask"), **settings: object
    ) -> subprocess.Popen[bytes]:
        environment = {**self.environment, **{f"FLASK_ABPJOBS_{name}": str(value) for name, value in settings.items()}}
        command = [sys.executable, *through, "--app", str(APP), "abpjobs", "worker", *options]
        with (self.folder / "server.log").open("ab") as log:
            server = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        self.servers.append(server)
        return server

    def enqueue(self, name: str, payload: bytes, **fields: Any) -> str:
        now = datetime_now(self.huey)
        record = JobRecord(
            id=new_job_id(), name=f"{NAME}.{name}", payload=payload, state_at=now, created_at=now, **fields
        )
        self.huey.records.add(record)
        return record.id

    def job(self, job_id: str) -> JobRecord:
        return self.huey.records.get(job_id)

    def counts(self) -> Mapping[str, int]:
        return self.huey.records.counts()

    def noted(self, word: str) -> Counter[str]:
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return Counter(line.split()[1] for line in lines if line.startswith(f"{word} "))

    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def close(self) -> None:
        for server in self.servers:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()
        self.huey.records.close()


def datetime_now(huey: JobHuey) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(huey.records.now(), UTC)


@pytest.fixture(params=["sqlite", "redis"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    name = f"{NAME}-{new_job_id()}"  # the tests of a run share a Redis
    server = request.getfixturevalue("redis_server") if request.param == "redis" else None
    site = Site(tmp_path, server.url if server else f"sqlite:////{str(tmp_path).lstrip('/')}/abpjobs.db", name)
    yield site
    site.close()
    if server:
        server.empty(name)


Eventually = Callable[..., Any]


def test_500_jobs_survive_ten_kills_of_their_server(site: Site, eventually: Eventually) -> None:
    """Four threads, ``kill -9`` ten times at random moments: every job ends, and each re-run is in a history."""
    chance = random.Random(20261124)
    ids = [site.enqueue("work", b'{"number":%d}' % number) for number in range(500)]
    kills = 0
    while kills < 10:
        enough = sum(site.noted("start").values()) + chance.randrange(8, 40)
        server = site.start("--workers", "4")
        eventually(lambda enough=enough: sum(site.noted("start").values()) >= enough, timeout=20)
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        kills += 1
    last = site.start("--workers", "4")
    eventually(lambda: site.counts()["succeeded"] == 500, timeout=60, message=f"500 successes: {site.counts()}")
    last.terminate()
    assert last.wait(20) == 0

    counts = site.counts()
    done, started = site.noted("done"), site.noted("start")
    assert set(done) == {str(number) for number in range(500)}
    reruns = sum(started.values()) - 500
    assert counts["recovered"] >= reruns
    assert counts["recovered"] <= 10 * 4
    recoveries = [entry for job_id in ids for entry in site.huey.records.history(job_id) if entry.data.get("recovered")]
    assert len(recoveries) == counts["recovered"]
    assert site.huey.records.check() == []


def test_a_killed_worker_process_gives_its_job_back_while_its_server_lives(site: Site, eventually: Eventually) -> None:
    server = site.start("--worker-type", "process", "--workers", "2")
    job_id = site.enqueue("work", b'{"number":1,"seconds":3.0}')
    eventually(lambda: site.noted("start"), timeout=20)
    pid = int(site.ledger.read_text().split()[2])
    assert pid != server.pid
    os.kill(pid, signal.SIGKILL)
    killed_at = time.monotonic()
    eventually(lambda: len(site.ledger.read_text().splitlines()) >= 2, timeout=10, message="the second start")
    assert time.monotonic() - killed_at < 5
    eventually(lambda: site.job(job_id).state is JobState.SUCCEEDED, timeout=20)
    assert server.poll() is None
    states = [entry.state.value for entry in site.huey.records.history(job_id)]
    assert states == ["enqueued", "processing", "enqueued", "processing", "succeeded"]
    assert site.job(job_id).attempt == 2


def test_worker_processes_end_when_their_main_process_is_killed_and_the_jobs_go_on_elsewhere(
    site: Site, eventually: Eventually
) -> None:
    server = site.start("--worker-type", "process", "--workers", "2")
    job_id = site.enqueue("work", b'{"number":1,"seconds":1.0}')
    eventually(lambda: site.noted("start"), timeout=20)
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
    eventually(lambda: not has_group(server.pid), timeout=10, message="the end of all its processes")
    site.start("--workers", "1")
    eventually(lambda: site.job(job_id).state is JobState.SUCCEEDED, timeout=20)


def has_group(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("worker_type", ["thread", "process"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_a_short_job_end(
    site: Site, eventually: Eventually, worker_type: str, signum: signal.Signals
) -> None:
    server = site.start("--worker-type", worker_type, "--workers", "2")
    job_id = site.enqueue("work", b'{"number":1,"seconds":1.0}')
    eventually(lambda: site.noted("start"), timeout=20)
    os.killpg(server.pid, signum) if signum is signal.SIGINT else server.send_signal(signum)  # Ctrl-C reaches all
    stopped_at = time.monotonic()
    assert server.wait(10) == 0
    assert time.monotonic() - stopped_at < 4
    assert site.job(job_id).state is JobState.SUCCEEDED
    assert site.noted("start") == site.noted("done") == Counter({"1": 1})
    assert site.huey.records.servers() == []


@pytest.mark.parametrize("worker_type", ["thread", "process"])
def test_a_stop_puts_a_long_job_back_within_the_shutdown_timeout(
    site: Site, eventually: Eventually, worker_type: str
) -> None:
    server = site.start("--worker-type", worker_type, "--workers", "2", SHUTDOWN_TIMEOUT_SECONDS=1)
    job_id = site.enqueue("work", b'{"number":1,"seconds":30.0}')
    eventually(lambda: site.noted("start"), timeout=20)
    server.terminate()
    stopped_at = time.monotonic()
    assert server.wait(10) == 0
    assert time.monotonic() - stopped_at < 3
    job = site.job(job_id)
    assert (job.state, job.attempt, job.crashes) == (JobState.ENQUEUED, 0, 0)
    assert "stopped" in (job.reason or "")


@pytest.mark.parametrize("worker_type", ["thread", "process"])
def test_a_job_that_kills_its_worker_three_times_is_failed_and_its_neighbours_run(
    site: Site, eventually: Eventually, worker_type: str
) -> None:
    poison = site.enqueue("kill_worker", b"{}")
    for number in range(20):
        site.enqueue("work", b'{"number":%d}' % number)

    def is_over() -> bool:
        if not site.servers or site.servers[-1].poll() is not None:
            site.start("--worker-type", worker_type, "--workers", "2")
        return site.job(poison).state is JobState.FAILED and site.counts()["succeeded"] == 20

    eventually(is_over, timeout=60)
    job = site.job(poison)
    assert (job.reason, job.attempt, job.error_type) == ("Killed its worker 3 times", 3, "WorkerDied")
    assert "died 3 times in a row" in (job.error_message or "")
    assert site.ledger.read_text().splitlines().count("kill") == 3


def pause_between_writes(site: Site, server: subprocess.Popen[bytes]) -> None:
    """Stop a server where it does not hold the file: a writer stopped in the midst would stop all others, too."""
    turn_file = site.folder / "abpjobs.db-turn"
    if not turn_file.exists():  # on Redis nobody waits for a client
        os.kill(server.pid, signal.SIGSTOP)
        return
    with turn_file.open() as turn:
        while True:
            os.kill(server.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, server.pid, os.WSTOPPED)
            try:
                fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.kill(server.pid, signal.SIGCONT)
            else:
                fcntl.flock(turn, fcntl.LOCK_UN)
                return


def test_a_server_that_was_paused_for_too_long_is_refused_and_goes_on_under_its_name(
    site: Site, eventually: Eventually
) -> None:
    """SIGSTOP longer than the lease: another server takes the job; the late report changes nothing."""
    slow = site.start("--workers", "1")
    job_id = site.enqueue("work", b'{"number":1,"seconds":1.0}')
    eventually(lambda: site.noted("start"), timeout=20)
    pause_between_writes(site, slow)
    site.start("--workers", "1")
    eventually(lambda: site.job(job_id).state is JobState.SUCCEEDED, timeout=60)
    before = site.huey.records.history(job_id)
    os.kill(slow.pid, signal.SIGCONT)
    eventually(lambda: site.counts()["refused"] >= 1, timeout=10)
    eventually(lambda: len(site.huey.records.servers()) == 2, timeout=10, message="the server signs on again")
    assert site.huey.records.history(job_id) == before
    assert site.counts()["recovered"] == 1


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("exit", "SystemExit(3)"),
        ("interrupt", "KeyboardInterrupt()"),
        ("recursion", "recursion"),
        ("unprintable", "cannot be printed"),
        ("surrogate", "broken"),
        ("unserialisable", "JSON"),
    ],
)
def test_a_job_that_leaves_by_an_unusual_door_fails_with_a_reason_and_the_worker_lives(
    site: Site, eventually: Eventually, how: str, expected: str
) -> None:
    site.start("--workers", "1")
    job_id = site.enqueue("leave", b'{"how":"%s"}' % how.encode())
    after = site.enqueue("work", b'{"number":1}')
    eventually(lambda: site.job(after).state is JobState.SUCCEEDED, timeout=20)
    job = site.job(job_id)
    assert job.state is JobState.FAILED
    assert expected in (job.error_message or "")
    assert site.job(after).worker == job.worker


@pytest.mark.parametrize("worker_type", ["thread", "process"])
def test_a_job_this_server_cannot_load_is_kept_with_the_reason(
    site: Site, eventually: Eventually, worker_type: str
) -> None:
    unknown = site.enqueue("no_such_job", b"{}")
    unreadable = site.enqueue("work", b"\x80\x04\x95 no json")
    unfitting = site.enqueue("work", b'{"number":"seven"}')
    fine = site.enqueue("work", b'{"number":7}')
    site.start("--worker-type", worker_type, "--workers", "1")
    eventually(lambda: site.job(fine).state is JobState.SUCCEEDED, timeout=20)
    kept = site.job(unknown)
    assert (kept.state, kept.failures) == (JobState.SCHEDULED, 1)  # a server with newer code may know it
    assert kept.error_type == "flask_abpjobs.errors.UnknownJobError"
    for job_id in (unreadable, unfitting):
        job = site.job(job_id)
        assert job.state is JobState.FAILED
        assert "cannot take the stored arguments" in (job.error_message or "")
    assert site.job(unreadable).payload == b"\x80\x04\x95 no json"


def test_an_idle_server_picks_up_a_job_at_once(site: Site, eventually: Eventually) -> None:
    site.start("--workers", "2")
    eventually(lambda: site.huey.records.servers(), timeout=20)
    latencies = []
    for number in range(10):
        job_id = site.enqueue("work", b'{"number":%d,"seconds":0}' % number)
        job = eventually(lambda job_id=job_id: (j := site.job(job_id)).state is JobState.SUCCEEDED and j, timeout=5)
        latencies.append(job.latency)
    assert sorted(latencies)[5] < 0.1
    assert site.huey.records.find(JobQuery(tenant=ANY_TENANT)).jobs


def test_greenlet_workers_run_jobs_of_all_kinds_and_stop_in_order(site: Site, eventually: Eventually) -> None:
    server = site.start("--worker-type", "greenlet", "--workers", "4", through=["-m", "gevent.monkey", FLASK])
    jobs = [site.enqueue("work", b'{"number":%d,"seconds":0.2}' % number) for number in range(4)]
    jobs += [site.enqueue("work_async", b'{"number":%d}' % number) for number in range(4)]
    for job_id in jobs:
        eventually(lambda job_id=job_id: site.job(job_id).state is JobState.SUCCEEDED, timeout=30)
    server.terminate()
    assert server.wait(10) == 0
    assert site.huey.records.servers() == []


@pytest.mark.parametrize("worker_type", ["greenlet", "process"])
def test_an_attempt_that_takes_too_long_is_ended_and_its_worker_goes_on(
    site: Site, eventually: Eventually, worker_type: str
) -> None:
    through = ["-m", "gevent.monkey", FLASK] if worker_type == "greenlet" else ["-m", "flask"]
    never = encode_policy(RetryPolicy.none())
    long = site.enqueue("work", b'{"number":1,"seconds":60}', timeout=0.3, retry=never)
    site.start("--worker-type", worker_type, "--workers", "1", through=through)
    eventually(lambda: site.job(long).state is JobState.FAILED, timeout=20)
    assert site.job(long).error_message == "The attempt took longer than its timeout of 0.3 s."
    short = site.enqueue("work", b'{"number":2}')
    eventually(lambda: site.job(short).state is JobState.SUCCEEDED, timeout=20)
    assert site.noted("done") == {"2": 1}


def test_greenlet_workers_without_gevents_patches_are_refused_with_the_right_command(site: Site) -> None:
    server = site.start("--worker-type", "greenlet")
    assert server.wait(20) == 1
    assert "python -m gevent.monkey" in site.log()
    assert "Traceback" not in site.log()


def test_workers_come_back_by_themselves_when_their_redis_does(
    start_redis: Callable[..., Any], tmp_path: Path, eventually: Eventually
) -> None:
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    site = Site(tmp_path, server.url, NAME)
    try:
        site.start("--workers", "2")
        before = [site.enqueue("work", b'{"number":%d,"seconds":0.5}' % number) for number in range(6)]
        eventually(lambda: site.noted("start"), timeout=20)
        server.stop()
        eventually(lambda: "Redis at" in site.log(), timeout=20, message="a word about the missing Redis")
        server.start()
        after = site.enqueue("work", b'{"number":6}')
        for job_id in (*before, after):
            eventually(lambda job_id=job_id: site.job(job_id).state is JobState.SUCCEEDED, timeout=30)
        assert set(site.noted("done")) == {str(number) for number in range(7)}
        assert site.huey.records.check() == []
    finally:
        site.close()
