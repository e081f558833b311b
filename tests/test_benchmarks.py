"""The comparison with other libraries runs, and leaves nothing behind. What it measures is nobody's business here."""

from __future__ import annotations

import configparser
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.contenders import ENTRIES
from tests.benchmarks.results import Measurement, Results, Table, quantile

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the workers are found in /proc")
ROOT = Path(__file__).parents[1]
PROGRAM = [sys.executable, "-m", "tests.benchmarks.compare", "--quick"]
OWN = [entry.key for entry in ENTRIES if entry.library in {"huey", "flask_abpjobs"}]


@pytest.mark.requires_redis
def test_the_quick_mode_ends_well_with_a_table_for_each_measurement(redis_server_path: str, tmp_path: Path) -> None:
    page = tmp_path / "tables.rst"
    done = subprocess.run(
        [*PROGRAM, "--only", *OWN, "--rst", str(page)], cwd=ROOT, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stderr
    assert "not measured" not in done.stdout
    for title in (
        "Enqueue one by one",
        "Enqueue many",
        "Drain, 4 threads",
        "Pick-up by a worker",
        "PING while 300 jobs",
    ):
        assert re.search(rf"^{title}.*\n===", done.stdout, re.M), done.stdout
        assert f".. list-table:: {title}" in page.read_text()
    for entry in ENTRIES:
        assert (f"\n{entry.title} " in done.stdout) == (entry.key in OWN)


@pytest.mark.requires_redis
def test_a_run_that_is_stopped_leaves_no_process_behind(
    redis_server_path: str, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    mark = f"{tmp_path.name}-{os.getpid()}"
    environment = {**os.environ, "ABPJOBS_BENCH_MARK": mark}
    words = [*PROGRAM, "--parts", "drain", "--jobs", "3000", "--rounds", "100", "--only", "ours-redis"]
    program = subprocess.Popen(
        words, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        eventually(lambda: len(marked(mark)) >= 3, timeout=30, message="the program, its Redis and a worker run")
        program.send_signal(signal.SIGINT)
        assert program.wait(timeout=20) == 130
        assert marked(mark) == []
    finally:
        program.kill()
        program.wait()


def marked(mark: str) -> list[int]:
    """Return the processes that have a mark in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            try:
                environment = (folder / "environ").read_bytes()
            except OSError:
                continue
            if f"ABPJOBS_BENCH_MARK={mark}".encode() in environment.split(b"\0"):
                found.append(int(folder.name))
    return found


def test_the_bench_environment_installs_what_the_program_asks_for() -> None:
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    deps = set(tox["testenv:bench"]["deps"].split())
    assert {entry.requirement for entry in ENTRIES if not entry.is_ours} <= deps
    assert all("==" in dep for dep in deps)


def test_a_ratio_is_that_of_the_same_round() -> None:
    results, speed = Results(), Measurement("Speed", "jobs per second")
    for number, (stock, ours) in enumerate([(100.0, 200.0), (10.0, 30.0), (1000.0, 4000.0)]):
        results.note(speed, "huey-redis", number, stock)
        results.note(speed, "ours-redis", number, ours)
    (table,) = results.tables()
    assert table.rows == [
        ("Huey, RedisHuey", "100", "10 .. 1,000", "1.00"),
        ("Flask-AbpJobs, Redis", "200", "30 .. 4,000", "3.00 (2.00 .. 4.00)"),
    ]


def test_a_table_is_written_for_the_documentation() -> None:
    table = Table("Speed, jobs per second", ("", "median"), [("Huey", "1,000")])
    assert table.as_rst().splitlines() == [
        ".. list-table:: Speed, jobs per second",
        "    :header-rows: 1",
        "",
        "    * -",
        "      - median",
        "    * - Huey",
        "      - 1,000",
    ]


def test_a_quantile_is_one_of_the_values() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [quantile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50.0, 95.0, 99.0, 100.0]
    assert quantile([3.0], 0.99) == 3.0
