"""What is special about Redis and Valkey: round trips, memory, failing servers, waking, clusters."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flask_abpjobs.errors import ConfigError, JobNotFoundError, StorageError
from flask_abpjobs.ids import new_job_id
from flask_abpjobs.model import Argument, Claim, JobQuery, JobRecord, JobState, Lease, Outcome, ServerRecord
from flask_abpjobs.storage import JobStorage, open_storage
from flask_abpjobs.storage.base import BATCH

pytestmark = pytest.mark.requires_redis
IS_CI = os.environ.get("CI", "").lower() in {"true", "1"}
SERVER_ID = "web-1.example.org:12345:0a1b2c3d"
CLAIM = Claim(SERVER_ID, "worker-1", ("default",))
OK = Outcome(state=JobState.SUCCEEDED, duration=0.0123, result=b"null")
StartRedis = Callable[..., Any]


def make_job(**fields: Any) -> JobRecord:
    at = datetime.now(UTC) - timedelta(seconds=1)
    values: dict[str, Any] = {"id": new_job_id(), "name": "shop.receipt", "payload": b'{"order_id":4711}'}
    return JobRecord(**{**values, "created_at": at, "state_at": at, **fields})


def announced(storage: JobStorage) -> JobStorage:
    now = datetime.now(UTC)
    own: dict[str, Any] = {"host": "web-1", "pid": 1, "worker_type": "thread", "workers": 2, "queues": ("default",)}
    storage.announce(ServerRecord(id=SERVER_ID, started_at=now, heartbeat_at=now, **own))
    return storage


def drain(storage: JobStorage) -> int:
    done = 0
    job = storage.claim(CLAIM)
    while job is not None:
        done += 1
        job = storage.finish(Lease(job.id, job.fence), OK, CLAIM)
    return done


@pytest.fixture(params=["redis", "valkey"])
def server(request: pytest.FixtureRequest) -> Any:
    """A Redis and a Valkey that all tests share."""
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture
def storage(server: Any) -> Iterator[JobStorage]:
    """An empty storage with one announced server, which ends consistent."""
    storage = announced(open_storage(server.url, f"app-{new_job_id()}"))
    yield storage
    assert storage.check() == []
    storage.close()
    server.empty(storage.name)


@pytest.fixture
def own_server(start_redis: StartRedis) -> Any:
    """A Redis that the test may stop."""
    return start_redis("--appendonly", "yes")


class TestRoundTrips:
    def test_one_call_for_each_job_added_and_for_each_job_drained(self, start_redis: StartRedis) -> None:
        server = start_redis()
        storage = announced(open_storage(server.url, "app"))
        storage.add(make_job())
        drain(storage)
        storage.now()  # all scripts are known now
        server.ask("CONFIG", "RESETSTAT")
        for _ in range(50):
            storage.add(make_job(state_at=datetime.fromtimestamp(storage.now(), UTC)))
        assert calls_from_outside(server) == 50
        server.ask("CONFIG", "RESETSTAT")
        assert drain(storage) == 50
        assert calls_from_outside(server) == 51

    def test_a_server_that_forgot_the_scripts_is_sent_them_again(self, server: Any, storage: JobStorage) -> None:
        storage.add(make_job())
        server.ask("SCRIPT", "FLUSH")
        storage.add(make_job())
        server.ask("SCRIPT", "FLUSH")
        assert drain(storage) == 2

    def test_many_jobs_are_added_to_a_server_that_forgot_the_scripts(self, server: Any, storage: JobStorage) -> None:
        storage.add(make_job())
        server.ask("SCRIPT", "FLUSH")
        batches = [[make_job() for _ in range(100)] for _ in range(4)]
        assert len(set(storage.add_batches(batches))) == 400
        assert storage.counts()["created"] == 401

    def test_a_clock_that_was_changed_is_noticed_with_the_next_claim(self, storage: JobStorage) -> None:
        real = storage.now()
        storage._wire._offset += 100  # type: ignore[attr-defined]  # as after a failover
        assert storage.now() > real + 99
        storage.add(make_job())
        assert drain(storage) == 1
        assert storage.now() == pytest.approx(real, abs=5)

    def test_the_clock_is_that_of_the_server(self, server: Any, storage: JobStorage) -> None:
        seconds, micros = server.ask("TIME")
        assert storage.now() == pytest.approx(int(seconds) + int(micros) / 1e6, abs=0.5)


class TestMemory:
    def test_a_finished_job_takes_less_than_a_kibibyte(self, start_redis: StartRedis) -> None:
        number = 2000 if IS_CI else 20_000
        server = start_redis()
        storage = announced(open_storage(server.url, "app"))
        storage.add(make_job())
        drain(storage)
        before = used_memory(server)
        for number_added in range(number):
            value = str(number_added)
            storage.add(make_job(arguments=(Argument("order_id", value, "int"),), enqueued_by="ayla"))
        assert drain(storage) == number
        assert (used_memory(server) - before) / number < 1024
        assert len(storage.history(storage.find(JobQuery(limit=1)).jobs[0].id)) == 3

    def test_only_unique_keys_expire(self, server: Any, storage: JobStorage) -> None:
        for number in range(10):
            storage.add(make_job(tenant_id="acme", unique_key=f"k{number}", unique_for=60.0))
        storage.add(make_job(due_at=datetime.now(UTC) + timedelta(hours=1), state=JobState.SCHEDULED))
        drain(storage)
        lasting = {key: server.ask("TTL", key) for key in server.ask("KEYS", f"abpjobs:{{{storage.name}}}:*")}
        expiring = {key for key, left in lasting.items() if left >= 0}
        assert len(expiring) == 10
        assert all(b"}:unique:" in key for key in expiring)

    def test_a_full_server_refuses_new_jobs_and_lets_running_ones_end(self, start_redis: StartRedis) -> None:
        server = start_redis("--maxmemory-policy", "noeviction")
        storage = announced(open_storage(server.url, "app"))
        for _ in range(3):
            storage.add(make_job())
        job = storage.claim(CLAIM)
        assert job is not None
        server.ask("CONFIG", "SET", "maxmemory", "100kb")
        with pytest.raises(StorageError, match=r"memory is full.*Raise maxmemory") as caught:
            storage.add(refused := make_job())
        assert server.url.partition("//")[2].partition("/")[0] in str(caught.value)
        with pytest.raises(StorageError):
            storage.claim(CLAIM)
        assert storage.heartbeat(SERVER_ID)
        following = storage.finish(Lease(job.id, job.fence), OK, CLAIM)
        assert following is not None
        storage.release(Lease(following.id, following.fence), "The server stops")
        assert storage.check() == []
        server.ask("CONFIG", "SET", "maxmemory", "0")
        with pytest.raises(JobNotFoundError):
            storage.get(refused.id)
        assert drain(storage) == 2
        assert storage.check() == []


class TestFailures:
    def test_many_jobs_for_a_server_that_is_full_or_gone_are_an_error_and_those_before_are_there(
        self, own_server: Any
    ) -> None:
        storage = announced(open_storage(own_server.url, "app"))
        assert storage.add_batches([[make_job()], [make_job()]])
        own_server.ask("CONFIG", "SET", "maxmemory", "100kb")
        with pytest.raises(StorageError, match="memory is full"):
            storage.add_batches([[make_job()], [make_job()], [make_job()]])
        own_server.ask("CONFIG", "SET", "maxmemory", "0")
        assert storage.counts()["created"] == 2
        assert storage.check() == []
        own_server.stop()
        with pytest.raises(StorageError, match="cannot be reached"):
            storage.add_batches([[make_job()], [make_job()]])

    def test_a_stopped_server_is_an_error_at_once_and_a_restarted_one_works(self, own_server: Any) -> None:
        storage = announced(open_storage(own_server.url, "app"))
        storage.add(make_job())
        own_server.stop()
        started = time.monotonic()
        with pytest.raises(StorageError, match=r"127\.0\.0\.1:\d+/0 cannot be reached.*Is it running"):
            storage.add(make_job())
        assert time.monotonic() - started < 2.0
        own_server.start()
        assert drain(storage) == 1
        assert storage.check() == []

    def test_a_server_that_hangs_is_an_error_within_a_few_seconds(self, own_server: Any) -> None:
        storage = announced(open_storage(own_server.url, "app"))
        own_server.process.send_signal(signal.SIGSTOP)
        try:
            started = time.monotonic()
            with pytest.raises(StorageError, match="did not answer in time"):
                storage.counts()
            assert time.monotonic() - started < 3.0
        finally:
            own_server.process.send_signal(signal.SIGCONT)
        assert storage.counts()["created"] == 0

    def test_an_added_job_whose_answer_is_lost_is_added_once(self, own_server: Any) -> None:
        direct = announced(open_storage(own_server.url, "app"))
        with LosingProxy(own_server.port) as proxy:
            storage = open_storage(f"redis://127.0.0.1:{proxy.port}/0", "app")
            storage.add(make_job())
            proxy.lose_next_answer()
            assert storage.add(job := make_job())
            assert proxy.lost == 1
            storage.close()
        assert direct.get(job.id).state is JobState.ENQUEUED
        assert direct.counts()["created"] == 2

    def test_what_is_claimed_or_finished_while_the_answer_is_lost_is_not_lost(self, own_server: Any) -> None:
        direct = announced(open_storage(own_server.url, "app"))
        direct.add(make_job())
        drain(direct)  # the scripts are known now
        first, second = make_job(), make_job()
        direct.add_many([first, second])
        with LosingProxy(own_server.port) as proxy:
            storage = open_storage(f"redis://127.0.0.1:{proxy.port}/0", "app")
            proxy.lose_next_answer()
            job = storage.claim(CLAIM)
            assert job is not None
            assert (job.id, job.attempt) == (first.id, 1)
            proxy.lose_next_answer()
            following = storage.finish(Lease(job.id, job.fence), OK, CLAIM)
            assert following is not None
            assert (following.id, following.attempt) == (second.id, 1)
            proxy.lose_next_answer()
            assert storage.finish(Lease(following.id, following.fence), OK, CLAIM) is None
            assert proxy.lost == 3
            storage.close()
        assert [len(direct.history(job.id)) for job in (first, second)] == [3, 3]
        assert (direct.counts()["succeeded"], direct.counts()["refused"]) == (3, 0)
        assert direct.check() == []

    def test_a_job_that_a_hanging_server_gave_late_is_found_by_the_next_claim(self, own_server: Any) -> None:
        storage = announced(open_storage(own_server.url, "app"))
        storage.add(job := make_job())
        assert open_storage(own_server.url, "app").claim(Claim("unknown", "w", ("default",))) is None
        own_server.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(StorageError, match="did not answer in time"):
                storage.claim(CLAIM)
        finally:
            own_server.process.send_signal(signal.SIGCONT)
        found = storage.claim(CLAIM)
        assert found is not None
        assert (found.id, found.attempt) == (job.id, 1)
        assert drain(storage) == 0
        storage.finish(Lease(found.id, found.fence), OK)
        assert storage.check() == []

    @pytest.mark.parametrize(
        ("user", "advice"), [("", "wants a password"), (":wrong-secret@", "Check user and password")]
    )
    def test_a_wrong_password_is_named_and_not_told(self, start_redis: StartRedis, user: str, advice: str) -> None:
        server = start_redis()
        server.ask("CONFIG", "SET", "requirepass", "right")
        with pytest.raises(StorageError, match=advice) as caught:
            open_storage(f"redis://{user}127.0.0.1:{server.port}/0", "app").counts()
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize(
        "key", ["ready:default", "counts", "by:enqueued:0:7:default:shop.receipt", "kinds", "wake:default"]
    )
    def test_a_key_of_another_program_stops_a_job_before_anything_is_written(
        self, server: Any, storage: JobStorage, key: str
    ) -> None:
        server.ask("SET", f"abpjobs:{{{storage.name}}}:{key}", "theirs")
        with pytest.raises(StorageError, match=r"WRONGTYPE.*Another program"):
            storage.add(job := make_job())
        server.ask("DEL", f"abpjobs:{{{storage.name}}}:{key}")
        with pytest.raises(JobNotFoundError):
            storage.get(job.id)
        assert storage.counts()["created"] == 0

    def test_a_replica_is_told_from_a_master(self, start_redis: StartRedis, own_server: Any) -> None:
        replica = start_redis("--replicaof", "127.0.0.1", str(own_server.port))
        with pytest.raises(StorageError, match=r"redis\+sentinel"):
            open_storage(replica.url, "app").add(make_job())


class TestChecking:
    @pytest.mark.parametrize(
        ("command", "words"),
        [
            (("ZREM", "ready:default", "{place}"), "missing in index 'ready:default'"),
            (("ZADD", "due", 1, "nobody"), "'due' has nobody"),
            (("HINCRBY", "counts", "q:default", 1), "'q:default' in 'counts' says 3 jobs, a scan finds 2"),
            (("HINCRBY", "counts", "created", 1), "3 jobs were created and have not expired, but 2 are present"),
            (("HSET", "slots", "report:7", 1), "1 slots of 'report:7' are taken, but 0"),
        ],
    )
    def test_what_does_not_fit_together_is_told(
        self, redis_server: Any, command: tuple[str | int, ...], words: str
    ) -> None:
        storage = open_storage(redis_server.url, f"app-{new_job_id()}")
        storage.add_many([make_job(), make_job()])
        assert storage.check() == []
        prefix = f"abpjobs:{{{storage.name}}}:"
        place = redis_server.ask("ZRANGE", f"{prefix}ready:default", 0, 0)[0].decode()
        name, key, *others = (str(word).format(place=place) for word in command)
        redis_server.ask(name, prefix + key, *others)
        (told,) = storage.check()
        assert words in told
        redis_server.empty(storage.name)


class TestSettings:
    def test_a_server_says_what_it_is(self, redis_server: Any, valkey_server: Any) -> None:
        redis_says = open_storage(redis_server.url, "app").describe()
        assert redis_says.startswith("Redis ")
        assert redis_says.endswith(f", 127.0.0.1:{redis_server.port}/0")
        assert open_storage(valkey_server.url, "app").describe().startswith("Valkey ")

    def test_a_user_with_the_rights_it_needs_and_no_more_can_work(self, start_redis: StartRedis) -> None:
        server = start_redis()
        rights = ["+@read", "+@write", "+@scripting", "+time", "+blpop", "-@dangerous", "-@admin"]
        server.ask("ACL", "SETUSER", "shop", "on", ">secret", "~abpjobs:{app}:*", *rights)
        storage = announced(open_storage(f"redis://shop:secret@127.0.0.1:{server.port}/0", "app"))
        storage.add(make_job())
        assert drain(storage) == 1
        assert storage.warnings() == []
        assert storage.describe() == f"Redis of an unknown version, 127.0.0.1:{server.port}/0"
        with pytest.raises(StorageError, match="Allow its user"):
            open_storage(f"redis://shop:secret@127.0.0.1:{server.port}/0", "other").add(make_job())

    def test_settings_that_endanger_jobs_are_named(self, start_redis: StartRedis) -> None:
        safe = start_redis("--appendonly", "yes")
        assert open_storage(safe.url, "app").warnings() == []
        unsafe = start_redis("--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb")
        policy, durability = open_storage(unsafe.url, "app").warnings()
        assert "allkeys-lru" in policy
        assert "appendonly" in durability


class TestAddresses:
    def test_a_socket_is_an_address(self, redis_server: Any) -> None:
        name = f"app-{new_job_id()}"
        storage = announced(open_storage(f"unix://{redis_server.socket}", name))
        storage.add(make_job())
        assert drain(storage) == 1
        assert str(redis_server.socket) in storage.describe()
        redis_server.empty(name)

    @pytest.mark.parametrize(
        "url",
        [
            "redis://:hush/hush@localhost/0",
            "redis://:hush@localhost/first",
            "redis+sentinel://:hush@localhost",
            "unix://",
            "redis+other://:hush@localhost",
            "unix+cluster://:hush@localhost",
        ],
    )
    def test_an_address_of_no_known_form_is_refused_without_its_password(self, url: str) -> None:
        with pytest.raises(ConfigError) as caught:
            open_storage(url, "app")
        assert "hush" not in str(caught.value)

    def test_a_name_with_braces_is_refused(self, redis_server: Any) -> None:
        with pytest.raises(ConfigError, match="brace"):
            open_storage(redis_server.url, "a{b}")

    def test_a_cluster_keeps_an_application_on_one_node(self, start_redis: StartRedis, eventually: Any) -> None:
        nodes = [start_redis("--cluster-enabled", "yes") for _ in range(3)]
        for place, node in enumerate(nodes):
            node.ask("CLUSTER", "ADDSLOTS", *range(place, 16384, 3))
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
        for node in nodes[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        for node in nodes:
            eventually(lambda node=node: b"cluster_state:ok" in node.ask("CLUSTER", "INFO"), 30.0)
            eventually(lambda node=node: node.ask("CLUSTER", "NODES").count(b"connected") == 3, 30.0)
        storage = announced(open_storage(f"redis+cluster://127.0.0.1:{nodes[0].port}", "app"))
        for _ in range(5):
            storage.add(make_job())
        assert drain(storage) == 5
        storage.wait(0.1)
        assert storage.now() == pytest.approx(time.time(), abs=0.5)
        assert storage.check() == []
        assert sorted(node.ask("DBSIZE") > 0 for node in nodes) == [False, False, True]
        assert "Redis" in storage.describe()
        storage.close()

    def test_a_node_of_a_cluster_says_how_to_name_it(self, start_redis: StartRedis) -> None:
        node = start_redis("--cluster-enabled", "yes")
        with pytest.raises(StorageError, match="cluster"):
            open_storage(node.url, "app").add(make_job())

    def test_sentinels_name_the_master(self, start_redis: StartRedis, tmp_path: Path, eventually: Any) -> None:
        master = start_redis()
        settings = tmp_path / "sentinel.conf"
        settings.write_text(f"sentinel monitor jobs 127.0.0.1 {master.port} 1\n")
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as probe:
            port = probe.getsockname()[1]
        command = [master.process.args[0], str(settings), "--sentinel", "--port", str(port), "--dir", str(tmp_path)]
        sentinel = subprocess.Popen([*command, "--logfile", "sentinel.log"])
        try:
            storage = open_storage(f"redis+sentinel://127.0.0.1:{port}/jobs/0", "app")
            eventually(lambda: not fails(lambda: announced(storage)))
            storage.add(make_job())
            assert drain(storage) == 1
            assert open_storage(master.url, "app").counts()["succeeded"] == 1
            assert storage.describe().endswith(f"jobs of 127.0.0.1:{port}")
        finally:
            sentinel.kill()
            sentinel.wait()


class TestWaking:
    def test_an_idle_worker_hears_of_a_job_of_another_program_at_once(self, server: Any, storage: JobStorage) -> None:
        other = open_storage(server.url, storage.name)
        picked_up: list[float] = []
        ready = threading.Event()

        def work() -> None:
            while len(picked_up) < 5:
                if (job := storage.claim(CLAIM)) is not None:
                    picked_up.append(time.monotonic())
                    storage.finish(Lease(job.id, job.fence), OK)
                ready.set()
                storage.wait(10.0)

        worker = threading.Thread(target=work)
        worker.start()
        ready.wait(5.0)
        delays = []
        for number in range(5):
            blocked_clients(server)
            added = time.monotonic()
            other.add(make_job())
            while len(picked_up) <= number and time.monotonic() - added < 5.0:
                threading.Event().wait(0.001)
            delays.append(picked_up[number] - added)
        storage.wake()
        worker.join(5.0)
        assert not worker.is_alive()
        assert min(delays) < 0.1

    def test_idle_threads_of_a_process_share_one_waiting_connection(
        self, server: Any, storage: JobStorage, eventually: Any
    ) -> None:
        def idle() -> None:
            storage.claim(CLAIM)
            storage.wait(20.0)

        before = blocked_clients(server)
        threads = [threading.Thread(target=idle) for _ in range(5)]
        for thread in threads:
            thread.start()
        eventually(lambda: blocked_clients(server) == before + 1)
        storage.wake()
        for thread in threads:
            thread.join(5.0)
        assert not any(thread.is_alive() for thread in threads)

    def test_as_many_idle_threads_wake_as_jobs_come(self, storage: JobStorage, eventually: Any) -> None:
        got: list[str] = []
        meet = threading.Barrier(4, timeout=10.0)

        def work() -> None:
            while (job := storage.claim(CLAIM)) is None:
                storage.wait(20.0)
            meet.wait()  # all four run at once
            got.append(job.id)
            storage.finish(Lease(job.id, job.fence), OK)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        jobs = [make_job() for _ in range(4)]
        storage.add_many(jobs)
        for thread in threads:
            thread.join(15.0)
        assert sorted(got) == sorted(job.id for job in jobs)

    def test_tokens_of_jobs_that_others_took_are_gone(self, server: Any, storage: JobStorage) -> None:
        for _ in range(100):
            storage.add(make_job())
        key = f"abpjobs:{{{storage.name}}}:wake:default"
        assert server.ask("LLEN", key) == 64
        assert drain(storage) == 100
        assert server.ask("EXISTS", key) == 0

    def test_a_forked_process_has_connections_of_its_own(self, storage: JobStorage) -> None:
        storage.add(make_job())
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                for _ in range(100):
                    storage.counts()
                    storage.wait(0.0)
                job = storage.claim(CLAIM)
                os.write(writer, job.id.encode() if job else b"none")
            os._exit(0)
        os.close(writer)
        assert all(storage.counts()["created"] == 1 for _ in range(100))
        os.waitpid(child, 0)
        with os.fdopen(reader, "rb") as pipe:
            job_id = pipe.read().decode()
        assert storage.get(job_id).state is JobState.PROCESSING


class TestBigNumbers:
    def test_many_jobs_due_at_once_do_not_hold_up_others(self, server: Any, storage: JobStorage) -> None:
        """The best of three rounds counts: a busy machine delays a PING too."""
        number = 3_000 if IS_CI else 33_300
        slow = [slowest_of_a_hundred_pings(server, storage, number) for _ in range(3)]
        assert min(slow) < 0.025
        assert storage.counts()["enqueued"] == 3 * number

    def test_a_page_among_many_finished_jobs_costs_no_more(self, server: Any, storage: JobStorage) -> None:
        for _ in range(20):
            storage.add_many([make_job(name=f"shop.{number % 4}") for number in range(BATCH)])
        drain(storage)
        page = storage.find(JobQuery(limit=10))
        for _ in range(100):
            assert page.next is not None
            page = storage.find(JobQuery(limit=10, after=page.next))
        server.ask("CONFIG", "RESETSTAT")
        storage.find(JobQuery(limit=10, after=page.next))
        stats = command_calls(server)
        assert sum(stats.values()) < 200


def slowest_of_a_hundred_pings(server: Any, storage: JobStorage, number: int) -> float:
    """Return in how many seconds 99 of 100 PINGs are answered while so many jobs become due at once."""
    fields: dict[str, Any] = {"due_at": datetime.now(UTC) - timedelta(seconds=1), "state": JobState.SCHEDULED}
    for _ in range(number // BATCH):
        storage.add_many([make_job(**fields) for _ in range(BATCH)])
    is_over = threading.Event()
    delays: list[float] = []

    def ping() -> None:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as line:
            line.connect(str(server.socket))
            while not is_over.is_set():
                started = time.monotonic()
                line.sendall(b"PING\r\n")
                line.recv(64)
                delays.append(time.monotonic() - started)
                is_over.wait(0.001)

    pinging = threading.Thread(target=ping)
    pinging.start()
    assert sum(iter(storage.promote, 0)) == number
    is_over.set()
    pinging.join()
    return sorted(delays)[int(len(delays) * 0.99)]


class LosingProxy:
    """Stands between a client and a Redis; can pass a command on and cut the line instead of its answer."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.lost = 0
        self._loses = False
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> LosingProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def lose_next_answer(self) -> None:
        self._loses = True

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, socket.create_connection(("127.0.0.1", self._target)) as line:
                    self._pass_on(client, line)

    def _pass_on(self, client: socket.socket, line: socket.socket) -> None:
        while asked := client.recv(1 << 20):
            line.sendall(asked)
            answer = line.recv(1 << 20)
            if self._loses:
                self._loses = False
                self.lost += 1
                return
            client.sendall(answer)


def fails(action: Callable[[], Any]) -> bool:
    try:
        action()
    except StorageError:
        return True
    return False


def info(server: Any, section: str) -> dict[str, str]:
    lines = (line.partition(":") for line in server.ask("INFO", section).decode().splitlines())
    return {name: value for name, colon, value in lines if colon}


def command_calls(server: Any) -> dict[str, int]:
    stats = {name.removeprefix("cmdstat_"): value for name, value in info(server, "commandstats").items()}
    return {name: int(value.partition(",")[0].removeprefix("calls=")) for name, value in stats.items()}


def calls_from_outside(server: Any) -> int:
    calls = command_calls(server)
    return calls.get("evalsha", 0) + calls.get("eval", 0) + calls.get("multi", 0) + calls.get("blpop", 0)


def blocked_clients(server: Any) -> int:
    return int(info(server, "clients")["blocked_clients"])


def used_memory(server: Any) -> int:
    return int(info(server, "memory")["used_memory"])
