"""What is special about jobs in a SQLite file."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flask_abpjobs.errors import ConfigError, JobNotFoundError, LeaseLostError, StorageError
from flask_abpjobs.ids import new_job_id
from flask_abpjobs.model import (
    Claim,
    JobQuery,
    JobRecord,
    JobState,
    Lease,
    LogLine,
    Outcome,
    Retention,
    ServerRecord,
)
from flask_abpjobs.storage import open_storage
from flask_abpjobs.storage.base import MAX_HISTORY
from flask_abpjobs.storage.sqlite import SqliteJobStorage
from flask_abpjobs.storage.sqlite.connection import PAGE_SIZE
from flask_abpjobs.storage.sqlite.filesystem import network_kind
from flask_abpjobs.storage.sqlite.writes import Write

CLAIM = Claim("s1", "w1", ("default",))


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[SqliteJobStorage]:
    storage = open_at(tmp_path)
    yield storage
    storage.close()


def open_at(folder: Path) -> SqliteJobStorage:
    return open_storage(f"sqlite:///{folder}/jobs.db", "app")


def job(**fields: Any) -> JobRecord:
    now = datetime.now(UTC)
    return JobRecord(
        **{"id": new_job_id(), "name": "n", "payload": b"{}", "created_at": now, "state_at": now, **fields}
    )


def server(server_id: str = "s1") -> ServerRecord:
    now = datetime.now(UTC)
    return ServerRecord(
        id=server_id,
        host="h",
        pid=1,
        worker_type="thread",
        workers=1,
        queues=("default",),
        started_at=now,
        heartbeat_at=now,
    )


class TestTheFile:
    def test_a_relative_url_is_below_the_folder_which_is_made(self, tmp_path: Path) -> None:
        storage = open_storage("sqlite:///deep/jobs.db", "app", folder=str(tmp_path / "instance"))
        storage.close()
        assert storage.path == str(tmp_path / "instance" / "deep" / "jobs.db")
        assert Path(storage.path).exists()

    def test_it_is_a_write_ahead_log_with_full_sync(self, storage: SqliteJobStorage) -> None:
        with storage.writing() as cursor:
            assert cursor.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
            assert cursor.execute("PRAGMA synchronous").fetchone()[0] == 2

    def test_jobs_are_there_after_it_is_opened_again(self, tmp_path: Path) -> None:
        first = open_at(tmp_path)
        first.add(record := job())
        first.close()
        again = open_at(tmp_path)
        assert again.get(record.id).id == record.id
        again.close()

    def test_a_file_of_a_newer_version_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        storage = open_at(tmp_path)
        storage.add(job())
        with storage.writing() as cursor:
            cursor.execute("UPDATE abpjobs_schema SET version = 99")
        storage.close()
        with pytest.raises(ConfigError, match=r"schema version 99; this version of Flask-AbpJobs knows versions up to"):
            open_at(tmp_path)
        connection = sqlite3.connect(tmp_path / "jobs.db")
        assert connection.execute("SELECT count(*) FROM abpjobs_job").fetchone() == (1,)
        connection.close()

    @pytest.mark.parametrize(
        "url", ["mysql://h/0", "sqlite://jobs.db", "sqlite:///", "postgres://u:secret@h/d", "jobs.db", ""]
    )
    def test_an_unknown_url_says_what_there_is_and_hides_passwords(self, url: str) -> None:
        with pytest.raises(ConfigError, match=r"Use sqlite:///name.db") as caught:
            open_storage(url, "app")
        assert "secret" not in str(caught.value)

    def test_a_file_that_is_no_database_is_an_error_that_says_what_to_do(self, tmp_path: Path) -> None:
        (tmp_path / "jobs.db").write_bytes(b"no database at all" * 100)
        with pytest.raises(StorageError, match=r"not a database.*Restore the file from a backup"):
            open_at(tmp_path)

    def test_a_missing_folder_is_an_error_that_says_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="Does its folder exist"):
            open_storage(f"sqlite:///{tmp_path}/none/jobs.db", "app")


class TestTransactions:
    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
    def test_whatever_is_raised_inside_one_nothing_of_it_stays(
        self, storage: SqliteJobStorage, error: type[BaseException]
    ) -> None:
        def interrupted() -> None:
            with storage.writing() as cursor:
                storage._insert(cursor, job())
                raise error

        with pytest.raises(error):
            interrupted()
        assert storage.counts()["created"] == 0
        storage.add(job())
        assert storage.check() == []

    def test_a_full_disk_loses_nothing_and_says_so(self, storage: SqliteJobStorage) -> None:
        storage.announce(server())
        storage.add(kept := job())
        claimed = storage.claim(CLAIM)
        assert claimed is not None
        limit_pages(storage, 1)
        with pytest.raises(StorageError, match=r"full. Nothing was written. Free some disk space"):
            storage.add(job(payload=b"x" * 500_000))
        with pytest.raises(StorageError, match="full"):
            storage.finish(Lease(kept.id, claimed.fence), Outcome(state=JobState.SUCCEEDED, result=b"x" * 500_000))
        assert storage.get(kept.id).state is JobState.PROCESSING
        limit_pages(storage, 1_000_000)
        storage.finish(Lease(kept.id, claimed.fence), Outcome(state=JobState.SUCCEEDED, result=b"x" * 500_000))
        assert storage.get(kept.id).state is JobState.SUCCEEDED
        assert storage.counts()["created"] == 1
        assert storage.check() == []

    def test_a_foreign_program_that_holds_the_file_gives_a_typed_error(self, storage: SqliteJobStorage) -> None:
        with storage.writing() as cursor:
            cursor.connection.execute("PRAGMA busy_timeout = 50")
        foreign = sqlite3.connect(storage.path, isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked. Another program holds the file"):
            storage.add(job())
        foreign.execute("ROLLBACK")
        foreign.close()
        assert storage.add(job())


def limit_pages(storage: SqliteJobStorage, pages: int) -> None:
    with storage.lock:
        storage.conn.execute(f"PRAGMA max_page_count = {pages}")


class TestProcesses:
    def test_a_child_can_use_what_its_parent_opened_even_when_forked_in_the_midst_of_writing(
        self, storage: SqliteJobStorage
    ) -> None:
        """Forking while other threads write: no child waits for a lock that only its parent's memory knows."""
        over = threading.Event()

        def write() -> None:
            while not over.is_set():
                storage.add(job())

        threads = [threading.Thread(target=write) for _ in range(2)]
        for thread in threads:
            thread.start()
        children = []
        for _ in range(12):
            pid = os.fork()
            if pid == 0:
                try:
                    os._exit(0 if storage.add(job(name="child")) and storage.counts()["created"] else 1)
                finally:
                    os._exit(2)
            children.append(pid)
        codes = [os.waitpid(pid, 0)[1] for pid in children]
        over.set()
        for thread in threads:
            thread.join()
        assert codes == [0] * 12
        assert storage.check() == []

    def test_producers_and_workers_of_many_processes_share_one_file(
        self, tmp_path: Path, storage: SqliteJobStorage
    ) -> None:
        storage.announce(server())
        context = multiprocessing.get_context("spawn")
        producers = [context.Process(target=produce, args=(tmp_path, 100)) for _ in range(3)]
        workers = [context.Process(target=consume, args=(tmp_path, f"w{number}")) for number in range(2)]
        for process in (*producers, *workers):
            process.start()
        for process in producers:
            process.join()
        storage.add(job(name="end"))
        storage.add(job(name="end"))
        for process in workers:
            process.join()
        assert [process.exitcode for process in (*producers, *workers)] == [0] * 5
        assert storage.counts()["succeeded"] == 302
        with storage.reading() as cursor:
            attempts = cursor.execute("SELECT DISTINCT attempt FROM abpjobs_job").fetchall()
        assert [row[0] for row in attempts] == [1]
        assert storage.check() == []

    def test_a_process_that_dies_while_it_writes_frees_its_turn(
        self, tmp_path: Path, storage: SqliteJobStorage
    ) -> None:
        code = (
            "import os, signal, sys; from flask_abpjobs.storage import open_storage\n"
            f"s = open_storage('sqlite:///{tmp_path}/jobs.db', 'app')\n"
            "with s.writing() as c:\n"
            "    c.execute(\"INSERT INTO abpjobs_count VALUES ('x', '', '', 'y', 1)\")\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        assert subprocess.run([sys.executable, "-c", code]).returncode == -9
        assert storage.add(job())
        with storage.reading() as cursor:
            assert cursor.execute("SELECT count(*) FROM abpjobs_count WHERE app = 'x'").fetchone()[0] == 0


def produce(folder: Path, count: int) -> None:
    storage = open_at(folder)
    for _ in range(count):
        storage.add(job())
    storage.close()


def consume(folder: Path, worker: str) -> None:
    storage = open_at(folder)
    claim = Claim("s1", worker, ("default",))
    record = None
    while record is None or record.name != "end":
        if record is None:
            storage.wait(0.5)
            record = storage.claim(claim)
        else:
            record = storage.finish(Lease(record.id, record.fence), Outcome(state=JobState.SUCCEEDED), claim)
    storage.finish(Lease(record.id, record.fence), Outcome(state=JobState.SUCCEEDED))
    storage.close()


class TestNotification:
    def test_a_worker_that_has_been_idle_for_long_is_woken_by_another_process(
        self, tmp_path: Path, storage: SqliteJobStorage
    ) -> None:
        storage.announce(server())
        woken: list[float | None] = []
        idle = threading.Event()

        def work() -> None:
            record = None
            while record is None:
                record = storage.claim(CLAIM)
                if record is None:
                    idle.set()
                    storage.wait(30.0)
            woken.append(record.latency)

        thread = threading.Thread(target=work)
        thread.start()
        assert idle.wait(5)
        subprocess.run([sys.executable, "-c", ADD.format(folder=tmp_path)], check=True)
        thread.join(10)
        assert woken[0] is not None
        assert woken[0] < 1.0


ADD = """
from datetime import UTC, datetime
from flask_abpjobs.ids import new_job_id
from flask_abpjobs.model import JobRecord
from flask_abpjobs.storage import open_storage
storage = open_storage("sqlite:///{folder}/jobs.db", "app")
now = datetime.now(UTC)
storage.add(JobRecord(id=new_job_id(), name="n", payload=b"{{}}", created_at=now, state_at=now))
"""


class TestCommittingTogether:
    def test_threads_that_write_at_the_same_moment_share_one_commit(
        self, storage: SqliteJobStorage, eventually: Callable[..., Any]
    ) -> None:
        storage.announce(server())
        with traced(storage) as statements:
            added = together(storage, eventually, [partial(storage.add, job()) for _ in range(6)])
        assert added == [True] * 6
        assert statements.count("COMMIT") == 1
        assert storage.counts()["created"] == 6
        assert storage.check() == []

    def test_one_that_fails_fails_alone(self, storage: SqliteJobStorage, eventually: Callable[..., Any]) -> None:
        storage.announce(server())
        storage.add(job())
        claimed = storage.claim(CLAIM)
        assert claimed is not None
        good, late = Lease(claimed.id, claimed.fence), Lease(claimed.id, claimed.fence + 1)
        orphan = job(state=JobState.AWAITING, parent_id="nowhere")
        done = Outcome(state=JobState.SUCCEEDED)
        found = together(
            storage,
            eventually,
            [
                partial(storage.add, job()),
                partial(storage.finish, late, done),
                partial(storage.add, orphan),
                partial(storage.finish, good, done),
            ],
        )
        assert [type(each) for each in found] == [bool, LeaseLostError, JobNotFoundError, type(None)]
        counts = storage.counts()
        assert (counts["created"], counts["succeeded"], counts["refused"]) == (2, 1, 1)
        assert storage.check() == []

    def test_a_commit_that_fails_is_told_to_all(
        self, storage: SqliteJobStorage, eventually: Callable[..., Any]
    ) -> None:
        limit_pages(storage, 1)
        found = together(storage, eventually, [partial(storage.add, job(payload=b"x" * 500_000)) for _ in range(3)])
        assert [type(each) for each in found] == [StorageError] * 3
        limit_pages(storage, 1_000_000)
        assert storage.counts()["created"] == 0
        assert storage.check() == []

    def test_what_a_stopped_thread_has_taken_on_for_others_is_done_by_the_others(
        self, storage: SqliteJobStorage
    ) -> None:
        def stop(_: sqlite3.Cursor) -> None:
            raise KeyboardInterrupt

        record = job()
        other = Write(lambda cursor: storage._insert(cursor, record))
        storage._waiting.extend([other, Write(stop)])
        with storage.lock, pytest.raises(KeyboardInterrupt):
            storage._write_waiting()
        assert not other.is_done
        storage._waiting.pop()  # as the stopped thread does with its own
        assert storage.add(job())
        assert other.is_done
        assert storage.get(record.id).id == record.id
        assert storage.check() == []

    def test_a_leader_that_was_stopped_before_it_named_another_holds_up_nobody_for_long(
        self, storage: SqliteJobStorage, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
    ) -> None:
        monkeypatch.setattr("flask_abpjobs.storage.sqlite.connection.PATIENCE", 0.05)
        storage._is_led = True
        assert storage.add(job())
        assert together(storage, eventually, [partial(storage.add, job()) for _ in range(3)]) == [True] * 3

    def test_many_threads_that_write_at_once_all_get_their_own_answer(self, storage: SqliteJobStorage) -> None:
        known = [job() for _ in range(20)]
        storage.add_many(known)
        wrong: list[str] = []

        def write(number: int) -> None:
            for old in known:
                new = job()
                if not storage.add(new) or storage.add(old) or storage.add_many([old, new]) != [old.id, new.id]:
                    wrong.append(f"thread {number}")

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert wrong == []
        assert storage.counts()["created"] == 20 + 8 * 20
        assert storage.check() == []


def together(storage: SqliteJobStorage, eventually: Callable[..., Any], calls: list[Callable[[], Any]]) -> list[Any]:
    """Make calls from as many threads at the same moment, and return what each returned or raised."""
    found: list[Any] = [None] * len(calls)

    def make(place: int) -> None:
        try:
            found[place] = calls[place]()
        except Exception as error:
            found[place] = error

    threads = [threading.Thread(target=make, args=(place,)) for place in range(len(calls))]
    with storage.lock:
        for number, thread in enumerate(threads, start=1):
            thread.start()
            eventually(lambda number=number: len(storage._waiting) == number)
    for thread in threads:
        thread.join()
    return found


class TestCheck:
    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            ("UPDATE abpjobs_shelf SET number = 7 WHERE state = 'enqueued'", "The counter says 7 enqueued jobs 'n'"),
            ("UPDATE abpjobs_shelf SET created = 99 WHERE state = 'enqueued'", "jobs were created, but 6 are present"),
            (
                "UPDATE abpjobs_count SET number = 3 WHERE what = 'enqueued'",
                "3 enqueued jobs in queue 'default' of ten",
            ),
            ("UPDATE abpjobs_count SET number = 3 WHERE what = 'created'", "of tenant acme were not created"),
            ("UPDATE abpjobs_job SET shelf = 99 WHERE id = 'waiting'", "lie on shelf 99, which is not theirs"),
            ("UPDATE abpjobs_job SET entry = 99 WHERE id = 'waiting'", "job waiting does not tell its state"),
            (
                "UPDATE abpjobs_job SET max_concurrent = 0 WHERE concurrency_key = 'k'",
                "1 jobs of 'k' run, but at most 0 may",
            ),
            ("UPDATE abpjobs_job SET max_concurrent = 9 WHERE id = 'parked'", "are parked, though only 1 run"),
            ("UPDATE abpjobs_job SET parked = 1 WHERE id = 'running'", "is parked, but does not wait"),
            ("UPDATE abpjobs_job SET parent_id = 'nowhere' WHERE id = 'child'", "child awaits a job that is not there"),
            ("UPDATE abpjobs_job SET parent_id = 'ended' WHERE id = 'child'", "ended, which is succeeded already"),
            ("UPDATE abpjobs_unique SET job = 'nobody'", "The unique key 'u' is held by no job"),
            ("DELETE FROM abpjobs_server", "Job running is processing on a server that is not announced"),
        ],
    )
    def test_damage_is_found(self, storage: SqliteJobStorage, damage: str, words: str) -> None:
        storage.announce(server())
        limit = {"concurrency_key": "k", "max_concurrent": 1}
        storage.add(job(id="ended"))
        claimed = storage.claim(CLAIM)
        assert claimed is not None
        storage.finish(Lease(claimed.id, claimed.fence), Outcome(state=JobState.SUCCEEDED))
        storage.add_many([job(id="running", **limit), job(id="parked", **limit)])
        storage.claim(CLAIM)
        storage.claim(CLAIM)
        storage.add_many(
            [
                job(id="waiting", unique_key="u"),
                job(id="child", state=JobState.AWAITING, parent_id="waiting"),
                job(id="tenanted", tenant_id="acme"),
            ]
        )
        assert storage.check() == []
        with storage.writing() as cursor:
            assert cursor.execute(damage).rowcount >= 1
        assert words in "\n".join(storage.check())

    def test_a_removed_job_leaves_nothing_behind(self, storage: SqliteJobStorage) -> None:
        storage.announce(server())
        none_kept = Retention(succeeded=timedelta(0))
        for _ in range(3):
            storage.add(job(retention=none_kept))
            claimed = storage.claim(CLAIM)
            assert claimed is not None
            lease = Lease(claimed.id, claimed.fence)
            storage.report(lease, None, [LogLine(at=datetime.now(UTC), attempt=1, level="info", text="x")])
            storage.finish(lease, Outcome(state=JobState.SUCCEEDED))
        assert storage.prune() == 3
        with storage.reading() as cursor:
            for table in ("job", "entry", "log"):
                assert cursor.execute(f"SELECT count(*) FROM abpjobs_{table}").fetchone()[0] == 0

    def test_history_is_bounded_in_the_file_too(self, storage: SqliteJobStorage) -> None:
        storage.announce(server())
        storage.add(job())
        for _ in range(MAX_HISTORY + 30):
            claimed = storage.claim(CLAIM)
            assert claimed is not None
            storage.release(Lease(claimed.id, claimed.fence), "again")
        with storage.reading() as cursor:
            assert cursor.execute("SELECT count(*) FROM abpjobs_entry").fetchone()[0] < 2 * MAX_HISTORY
        assert len(storage.history(claimed.id)) == MAX_HISTORY
        assert storage.check() == []


