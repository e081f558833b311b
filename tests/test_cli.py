"""``flask abpjobs``: each command, its tables, its JSON, its exit codes, and errors in one line."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from flask_abpjobs import AbpJobs, JobRecord, JobState, RetryPolicy, current_job

MODULE = """
from flask import Flask
from flask_abpjobs import AbpJobs, RetryPolicy

jobs = AbpJobs()


@jobs.job(name="good")
def good(number: int) -> int:
    return number


@jobs.job(name="bad", retry=RetryPolicy.none())
def bad() -> None:
    raise ValueError("no")


def create_app(**settings):
    app = Flask("shop", instance_path={folder!r})
    app.config.update(
        ABPJOBS_WORKERS=2, ABPJOBS_HEARTBEAT_SECONDS=0.5, ABPJOBS_SERVER_TIMEOUT_SECONDS=2, **settings
    )
    app.config.from_prefixed_env("SHOP")
    jobs.init_app(app, dashboard=None)
    return app
"""


class Desk:
    """An app with a file, and its command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs = jobs = AbpJobs()
        self.flask = Flask("shop", instance_path=str(folder))
        self.flask.config["ABPJOBS_SERVER_TIMEOUT_SECONDS"] = 10
        jobs.init_app(self.flask, dashboard=None)
        self.runner: FlaskCliRunner = self.flask.test_cli_runner()
        self.consumer: Any = None

        @jobs.job(name="good")
        def good(number: int, password: str = "x", extra: dict[str, Any] | None = None) -> int:
            current_job.log(f"number {number}", "warning")
            return number

        @jobs.job(name="bad", retry=RetryPolicy.none())
        def bad() -> None:
            raise ValueError("no")

        self.good, self.bad = good, bad

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Return exit code, standard output and standard error of a command."""
        done = self.runner.invoke(args=["abpjobs", *arguments])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert "Traceback" not in done.stderr
        return done.exit_code, done.stdout, done.stderr

    def json(self, *arguments: str, code: int = 0) -> Any:
        exit_code, output, errors = self.run(*arguments, "--json")
        assert (exit_code, errors) == (code, "")
        return json.loads(output)

    def enqueue(self, *args: Any, job: Any = None, **kwargs: Any) -> str:
        with self.flask.app_context():
            return str((job or self.good).enqueue(*args, **kwargs))

    def get(self, job_id: str) -> JobRecord:
        with self.flask.app_context():
            return self.jobs.storage.get(job_id)

    def start(self) -> None:
        huey = self.flask.extensions["abpjobs"].huey
        self.consumer = huey.create_consumer(workers=2, handle_signals=False, heartbeat=0.5, server_timeout=2.0)
        self.consumer.start()

    def ended(self, job_id: str) -> JobRecord:
        with self.flask.app_context():
            return self.jobs.wait(job_id, timeout=10)

    def close(self) -> None:
        if self.consumer is not None:
            self.consumer.stop(graceful=True)
        self.flask.extensions["abpjobs"].storage.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


class TestGroup:
    def test_every_command_says_what_it_does(self, desk: Desk) -> None:
        group = desk.flask.cli.commands["abpjobs"]
        assert isinstance(group, click.Group)
        for name, command in group.commands.items():
            code, output, _ = desk.run(name, "--help")
            assert code == 0
            assert command.get_short_help_str()
            assert output.startswith(f"Usage: {desk.flask.name} abpjobs {name}") or f"abpjobs {name}" in output
        assert {"worker", "list", "show", "requeue", "delete", "stats", "servers", "check"} <= group.commands.keys()

    @pytest.mark.parametrize(
        "arguments",
        [
            ["bogus"],
            ["list", "--state", "done"],
            ["list", "--limit", "0"],
            ["list", "--limit", "1001"],
            ["list", "--after", "garbage"],
            ["requeue"],
            ["delete"],
            ["show"],
            ["worker", "--workers", "0"],
            ["worker", "--worker-type", "fork"],
        ],
        ids=" ".join,
    )
    def test_a_wrong_call_ends_with_2_and_a_line_that_says_why(self, desk: Desk, arguments: list[str]) -> None:
        code, output, errors = desk.run(*arguments)
        assert (code, output) == (2, "")
        assert errors.splitlines()[-1].startswith("Error: ")


class TestList:
    def test_an_empty_list_says_so(self, desk: Desk) -> None:
        assert desk.run("list") == (0, "No jobs.\n", "")
        assert desk.json("list") == {"jobs": [], "next": None}

    def test_a_table_has_a_line_for_each_job(self, desk: Desk) -> None:
        with desk.flask.app_context():
            first = desk.good.enqueue(1)
            second = desk.good.using(tenant="acme", queue="mail", delay=3600).enqueue(2)
        code, output, errors = desk.run("list")
        assert (code, errors) == (0, "")
        assert [line.split() for line in output.splitlines()] == [
            ["id", "state", "job", "queue", "tenant", "since"],
            [second, "scheduled", "good", "mail", "acme", "0", "s"],
            [first, "enqueued", "good", "default", "0", "s"],
        ]

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            (["--state", "scheduled"], {"late"}),
            (["--state", "failed"], set()),
            (["--queue", "mail"], {"mail"}),
            (["--name", "bad"], {"bad"}),
            (["--tenant", "acme"], {"acme"}),
            (["--tenant", "acme", "--queue", "mail"], set()),
            ([], {"late", "mail", "bad", "acme"}),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_conditions_are_joined_by_and(self, desk: Desk, options: list[str], expected: set[str]) -> None:
        with desk.flask.app_context():
            ids = {
                desk.good.using(delay=60).enqueue(1): "late",
                desk.good.using(queue="mail").enqueue(1): "mail",
                desk.bad.enqueue(): "bad",
                desk.good.using(tenant="acme").enqueue(1): "acme",
            }
        assert {ids[job["id"]] for job in desk.json("list", *options)["jobs"]} == expected

    def test_pages_follow_each_other_by_cursor(self, desk: Desk) -> None:
        ids = [desk.enqueue(number) for number in range(5)]
        code, output, _ = desk.run("list", "--limit", "2")
        *_, more = output.splitlines()
        assert (code, more.split()[:2]) == (0, ["More:", "--after"])
        seen, cursor = [], None
        for _ in range(3):
            page = desk.json("list", "--limit", "2", *(["--after", cursor] if cursor else []))
            seen += [job["id"] for job in page["jobs"]]
            cursor = page["next"]
        assert seen == ids[::-1]
        assert cursor is None

    def test_json_has_the_record_and_keeps_secrets(self, desk: Desk) -> None:
        desk.enqueue(7)
        (job,) = desk.json("list")["jobs"]
        assert (job["name"], job["state"], job["priority"], job["attempt"]) == ("good", "enqueued", 15, 0)
        assert (job["arguments"], job["payload"]) == ({"number": "7"}, '{"number":7}')

    @pytest.mark.parametrize(
        "arguments",
        [
            {"password": "hunter2"},
            {"extra": {"deep": [{"api_key": "hunter2"}]}},
            {"extra": {"a": "x" * 5_000, "token": "hunter2"}},
        ],
        ids=["parameter", "nested", "behind the cut"],
    )
    def test_secrets_are_not_printed_in_any_form(self, desk: Desk, arguments: dict[str, Any]) -> None:
        job_id = desk.enqueue(7, **arguments)
        assert "hunter2" in desk.get(job_id).payload.decode()
        for command in (["list"], ["show", job_id]):
            for form in ([], ["--json"]):
                code, output, _ = desk.run(*command, *form)
                assert code == 0
                assert "hunter2" not in output


class TestShow:
    def test_a_job_is_shown_with_history_and_log(self, desk: Desk) -> None:
        job_id = desk.enqueue(7, password="hunter2")
        desk.start()
        desk.ended(job_id)
        code, output, errors = desk.run("show", job_id)
        assert (code, errors) == (0, "")
        lines = output.splitlines()
        assert lines[0] == "good(number=7, password=<redacted>)"
        assert lines[1] == f"{job_id}, succeeded, queue default, attempt 1, tenant none"
        assert [line.split()[2] for line in lines[2:5]] == ["enqueued", "processing", "succeeded"]
        assert lines[5].split()[2:] == ["warning", "number", "7"]

    def test_a_failed_job_ends_with_its_traceback(self, desk: Desk) -> None:
        job_id = desk.enqueue(job=desk.bad)
        desk.start()
        desk.ended(job_id)
        done = desk.runner.invoke(args=["abpjobs", "show", job_id])
        assert (done.exit_code, done.stderr) == (0, "")
        assert "ValueError: no" in done.stdout.splitlines()[4]
        assert "Traceback (most recent call last):" in done.stdout
        assert done.stdout.splitlines()[-1] == "ValueError: no"

    def test_json_has_history_and_log(self, desk: Desk) -> None:
        job_id = desk.enqueue(7)
        desk.start()
        desk.ended(job_id)
        shown = desk.json("show", job_id)
        assert (shown["id"], shown["state"], shown["result"]) == (job_id, "succeeded", "7")
        assert [entry["state"] for entry in shown["history"]] == ["enqueued", "processing", "succeeded"]
        assert [(line["level"], line["text"]) for line in shown["log"]] == [("warning", "number 7")]

    def test_an_unknown_job_is_told_in_one_line(self, desk: Desk) -> None:
        assert desk.run("show", "nope") == (1, "", "Error: There is no job 'nope'.\n")
        assert desk.run("show", "nope", "--json") == (1, "", "Error: There is no job 'nope'.\n")


class TestActing:
    def test_jobs_are_deleted_and_requeued(self, desk: Desk) -> None:
        ids = [desk.enqueue(1), desk.enqueue(2)]
        assert desk.run("delete", *ids) == (0, f"{ids[0]} deleted\n{ids[1]} deleted\n", "")
        assert [desk.get(job_id).state for job_id in ids] == [JobState.DELETED] * 2
        assert desk.run("requeue", *ids) == (0, f"{ids[0]} requeued\n{ids[1]} requeued\n", "")
        reasons = [entry["reason"] for entry in desk.json("show", ids[0])["history"]]
        assert reasons[1:] == ["Deleted by the command line", "Requeued by the command line"]

    def test_one_that_cannot_be_does_not_keep_the_others_from_it(self, desk: Desk) -> None:
        waiting, deleted = desk.enqueue(1), desk.enqueue(2)
        desk.run("delete", deleted)
        code, output, errors = desk.run("requeue", waiting, "nope", deleted)
        assert (code, output) == (1, f"{deleted} requeued\n")
        assert errors.splitlines() == [
            f"Error: Job {waiting} is enqueued now, so it cannot be requeued. Nothing was changed.",
            "Error: There is no job 'nope'.",
        ]


class TestStats:
    def test_counts_and_queues_are_shown(self, desk: Desk) -> None:
        for number in range(3):
            desk.enqueue(number)
        code, output, errors = desk.run("stats")
        assert (code, errors) == (0, "")
        lines = [line.split() for line in output.splitlines()]
        assert ["enqueued", "3"] in lines
        assert lines[-2:] == [["queue", "waiting", "oldest", "servers"], ["default", "3", "0", "s", "0"]]

    def test_json_has_counts_and_queues(self, desk: Desk) -> None:
        desk.enqueue(1)
        stats = desk.json("stats")
        assert {state.value for state in JobState} <= stats["counts"].keys()
        assert (stats["counts"]["enqueued"], stats["counts"]["created"]) == (1, 1)
        (queue,) = stats["queues"]
        assert (queue["name"], queue["length"], queue["servers"]) == ("default", 1, 0)

    def test_without_jobs_there_are_no_queues(self, desk: Desk) -> None:
        code, output, _ = desk.run("stats")
        assert (code, output.splitlines()[-1]) == (0, "No queues.")


class TestServers:
    def test_without_a_server_it_says_so(self, desk: Desk) -> None:
        assert desk.run("servers") == (0, "No servers.\n", "")
        assert desk.json("servers") == {"servers": []}

    def test_a_server_is_listed(self, desk: Desk) -> None:
        desk.start()
        code, output, errors = desk.run("servers")
        assert (code, errors) == (0, "")
        heads, row = output.splitlines()
        assert heads.split() == ["server", "running", "queues", "started", "heartbeat"]
        assert row.split()[1:6] == ["0", "of", "2", "thread", "default"]
        (server,) = desk.json("servers")["servers"]
        assert (server["pid"], server["workers"], server["queues"]) == (os.getpid(), 2, ["default"])


class TestCheck:
    def test_all_is_well_where_nothing_waits(self, desk: Desk) -> None:
        code, output, errors = desk.run("check")
        assert (code, errors) == (0, "")
        first, last = output.splitlines()
        assert first.endswith("; 0 servers; 2 jobs known.")
        assert last == "All is well."
        assert desk.json("check")["ok"] is True

    def test_jobs_that_nobody_listens_for_are_told(self, desk: Desk) -> None:
        with desk.flask.app_context():
            desk.good.using(queue="mail").enqueue(1)
        code, output, errors = desk.run("check")
        assert (code, errors) == (1, "")
        assert output.splitlines()[1:] == ["Wrong: 1 jobs wait in mail and no server listens."]
        checked = desk.json("check", code=1)
        assert checked["problems"] == ["1 jobs wait in mail and no server listens."]
        assert checked["ok"] is False
        assert "abpjobs.db" in checked["storage"]

    def test_a_server_for_the_queue_makes_it_well(self, desk: Desk) -> None:
        with desk.flask.app_context():
            desk.good.using(queue="mail").enqueue(1)
        huey = desk.flask.extensions["abpjobs"].huey
        huey.queues = ("mail",)
        huey.serve()
        assert desk.json("check")["ok"] is True
        huey.records.retire(huey.server.id)
        assert desk.json("check", code=1)["ok"] is False

    def test_a_damaged_counter_is_found(self, desk: Desk) -> None:
        desk.enqueue(1)
        connection = sqlite3.connect(desk.folder / "abpjobs.db")
        with connection:
            connection.execute("UPDATE abpjobs_shelf SET number = 5 WHERE state = 'enqueued'")
        connection.close()
        desk.start()  # so that somebody listens
        with desk.flask.app_context():
            desk.jobs.wait(desk.enqueue(2), timeout=10)
        code, output, _ = desk.run("check")
        assert code == 1
        (wrong,) = output.splitlines()[1:]
        assert wrong == "Wrong: The counter says 4 enqueued jobs 'good' in queue 'default', a scan finds 0."


class TestWorkerRefuses:
    @pytest.mark.parametrize(
        ("settings", "arguments", "words"),
        [
            (
                {"ABPJOBS_EXECUTION_ENABLED": False},
                [],
                "ABPJOBS_EXECUTION_ENABLED is false: this app may enqueue jobs but not run them.",
            ),
            ({"TESTING": True}, [], "The app is in testing mode: its jobs are in the memory of this process only."),
            (
                {},
                ["--queues", "a b"],
                "ABPJOBS_QUEUES is ('a b',): a queue name has 1 to 64 letters, digits and _ . -.",
            ),
            ({}, ["--queues", ","], "ABPJOBS_QUEUES is (): name at least one queue, first served first."),
            ({}, ["--queues", "a,a"], "ABPJOBS_QUEUES is ('a', 'a'): name each queue once."),
        ],
        ids=range(5),
    )
    def test_what_it_cannot_do_in_one_line(
        self, tmp_path: Path, settings: dict[str, Any], arguments: list[str], words: str
    ) -> None:
        shop = Flask("shop", instance_path=str(tmp_path))
        shop.config.update(settings)
        AbpJobs(shop, dashboard=None)
        done = shop.test_cli_runner().invoke(args=["abpjobs", "worker", *arguments])
        assert (done.exit_code, done.stdout, done.stderr) == (1, "", f"Error: {words}\n")
        shop.extensions["abpjobs"].storage.close()


class Terminal:
    """A folder with an app, and ``flask`` as a program."""

    def __init__(self, folder: Path, eventually: Callable[..., Any]) -> None:
        self.folder = folder
        (folder / "shop.py").write_text(MODULE.format(folder=str(folder)))
        self.processes: list[subprocess.Popen[str]] = []
        self._eventually = eventually

    def environment(self, **settings: str) -> dict[str, str]:
        path = os.pathsep.join([str(self.folder), *sys.path])
        return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **settings}

    def worker(self, *arguments: str) -> subprocess.Popen[str]:
        self.output = self.folder / "output"
        with self.output.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "flask", "--app", "shop", "abpjobs", "worker", *arguments],
                cwd=self.folder,
                env=self.environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.processes.append(process)
        return process

    def call(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flask", "--app", "shop", "abpjobs", *arguments],
            cwd=self.folder,
            env=self.environment(**settings),
            capture_output=True,
            text=True,
            timeout=30,
        )

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait(timeout=10)


@pytest.fixture
def terminal(tmp_path: Path, eventually: Callable[..., Any]) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path, eventually)
    yield terminal
    terminal.close()


@pytest.fixture
def side(tmp_path: Path) -> Iterator[AbpJobs]:
    """The same app in this process: it enqueues and looks."""
    jobs = AbpJobs()

    @jobs.job(name="good")
    def good(number: int) -> int:
        return number

    @jobs.job(name="bad")
    def bad() -> None: ...

    shop = Flask("shop", instance_path=str(tmp_path))
    jobs.init_app(shop, dashboard=None)
    with shop.app_context():
        yield jobs
    shop.extensions["abpjobs"].storage.close()


class TestWorkerProcess:
    @pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
    def test_it_runs_jobs_tells_of_them_and_stops_in_order(
        self, terminal: Terminal, side: AbpJobs, stop: signal.Signals
    ) -> None:
        good = side.manager.enqueue_by_name("good", {"number": 7})
        bad = side.manager.enqueue_by_name("bad", {})
        process = terminal.worker()
        assert side.wait(good, timeout=20).result == b"7"
        assert side.wait(bad, timeout=20).state is JobState.FAILED
        process.send_signal(stop)
        assert process.wait(timeout=10) == 0
        lines = terminal.output.read_text().splitlines()
        assert lines[0].startswith("Serving default of shop with 2 thread workers, 2 jobs known. ")
        assert lines[0].endswith(" Stop with Ctrl-C.")
        told = " ".join(lines[1:])
        assert f"INFO    good {good}: succeeded after " in told
        assert f"WARNING bad {bad}: failed after " in told
        assert "(ValueError: no)" in told
        assert "Traceback" not in told
        assert side.storage.servers() == []
        assert side.storage.check() == []

    def test_quietly_it_tells_of_failures_only_and_serves_the_queues_it_was_given(
        self, terminal: Terminal, side: AbpJobs, eventually: Callable[..., Any]
    ) -> None:
        good = side.manager.enqueue_by_name("good", {"number": 7}, queue="mail")
        bad = side.manager.enqueue_by_name("bad", {}, queue="slow")
        other = side.manager.enqueue_by_name("good", {"number": 7})
        process = terminal.worker("-q", "--queues", "mail, slow", "--workers", "1")
        for job_id in (good, bad):
            side.wait(job_id, timeout=20)
        (server,) = side.storage.servers()
        assert (server.queues, server.workers, server.worker_type) == (("mail", "slow"), 1, "thread")
        process.terminate()
        assert process.wait(timeout=10) == 0
        (line,) = terminal.output.read_text().splitlines()
        assert f"WARNING bad {bad}: failed after " in line
        assert side.storage.get(other).state is JobState.ENQUEUED

    def test_processes_run_jobs_too(self, terminal: Terminal, side: AbpJobs) -> None:
        good = side.manager.enqueue_by_name("good", {"number": 7})
        process = terminal.worker("--worker-type", "process", "--workers", "2")
        assert side.wait(good, timeout=20).result == b"7"
        (server,) = side.storage.servers()
        assert (server.worker_type, server.pid) == ("process", process.pid)
        process.terminate()
        assert process.wait(timeout=10) == 0
        assert side.storage.servers() == []

    def test_commands_of_another_process_see_the_same_jobs(self, terminal: Terminal, side: AbpJobs) -> None:
        good = side.manager.enqueue_by_name("good", {"number": 7})
        listed = terminal.call("list", "--json")
        assert (listed.returncode, listed.stderr) == (0, "")
        assert [job["id"] for job in json.loads(listed.stdout)["jobs"]] == [good]
        missing = terminal.call("show", "nope")
        assert (missing.returncode, missing.stdout, missing.stderr) == (1, "", "Error: There is no job 'nope'.\n")
