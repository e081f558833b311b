"""The embedded worker: one server of jobs in the process that serves, started once, never where nothing is served."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_abpjobs import AbpJobs, JobState
from flask_abpjobs.model import ServerRecord

MODULE = """
import os
import time
from pathlib import Path

from flask import Flask, current_app
from flask_abpjobs import AbpJobs, RetryPolicy

jobs = AbpJobs()
folder = Path({folder!r})


@jobs.job(name="whole", retry=RetryPolicy.none())
def whole() -> list[int]:
    return [os.getpid(), current_app.config["READY"]]


def create_app():
    app = Flask("shop", instance_path=str(folder))
    app.config.update(ABPJOBS_EMBEDDED_WORKER=True, ABPJOBS_WORKERS=2, ABPJOBS_HEARTBEAT_SECONDS=0.2)
    app.config.from_prefixed_env("SHOP")
    jobs.init_app(app, dashboard=None)
    while (folder / "hold").exists():  # the factory has more to do
        time.sleep(0.01)
    app.config["READY"] = 1

    @app.get("/")
    def index():
        return str(os.getpid())

    return app
"""


class Site:
    """A folder with an app that other processes serve, and the same app here, which enqueues and looks."""

    def __init__(self, folder: Path, eventually: Callable[..., Any]) -> None:
        self.folder = folder
        self.port = free_port()
        self.output = folder / "output"
        self.eventually = eventually
        self._processes: list[subprocess.Popen[bytes]] = []
        (folder / "shop.py").write_text(MODULE.format(folder=str(folder)))
        self.jobs = jobs = AbpJobs()

        @jobs.job(name="whole")
        def whole() -> None: ...

        self.whole = whole
        self.flask = Flask("shop", instance_path=str(folder))
        jobs.init_app(self.flask, dashboard=None)

    def serve(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        with self.output.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=self.folder,
                env=self.environment(**environment),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def environment(self, **settings: str) -> dict[str, str]:
        path = os.pathsep.join([str(self.folder), *sys.path])
        return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **settings}

    def flask_run(self, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        command = ("flask", "--app", "shop", "run", "--port", str(self.port), *options)
        return self.serve(*command, **environment)

    def gunicorn(self, *options: str) -> subprocess.Popen[bytes]:
        return self.serve("gunicorn", "-b", f"127.0.0.1:{self.port}", *options, "shop:create_app()")

    def get(self) -> int | None:
        """Return the number of the process that answered a request, ``None`` while nobody does."""
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=10) as answer:
                return int(answer.read())
        return None

    def is_listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def enqueue(self) -> str:
        with self.flask.app_context():
            return self.whole.enqueue()

    def ran_in(self, job_id: str) -> int:
        """Return the number of the process that ran a job in a complete app."""
        with self.flask.app_context():
            job = self.jobs.wait(job_id, timeout=20)
        assert job.state is JobState.SUCCEEDED, (job.reason, self.output.read_text())
        found = re.fullmatch(rb"\[(\d+),1\]", job.result or b"")
        assert found is not None
        return int(found[1])

    def servers(self) -> list[ServerRecord]:
        servers: list[ServerRecord] = self.flask.extensions["abpjobs"].storage.servers()
        return servers

    def close(self) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10)
        self.flask.extensions["abpjobs"].storage.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.fixture
def site(tmp_path: Path, eventually: Callable[..., Any]) -> Iterator[Site]:
    site = Site(tmp_path, eventually)
    yield site
    site.close()


class TestFlaskRun:
    def test_jobs_left_in_the_store_run_without_a_request_and_only_in_a_complete_app(self, site: Site) -> None:
        hold = site.folder / "hold"
        hold.touch()
        job_id = site.enqueue()
        process = site.flask_run()
        site.eventually(lambda: has_read(process.pid, site.folder / "abpjobs.db"), message="init_app in the factory")
        assert site.servers() == []
        hold.unlink()
        assert site.ran_in(job_id) == process.pid
        assert [server.pid for server in site.servers()] == [process.pid]

    def test_requests_start_no_second_server(self, site: Site) -> None:
        process = site.flask_run()
        site.eventually(site.servers)
        for _ in range(5):
            assert site.eventually(site.get) == process.pid
        assert [server.pid for server in site.servers()] == [process.pid]
        assert site.ran_in(site.enqueue()) == process.pid

    def test_with_the_reloader_only_the_process_that_serves_has_one(self, site: Site) -> None:
        job_id = site.enqueue()
        parent = site.flask_run("--debug")
        child = site.ran_in(job_id)
        assert child != parent.pid
        assert site.eventually(site.get) == child
        assert [server.pid for server in site.servers()] == [child]

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
    def test_after_a_reload_the_new_process_has_the_only_one(self, site: Site) -> None:
        parent = site.flask_run("--debug")
        first = site.eventually(site.get)
        assert parent_of(first) == parent.pid
        site.eventually(lambda: [server.pid for server in site.servers()] == [first])
        module = site.folder / "shop.py"
        module.write_text(module.read_text() + "\n# changed\n")
        site.eventually(lambda: site.get() not in {first, None}, timeout=20, message="the reload")
        second = site.get()
        site.eventually(lambda: [server.pid for server in site.servers()] == [second], timeout=15)
        assert site.ran_in(site.enqueue()) == second

    def test_ctrl_c_signs_the_server_off(self, site: Site) -> None:
        process = site.flask_run()
        assert site.eventually(site.get) == process.pid  # a request waits for a start that is under way
        assert len(site.servers()) == 1
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)
        assert site.servers() == []

    @pytest.mark.parametrize(
        "settings", [{"SHOP_TESTING": "true"}, {"SHOP_ABPJOBS_EXECUTION_ENABLED": "false"}], ids=["testing", "disabled"]
    )
    def test_an_app_that_may_not_run_jobs_starts_none(self, site: Site, settings: dict[str, str]) -> None:
        process = site.flask_run(**settings)
        job_id = site.enqueue()
        assert site.eventually(site.get) == process.pid
        assert site.get() == process.pid
        assert site.servers() == []
        with site.flask.app_context():
            assert site.jobs.storage.get(job_id).state is JobState.ENQUEUED


class TestOtherServers:
    def test_gunicorn_with_preload_starts_one_in_each_process_that_serves(self, site: Site) -> None:
        master = site.gunicorn("--preload", "-w", "2")
        site.eventually(site.is_listening, timeout=20)
        waiting = site.enqueue()
        assert site.servers() == []
        answered: set[int | None] = set()

        def both() -> bool:
            answered.add(site.get())
            return len(answered - {None}) == 2

        site.eventually(both, timeout=20, message="an answer of each process")
        assert master.pid not in answered
        site.eventually(lambda: {server.pid for server in site.servers()} == answered - {None})
        assert len(site.servers()) == 2
        assert site.ran_in(waiting) in answered
        master.terminate()
        master.wait(timeout=20)
        assert site.servers() == []

    def test_a_server_that_nobody_asked_anything_runs_nothing(self, site: Site) -> None:
        job_id = site.enqueue()
        site.gunicorn("-w", "1")
        site.eventually(site.is_listening, timeout=20)
        assert site.servers() == []
        pid = site.eventually(site.get)
        assert site.ran_in(job_id) == pid


class TestNeverStarts:
    def test_a_command_starts_none_and_leaves_the_jobs(self, site: Site) -> None:
        job_id = site.enqueue()
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "shop", "abpjobs", "list"],
            cwd=site.folder,
            env=site.environment(),
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[1].split()[:2] == [job_id, "enqueued"]
        assert site.servers() == []
        with site.flask.app_context():
            assert len(site.jobs.storage.history(job_id)) == 1

    def test_an_app_in_tests_starts_none(self) -> None:
        shop = Flask("shop")
        shop.config.update(TESTING=True, ABPJOBS_EMBEDDED_WORKER=True)
        AbpJobs(shop, dashboard=None)
        before = threading.active_count()
        assert shop.test_client().get("/").status_code == 404
        assert shop.extensions["abpjobs"].storage.servers() == []
        assert threading.active_count() == before

    def test_making_an_app_starts_none_and_its_first_request_does(self, site: Site) -> None:
        script = (
            "import shop, threading\n"
            "app = shop.create_app()\n"
            "servers = app.extensions['abpjobs'].storage.servers\n"
            "print(len(servers()), threading.active_count())\n"
            "client = app.test_client()\n"
            "client.get('/'), client.get('/')\n"
            "print(len(servers()), servers()[0].workers)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=site.folder,
            env=site.environment(),
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert (done.stdout, done.stderr) == ("0 1\n1 2\n", "")
        assert site.servers() == [], "the script's end signs the server off"

    def test_a_storage_that_does_not_answer_is_tried_again_with_the_next_request(self, site: Site) -> None:
        process = site.gunicorn("-w", "1")
        site.eventually(site.is_listening, timeout=20)
        connection = sqlite3.connect(site.folder / "abpjobs.db")
        with connection:
            connection.execute("ALTER TABLE abpjobs_server RENAME TO away")
        assert site.eventually(site.get) != process.pid, "the page answers all the same"
        with connection:
            connection.execute("ALTER TABLE away RENAME TO abpjobs_server")
        connection.close()
        assert site.servers() == []
        assert "The embedded worker cannot start now; the next request tries again" in site.output.read_text()
        pid = site.get()
        assert [server.pid for server in site.servers()] == [pid]


def has_read(pid: int, file: Path) -> bool:
    """Whether a process has a file open, and so has come as far as opening it."""
    with contextlib.suppress(OSError):
        return any(os.readlink(link) == str(file) for link in Path(f"/proc/{pid}/fd").iterdir())
    return False