class TestFileSystem:
    def test_a_local_file_and_memory_give_no_warning(self, storage: SqliteJobStorage) -> None:
        assert storage.warnings() == []
        memory = open_storage("memory://", "app")
        assert memory.warnings() == []

    MOUNTS = "/dev/vda / ext4 rw 0 0\nserver:/jobs {0} nfs4 rw 0 0\nserver:/b {0}/with\\040space 9p rw 0 0\n"

    @pytest.mark.parametrize(
        ("path", "kind"),
        [("share/jobs.db", "nfs4"), ("share/with space/jobs.db", "9p"), ("sharers/jobs.db", None), ("jobs.db", None)],
    )
    def test_a_network_file_system_is_known_by_the_list_of_mounts(
        self, tmp_path: Path, path: str, kind: str | None
    ) -> None:
        mounts = tmp_path / "mounts"
        mounts.write_text(self.MOUNTS.format(tmp_path / "share"))
        assert network_kind(str(tmp_path / path), str(mounts)) == kind

    def test_a_system_without_that_list_gives_no_warning(self, tmp_path: Path) -> None:
        assert network_kind(str(tmp_path / "jobs.db"), str(tmp_path / "none")) is None


class TestCosts:
    def test_the_engine_finds_its_jobs_by_an_index_without_sorting(self, storage: SqliteJobStorage) -> None:
        storage.announce(server())
        with traced(storage) as statements:
            storage.claim(CLAIM)
            storage.promote()
            storage.start_children()
            storage.prune()
        assert_indexed(storage, statements)

    @pytest.mark.parametrize(
        "query",
        [
            JobQuery(),
            JobQuery(state=JobState.FAILED),
            JobQuery(state=JobState.FAILED, tenant="acme"),
            JobQuery(state=JobState.FAILED, tenant=None),
            JobQuery(state=JobState.ENQUEUED, queue="default"),
            JobQuery(state=JobState.SUCCEEDED, name="n", queue="default"),
            JobQuery(state=JobState.SCHEDULED, retrying=True),
            JobQuery(state=JobState.SUCCEEDED, retrying=False),
        ],
    )
    def test_a_page_of_a_list_is_read_from_its_index_without_sorting(
        self, storage: SqliteJobStorage, query: JobQuery
    ) -> None:
        storage.announce(server())
        for outcome in (JobState.SUCCEEDED, JobState.FAILED):
            storage.add_many([job(), job(), job(due_at=datetime.now(UTC), state=JobState.SCHEDULED, tenant_id="acme")])
            claimed = storage.claim(CLAIM)
            assert claimed is not None
            storage.finish(Lease(claimed.id, claimed.fence), Outcome(state=outcome))
        with traced(storage) as statements:
            storage.find(query)
        assert statements
        if query.state is not None:
            assert_indexed(storage, statements)

    def test_a_commit_writes_few_pages(self, storage: SqliteJobStorage) -> None:
        storage.announce(server())
        log = Path(f"{storage.path}-wal")

        def pages_of(step: Callable[[], object], times: int) -> float:
            with storage.lock:
                storage.conn.execute("PRAGMA wal_autocheckpoint = 0")
                storage.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            for _ in range(times):
                step()
            return (log.stat().st_size - 32) / (PAGE_SIZE + 24) / times

        assert pages_of(lambda: storage.add(job()), 300) < 8
        claimed = storage.claim(CLAIM)

        def run_one() -> None:
            nonlocal claimed
            assert claimed is not None
            claimed = storage.finish(Lease(claimed.id, claimed.fence), Outcome(state=JobState.SUCCEEDED), CLAIM)

        assert pages_of(run_one, 200) < 9


@contextlib.contextmanager
def traced(storage: SqliteJobStorage) -> Iterator[list[str]]:
    """Collect the statements of both connections, of the writer and of the one reader."""
    statements: list[str] = []
    with storage.reading() as cursor:
        reader = cursor.connection
    with storage.lock:
        writer = storage.conn
    for connection in (reader, writer):
        connection.set_trace_callback(statements.append)
    yield statements
    for connection in (reader, writer):
        connection.set_trace_callback(None)


def assert_indexed(storage: SqliteJobStorage, statements: list[str]) -> None:
    """Each statement on jobs goes by an index, in its order."""
    seen = [statement for statement in statements if "FROM abpjobs_job" in statement]
    assert seen
    with storage.reading() as cursor:
        for statement in seen:
            plan = [row["detail"] for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}")]
            assert not [step for step in plan if "TEMP B-TREE" in step or step.startswith("SCAN")], (statement, plan)
